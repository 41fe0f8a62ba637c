"""Fuse a quantised graph into the engine's operations: which values are stored, and what is fused between two stored values.

A stored value is rows of channels in memory, one row per token. Moves of rows and channels (`hw/views.py`) are views of it
where addresses can express them, else part of a product: a matrix that selects channels, times one, requantises to the same
int8. Everything else must match a pattern below, or is refused with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from edgewright.hw.fused import Fused
from edgewright.hw.legal import IMPLEMENTS as IMPLEMENTS
from edgewright.hw.legal import MOVES, ON_A_CPU, grouped, refusals
from edgewright.hw.memory import WORD_BYTES, round_up
from edgewright.hw.operations.attention import AttentionProduct
from edgewright.hw.operations.copy import CopyProduct
from edgewright.hw.operations.operation import Operation, Place, Residual, operands
from edgewright.hw.operations.patches import PatchProduct
from edgewright.hw.operations.pooling import PoolProduct
from edgewright.hw.operations.product import IDENTITY, Integers, Product, Scale, constant, whole
from edgewright.hw.operations.rows import RowProduct
from edgewright.hw.views import Index, Selection, StoredView, broadcast_rows, progression, rows_columns, selection
from edgewright.passes.diagnostics import CompileError, fail
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import INT8, INT16
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    Constant,
    LayerNormalization,
    Linear,
    Mul,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Relu,
    Requantise,
    Table,
)
from edgewright.passes.ops import constant as make_constant


class Refused(Exception):
    """A node does not fit a fused operation. ``args``: the node, what the engine lacks, what to do instead."""


class Fuser:
    """Collects the operations of a graph whose nodes are all legal on their own."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.fused = Fused()
        self.problems: list[tuple[Node, str, str]] = []
        self.zero = make_constant(np.zeros((1, WORD_BYTES), np.int8), origin=("zero",))

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
        view = selection(node).view()
        if view is not None and view.column_step == 1:
            return view
        return whole(node)

    def stored_by(self, node: Node) -> Iterator[Operation]:
        """Yield the operations that store a value; none for constants and inputs."""
        try:
            if isinstance(node.op, Constant):
                self.fused.constants[node] = constant(node)
            elif isinstance(node.op, Concat):
                yield from self.joined(node)
            elif not isinstance(node.op, Quantise):
                yield self.operation(node, Place(node))
        except Refused as refused:
            self.problems.append(refused.args)

    # ---- joins

    def joined(self, node: Node) -> Iterator[Operation]:
        """Yield one operation for each part of a Concat, which stores it in place."""
        assert isinstance(node.op, Concat)
        axis = node.op.axis % len(node.shape)
        operations: list[Operation] = []
        constants: list[Integers] = []
        first = 0
        for part in node.inputs:
            place = place_of(node, axis, first, part.shape[axis])
            first += part.shape[axis]
            shown = selection(part)
            if isinstance(shown.base.op, Constant):
                values = constant(shown.base).reshape(rows_columns(shown.base))[np.ix_(shown.rows, shown.columns)]
                constants.append(values)
                elem = np.int8 if node.elem == INT8 else np.int16
                rows = make_constant(values.astype(elem), origin=shown.base.origin)
                copy = CopyProduct(node=rows, source=whole(rows), scale=Scale.one(rows, values.shape[1]))
                operations.append(Operation(copy, rows, place))
            else:
                operations.append(self.operation(part, place))
        if len(constants) == len(operations):
            self.fused.constants[node] = np.concatenate(constants, axis=int(axis == len(node.shape) - 1))
            return
        yield from operations

    # ---- one fused operation

    def operation(self, node: Node, place: Place) -> Operation:
        """Return the fused operation that ends in ``node``."""
        shown = selection(node)
        base = shown.base
        if isinstance(base.op, AddRequantised):
            return self.sum(node, shown, place)
        if isinstance(base.op, (Table, Relu)):
            table = constant(base.inputs[1]) if isinstance(base.op, Table) else np.maximum(np.arange(-128, 128), 0)
            return Operation(self.product(through(base.inputs[0], shown)), node, place, table=table)
        if base.elem == INT8 or ends_product(base):
            return Operation(self.product(shown), node, place)
        return self.copied(node, shown, place)

    def sum(self, node: Node, shown: Selection, place: Place) -> Operation:
        """Fuse a residual sum: one operand is a product at the sum's scale, the other one is read."""
        base = shown.base
        op = base.op
        assert isinstance(op, AddRequantised)
        left, right = base.inputs
        factors = (op.multiplier_a, op.shift_a), (op.multiplier_b, op.shift_b)
        fusible = [
            ends_product(selection(operand).base) and factor == IDENTITY
            for operand, factor in zip(base.inputs, factors, strict=True)
        ]
        if not fusible[0] and fusible[1]:  # the operand that ends a product is fused, the other one is read
            left, right, factors = right, left, factors[::-1]
        if not any(fusible):
            because = "neither operand is a product at the sum's scale, and the engine adds to products as they leave the array"
            raise Refused(base, because, f"let one operand be the result of a Linear; or {ON_A_CPU}")
        product = self.product(through(left, spread(left, shown)))
        return Operation(product, node, place, residual=Residual(self.residual(right, shown), *factors[1]))

    def residual(self, node: Node, shown: Selection) -> StoredView:
        """Return the view of ``node`` that is added to the rows and channels ``shown`` of the sum."""
        selected = spread(node, shown)
        seen = through(node, selected)
        if isinstance(seen.base.op, Constant):
            plain = seen.view()
            if plain is not None and plain.is_whole:
                return plain
            values = constant(seen.base).astype(np.int16).reshape(rows_columns(seen.base))[np.ix_(seen.rows, seen.columns)]
            part = make_constant(values, origin=seen.base.origin)
            return StoredView(part, 0, 0, *values.shape)
        return self.readable(node, selected)

    def copied(self, node: Node, shown: Selection, place: Place) -> Operation:
        """Copy an int16 value: add it to a product of zeros."""
        if node.elem != INT16:
            raise Refused(shown.base, f"its value of {node.elem.bits} bits would be stored", "the engine stores int8 and int16")
        view = shown.view()
        if view is None or not aligned(view):
            raise unreachable(node, shown)
        product = RowProduct(
            node=node,
            source=StoredView(self.zero, 0, 0, view.rows, WORD_BYTES, row_step=0),
            scale=Scale.one(node, view.columns),
            weight=np.zeros((view.columns, WORD_BYTES), np.int64),
            bias=np.zeros(view.columns, np.int64),
            selects=True,
        )
        return Operation(product, node, place, residual=Residual(view, *IDENTITY))

    # ---- products

    def product(self, shown: Selection) -> Product:
        """Return the product whose requantised result is ``shown``."""
        base = shown.base
        if not isinstance(base.op, Requantise):
            return self.selected(shown, base, None, Scale.one(base, len(shown.columns)))
        source = through(base.inputs[0], shown)
        node, scale = source.base, Scale.of(base, shown.columns, base.op.zero_point)
        if isinstance(node.op, Linear):
            weight, bias = (constant(n)[source.columns] for n in node.inputs[1:])
            rows = through(node.inputs[0], replace(source, columns=every(node.inputs[0])))
            return self.linear(node, rows, weight, bias, scale)
        if isinstance(node.op, PatchEmbed):
            return self.patches(node, source, scale)
        if isinstance(node.op, Attention):
            return self.attention(node, source, scale)
        if isinstance(node.op, ReduceSum):
            (tokens,) = node.inputs
            view = self.readable(tokens, Selection(tokens, every_row(tokens), source.columns))
            return PoolProduct(node=node, source=view, scale=scale)
        if isinstance(node.op, Mul):
            left, right = node.inputs
            factor, x = (left, right) if isinstance(left.op, Constant) else (right, left)
            diagonal = np.broadcast_to(constant(factor).reshape(-1), node.shape[-1:])[source.columns]
            return self.selected(through(x, source), node, diagonal, scale)
        if node.elem == INT8:
            return self.selected(source, base, None, scale)
        because = f"it brings the result of a {node.op.kind} to {base.elem.bits} bits"
        raise Refused(base, because, f"requantise products; or {ON_A_CPU}")

    def selected(self, shown: Selection, node: Node, factors: Integers | None, scale: Scale) -> RowProduct:
        """Multiply channels by ``factors`` (None: 1) with rows of a diagonal matrix, exact because 1 * q requantises to q."""
        count = len(shown.columns)
        weight = np.diag(np.ones(count, np.int64) if factors is None else factors)
        return replace(self.linear(node, shown, weight, np.zeros(count, np.int64), scale), selects=True)

    def linear(self, node: Node, source: Selection, weight: Integers, bias: Integers, scale: Scale) -> RowProduct:
        """Return a product of rows; ``weight`` (O, K) meets the K selected columns."""
        rows = progression(source.rows)
        if rows is None:
            raise unreachable(node, source)
        base = source.base
        norm = base if isinstance(base.op, LayerNormalization) else None
        if norm is not None:
            weight = widened(weight, source.columns, 0, rows_columns(base)[1])
            view = self.readable(norm.inputs[0], replace(source, columns=every(norm)))
        else:
            low = int(source.columns.min()) // WORD_BYTES * WORD_BYTES
            high = int(source.columns.max()) + 1
            weight = widened(weight, source.columns, low, high)
            view = StoredView(base, rows[0], low, len(source.rows), high - low, rows[1])
        return RowProduct(node=node, source=view, scale=scale, weight=weight, bias=bias, layer_norm=norm)

    def patches(self, node: Node, shown: Selection, scale: Scale) -> PatchProduct:
        """Return a product of patches of the input image, which is stored plane by plane as the host writes it."""
        if not np.array_equal(shown.rows, every_row(node)):
            raise Refused(node, "only some of its patches are read", f"cut the image instead; or {ON_A_CPU}")
        weight, bias = (constant(n)[shown.columns] for n in node.inputs[1:])
        return PatchProduct(node=node, source=whole(node.inputs[0]), scale=scale, weight=weight, bias=bias)

    def attention(self, node: Node, shown: Selection, scale: Scale) -> AttentionProduct:
        """Return the heads side by side, for the queries of the selected rows."""
        if not shown.takes_all_columns:
            raise Refused(node, "only some channels of it are read", f"read whole heads together; or {ON_A_CPU}")
        query = self.readable(node.inputs[0], replace(shown, base=node.inputs[0], columns=every(node.inputs[0])))
        key, value = (self.readable(operand, whole_of(operand)) for operand in node.inputs[1:])
        return AttentionProduct(node=node, source=query, scale=scale, key=key, value=value)

    # ---- operands

    def readable(self, node: Node, selected: Selection) -> StoredView:
        """Return rows and channels of ``node`` (``selected`` indexes it) as a view that addresses can express: of what ``node``
        moves, else of ``node`` itself, which is then stored."""
        seen = through(node, selected)
        view = seen.view()
        if view is not None and aligned(view):
            return view
        view = Selection(node, selected.rows, selected.columns).view() if isinstance(node.op, MOVES) else None
        if view is not None and aligned(view):
            return view
        raise unreachable(node, seen)


def ends_product(node: Node) -> bool:
    """Return whether ``node`` is a requantised result of the array."""
    return isinstance(node.op, Requantise)


def through(node: Node, selected: Selection) -> Selection:
    """Return the rows and channels ``selected`` of ``node``, in terms of the value that ``node`` moves."""
    seen = selection(node)
    return Selection(seen.base, seen.rows[selected.rows], seen.columns[selected.columns], seen.uneven or selected.uneven)


def spread(node: Node, shown: Selection) -> Selection:
    """Return the rows and channels ``shown`` of a sum as those of its operand ``node``, which may broadcast along rows."""
    rows = broadcast_rows(node, shown.base.shape)
    if rows is None:
        raise Refused(shown.base, f"it repeats the channels of {node.type}", "only tokens can be repeated; expand the value")
    return Selection(node, rows[shown.rows], shown.columns, shown.uneven)


def place_of(node: Node, axis: int, first: int, count: int) -> Place:
    """Return the place of the part of a Concat that takes ``count`` from ``first`` on along ``axis``."""
    if axis == len(node.shape) - 1:
        if first % WORD_BYTES:
            where = f"channel {first} of {node.shape[axis]}"
            because = f"a part starts at {where}, and values are written {WORD_BYTES} channels at a time"
            raise Refused(node, because, f"join at multiples of {WORD_BYTES} channels, or along tokens")
        return Place(node, first_column=first)
    rows = np.arange(rows_columns(node)[0]).reshape(node.shape[:-1])
    taken = progression(rows[(slice(None),) * axis + (slice(first, first + count),)].reshape(-1))
    if taken is None:
        before = max(node.shape[:axis])
        because = f"it joins along axis {axis} after an axis of {before}, so that its parts alternate in memory"
        raise Refused(node, because, "join along the first axis that is longer than 1")
    return Place(node, taken[0], taken[1])


def every(node: Node) -> Index:
    """Return all columns of a value."""
    return np.arange(rows_columns(node)[1])


def every_row(node: Node) -> Index:
    """Return all rows of a value."""
    return np.arange(rows_columns(node)[0])


def whole_of(node: Node) -> Selection:
    """Select all of ``node`` itself."""
    return Selection(node, every_row(node), every(node))


def widened(weight: Integers, columns: Index, low: int, high: int) -> Integers:
    """Spread weights of some columns over all columns from ``low`` to ``high``."""
    full = np.zeros((len(weight), high - low), np.int64)
    full[:, columns - low] = weight
    return full


def aligned(view: StoredView) -> bool:
    """Return whether the engine can read a view: 16-byte words, adjacent channels, no tile beyond its row."""
    assert not view.root.type.is_float
    element_bytes = view.root.elem.bits // 8
    padded = round_up(rows_columns(view.root)[1], WORD_BYTES)
    end = view.column + round_up(view.columns, WORD_BYTES)
    return view.column_step == 1 and view.column * element_bytes % WORD_BYTES == 0 and end <= padded


def unreachable(node: Node, seen: Selection) -> Refused:
    """Return why addresses cannot express a part of a value, and no product may select it."""
    if progression(seen.rows) is None:
        help_text = f"let slices and joins keep tokens together; or {ON_A_CPU}"
        return Refused(seen.uneven or node, "its tokens are not evenly spaced in memory", help_text)
    because = (
        f"it reads channels from {int(seen.columns[0])} on of a 16-bit value that is not a product, and memory is read "
        f"in words of {WORD_BYTES} bytes"
    )
    return Refused(node, because, f"slice at multiples of {WORD_BYTES} channels, without a step; or {ON_A_CPU}")


def fuse(graph: Graph) -> Fused:
    """Fuse a graph into operations.

    Raises ``CompileError`` with every kind of node that the engine cannot compute, in the order of the graph.
    """
    problems = refusals(graph)
    if problems:  # fusion would only name their neighbours too
        raise CompileError(problems)
    fuser = Fuser(graph)
    fused = fuser.run()
    if fuser.problems:
        order = {node: at for at, node in enumerate(graph.nodes())}
        raise CompileError(grouped(sorted(fuser.problems, key=lambda problem: order.get(problem[0], len(order)))))
    if not fused.operations:
        because = "every output is an input or a constant, or a part of one, so that the program would have no operation"
        help_text = "check the model's outputs: they must depend on its inputs through at least one product"
        fail("P004", "the model leaves nothing to compute", ", ".join(graph.output_names), because, help_text)
    return fused
