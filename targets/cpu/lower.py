"""Graph -> steps. Reshapes, transposes and slices become windows; what joins a Concat is written in its place; the
rest is grouped and each group becomes one step (or a few).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph, Node, make, rewrite
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import (
    Add,
    Attention,
    BatchNormalization,
    Concat,
    Constant,
    Conv,
    Gather,
    HashAttention,
    HashCodes,
    Input,
    LayerNormalization,
    Linear,
    MatMul,
    MoE,
    Mul,
    PatchEmbed,
    ReduceMean,
    ReduceSum,
    Reshape,
    RMSNormalization,
    Slice,
    Softmax,
    Transpose,
    constant,
    value_of,
)
from edgewright.passes.ops.groups import NORMS, WEIGHTED, WINDOWS
from edgewright.targets.cpu.attention import attention
from edgewright.targets.cpu.convolution import CHANNELS_LAST, convolution, patch_embed
from edgewright.targets.cpu.elementwise import copied, elementwise
from edgewright.targets.cpu.experts import experts
from edgewright.targets.cpu.groups import Group, group
from edgewright.targets.cpu.hashing import hash_attention, hash_codes
from edgewright.targets.cpu.matmul import matmul
from edgewright.targets.cpu.product import product, strided_rows
from edgewright.targets.cpu.rows import gather_step, reduce_step, row_step
from edgewright.targets.cpu.scalar import is_elementwise
from edgewright.targets.cpu.step import Context, Step
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.cpu.view import Space, Storage, View, contiguous, dtype_of

Lower = Callable[[Context, Group], None]


def linear(context: Context, one: Group) -> None:
    """Linear: rows of the operand against the packed weight."""
    anchor = one.anchor
    assert anchor is not None
    weight, bias = (value_of(n) for n in anchor.inputs[1:])
    assert weight is not None
    source = context.values[anchor.inputs[0]]
    rows = strided_rows(source)
    if rows is None:
        dense = context.temporary(anchor.inputs[0].type.size, source.dtype).reshape(source.shape)
        assert dense is not None
        copied(context, source, dense, f"{anchor.name} (rows)")
        rows = strided_rows(dense)
        assert rows is not None
    product(context, one, rows, weight, bias, context.tail(one, lambda view: view, tiles=True))


LOWERINGS: dict[type[Op], Lower] = {
    Linear: linear,
    PatchEmbed: patch_embed,
    Conv: convolution,
    MatMul: matmul,
    Attention: attention,
    LayerNormalization: row_step,
    RMSNormalization: row_step,
    Softmax: row_step,
    ReduceMean: reduce_step,
    ReduceSum: reduce_step,
    Gather: gather_step,
    MoE: experts,
    HashCodes: hash_codes,
    HashAttention: hash_attention,
}


@dataclass(frozen=True, slots=True)
class Program:
    """A lowered graph: its steps in order, and where inputs and outputs are."""

    graph: Graph
    variant: Variant
    steps: tuple[Step, ...]
    inputs: tuple[View, ...]
    outputs: tuple[View, ...]


def unsupported(node: Node) -> str | None:
    """Why the CPU path cannot run a node; None when it can."""
    op = node.op
    if isinstance(op, (Input, Constant, Concat, *WINDOWS)) or is_elementwise(op) or isinstance(op, BatchNormalization):
        return None
    if type(op) not in LOWERINGS:
        return f"there is no CPU lowering for {op.kind}"
    if isinstance(op, WEIGHTED) and any(not isinstance(n.op, Constant) for n in node.inputs[1:]):
        return "its weights are computed while the model runs"
    if isinstance(op, NORMS) and any(not isinstance(n.op, Constant) for n in node.inputs[1:]):
        return "its factors are computed while the model runs"
    first = {MoE: 2, HashCodes: 1}.get(type(op))
    if first is not None and any(not isinstance(n.op, Constant) for n in node.inputs[first:]):
        return "its weights are computed while the model runs"
    return None


def lower(graph: Graph, variant: Variant) -> Program:
    """The program of a graph for one variant of the micro-kernels. CompileError (T020) with every node it lacks."""
    graph = prepared(graph)
    refused = [(node, reason) for node in graph.nodes() if (reason := unsupported(node)) is not None]
    if refused:
        raise CompileError(
            [
                Diagnostic(
                    "T020", f"{node.op.kind} cannot run on a CPU target", node.name, reason, "report the model's operator"
                )
                for node, reason in refused
            ]
        )
    context = Context(variant)
    inputs = tuple(_input(context, node, i) for i, node in enumerate(graph.inputs))
    for node in graph.nodes():
        if isinstance(node.op, Constant):
            context.values[node] = context.keep(_stored(node))
    outputs = _outputs(graph)
    _Lowering(graph, context, outputs).run()
    return Program(graph, variant, tuple(context.steps), inputs, tuple(outputs))


def prepared(graph: Graph) -> Graph:
    """The graph with BatchNormalization as a product and a sum, which fuse with what stands before them."""

    def change(node: Node) -> Node | None:
        if not isinstance(node.op, BatchNormalization):
            return None
        scale, bias, mean, variance = (np.asarray(value_of(n), np.float64) for n in node.inputs[1:])
        factor = scale / np.sqrt(variance + node.op.epsilon)
        shape = (1, -1, *(1 for _ in node.shape[2:]))
        by = constant(factor.reshape(shape).astype(np.float32))
        plus = constant((bias - mean * factor).reshape(shape).astype(np.float32))
        scaled = make(Mul(), node.inputs[0], by, origin=node.origin)
        return make(Add(), scaled, plus, origin=node.origin)

    return rewrite(graph, change)


def _stored(node: Node) -> Array:
    value = value_of(node)
    assert value is not None
    return np.asarray(value).astype(dtype_of(node.elem))


def _input(context: Context, node: Node, index: int) -> View:
    view = contiguous(Storage(Space.INPUT, dtype_of(node.elem), node.type.size, index=index), node.shape)
    context.values[node] = view
    return view


def _outputs(graph: Graph) -> list[View]:
    return [
        contiguous(Storage(Space.OUTPUT, dtype_of(node.elem), node.type.size, index=i), node.shape)
        for i, node in enumerate(graph.outputs)
    ]


class _Lowering:
    """One walk over the groups; `values` fills on the way."""

    def __init__(self, graph: Graph, context: Context, outputs: list[View]) -> None:
        self.graph = graph
        self.context = context
        self.outputs = outputs
        self.placed: dict[Node, View] = {}
        self.nodes = graph.nodes()
        self.users = graph.users()
        self.from_convolutions = _from_convolutions(self.nodes)

    def run(self) -> None:
        views = frozenset(n for n in self.nodes if isinstance(n.op, (*WINDOWS, Concat)))
        self.groups = group(self.graph, views)
        makers = {member: one for one in self.groups for member in one.members}
        self._place_outputs(makers)
        self._place_concats(makers)
        for one in self.groups:
            for member in one.members:
                for operand in member.inputs:
                    if makers.get(operand) is not one:
                        self._resolve(operand)
            for node in one.stored:
                self.context.values[node] = self.placed.get(node) or self._fresh(node)
            anchor = one.anchor
            if anchor is None:
                elementwise(self.context, one)
            else:
                LOWERINGS[type(anchor.op)](self.context, one)
        for node, output in zip(self.graph.outputs, self.outputs, strict=True):
            value = self._resolve(node)
            if value.storage is not output.storage:
                copied(self.context, value, output, f"{node.name} (output)")

    def _resolve(self, node: Node) -> View:
        """Where a node's value is, making views and joins on the way (without going into groups)."""
        values = self.context.values
        open_ = [node]
        while open_:
            top = open_[-1]
            sources = () if top in values else top.inputs if isinstance(top.op, Concat) else top.inputs[:1]
            missing = [source for source in sources if source not in values]
            open_ += reversed(missing)
            if not missing:
                open_.pop()
                if top not in values:
                    values[top] = self._join(top) if isinstance(top.op, Concat) else self._view(top, values[top.inputs[0]])
        return values[node]

    def _view(self, node: Node, source: View) -> View:
        op = node.op
        if isinstance(op, Transpose):
            return source.transpose(op.perm)
        if isinstance(op, Slice):
            return source.slice(op.axis, op.start, op.stop, op.step)
        assert isinstance(op, Reshape)
        view = source.reshape(node.shape)
        if view is None:
            dense = contiguous(Storage(Space.WORK, source.dtype, node.type.size), source.shape)
            copied(self.context, source, dense, f"{node.name} (copy)")
            view = dense.reshape(node.shape)
            assert view is not None
        return view

    def _join(self, node: Node) -> View:
        assert isinstance(node.op, Concat)
        whole = self.placed.get(node) or self._fresh(node)
        begin = 0
        axis = node.op.axis % node.type.rank
        for operand in node.inputs:
            part = whole.slice(axis, begin, begin + operand.shape[axis])
            begin += operand.shape[axis]
            value = self.context.values[operand]
            if value != part:
                copied(self.context, value, part, f"{node.name} (join)")
        return whole

    def _fresh(self, node: Node) -> View:
        """New memory: images channels last, everything else row-major."""
        storage = Storage(Space.WORK, dtype_of(node.elem), node.type.size)
        return contiguous(storage, node.shape, CHANNELS_LAST if node.type.rank == 4 and self._is_image(node) else None)

    def _is_image(self, node: Node) -> bool:
        """Whether channels-last suits a rank-4 value: a convolution reads it, or it comes from one."""
        return any(isinstance(u.op, Conv) for u in self.users[node]) or node in self.from_convolutions

    def _place_outputs(self, makers: dict[Node, Group]) -> None:
        for node, output in zip(self.graph.outputs, self.outputs, strict=True):
            if node in makers and node not in self.placed and not (node.type.rank == 4 and self._is_image(node)):
                self.placed[node] = output

    def _place_concats(self, makers: dict[Node, Group]) -> None:
        for node in reversed(self.nodes):  # an outer join is placed before the joins inside it
            if not isinstance(node.op, Concat):
                continue
            whole = self.placed.setdefault(node, self._fresh(node))
            axis, begin = node.op.axis % node.type.rank, 0
            for operand in node.inputs:
                part = whole.slice(axis, begin, begin + operand.shape[axis])
                begin += operand.shape[axis]
                if (operand in makers or isinstance(operand.op, Concat)) and operand not in self.placed:
                    self.placed[operand] = part


def _from_convolutions(nodes: list[Node]) -> set[Node]:
    """Convolutions, and what elementwise steps, slices and joins make of them; `nodes` in topological order."""
    found: set[Node] = set()
    for node in nodes:
        sources: tuple[Node, ...] = ()
        if isinstance(node.op, Concat):
            sources = node.inputs
        elif is_elementwise(node.op) or isinstance(node.op, Slice):
            sources = node.inputs[:1]
        if isinstance(node.op, Conv) or any(source in found for source in sources):
            found.add(node)
    return found
