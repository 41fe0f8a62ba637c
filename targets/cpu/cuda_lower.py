"""Graph -> CUDA kernels, in order: the groups and windows of the CPU path, lowered to kernels of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.op import Op
from edgewright.passes.ops import (
    Attention,
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
    PatchEmbed,
    ReduceMean,
    ReduceSum,
    RMSNormalization,
    Slice,
    Softmax,
    Transpose,
    value_of,
)
from edgewright.passes.ops.groups import NORMS, WEIGHTED, WINDOWS
from edgewright.targets.cpu import cuda_attention, cuda_direct, cuda_elementwise, cuda_matrix, cuda_rows
from edgewright.targets.cpu.cuda_step import CudaContext, CudaStep
from edgewright.targets.cpu.groups import Group, group
from edgewright.targets.cpu.lower import prepared
from edgewright.targets.cpu.scalar import is_elementwise
from edgewright.targets.cpu.view import Space, Storage, View, contiguous, dtype_of


def convolution(context: CudaContext, one: Group) -> None:
    """A product where there is one group, else result by result."""
    assert one.anchor is not None and isinstance(one.anchor.op, Conv)
    (cuda_matrix.convolution if one.anchor.op.groups == 1 else cuda_direct.direct_convolution)(context, one)


LOWERINGS: dict[type[Op], Callable[[CudaContext, Group], None]] = {
    Linear: cuda_matrix.linear,
    PatchEmbed: cuda_matrix.patch_embed,
    Conv: convolution,
    MatMul: cuda_matrix.matmul,
    Attention: cuda_attention.attention,
    LayerNormalization: cuda_rows.row_step,
    RMSNormalization: cuda_rows.row_step,
    Softmax: cuda_rows.row_step,
    ReduceMean: cuda_direct.reduce_step,
    ReduceSum: cuda_direct.reduce_step,
    Gather: cuda_direct.gather_step,
}


_BY_CODES = "attention by codes has kernels for CPUs only"
REFUSED: dict[type[Op], str] = {
    MoE: "tokens queue for their experts while the model runs, which the CUDA kernels, of fixed sizes, cannot follow",
    HashCodes: _BY_CODES,
    HashAttention: _BY_CODES,
}


@dataclass(frozen=True, slots=True)
class CudaProgram:
    """A lowered graph: its kernels in order, and where inputs and outputs are."""

    graph: Graph
    arch: str
    steps: tuple[CudaStep, ...]
    inputs: tuple[View, ...]
    outputs: tuple[View, ...]


def unsupported(node: Node, has_dp4a: bool) -> str | None:
    """Why a node cannot run on a GPU; None when it can."""
    op = node.op
    if isinstance(op, (Input, Constant, Concat, *WINDOWS)) or is_elementwise(op):
        return None
    if type(op) in REFUSED:
        return REFUSED[type(op)]
    if type(op) not in LOWERINGS:
        return f"there is no CUDA lowering for {op.kind}"
    weights = isinstance(op, (*WEIGHTED, *NORMS))
    if weights and any(not isinstance(n.op, Constant) for n in node.inputs[1:]):
        return "its weights are computed while the model runs"
    return cuda_attention.refused(node, has_dp4a) if isinstance(op, Attention) else None


def lower_cuda(graph: Graph, arch: str) -> CudaProgram:
    """The kernels of a graph. CompileError (T032) with every node that has none."""
    graph = prepared(graph)
    context = CudaContext(arch)
    reasons = ((node, unsupported(node, context.has_dp4a)) for node in graph.nodes())
    refused = [
        Diagnostic("T032", f"{node.op.kind} cannot run on a GPU", node.name, reason, "run the model on the CPU of the board")
        for node, reason in reasons
        if reason is not None
    ]
    if refused:
        raise CompileError(refused)
    inputs = tuple(_end(node, Space.INPUT, i) for i, node in enumerate(graph.inputs))
    outputs = tuple(_end(node, Space.OUTPUT, i) for i, node in enumerate(graph.outputs))
    context.values.update(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes():
        value = value_of(node)
        if value is not None:
            context.values[node] = context.keep(np.asarray(value).astype(dtype_of(node.elem)))
    _Lowering(graph, context, outputs).run()
    return CudaProgram(graph, arch, tuple(context.steps), inputs, outputs)


def _end(node: Node, space: Space, index: int) -> View:
    return contiguous(Storage(space, dtype_of(node.elem), node.type.size, index=index), node.shape)


class _Lowering:
    """One walk over the groups; `values` fills on the way."""

    def __init__(self, graph: Graph, context: CudaContext, outputs: tuple[View, ...]) -> None:
        self.graph, self.context, self.outputs = graph, context, outputs
        self.placed: dict[Node, View] = {}
        self.nodes, self.users = graph.nodes(), graph.users()

    def run(self) -> None:
        groups = group(self.graph, frozenset(n for n in self.nodes if isinstance(n.op, (*WINDOWS, Concat))))
        makers = {member: one for one in groups for member in one.members}
        self._place(makers)
        for one in groups:
            for operand in (n for member in one.members for n in member.inputs if makers.get(n) is not one):
                self._resolve(operand)
            for node in one.stored:
                self.context.values[node] = self.placed.get(node) or self._fresh(node)
            anchor = one.anchor
            (cuda_elementwise.elementwise if anchor is None else LOWERINGS[type(anchor.op)])(self.context, one)
        for node, output in zip(self.graph.outputs, self.outputs, strict=True):
            value = self._resolve(node)
            if value.storage is not output.storage:
                cuda_elementwise.copied(self.context, value, output, f"{node.name} (output)")

    def _resolve(self, node: Node) -> View:
        """Where a node's value is, making windows and joins on the way."""
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
                    values[top] = self._join(top) if isinstance(top.op, Concat) else self._window(top, values[top.inputs[0]])
        return values[node]

    def _window(self, node: Node, source: View) -> View:
        op = node.op
        if isinstance(op, Transpose):
            return source.transpose(op.perm)
        if isinstance(op, Slice):
            return source.slice(op.axis, op.start, op.stop, op.step)
        view = source.reshape(node.shape)
        if view is None:
            dense = contiguous(Storage(Space.WORK, source.dtype, node.type.size), source.shape)
            cuda_elementwise.copied(self.context, source, dense, f"{node.name} (copy)")
            view = dense.reshape(node.shape)
        assert view is not None
        return view

    def _join(self, node: Node) -> View:
        whole = self.placed.get(node) or self._fresh(node)
        for operand, part in _parts(node, whole):
            value = self.context.values[operand]
            if value != part:
                cuda_elementwise.copied(self.context, value, part, f"{node.name} (join)")
        return whole

    def _fresh(self, node: Node) -> View:
        """New memory: images channels last, everything else row-major."""
        order = cuda_matrix.CHANNELS_LAST if node.type.rank == 4 and self._is_image(node) else None
        return contiguous(Storage(Space.WORK, dtype_of(node.elem), node.type.size), node.shape, order)

    def _is_image(self, node: Node) -> bool:
        """Whether channels-last suits a rank-4 value: it comes from a convolution, or one reads it."""
        seen = node
        while is_elementwise(seen.op) and seen.inputs:
            seen = seen.inputs[0]
        return isinstance(seen.op, Conv) or any(isinstance(u.op, Conv) for u in self.users[node])

    def _place(self, makers: dict[Node, Group]) -> None:
        """Outputs and the parts of joins are written where they belong in the end."""
        for node, output in zip(self.graph.outputs, self.outputs, strict=True):
            if node in makers and node not in self.placed:
                self.placed[node] = output
        for node in reversed(self.nodes):  # an outer join is placed before the joins inside it
            if not isinstance(node.op, Concat):
                continue
            for operand, part in _parts(node, self.placed.setdefault(node, self._fresh(node))):
                if (operand in makers or isinstance(operand.op, Concat)) and operand not in self.placed:
                    self.placed[operand] = part


def _parts(node: Node, whole: View) -> list[tuple[Node, View]]:
    """A join's operands and their windows."""
    assert isinstance(node.op, Concat)
    axis, begin = node.op.axis % node.type.rank, 0
    found: list[tuple[Node, View]] = []
    for operand in node.inputs:
        found.append((operand, whole.slice(axis, begin, begin + operand.shape[axis])))
        begin += operand.shape[axis]
    return found
