"""Graph -> steps. Reshapes, transposes and slices become views; what joins a Concat is written in its place; the rest is
grouped, and each group becomes one step or a few."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.exact.expand_batch_norm import ExpandBatchNorm
from edgewright.passes.ir import Graph, Node, Op
from edgewright.passes.ops import Concat, Constant, Conv, HashCodes, Input, MoE, Reshape, Slice, Transpose, value_of
from edgewright.passes.ops.groups import NORMS, WEIGHTED, WINDOWS
from edgewright.passes.transform import Note, Pass
from edgewright.targets.lowering.formulas import is_elementwise
from edgewright.targets.lowering.groups import Group, group
from edgewright.targets.lowering.step import LoweringContext
from edgewright.targets.lowering.view import CHANNELS_LAST, Space, StridedView, TensorStorage, contiguous, dtype_of

TARGET_PASSES: tuple[Pass, ...] = (ExpandBatchNorm(),)
# the first operand that has to be a constant, by operator
CONSTANTS_FROM: dict[type[Op], int] = {**dict.fromkeys((*WEIGHTED, *NORMS), 1), MoE: 2, HashCodes: 1}


def prepared(graph: Graph) -> Graph:
    """Return the graph as a CPU or a GPU runs it, after `TARGET_PASSES`; it may be any part of a model, of either level."""
    for step in TARGET_PASSES:
        graph = step.run(graph, Note())
    return graph


def unsupported(node: Node, lowerings: Container[type[Op]], machine: str) -> str | None:
    """Return why a node cannot run on a machine with these lowerings; None when it can."""
    op = node.op
    if isinstance(op, (Input, Constant, Concat, *WINDOWS)) or is_elementwise(op):
        return None
    if type(op) not in lowerings:
        return f"there is no {machine} lowering for {op.kind}"
    first = CONSTANTS_FROM.get(type(op), len(node.inputs))
    if any(not isinstance(n.op, Constant) for n in node.inputs[first:]):
        return f"its {'factors' if isinstance(op, NORMS) else 'weights'} are computed while the model runs"
    return None


def check_supported(graph: Graph, reason_of: Callable[[Node], str | None], code: str, machine: str, help_text: str) -> None:
    """Raise a CompileError with every node that has a reason not to run."""
    refused = [
        Diagnostic(code, f"{node.op.kind} cannot run on a {machine}", node.name, reason, help_text)
        for node in graph.nodes()
        if (reason := reason_of(node)) is not None
    ]
    if refused:
        raise CompileError(refused)


ContextT = TypeVar("ContextT", bound=LoweringContext[Any])
Lower = Callable[[ContextT, Group], None]


class GraphWalk(Generic[ContextT]):
    """One walk over the groups of a graph; the context's values and steps fill on the way.

    lowerings, elementwise: what adds the steps of a group with an anchor, and without. copied: what adds a step that copies
    between two views of one shape, under a name. image_moves: operators that are no functions of single values, and of whose
    images the results are images too. images_to_outputs: whether an image is written to an output, which is row-major,
    without a copy.
    """

    def __init__(
        self,
        graph: Graph,
        context: ContextT,
        lowerings: Mapping[type[Op], Lower[ContextT]],
        elementwise: Lower[ContextT],
        copied: Callable[[ContextT, StridedView, StridedView, str], None],
        image_moves: tuple[type[Op], ...] = (),
        images_to_outputs: bool = True,
    ) -> None:
        self.lowerings, self.elementwise, self.copied = lowerings, elementwise, copied
        self.image_moves, self.images_to_outputs = image_moves, images_to_outputs
        self.graph, self.context = graph, context
        self.nodes, self.users = graph.nodes(), graph.users()
        self.inputs = self._ends(graph.inputs, Space.INPUT)
        self.outputs = self._ends(graph.outputs, Space.OUTPUT)
        self.placed: dict[Node, StridedView] = {}
        self.images = self._images()

    def run(self) -> None:
        """Add the steps of the whole graph."""
        values = self.context.values
        values.update(zip(self.graph.inputs, self.inputs, strict=True))
        for node in self.nodes:
            if isinstance(node.op, Constant):
                values[node] = self.context.keep(np.asarray(value_of(node)).astype(dtype_of(node.elem)))
        groups = group(self.graph, frozenset(n for n in self.nodes if isinstance(n.op, (*WINDOWS, Concat))))
        makers = {member: current for current in groups for member in current.members}
        self._place_outputs(makers)
        self._place_concats(makers)
        for current in groups:
            for operand in (n for member in current.members for n in member.inputs if makers.get(n) is not current):
                self._resolve(operand)
            for node in current.stored:
                values[node] = self.placed.get(node) or self._fresh(node)
            lower = self.elementwise if current.anchor is None else self.lowerings[type(current.anchor.op)]
            lower(self.context, current)
        for node, output in zip(self.graph.outputs, self.outputs, strict=True):
            value = self._resolve(node)
            if value.storage is not output.storage:
                self.copied(self.context, value, output, f"{node.name} (output)")

    @staticmethod
    def _ends(nodes: tuple[Node, ...], space: Space) -> tuple[StridedView, ...]:
        storages = (TensorStorage(space, dtype_of(n.elem), n.type.size, index=i) for i, n in enumerate(nodes))
        return tuple(contiguous(storage, node.shape) for node, storage in zip(nodes, storages, strict=True))

    def _resolve(self, node: Node) -> StridedView:
        """Return where a node's value is, making views and joins on the way (without going into groups)."""
        values = self.context.values
        waiting = [node]
        while waiting:
            top = waiting[-1]
            sources = () if top in values else top.inputs if isinstance(top.op, Concat) else top.inputs[:1]
            missing = [source for source in sources if source not in values]
            waiting += reversed(missing)
            if not missing:
                waiting.pop()
                if top not in values:
                    values[top] = self._join(top) if isinstance(top.op, Concat) else self._view(top, values[top.inputs[0]])
        return values[node]

    def _view(self, node: Node, source: StridedView) -> StridedView:
        op = node.op
        if isinstance(op, Transpose):
            return source.transpose(op.perm)
        if isinstance(op, Slice):
            return source.slice(op.axis, op.start, op.stop, op.step)
        assert isinstance(op, Reshape)
        view = source.reshape(node.shape)
        if view is None:
            dense = contiguous(TensorStorage(Space.WORK, source.dtype, node.type.size), source.shape)
            self.copied(self.context, source, dense, f"{node.name} (copy)")
            view = dense.reshape(node.shape)
            assert view is not None
        return view

    def _join(self, node: Node) -> StridedView:
        whole = self.placed.get(node) or self._fresh(node)
        for operand, part in _parts(node, whole):
            value = self.context.values[operand]
            if value != part:
                self.copied(self.context, value, part, f"{node.name} (join)")
        return whole

    def _fresh(self, node: Node) -> StridedView:
        """Return new memory: images channels last, everything else row-major."""
        storage = TensorStorage(Space.WORK, dtype_of(node.elem), node.type.size)
        return contiguous(storage, node.shape, CHANNELS_LAST if node in self.images else None)

    def _images(self) -> frozenset[Node]:
        """Return the values of rank 4 that a convolution reads, or that come from one."""
        from_convolutions: set[Node] = set()
        for node in self.nodes:
            moves = is_elementwise(node.op) or isinstance(node.op, self.image_moves)
            sources = node.inputs if isinstance(node.op, Concat) else node.inputs[:1]
            if isinstance(node.op, Conv) or (moves and any(source in from_convolutions for source in sources)):
                from_convolutions.add(node)
        read = {node for node in self.nodes if any(isinstance(user.op, Conv) for user in self.users[node])}
        return frozenset(node for node in read | from_convolutions if node.type.rank == 4)

    def _place_outputs(self, makers: dict[Node, Group]) -> None:
        for node, output in zip(self.graph.outputs, self.outputs, strict=True):
            if node in makers and node not in self.placed and (self.images_to_outputs or node not in self.images):
                self.placed[node] = output

    def _place_concats(self, makers: dict[Node, Group]) -> None:
        for node in reversed(self.nodes):  # an outer join is placed before the joins inside it
            if not isinstance(node.op, Concat):
                continue
            for operand, part in _parts(node, self.placed.setdefault(node, self._fresh(node))):
                if (operand in makers or isinstance(operand.op, Concat)) and operand not in self.placed:
                    self.placed[operand] = part


def _parts(node: Node, whole: StridedView) -> list[tuple[Node, StridedView]]:
    """Return the operands of a join, each with its part of the whole."""
    assert isinstance(node.op, Concat)
    axis, begin = node.op.axis % node.type.rank, 0
    parts: list[tuple[Node, StridedView]] = []
    for operand in node.inputs:
        parts.append((operand, whole.slice(axis, begin, begin + operand.shape[axis])))
        begin += operand.shape[axis]
    return parts
