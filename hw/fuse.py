"""Quantised graph -> the engine's operations: which values are stored, and what is fused between two stored values.

A stored value lives in memory as rows of channels, one row a token. Moves of rows and channels (`hw/views.py`) are
views of it where addresses can follow them, and else part of a product: a matrix that selects channels, times one,
requantises to the same int8. Everything else must be part of a pattern below, or is refused with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from edgewright.hw.fused import ConstantRows, Fused, Integers, Operation, Place, Product, Residual, constant, operands
from edgewright.hw.legal import IMPLEMENTS as IMPLEMENTS
from edgewright.hw.legal import MOVES, ON_A_CPU, ROW_MULTIPLE, grouped, refusals
from edgewright.hw.views import (
    Index,
    Selection,
    StoredView,
    broadcast_rows,
    progression,
    rows_columns,
    selection,
)
from edgewright.passes.diagnostics import CompileError, Diagnostic
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

Factor = tuple[int, int]
IDENTITY: Factor = (1 << 15, 15)


class Refused(Exception):
    """A node has no place in a fused operation. ``args``: the node, what stands in the way, the way out."""


class Fuser:
    """Collects the operations of a graph whose nodes are all legal by themselves."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.found = Fused()
        self.problems: list[tuple[Node, str, str]] = []
        self.zero = make_constant(np.zeros((1, ROW_MULTIPLE), np.int8), origin=("zero",))

    def run(self) -> Fused:
        """All operations that the outputs need, operands first."""
        self.found.outputs = tuple(self.output(node) for node in self.graph.outputs)
        stored: set[Node] = set()
        for view in self.found.outputs:
            waiting: list[Node | Operation] = [view.root]
            while waiting:
                item = waiting.pop()
                if isinstance(item, Operation):
                    self.found.operations.append(item)
                elif item not in stored:
                    stored.add(item)
                    steps: list[Node | Operation] = []
                    for operation in self.stored_by(item):
                        steps += [*(operand.root for operand in operands(operation)), operation]
                    waiting += steps[::-1]
        return self.found

    def output(self, node: Node) -> StoredView:
        """Where the host finds an output: a view that keeps channels together, or a value of its own."""
        view = selection(node).view()
        if view is not None and view.column_step == 1:
            return view
        return StoredView(node, 0, 0, *rows_columns(node))

    def stored_by(self, node: Node) -> Iterator[Operation]:
        """The operations that put a value into memory; none for constants and inputs."""
        try:
            if isinstance(node.op, Constant):
                self.found.constants[node] = constant(node)
            elif isinstance(node.op, Concat):
                yield from self.joined(node)
            elif not isinstance(node.op, Quantise):
                yield self.operation(node, Place(node))
        except Refused as refused:
            self.problems.append(refused.args)

    # ---- joins

    def joined(self, node: Node) -> Iterator[Operation]:
        """Each part is written where it belongs; constant parts are in the memory image from the start."""
        assert isinstance(node.op, Concat)
        axis = node.op.axis % len(node.shape)
        operations, rows = [], []
        first = 0
        for part in node.inputs:
            place = place_of(node, axis, first, part.shape[axis])
            first += part.shape[axis]
            shown = selection(part)
            if isinstance(shown.base.op, Constant):
                values = constant(shown.base).reshape(rows_columns(shown.base))[np.ix_(shown.rows, shown.columns)]
                rows.append(ConstantRows(place, values))
            else:
                operations.append(self.operation(part, place))
        if not operations:
            self.found.constants[node] = np.concatenate([row.values for row in rows], axis=int(axis == len(node.shape) - 1))
            return
        self.found.constant_rows += rows
        yield from operations

    # ---- one fused operation

    def operation(self, node: Node, place: Place) -> Operation:
        """The fused operation that ends in ``node``."""
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
        """A residual sum: one operand is a product at the sum's scale, the other one is read."""
        base = shown.base
        op = base.op
        assert isinstance(op, AddRequantised)
        left, right = base.inputs
        factors = (op.multiplier_a, op.shift_a), (op.multiplier_b, op.shift_b)
        fusible = [
            ends_product(selection(operand).base) and factor == IDENTITY
            for operand, factor in zip(base.inputs, factors, strict=True)
        ]
        # the branch that ends a product is fused, the other one is read
        swap = not fusible[0] and fusible[1]
        if swap:
            left, right, factors = right, left, factors[::-1]
        if not any(fusible):
            because = "neither operand is a product at the sum's scale, and the engine adds to products as they leave the array"
            raise Refused(base, because, f"let one operand be the result of a Linear; or {ON_A_CPU}")
        product = self.product(through(left, spread(left, shown)))
        return Operation(product, node, place, residual=Residual(self.residual(right, shown), *factors[1]))

    def residual(self, node: Node, shown: Selection) -> StoredView:
        """What of ``node`` is added to the rows and channels ``shown`` of the sum."""
        wanted = spread(node, shown)
        seen = through(node, wanted)
        if isinstance(seen.base.op, Constant):
            plain = seen.view()
            if plain is not None and plain.is_whole:
                return plain
            values = constant(seen.base).astype(np.int16).reshape(rows_columns(seen.base))[np.ix_(seen.rows, seen.columns)]
            part = make_constant(values, origin=seen.base.origin)
            return StoredView(part, 0, 0, *values.shape)
        return self.readable(node, wanted)

    def copied(self, node: Node, shown: Selection, place: Place) -> Operation:
        """An int16 value from one place to another: added to a product of zeros."""
        if node.elem != INT16:
            raise Refused(shown.base, f"its value of {node.elem.bits} bits would be stored", "the engine stores int8 and int16")
        view = shown.view()
        if view is None or not aligned(view):
            raise unreachable(node, shown)
        weight = np.zeros((view.columns, ROW_MULTIPLE), np.int64)
        multiplier, shift = factors_of(None, view.columns)
        zeros = StoredView(self.zero, 0, 0, view.rows, ROW_MULTIPLE, row_step=0)
        bias = np.zeros(view.columns, np.int64)
        product = Product("linear", node, node, zeros, multiplier, shift, 0, weight, bias, selects=True)
        return Operation(product, node, place, residual=Residual(view, *IDENTITY))

    # ---- products

    def product(self, shown: Selection) -> Product:
        """The product whose requantised result is ``shown``."""
        base = shown.base
        if not isinstance(base.op, Requantise):
            return self.selected(shown, base, None, shown.columns)
        wanted = through(base.inputs[0], shown)
        node = wanted.base
        if isinstance(node.op, Linear):
            weight, bias = (constant(n)[wanted.columns] for n in node.inputs[1:])
            found = self.linear(node, through(node.inputs[0], replace(wanted, columns=every(node.inputs[0]))), weight, bias)
        elif isinstance(node.op, PatchEmbed):
            found = self.patches(node, wanted)
        elif isinstance(node.op, Attention):
            found = self.attention(node, wanted)
        elif isinstance(node.op, ReduceSum):
            found = self.pooled(node, wanted)
        elif isinstance(node.op, Mul):
            left, right = node.inputs
            factor, x = (left, right) if isinstance(left.op, Constant) else (right, left)
            diagonal = np.broadcast_to(constant(factor).reshape(-1), node.shape[-1:])[wanted.columns]
            found = self.selected(through(x, wanted), node, diagonal, shown.columns)
        elif node.elem == INT8:
            found = self.selected(wanted, base, None, shown.columns)
        else:
            because = f"it brings the result of a {node.op.kind} to {base.elem.bits} bits"
            raise Refused(base, because, f"requantise products; or {ON_A_CPU}")
        multiplier, shift = factors_of(base, len(shown.columns), shown.columns)
        return replace(found, requantise=base, multiplier=multiplier, shift=shift, zero_point=base.op.zero_point)

    def selected(self, shown: Selection, node: Node, factors: Integers | None, columns: Index) -> Product:
        """Channels as they are: a product with rows of the identity, exact because 1 * q requantises to q."""
        count = len(columns)
        weight = np.diag(np.ones(count, np.int64) if factors is None else factors)
        return replace(self.linear(node, shown, weight, np.zeros(count, np.int64)), selects=True)

    def linear(self, node: Node, source: Selection, weight: Integers, bias: Integers) -> Product:
        """A product of rows; ``weight`` (O, K) meets the K selected columns."""
        rows = progression(source.rows)
        if rows is None:
            raise unreachable(node, source)
        base = source.base
        norm = base if isinstance(base.op, LayerNormalization) else None
        if norm is not None:
            weight = widened(weight, source.columns, 0, rows_columns(base)[1])
            view = self.readable(norm.inputs[0], replace(source, columns=every(norm)))
        else:
            low = int(source.columns.min()) // ROW_MULTIPLE * ROW_MULTIPLE
            high = int(source.columns.max()) + 1
            weight = widened(weight, source.columns, low, high)
            view = StoredView(base, rows[0], low, len(source.rows), high - low, rows[1])
        return Product("linear", node, node, view, *factors_of(None, len(bias)), 0, weight, bias, norm)

    def patches(self, node: Node, wanted: Selection) -> Product:
        """Patches of the input image, stored plane by plane as the host writes it."""
        if not np.array_equal(wanted.rows, every_row(node)):
            raise Refused(node, "only some of its patches are read", f"cut the image instead; or {ON_A_CPU}")
        weight, bias = (constant(n)[wanted.columns] for n in node.inputs[1:])
        image = node.inputs[0]
        return Product(
            "patch", node, node, StoredView(image, 0, 0, *rows_columns(image)), *factors_of(None, len(bias)), 0, weight, bias
        )

    def attention(self, node: Node, wanted: Selection) -> Product:
        """Heads side by side; the queries of the rows that are wanted."""
        if not wanted.takes_all_columns:
            raise Refused(node, "only some channels of it are read", f"read whole heads together; or {ON_A_CPU}")
        query = self.readable(node.inputs[0], replace(wanted, base=node.inputs[0], columns=every(node.inputs[0])))
        key, value = (self.readable(operand, whole_of(operand)) for operand in node.inputs[1:])
        return Product("attention", node, node, query, *factors_of(None, value.columns), key=key, value=value)

    def pooled(self, node: Node, wanted: Selection) -> Product:
        """A sum over all tokens."""
        (tokens,) = node.inputs
        view = self.readable(tokens, Selection(tokens, every_row(tokens), wanted.columns))
        return Product("pool", node, node, view, *factors_of(None, view.columns))

    # ---- operands

    def readable(self, node: Node, wanted: Selection) -> StoredView:
        """Rows and channels of ``node`` (``wanted`` indexes it) as a view that an address reaches; stores ``node`` by
        itself where its own place is out of reach."""
        seen = through(node, wanted)
        view = seen.view()
        if view is not None and aligned(view):
            return view
        view = Selection(node, wanted.rows, wanted.columns).view() if isinstance(node.op, MOVES) else None
        if view is not None and aligned(view):
            return view
        raise unreachable(node, seen)


def ends_product(node: Node) -> bool:
    """Whether ``node`` is what the array computes, requantised."""
    return isinstance(node.op, Requantise)


def through(node: Node, wanted: Selection) -> Selection:
    """The rows and channels ``wanted`` of ``node``, in terms of the value that ``node`` moves."""
    seen = selection(node)
    return Selection(seen.base, seen.rows[wanted.rows], seen.columns[wanted.columns], seen.uneven or wanted.uneven)


def spread(node: Node, shown: Selection) -> Selection:
    """The rows and channels ``shown`` of a sum as those of its operand ``node``, which may broadcast along rows."""
    rows = broadcast_rows(node, shown.base.shape)
    if rows is None:
        raise Refused(shown.base, f"it repeats the channels of {node.type}", "only tokens can be repeated; write the value out")
    return Selection(node, rows[shown.rows], shown.columns, shown.uneven)


def place_of(node: Node, axis: int, first: int, count: int) -> Place:
    """Where a part of a join goes that takes ``count`` from ``first`` on along ``axis``."""
    if axis == len(node.shape) - 1:
        if first % ROW_MULTIPLE:
            because = f"a part starts at channel {first} of {node.shape[axis]}, and values are written 16 channels at a time"
            raise Refused(node, because, f"join at multiples of {ROW_MULTIPLE} channels, or along tokens")
        return Place(node, first_column=first)
    rows = np.arange(rows_columns(node)[0]).reshape(node.shape[:-1])
    own = progression(rows[(slice(None),) * axis + (slice(first, first + count),)].reshape(-1))
    if own is None:
        before = max(node.shape[:axis])
        because = f"it joins along axis {axis} behind an axis of {before}, so that its parts alternate in memory"
        raise Refused(node, because, "join along the first axis that is longer than 1")
    return Place(node, own[0], own[1])


def every(node: Node) -> Index:
    """All columns of a value."""
    return np.arange(rows_columns(node)[1])


def every_row(node: Node) -> Index:
    """All rows of a value."""
    return np.arange(rows_columns(node)[0])


def whole_of(node: Node) -> Selection:
    """All of ``node`` itself."""
    return Selection(node, every_row(node), every(node))


def factors_of(node: Node | None, count: int, columns: Index | None = None) -> tuple[Integers, Integers]:
    """(multiplier, shift) for each of ``count`` channels; those of 1 without a Requantise."""
    if node is None:
        return np.full(count, IDENTITY[0], np.int64), np.full(count, IDENTITY[1], np.int64)
    found = []
    for operand in node.inputs[1:]:
        values = constant(operand).reshape(-1)
        found.append(np.full(count, values[0]) if len(values) == 1 else values[columns])
    return found[0], found[1]


def widened(weight: Integers, columns: Index, low: int, high: int) -> Integers:
    """Weights of some columns as weights of all from ``low`` to ``high``."""
    full = np.zeros((len(weight), high - low), np.int64)
    full[:, columns - low] = weight
    return full


def aligned(view: StoredView) -> bool:
    """Whether the engine can read a view: 16-byte words, channels together, no tile beyond its row."""
    assert not view.root.type.is_float
    element_bytes = view.root.elem.bits // 8
    room = -(-rows_columns(view.root)[1] // ROW_MULTIPLE) * ROW_MULTIPLE
    tiles = -(-view.columns // ROW_MULTIPLE) * ROW_MULTIPLE
    return view.column_step == 1 and view.column * element_bytes % 16 == 0 and view.column + tiles <= room


def unreachable(node: Node, seen: Selection) -> Refused:
    """Why no address reaches a part of a value, and no product may select it."""
    if progression(seen.rows) is None:
        help_text = f"let slices and joins keep tokens together; or {ON_A_CPU}"
        return Refused(seen.uneven or node, "its tokens are not evenly spaced in memory", help_text)
    because = (
        f"it reads channels from {int(seen.columns[0])} on of a 16-bit value that is not a product, and memory is read "
        "in words of 16 bytes"
    )
    return Refused(node, because, f"slice at multiples of {ROW_MULTIPLE} channels, without a step; or {ON_A_CPU}")


def fuse(graph: Graph) -> Fused:
    """What the engine does for a graph.

    Raises ``CompileError`` with every kind of node that the engine cannot compute, the first one in the way first.
    """
    problems = refusals(graph)
    if problems:  # what stands around them would only be named a second time
        raise CompileError(problems)
    fuser = Fuser(graph)
    found = fuser.run()
    if fuser.problems:
        order = {node: at for at, node in enumerate(graph.nodes())}
        raise CompileError(grouped(sorted(fuser.problems, key=lambda problem: order.get(problem[0], len(order)))))
    if not found.operations:
        raise CompileError([nothing_to_do(graph)])
    return found


def nothing_to_do(graph: Graph) -> Diagnostic:
    """The refusal of a graph whose outputs are there before the engine starts."""
    because = "every output is an input or a constant, or a part of one, so that the program would have no operation"
    help_text = "check the model's outputs: they must depend on its inputs through at least one product"
    return Diagnostic("P004", "the model leaves nothing to compute", ", ".join(graph.output_names), because, help_text)
