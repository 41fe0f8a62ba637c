"""An operator on a batch of samples: its leading axis of n becomes one of B n, sample by sample.

A value is `stacked` as (B n, ...) everywhere between operators, whatever they do to axis 0; those that move, reduce or
broadcast it work on (B, n, ...), which is a view. Values that depend on no input carry no batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgewright.passes import ops
from edgewright.passes.ir import Node, Op, Shape
from edgewright.passes.learn.torch_import import Tensor, torch
from edgewright.passes.learn.torch_ops import Function, function_of
from edgewright.passes.ops.groups import BROADCASTING, PER_TOKEN

# how many leading operands may carry the batch; the others are parameters. An operator in no table here runs sample by sample
ROWS: dict[type[Op], int] = {
    ops.PatchEmbed: 1,
    ops.Conv: 1,
    ops.ConvTranspose: 1,
    ops.BatchNormalization: 1,
    ops.HashCodes: 1,
    ops.HashAttention: 2,
    ops.MoE: 2,
}
ALONG_LAST = tuple(op for op in PER_TOKEN if not op.facts.unary)  # with parameters


def on_batch(node: Node, batched: tuple[bool, ...]) -> Function:
    """Return the node's op on stacked operands; `batched` says which carry a batch. The result is stacked if any does."""
    plain = function_of(node.op)
    if not any(batched):
        return plain
    if len(node.inputs) == 1:
        alone = UNARY.get(type(node.op))
        return plain if alone is None else alone(node, plain)
    translate = TRANSLATIONS.get(type(node.op), _one_by_one)
    return translate(node, batched, plain) or _one_by_one(node, batched, plain)


def apart(x: Tensor, shape: Shape, rank: int = 0) -> Tensor:
    """Rearrange (B n, ...) to (B, [1, ...,] n, ...), filled up with ones to `rank` axes after B."""
    return x.reshape(-1, *(1 for _ in range(rank - len(shape))), *shape)


def stacked(x: Tensor) -> Tensor:
    """Return (B, n, ...) -> (B n, ...)."""
    return x.flatten(0, 1) if x.ndim > 1 else x


def samples_in(x: Tensor, shape: Shape) -> int:
    """Return how many samples of a shape a stacked value holds."""
    return int(x.shape[0]) // (shape[0] if shape else 1)


def repeated(x: Tensor, batch: int) -> Tensor:
    """Return a value without batch as a stacked one, the same for every sample."""
    return x.expand(batch, *x.shape[1:]) if x.shape[:1] == (1,) else stacked(x.expand(batch, *x.shape))


def _batch_of(node: Node, batched: tuple[bool, ...], operands: tuple[Tensor, ...]) -> int:
    first = batched.index(True)
    return samples_in(operands[first], node.inputs[first].shape)


def _one_by_one(node: Node, batched: tuple[bool, ...], plain: Function) -> Function:
    """Return the plain function on each sample: right for every op, for those whose parameters are computed from inputs."""
    shapes = [operand.shape for operand in node.inputs]

    def run(*operands: Tensor) -> Tensor:
        parts = [apart(x, s) if b else x for x, s, b in zip(operands, shapes, batched, strict=True)]
        batch = _batch_of(node, batched, operands)
        results = [plain(*(x[i] if b else x for x, b in zip(parts, batched, strict=True))) for i in range(batch)]
        return stacked(torch.stack(results))

    return run


def _rows(node: Node, batched: tuple[bool, ...], plain: Function) -> Function | None:
    count = ROWS[type(node.op)]
    if any(batched[count:]):
        return None
    if all(batched[:count]):
        return plain

    def run(*operands: Tensor) -> Tensor:
        batch = _batch_of(node, batched, operands)
        rows = (x if b else repeated(x, batch) for x, b in zip(operands[:count], batched, strict=False))
        return plain(*rows, *operands[count:])

    return run


def _along_last(node: Node, batched: tuple[bool, ...], plain: Function) -> Function | None:
    if any(batched[1:]):
        return None
    if node.inputs[0].type.rank > 1:
        return plain
    shape = node.inputs[0].shape
    return lambda x, *parameters: stacked(plain(apart(x, shape), *parameters))


def _keeps_rows(node: Node, batched: tuple[bool, ...]) -> bool:
    """Return whether stacked operands broadcast as they are: axis 0 is the batch in all that carry one, 1 or absent
    elsewhere."""
    rank, lead = node.type.rank, node.shape[:1]
    return rank > 0 and all(
        (operand.type.rank == rank and operand.shape[:1] == lead)
        if carries
        else (operand.type.rank < rank or operand.shape[0] == 1)
        for operand, carries in zip(node.inputs, batched, strict=True)
    )


def _broadcast(node: Node, batched: tuple[bool, ...], plain: Function) -> Function:
    return plain if _keeps_rows(node, batched) else _broadcast_apart(node, batched, plain)


def _matmul(node: Node, batched: tuple[bool, ...], plain: Function) -> Function:
    a, b = node.inputs
    rows_alone = batched == (True, False) and a.type.rank >= b.type.rank and (b.type.rank == 2 or b.shape[0] == 1)
    if rows_alone or (node.type.rank > 2 and _keeps_rows(node, batched)):
        return plain
    return _broadcast_apart(node, batched, plain)


def _broadcast_apart(node: Node, batched: tuple[bool, ...], plain: Function) -> Function:
    shapes, rank = [operand.shape for operand in node.inputs], node.type.rank

    def run(*operands: Tensor) -> Tensor:
        parts = (apart(x, s, rank) if b else x for x, s, b in zip(operands, shapes, batched, strict=True))
        return stacked(plain(*parts))

    return run


def _concat(node: Node, batched: tuple[bool, ...], plain: Function) -> Function:
    axis = node.op.axis % node.type.rank  # type: ignore[attr-defined]
    shapes = [operand.shape for operand in node.inputs]

    def rows(*operands: Tensor) -> Tensor:
        batch = _batch_of(node, batched, operands)
        return torch.cat([x if b else repeated(x, batch) for x, b in zip(operands, batched, strict=True)], axis)

    def whole(*operands: Tensor) -> Tensor:
        batch = _batch_of(node, batched, operands)
        parts = zip(operands, shapes, batched, strict=True)
        return stacked(torch.cat([apart(x, s) if b else x.expand(batch, *s) for x, s, b in parts], 1))

    return whole if axis == 0 else rows


def _attention(node: Node, batched: tuple[bool, ...], plain: Function) -> Function:
    biases = node.inputs[3:]
    windows = node.shape[0]
    shared = all(n.type.rank < 4 or n.shape[0] == 1 for n in biases) and not any(batched[3:])
    per_row = all(n.type.rank == 4 and n.shape[0] == windows for n in biases) and all(batched[3:])
    if all(batched[:3]) and (shared or per_row):
        return plain

    def run(*operands: Tensor) -> Tensor:
        batch = _batch_of(node, batched, operands)
        stacks = [x if b else repeated(x, batch) for x, b in zip(operands[:3], batched, strict=False)]
        for x, bias, carries in zip(operands[3:], biases, batched[3:], strict=True):
            whole = apart(x, bias.shape, 4) if carries else x.reshape(1, *(1,) * (4 - x.ndim), *x.shape)
            stacks.append(stacked(whole.expand(batch, windows, *whole.shape[2:])))
        return plain(*stacks)

    return run


def _gather(node: Node, batched: tuple[bool, ...], plain: Function) -> Function:
    op = node.op
    assert isinstance(op, ops.Gather)
    data, indices = node.inputs
    axis = op.axis % data.type.rank
    before, behind, size = data.shape[:axis], data.shape[axis + 1 :], data.shape[axis]

    def from_table(x: Tensor, chosen: Tensor) -> Tensor:
        if axis == 0 and indices.type.rank:
            return plain(x, chosen)
        taken = x.index_select(axis, (chosen % size).reshape(-1)).reshape(*before, -1, *indices.shape, *behind)
        return stacked(taken.movedim(axis, 0))

    def by_table(x: Tensor, chosen: Tensor) -> Tensor:
        taken = apart(x, data.shape).index_select(axis + 1, (chosen % size).reshape(-1))
        return stacked(taken.reshape(-1, *before, *indices.shape, *behind))

    if all(batched):
        return _one_by_one(node, batched, plain)
    return by_table if batched[0] else from_table


def _reshape(node: Node, plain: Function) -> Function:
    behind = node.shape[1:]
    return lambda x: x.reshape(-1, *behind)


def _transpose(node: Node, plain: Function) -> Function:
    perm: tuple[int, ...] = node.op.perm  # type: ignore[attr-defined]
    if perm[:1] == (0,):
        return plain
    shape, order = node.inputs[0].shape, (0, *(i + 1 for i in perm))
    return lambda x: apart(x, shape).permute(order).reshape(-1, *node.shape[1:])


def _along(axes: Callable[[Any], tuple[int, ...]]) -> Callable[[Node, Function], Function]:
    """Ops that work along axes: on stacked values unless axis 0 is among them, then on values apart."""

    def translate(node: Node, plain: Function) -> Function:
        shape = node.inputs[0].shape
        if all(axis % len(shape) for axis in axes(node.op)):
            return plain
        behind = _shifted(node.op, len(shape))
        return lambda x: stacked(behind(apart(x, shape)))

    return translate


def _shifted(op: Op, rank: int) -> Function:
    """Return the function of an op whose axes are counted after a batch."""
    if isinstance(op, ops.ReduceMean):
        return function_of(ops.ReduceMean(tuple(axis % rank + 1 for axis in op.axes), op.keepdims))
    if isinstance(op, ops.Softmax):
        return function_of(ops.Softmax(op.axis % rank + 1))
    assert isinstance(op, ops.Slice)
    return function_of(ops.Slice(op.axis % rank + 1, op.start, op.stop, op.step))


UNARY: dict[type[Op], Callable[[Node, Function], Function]] = {
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.ReduceMean: _along(lambda op: op.axes),
    ops.Softmax: _along(lambda op: (op.axis,)),
    ops.Slice: _along(lambda op: (op.axis,)),
}
Translation = Callable[[Node, tuple[bool, ...], Function], "Function | None"]
TRANSLATIONS: dict[type[Op], Translation] = {
    **dict.fromkeys(ROWS, _rows),
    **dict.fromkeys(ALONG_LAST, _along_last),
    **dict.fromkeys(BROADCASTING, _broadcast),
    ops.MatMul: _matmul,
    ops.Concat: _concat,
    ops.Attention: _attention,
    ops.Gather: _gather,
}
