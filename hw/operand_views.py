"""Where operands come from: stored values, copies that the engine makes of them, and what the host writes in another order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from edgewright.hw.fused import Fused
from edgewright.hw.host_part import HostView, host_nodes
from edgewright.hw.legal import ON_A_CPU
from edgewright.hw.memory import WORD_BYTES, round_up
from edgewright.hw.padding import HeadPadding, Padding, Turned, Written
from edgewright.hw.selecting import Refused, aligned, has_odd_heads, is_attention, through, unreachable
from edgewright.hw.views import (
    Selection,
    StoredView,
    axis_from_end,
    is_view,
    located,
    rows_columns,
    selection,
)
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import TensorType
from edgewright.passes.ops import (
    Attention,
    Quantise,
    Requantise,
)
from edgewright.passes.ops import constant as make_constant


class OperandViews:
    """The values that a graph's operations read, and those that are made for them only."""

    def __init__(self, graph: Graph, has_windows: bool) -> None:
        self.graph = graph
        self.has_windows = has_windows
        self.fused = Fused()
        self.problems: list[tuple[Node, str, str]] = []
        self.users = graph.users()
        self.host = host_nodes(graph)
        self.written: dict[tuple[Node, int], Node] = {}
        self.padded: dict[tuple[Node, int], Node] = {}
        self.rows_of_one: dict[tuple[int, int], Node] = {}

    def is_input(self, node: Node) -> bool:
        """Return whether a node is an input that was moved, which the host may write as it is read."""
        return is_view(node) and (isinstance(located(node)[0].op, Quantise) or located(node)[0] in self.host)

    def through(self, node: Node, selected: Selection, axis: int | None = None) -> Selection:
        """See ``through``; inputs that are not read as they come are written by the host in another order."""
        seen = selection(node, axis)
        if not self.is_input(node):
            if seen is None:
                assert axis is not None
                return Selection(self.turned(node, axis), selected.rows, selected.columns)
            return through(node, selected, axis)
        view = None if seen is None or seen.base is node else through(node, selected, axis).view()
        if view is not None and aligned(view) and view.order is None:
            return through(node, selected, axis)
        axis = axis_from_end(node) if axis is None else axis
        if (node, axis) not in self.written:
            kind = TensorType((1, *rows_columns(node, axis)), node.elem, node.quant)
            root = Node(Written(), (node,), kind, (f"{node.name} in order",))
            self.written[node, axis] = root
            self.fused.windows[root] = HostView(node, axis)
        return Selection(self.written[node, axis], selected.rows, selected.columns)

    def turned(self, node: Node, axis: int) -> Node:
        """Return a copy of a value with its channels along ``axis``, rows of channels."""
        if (node, axis) not in self.written:
            self.written[node, axis] = make(Turned(axis), node, origin=node.origin)
        return self.written[node, axis]

    def in_memory(self, seen: Selection) -> Selection:
        """Return rows and channels in terms of what is stored: attention stores its heads padded to whole words."""
        if not is_attention(seen.base) or not has_odd_heads(node := seen.base.inputs[0]):
            return seen
        op = node.op
        assert isinstance(op, Attention)
        stored = self.with_padded_heads(seen.base, op.heads)
        assert isinstance(stored.op, HeadPadding)
        width = seen.base.shape[-1] // op.heads
        return Selection(stored, seen.rows, seen.columns // width * stored.op.width + seen.columns % width)

    def readable(self, node: Node, selected: Selection, axis: int | None = None, *, listed: bool = True) -> StoredView:
        """Return rows and channels of ``node`` (``selected`` indexes it) as a view that the engine can read: of what ``node``
        moves, else of ``node`` itself, which is then stored. ``listed``: a list may say which rows."""
        seen = self.in_memory(self.through(node, selected, axis))
        itself = is_view(node) and axis in (None, axis_from_end(node))
        for view in (seen.view(), Selection(node, selected.rows, selected.columns).view() if itself else None):
            if view is not None and aligned(view) and (listed or view.order is None):
                return view
        if (view := seen.view()) is not None and aligned(view):
            because = f"it reads the rows of {node.type} in an order that is not even, and only the first operand can be listed"
            raise Refused(node, because, f"let its rows follow each other or repeat as a whole; or {ON_A_CPU}")
        raise unreachable(node, seen)

    def with_padded_heads(self, node: Node, heads: int) -> Node:
        """Return a value whose heads are whole words: ``node``, or what holds its heads with zeros between them."""
        width = node.shape[-1] // heads
        if width % WORD_BYTES == 0:
            return node
        if (node, heads) not in self.padded:
            fill = node.op.zero_point if isinstance(node.op, Requantise) and is_attention(node) else 0
            self.padded[node, heads] = make(HeadPadding(heads, round_up(width, WORD_BYTES), fill), node, origin=node.origin)
        return self.padded[node, heads]

    def row_of(self, value: int, columns: int) -> Node:
        """Return a row of one value, which is copied on chip so that pixels outside of a map come as fast as those inside."""
        if (value, columns) not in self.rows_of_one:
            row = make_constant(np.full((1, columns), value, np.int8), origin=(f"padding of {value}",))
            self.rows_of_one[value, columns] = replace(row, op=Padding(), inputs=(row,))
        return self.rows_of_one[value, columns]
