"""Fuse a quantised graph into the engine's operations: which values are stored, and what is fused between two stored values.

A stored value is rows of channels in memory. Moves of rows and channels (`hw/views.py`) are views of it where addresses or a
list of rows can express them, else a copy. What is computed between two stored values is a product, or rows that go past the
array, with all that the engine does before and after them; everything that does not match is refused with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from edgewright.hw.fused import Fused
from edgewright.hw.legal import IMPLEMENTS as IMPLEMENTS
from edgewright.hw.legal import ON_A_CPU, grouped, refusals
from edgewright.hw.memory import WORD_BYTES, round_up
from edgewright.hw.operations.copy import CopyProduct
from edgewright.hw.operations.direct import DirectProduct
from edgewright.hw.operations.operation import Operation, Place, Residual, StoredPart, operands
from edgewright.hw.operations.product import IDENTITY, Integers, Scale, constant, whole
from edgewright.hw.operations.transposition import TransposedProduct
from edgewright.hw.padding import HeadPadding, Padding, Turned
from edgewright.hw.products import Products
from edgewright.hw.selecting import (
    LAST,
    MOST_PARTS,
    NORMS,
    Refused,
    every_row,
    head_columns,
    in_words,
    is_attention,
    misplaced,
    places_of,
    rows_view,
    scale_of,
    selected_of,
    spread,
    whole_of,
)
from edgewright.hw.views import (
    Index,
    RowGroup,
    Selection,
    StoredView,
    axis_from_end,
    groups,
    is_view,
    matrix,
    rows_columns,
    runs,
    transposed,
    turned_groups,
)
from edgewright.passes.diagnostics import CompileError, fail
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import INT8
from edgewright.passes.ops import (
    AddRequantised,
    Concat,
    Constant,
    Quantise,
    Relu,
    Requantise,
    Table,
)
from edgewright.passes.ops import constant as make_constant

FEW_GROUPS = 16
"""Groups of rows up to which each is computed on its own, with the weights read once for each."""


class Fuser(Products):
    """Collects the operations of a graph whose nodes are all legal on their own."""

    def run(self) -> Fused:
        """Return all operations that the outputs need, operands first."""
        self.fused.outputs = tuple(self.output(node) for node in self.graph.outputs)
        stored: set[Node] = set()
        for view in self.fused.outputs:
            waiting: list[Node | Operation] = [view.root]
            while waiting:
                item = waiting.pop()
                if isinstance(item, Operation):
                    self.fused.operations.append(item)
                elif item not in stored:
                    stored.add(item)
                    steps: list[Node | Operation] = []
                    for operation in self.stored_by(item):
                        steps += [*(operand.root for operand in operands(operation)), operation]
                    waiting += steps[::-1]
        return self.fused

    def output(self, node: Node) -> StoredView:
        """Return where the host reads an output: a view with adjacent channels, or a separate value."""
        view = selected_of(node).view()
        if view is not None and view.column_step == 1 and view.order is None:
            return view
        return whole(node)

    def stored_by(self, node: Node) -> Iterator[Operation]:
        """Yield the operations that store a value; none for constants and inputs."""
        try:
            if isinstance(node.op, Constant):
                self.fused.constants[node] = constant(node)
            elif isinstance(node.op, Quantise) or node in self.fused.windows or node in self.host:
                return
            elif isinstance(node.op, Padding):
                (row,) = node.inputs
                copy = CopyProduct(node=row, source=whole(row), scale=Scale.one(row, row.type.size))
                yield Operation(copy, row, Place(node))
            elif isinstance(node.op, HeadPadding):
                yield from self.padded_heads(node, node.op)
            elif isinstance(node.op, Turned):
                yield from self.moved(node, node.inputs[0], node.op.axis)
            elif is_view(node):
                yield from self.moved(node, node)
            elif isinstance(node.op, Concat):
                yield from self.joined(node)
            else:
                yield self.operation(node, selected_of(node), Place(node))
        except Refused as refused:
            self.problems.append(refused.args)

    def moved(self, node: Node, source: Node, axis: int | None = None) -> Iterator[Operation]:
        """Yield the operations that store ``source``, its channels along ``axis``, as ``node``: one for each run of channels.

        Rows that are channels of another value are transposed."""
        parts = runs(source, axis)
        turned = transposed(source, axis) if parts is None or len(parts) == rows_columns(node)[1] > 1 else None
        if turned is not None:
            yield from self.grouped_rows(node, source, [RowGroup(every_row(node), tuple(turned), True)])
            return
        found = groups(source, axis, MOST_PARTS) if parts is None else [RowGroup(every_row(node), parts)]
        if not found or not in_words(found):
            found = turned_groups(source, axis, MOST_PARTS)
        if found and in_words(found):
            yield from self.grouped_rows(node, source, found)
            return
        if parts is not None:
            raise misplaced(node, len(parts[0].columns))
        raise Refused(source, "it moves channels between tokens, more than a transposition does", ON_A_CPU)

    def grouped_rows(self, node: Node, source: Node, found: list[RowGroup], apart: int = 0) -> Iterator[Operation]:
        """Yield the operations that store ``source`` as ``node``, one for each part of each group of its rows. ``apart``:
        channels from one part to the next, if others follow a part, which become 0."""
        for group in found:
            first = 0
            rows = tuple(group.rows.tolist())
            for part, width in zip(group.parts, group.widths, strict=True):
                if first % WORD_BYTES:
                    raise misplaced(node, first)
                place = Place(node, rows[0], rows[1] - rows[0] if len(rows) > 1 else 1, first)
                if group.turned:
                    operation = Operation(self.transposition(source, part.base, part.columns, part.rows), node, place)
                else:
                    operation = self.moved_part(node, part, place, few=len(found) <= FEW_GROUPS)
                if len(found) * len(group.parts) > 1:
                    operation = replace(operation, part=StoredPart(rows, first, width))
                yield operation
                first += apart or width

    def transposition(self, node: Node, base: Node, columns: Index, rows: Index) -> TransposedProduct:
        """Return the product that stores a value: its rows are ``columns`` of ``base``, its channels ``rows`` of it."""
        if node.elem != INT8:
            raise Refused(node, f"it transposes a value of {node.elem.bits} bits", f"the array reads int8; {ON_A_CPU}")
        low = int(columns.min()) // WORD_BYTES * WORD_BYTES
        width = round_up(int(columns.max()) + 1 - low, WORD_BYTES)
        ones = np.zeros((len(columns), width), np.int8)
        ones[np.arange(len(columns)), columns - low] = 1
        selects = make_constant(ones, origin=(f"{node.name} channels",))
        value = rows_view(base, rows, low, width)
        if value.order is not None:
            raise Refused(node, "it transposes rows that are not evenly spaced", f"{ON_A_CPU}")
        return TransposedProduct(node=node, source=whole(selects), scale=Scale.one(node, len(rows)), value=value)

    def moved_part(self, node: Node, part: Selection, place: Place, *, few: bool = True) -> Operation:
        """Return the operation that stores rows and channels of a value in another order: it computes them so, unless that
        value is stored in any case, or cannot be computed in that order, or in more than a ``few`` parts."""
        base = part.base
        copy = partial(self.passed, base, part, Scale.one(base, len(part.columns)))
        if isinstance(base.op, (Quantise, *NORMS)):
            return Operation(copy(), node, place)
        alone = few and len(self.users[base]) == 1
        try:
            return self.operation(node, part, place) if alone else Operation(copy(), node, place)
        except Refused:
            return Operation(copy(), node, place) if alone else self.operation(node, part, place)

    def joined(self, node: Node) -> Iterator[Operation]:
        """Yield one operation for each part of a Concat, or for each run of its rows, which stores it in place."""
        assert isinstance(node.op, Concat)
        axis = node.op.axis % len(node.shape)
        operations: list[Operation] = []
        constants: list[Integers] = []
        first = 0
        for part in node.inputs:
            places = places_of(node, axis, first, part.shape[axis])
            first += part.shape[axis]
            shown = selected_of(part, axis_from_end(node))
            for place, rows in places:
                some = Selection(shown.base, shown.rows[rows], shown.columns)
                if isinstance(shown.base.op, Constant):
                    values = matrix(shown.base, constant(shown.base))[np.ix_(some.rows, some.columns)]
                    constants.append(values)
                    elem = np.int8 if node.elem == INT8 else np.int16
                    table = make_constant(values.astype(elem), origin=shown.base.origin)
                    copy = CopyProduct(node=table, source=whole(table), scale=Scale.one(table, values.shape[1]))
                    operations.append(Operation(copy, table, place))
                else:
                    operation = self.operation(part, some, place)
                    if len(places) > 1:
                        operation = replace(operation, part=StoredPart(tuple(rows.tolist()), 0, len(some.columns)))
                    operations.append(operation)
        if len(constants) == len(operations) and len(operations) == len(node.inputs):
            whole_value = [constant(part).reshape(part.shape) for part in node.inputs]
            self.fused.constants[node] = np.concatenate(whole_value, axis=axis)
            return
        yield from operations

    def padded_heads(self, node: Node, op: HeadPadding) -> Iterator[Operation]:
        """Yield the operations that store a value with padded heads."""
        (source,) = node.inputs
        if is_attention(source):
            base = source.inputs[0]
            assert isinstance(source.op, Requantise)
            columns = head_columns(source, op)
            scale = Scale.of(source, columns, source.op.zero_point)
            yield Operation(self.attention(base, whole_of(base), scale), node, Place(node))
            return
        turned = transposed(source, LAST) if axis_from_end(source) != LAST else None
        width = source.shape[-1] // op.heads
        if turned is not None and all(len(part.rows) % width == 0 for part in turned):
            heads = tuple(
                Selection(part.base, part.rows[first : first + width], part.columns)
                for part in turned
                for first in range(0, len(part.rows), width)
            )
            yield from self.grouped_rows(node, source, [RowGroup(every_row(node), heads, True)], op.width)
            return
        selected = Selection(source, every_row(source), head_columns(source, op))
        seen = self.through(source, selected)
        if isinstance(seen.base.op, Requantise) and seen.base.op.zero_point:
            raise Refused(source, "its zero point is not 0, and its heads would be padded with zeros", ON_A_CPU)
        yield Operation(self.product(seen), node, Place(node))

    def operation(self, node: Node, shown: Selection, place: Place) -> Operation:
        """Return the fused operation that stores ``shown``, which ``node`` selects, at ``place``."""
        base = shown.base
        if isinstance(base.op, AddRequantised):
            return self.sum(node, shown, place)
        if isinstance(base.op, Relu) and base.elem != INT8:
            return replace(
                self.operation(node, self.through(base.inputs[0], shown, axis_from_end(base)), place), rectified=True
            )
        if isinstance(base.op, (Table, Relu)):
            table = constant(base.inputs[1]) if isinstance(base.op, Table) else np.maximum(np.arange(-128, 128), 0)
            return replace(self.alone(node, self.through(base.inputs[0], shown, axis_from_end(base)), place), table=table)
        return self.alone(node, shown, place)

    def alone(self, node: Node, shown: Selection, place: Place) -> Operation:
        """Return the operation that stores a product, or rows past the array, with the second factor if there is one."""
        product = self.product(shown)
        factor = self.factor_of(product, shown) if isinstance(product, DirectProduct) else None
        return Operation(product, node, place, residual=factor)

    def sum(self, node: Node, shown: Selection, place: Place) -> Operation:
        """Fuse a residual sum: one operand is a product at the sum's scale or goes past the array, the other one is read."""
        base = shown.base
        op = base.op
        assert isinstance(op, AddRequantised)
        pairs = list(zip(base.inputs, ((op.multiplier_a, op.shift_a), (op.multiplier_b, op.shift_b)), strict=True))
        axis = axis_from_end(base)

        def fused(pair: tuple[Node, tuple[int, int]]) -> bool:
            """Return whether a term is a product at the sum's scale."""
            term, factor = pair
            if isinstance(term.op, Constant) or factor != IDENTITY:
                return False
            return self.is_product(self.through(term, spread(term, shown), axis))

        def repeats(pair: tuple[Node, tuple[int, int]]) -> bool:
            """Return whether a term is read by the second port in any case."""
            return isinstance(pair[0].op, Constant) or pair[0].type.size < base.type.size

        if not op.subtract:
            pairs.sort(key=lambda pair: (not fused(pair), repeats(pair)))
        (left, factor), (right, other) = pairs
        if repeats(pairs[0]):
            raise Refused(base, "it takes a value from one that repeats", ON_A_CPU)
        if fused(pairs[0]):
            product = self.product(self.through(left, spread(left, shown), axis))
        else:
            product = self.passed(left, spread(left, shown), scale_of(base, len(shown.columns), *factor), axis)
        second = Residual(self.second(right, shown), *other, subtracts=op.subtract)
        return Operation(product, node, place, residual=second)


def fuse(graph: Graph, has_windows: bool = True) -> Fused:
    """Fuse a graph into operations. ``has_windows``: the engine has the unit for windows.

    Raises ``CompileError`` with every kind of node that the engine cannot compute, in the order of the graph.
    """
    problems = refusals(graph)
    if problems:  # fusion would only name their neighbours too
        raise CompileError(problems)
    fuser = Fuser(graph, has_windows)
    fused = fuser.run()
    if fuser.problems:
        order = {node: at for at, node in enumerate(graph.nodes())}
        raise CompileError(grouped(sorted(fuser.problems, key=lambda problem: order.get(problem[0], len(order)))))
    if not fused.operations:
        because = "every output is an input or a constant, or a part of one, so that the program would have no operation"
        help_text = "check the model's outputs: they must depend on its inputs through at least one product"
        fail("P004", "the model leaves nothing to compute", ", ".join(graph.output_names), because, help_text)
    return fused
