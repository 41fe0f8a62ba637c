"""Fuse a quantised graph into the engine's operations: which values are stored, and what is fused between two stored values.

A stored value is rows of channels in memory. Moves of rows and channels (`hw/views.py`) are views of it where addresses or a
list of rows can express them, else a copy. What is computed between two stored values is a product, or rows that go past the
array, with all that the engine does before and after them; everything that does not match is refused with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from edgewright.hw.fused import Fused
from edgewright.hw.host_part import HostView, host_nodes
from edgewright.hw.host_windows import host_windows
from edgewright.hw.legal import IMPLEMENTS as IMPLEMENTS
from edgewright.hw.legal import ON_A_CPU, grouped, refusals
from edgewright.hw.memory import WORD_BYTES, round_up
from edgewright.hw.operations.attention import AttentionProduct
from edgewright.hw.operations.biases import biases_of, lowest_bias
from edgewright.hw.operations.convolution import ConvProduct, MapGeometry, geometry_of, kernel_of
from edgewright.hw.operations.copy import CopyProduct
from edgewright.hw.operations.direct import DirectProduct, SummedRows
from edgewright.hw.operations.operation import Operation, StoredPart, Place, Residual, operands
from edgewright.hw.operations.patches import PatchProduct
from edgewright.hw.operations.pooling import PoolProduct
from edgewright.hw.operations.product import IDENTITY, ONE_ROW, Integers, Product, Scale, Taps, constant, whole
from edgewright.hw.operations.rows import RowProduct
from edgewright.hw.operations.transposition import TransposedProduct
from edgewright.hw.operations.window import WindowProduct, Windows
from edgewright.hw.padding import HeadPadding, Padding, Turned, Written
from edgewright.hw.views import (
    Index,
    Selection,
    StoredView,
    axis_from_end,
    broadcast_rows,
    channel_axis,
    is_view,
    located,
    matrix,
    progression,
    rows_columns,
    runs,
    selection,
    transposed,
)
from edgewright.passes.diagnostics import CompileError, fail
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import INT8, TensorType
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    Constant,
    Conv,
    LayerNormalization,
    Linear,
    Mul,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Relu,
    Requantise,
    RMSNormalization,
    Table,
)
from edgewright.passes.ops import constant as make_constant

NORMS = (LayerNormalization, RMSNormalization)
LAST, MAP = -1, -3
"""The axes of channels, from the end, of tokens and of maps."""
MOST_POOLED = 2048
"""Rows that the array adds up as a product with ones; more go past it."""
MOST_PARTS = 256
"""Operations into which a join may be taken apart whose parts alternate in memory."""


class Refused(Exception):
    """A node does not fit a fused operation. ``args``: the node, what the engine lacks, what to do instead."""


class Fuser:
    """Collects the operations of a graph whose nodes are all legal on their own."""

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
                yield self.padded_heads(node, node.op)
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

    # ---- moves and joins that are stored

    def moved(self, node: Node, source: Node, axis: int | None = None) -> Iterator[Operation]:
        """Yield the operations that store ``source``, its channels along ``axis``, as ``node``: one for each run of channels."""
        parts = runs(source, axis)
        if parts is None or (len(parts) > 1 and len(parts) == rows_columns(node)[1]):
            if (found := transposed(source, axis)) is not None:
                yield Operation(self.transposition(source, *found), node, Place(node))
                return
        if parts is None:
            raise Refused(source, "it moves channels between tokens, more than a transposition does", ON_A_CPU)
        first = 0
        for part in parts:
            if first % WORD_BYTES:
                raise misplaced(node, first)
            operation = self.moved_part(node, part, Place(node, first_column=first))
            if len(parts) > 1:
                rows = tuple(range(len(part.rows)))
                operation = replace(operation, part=StoredPart(rows, first, len(part.columns)))
            yield operation
            first += len(part.columns)

    def transposition(self, node: Node, base: Node, columns: Index, rows: Index) -> TransposedProduct:
        """Return the product that stores a value whose rows are ``columns`` of ``base``, and whose channels are its ``rows``."""
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

    def moved_part(self, node: Node, part: Selection, place: Place) -> Operation:
        """Return the operation that stores rows and channels of a value in another order: it computes them so, unless that value
        is stored in any case, or cannot be computed in that order."""
        base = part.base
        if len(self.users[base]) == 1 and not isinstance(base.op, (Quantise, *NORMS)):
            try:
                return self.operation(node, part, place)
            except Refused:
                pass  # a copy then
        return Operation(self.passed(base, part, Scale.one(base, len(part.columns))), node, place)

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

    def padded_heads(self, node: Node, op: HeadPadding) -> Operation:
        """Return the operation that stores a value with padded heads."""
        (source,) = node.inputs
        if is_attention(source):
            base = source.inputs[0]
            assert isinstance(source.op, Requantise)
            columns = head_columns(source, op)
            scale = Scale.of(source, columns, source.op.zero_point)
            return Operation(self.attention(base, whole_of(base), scale), node, Place(node))
        selected = Selection(source, every_row(source), head_columns(source, op))
        seen = self.through(source, selected)
        if isinstance(seen.base.op, Requantise) and seen.base.op.zero_point:
            raise Refused(source, "its zero point is not 0, and its heads would be padded with zeros", ON_A_CPU)
        return Operation(self.product(seen), node, Place(node))

    def with_padded_heads(self, node: Node, heads: int) -> Node:
        """Return a value whose heads are whole words: ``node``, or what holds its heads with zeros between them."""
        width = node.shape[-1] // heads
        if width % WORD_BYTES == 0:
            return node
        if (node, heads) not in self.padded:
            fill = node.op.zero_point if isinstance(node.op, Requantise) and is_attention(node) else 0
            self.padded[node, heads] = make(HeadPadding(heads, round_up(width, WORD_BYTES), fill), node, origin=node.origin)
        return self.padded[node, heads]

    # ---- one fused operation

    def operation(self, node: Node, shown: Selection, place: Place) -> Operation:
        """Return the fused operation that stores ``shown``, which ``node`` selects, at ``place``."""
        base = shown.base
        if isinstance(base.op, AddRequantised):
            return self.sum(node, shown, place)
        if isinstance(base.op, Relu) and base.elem != INT8:
            return replace(self.operation(node, self.through(base.inputs[0], shown, axis_from_end(base)), place), rectified=True)
        if isinstance(base.op, (Table, Relu)):
            table = constant(base.inputs[1]) if isinstance(base.op, Table) else np.maximum(np.arange(-128, 128), 0)
            return replace(self.alone(node, self.through(base.inputs[0], shown, axis_from_end(base)), place), table=table)
        return self.alone(node, shown, place)

    def alone(self, node: Node, shown: Selection, place: Place) -> Operation:
        """Return the operation that stores a product, or rows past the array, with the second factor of an elementwise product."""
        product = self.product(shown)
        factor = self.factor_of(shown) if isinstance(product, DirectProduct) else None
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

    def second(self, node: Node, shown: Selection) -> StoredView:
        """Return the view of ``node``, a second operand, that meets the rows and channels ``shown``: evenly spaced rows."""
        base = shown.base
        if isinstance(node.op, Constant):
            full = np.broadcast_to(constant(node).reshape(node.shape), base.shape)
            values = matrix(base, full)[np.ix_(shown.rows, shown.columns)]
            alike = bool((values == values[:1]).all())
            kept = values[:1] if alike else values
            part = make_constant(kept.astype(np.int8 if node.elem == INT8 else np.int16), origin=node.origin)
            rows, columns = values.shape
            return StoredView(part, 0, 0, rows, columns, row_step=0 if alike and rows > 1 else 1)
        return self.readable(node, spread(node, shown), axis_from_end(base), listed=False)

    # ---- products

    def is_product(self, shown: Selection) -> bool:
        """Return whether the array gives ``shown``, in its order."""
        base = shown.base
        if not isinstance(base.op, Requantise):
            return False
        source = self.through(base.inputs[0], shown, axis_from_end(base))
        op = source.base.op
        if isinstance(op, (Conv, PatchEmbed)):
            return source.takes_all_rows and source.takes_all_columns
        if isinstance(op, Attention):
            whole_heads = not is_attention(base) or not has_odd_heads(source.base)
            return source.takes_all_columns and whole_heads and (source.base.shape[0] == 1 or source.takes_all_rows)
        return isinstance(op, (Linear, ReduceSum))

    def product(self, shown: Selection) -> Product:
        """Return what gives ``shown``, an int8 or int16 value: a product, or rows past the array."""
        base = shown.base
        if isinstance(base.op, NORMS) and shown.takes_all_columns:
            view, taps = self.rows(base.inputs[0], shown.rows)
            if taps == ONE_ROW:
                return DirectProduct(node=base, source=view, scale=Scale.one(base, len(shown.columns)), layer_norm=base)
        if not isinstance(base.op, Requantise):
            return self.passed(base, shown, Scale.one(base, len(shown.columns)))
        source = self.through(base.inputs[0], shown, axis_from_end(base))
        node, scale = source.base, Scale.of(base, shown.columns, base.op.zero_point)
        if self.is_product(shown):
            return self.on_the_array(node, source, scale)
        if isinstance(
            node.op, (Conv, PatchEmbed, Attention)
        ):  # only a part of it, or in another order: of what is stored whole
            return self.passed(base, shown, Scale.one(base, len(shown.columns)))
        if isinstance(node.op, Mul):
            streamed, _ = self.factors(node)
            return self.passed(streamed, spread(streamed, source), scale, axis_from_end(node))
        return self.passed(node, source, scale)

    def on_the_array(self, node: Node, source: Selection, scale: Scale) -> Product:
        """Return the product of the selected rows and channels of ``node``."""
        if isinstance(node.op, Linear):
            there = source.columns >= 0
            weight, bias = (constant(n)[source.columns] for n in node.inputs[1:])
            weight, bias = weight * there[:, None], bias * there
            return self.linear(node, source.rows, weight, bias, scale)
        if isinstance(node.op, (Conv, PatchEmbed)):
            return self.convolution(node, scale)
        if isinstance(node.op, Attention):
            return self.attention(node, source, scale)
        (tokens,) = node.inputs
        view = self.readable(tokens, Selection(tokens, every_row(tokens), source.columns), listed=False)
        if tokens.elem == INT8 and view.rows <= MOST_POOLED and rows_columns(node)[0] == 1:
            return PoolProduct(node=node, source=view, scale=scale)
        return DirectProduct(node=node, source=view, scale=scale, summed=summed_rows(node, source.rows), selects=False)

    def factors(self, node: Node) -> tuple[Node, Node]:
        """Return the operands of an elementwise product: the one that is streamed, and the one that may repeat."""
        left, right = node.inputs
        swapped = isinstance(left.op, Constant) or left.shape != node.shape
        return (right, left) if swapped else (left, right)

    def factor_of(self, shown: Selection) -> Residual | None:
        """Return the second factor of an elementwise product that ``shown`` requantises, if it is one."""
        if not isinstance(shown.base.op, Requantise):
            return None
        source = self.through(shown.base.inputs[0], shown, axis_from_end(shown.base))
        if not isinstance(source.base.op, Mul):
            return None
        _, other = self.factors(source.base)
        return Residual(self.second(other, source), *IDENTITY, multiplies=True)

    def passed(self, node: Node, selected: Selection, scale: Scale, axis: int | None = None) -> Product:
        """Return the selected rows of ``node``, requantised past the array; channels that are not adjacent in memory are selected
        by a product with ones, exact because 1 * q requantises to q."""
        seen = self.in_memory(self.through(node, selected, axis))
        view = seen.view()
        if view is not None and aligned(view):
            return DirectProduct(node=scale.node, source=view, scale=scale)
        if seen.base is node and is_view(node):
            view = Selection(node, selected.rows, selected.columns).view()
            if view is not None and aligned(view):
                return DirectProduct(node=scale.node, source=view, scale=scale)
        if seen.base.elem != INT8:
            raise unreachable(node, seen)
        count, there = len(seen.columns), seen.columns >= 0
        low = int(seen.columns[there].min()) // WORD_BYTES * WORD_BYTES
        high = int(seen.columns.max()) + 1
        weight = np.zeros((count, high - low), np.int64)
        weight[there, seen.columns[there] - low] = 1
        view = rows_view(seen.base, seen.rows, low, high - low)
        zeros = np.zeros(count, np.int64)
        return RowProduct(node=scale.node, source=view, scale=scale, weight=weight, bias=zeros, selects=True)

    def linear(self, node: Node, rows: Index, weight: Integers, bias: Integers, scale: Scale) -> RowProduct:
        """Return a product of the selected rows of a Linear; ``weight`` (O, K)."""
        x = node.inputs[0]
        seen = self.in_memory(self.through(x, Selection(x, rows, np.arange(x.shape[-1])), LAST))
        base = seen.base
        if isinstance(base.op, NORMS):
            view, taps = self.rows(base.inputs[0], seen.rows)
            weight = spaced(widened(weight, seen.columns, 0, rows_columns(base)[1]), view.columns)
            return RowProduct(node=node, source=view, taps=taps, scale=scale, weight=weight, bias=bias, layer_norm=base)
        parts = runs(x, LAST)
        if seen.base is x and parts is not None and len(parts) > 1 and (side_by_side := taps_of(parts, rows)) is not None:
            first, width = parts[0], len(parts[0].columns)
            view = rows_view(first.base, first.rows[rows], int(first.columns[0]), width)
            weight = spaced(weight, width)
            return RowProduct(node=node, source=view, taps=side_by_side, scale=scale, weight=weight, bias=bias)
        low = int(seen.columns.min()) // WORD_BYTES * WORD_BYTES
        high = int(seen.columns.max()) + 1
        view = rows_view(base, seen.rows, low, high - low)
        weight = widened(weight, seen.columns, low, round_up(high - low, WORD_BYTES) + low)
        return RowProduct(node=node, source=view, scale=scale, weight=weight, bias=bias)

    def rows(self, node: Node, rows: Index) -> tuple[StoredView, Taps]:
        """Return the selected rows of ``node``, whole ones, as a view, or as several that lie side by side."""
        parts = runs(node, LAST)
        if parts is not None and len(parts) > 1 and (taps := taps_of(parts, rows)) is not None:
            columns = parts[0].columns
            return rows_view(parts[0].base, parts[0].rows[rows], int(columns[0]), len(columns)), taps
        return self.readable(node, Selection(node, rows, np.arange(node.shape[-1])), LAST), ONE_ROW

    def convolution(self, node: Node, scale: Scale) -> Product:
        """Return a convolution of a stored map, or of the image that the host writes."""
        x, weight, *biases = node.inputs
        kernel = kernel_of(node)
        bias = constant(biases[0]) if biases else np.zeros(len(kernel), np.int64)
        if isinstance(x.op, Quantise):
            if isinstance(node.op, PatchEmbed):
                return PatchProduct(node=node, source=whole(x), scale=scale, weight=constant(weight), bias=bias)
            return self.windows(node, x, kernel, bias, scale)
        if self.is_input(x):
            return self.windows(node, x, kernel, bias, scale)
        count, channels = rows_columns(x, MAP)
        seen = self.through(x, Selection(x, np.arange(count), np.arange(channels)), MAP)
        view = seen.view()
        geometry = None if view is None or not aligned(view) else geometry_of(node, x, kernel, seen.rows)
        if view is None or geometry is None:  # a copy in the order of its pixels
            if axis_from_end(x) != MAP:
                raise Refused(node, "its operand is not stored pixel by pixel", ON_A_CPU)
            view = Selection(x, every_row(x), every(x)).view()
            geometry = geometry_of(node, x, kernel, every_row(x))
            assert view is not None and geometry is not None
        if (windows := self.window(node, view, kernel, bias, scale, geometry)) is not None:
            return windows
        source = replace(view, row=int(view.row_numbers[0]), rows=1, order=None)
        groups, value = (node.op.groups, node.op.pad_value) if isinstance(node.op, Conv) else (1, 0)
        product = ConvProduct(node=node, source=source, scale=scale, weight=kernel, bias=bias, geometry=geometry, groups=groups)
        if not geometry.padded:
            return product
        return replace(product, padding=self.row_of(value, round_up(view.columns, WORD_BYTES)))

    def window(
        self, node: Node, view: StoredView, kernel: Integers, bias: Integers, scale: Scale, geometry: MapGeometry
    ) -> WindowProduct | None:
        """Return a depthwise convolution by the unit for windows, None where that is not one or the unit cannot do it."""
        op, channels = node.op, len(kernel)
        if not self.has_windows or not isinstance(op, Conv) or op.groups != channels or view.columns != channels:
            return None
        height, width = geometry.size
        raster = np.arange(geometry.images * height * width)
        rows = view.row_numbers
        even = progression(rows)
        if op.dilations != (1, 1) or even is None or len(raster) != len(rows):
            return None
        windows = Windows(
            height=height,
            width=width,
            channels=channels,
            kernel=geometry.kernel,
            strides=geometry.strides,
            padding=geometry.pads,
            output=geometry.result,
            pad_value=op.pad_value,
        )
        if not windows.fits:
            return None
        weight = kernel[:, 0].transpose(1, 2, 0)
        return WindowProduct(
            node=node, source=view, scale=scale, windows=windows, weight=weight, bias=bias, images=geometry.images
        )

    def windows(self, node: Node, x: Node, kernel: Integers, bias: Integers, scale: Scale) -> RowProduct:
        """Return a convolution of an image whose windows the host writes side by side."""
        root, made, rows = host_windows(node, x, kernel)
        self.fused.windows[root] = made
        return RowProduct(node=node, source=whole(root), scale=scale, weight=rows, bias=bias)

    def row_of(self, value: int, columns: int) -> Node:
        """Return a row of one value, which is copied on chip so that pixels outside of a map come as fast as those inside."""
        if (value, columns) not in self.rows_of_one:
            row = make_constant(np.full((1, columns), value, np.int8), origin=(f"padding of {value}",))
            self.rows_of_one[value, columns] = replace(row, op=Padding(), inputs=(row,))
        return self.rows_of_one[value, columns]

    def attention(self, node: Node, shown: Selection, scale: Scale) -> AttentionProduct:
        """Return the heads side by side, for the queries of the selected rows."""
        windows, op = node.shape[0], node.op
        assert isinstance(op, Attention)
        q, k, v = (self.with_padded_heads(operand, op.heads) for operand in node.inputs[:3])
        query = self.readable(q, Selection(q, shown.rows, np.arange(q.shape[-1])), LAST)
        key, value = (
            self.readable(n, Selection(n, np.arange(n.shape[0] * n.shape[1]), np.arange(n.shape[-1])), LAST, listed=False)
            for n in (k, v)
        )
        product = AttentionProduct(
            node=node, source=query, scale=scale, key=key, value=value, windows=windows, kind_of=(0,) * windows
        )
        if len(node.inputs) < 4:
            return product
        lowest = lowest_bias(node)
        if lowest is None:
            raise Refused(node, "scores with its bias take more bits than the engine's", ON_A_CPU)
        if node.inputs[3] in self.host:
            return replace(product, mask=node.inputs[3])
        bias, kinds = biases_of(node, shown.rows if windows == 1 else every_row(node), lowest)
        return replace(product, bias=bias, kind_of=kinds)

    # ---- operands

    def is_input(self, node: Node) -> bool:
        """Return whether a node is an input that was moved, which the host may write as it is read."""
        return is_view(node) and (isinstance(located(node)[0].op, Quantise) or located(node)[0] in self.host)

    def through(self, node: Node, selected: Selection, axis: int | None = None) -> Selection:
        """See ``through``; inputs that are not read as they come are written by the host in another order."""
        seen = selection(node, axis)
        if not self.is_input(node):
            if seen is None:
                assert axis is not None
                if (node, axis) not in self.written:
                    self.written[node, axis] = make(Turned(axis), node, origin=node.origin)
                return Selection(self.written[node, axis], selected.rows, selected.columns)
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
        raise unreachable(node, seen)


def selected_of(node: Node, axis: int | None = None) -> Selection:
    """Return what ``node`` selects of the value that it moves, its channels along its own axis or another one."""
    seen = selection(node, axis)
    if seen is None:
        because = f"its channels are those of axis {channel_axis(node)} of {node.type}, and another axis is read as channels"
        raise Refused(node, because, f"values remain in memory as they were written; {ON_A_CPU}")
    return seen


def through(node: Node, selected: Selection, axis: int | None = None) -> Selection:
    """Return the rows and channels ``selected`` of ``node``, in terms of the value that ``node`` moves. ``axis``: of the channels
    of ``node`` as they were selected, from the end."""
    seen = selected_of(node, axis)
    columns = np.where(selected.columns < 0, -1, seen.columns[selected.columns])
    return Selection(seen.base, seen.rows[selected.rows], columns)


def is_attention(node: Node) -> bool:
    """Return whether ``node`` is a requantised attention."""
    return isinstance(node.op, Requantise) and isinstance(node.inputs[0].op, Attention)


def has_odd_heads(node: Node) -> bool:
    """Return whether the values of an attention's heads are not whole words."""
    assert isinstance(node.op, Attention)
    return node.shape[-1] // node.op.heads % WORD_BYTES != 0


def head_columns(node: Node, op: HeadPadding) -> Index:
    """Return the channel of ``node`` that each channel with padded heads is; -1 for zeros."""
    width = node.shape[-1] // op.heads
    head, within = np.divmod(np.arange(op.heads * op.width), op.width)
    return np.where(within < width, head * width + within, -1)


def spread(node: Node, shown: Selection) -> Selection:
    """Return the rows and channels ``shown`` of a sum as those of its operand ``node``, which may broadcast along rows."""
    rows = broadcast_rows(node, shown.base)
    if rows is None:
        raise Refused(shown.base, f"it repeats the channels of {node.type}", "only tokens can be repeated; expand the value")
    return Selection(node, rows[shown.rows], shown.columns)


def summed_rows(node: Node, rows: Index) -> SummedRows:
    """Return which rows of its operand each of the selected rows of a ReduceSum adds up."""
    (source,), op = node.inputs, node.op
    assert isinstance(op, ReduceSum)
    channels, rank = channel_axis(source), source.type.rank
    reduced = {axis % rank for axis in op.axes}
    axes = [axis for axis in range(rank) if axis != channels]
    numbers = np.arange(rows_columns(source)[0]).reshape([source.shape[axis] for axis in axes])
    order = [n for n, axis in enumerate(axes) if axis not in reduced] + [n for n, axis in enumerate(axes) if axis in reduced]
    groups = numbers.transpose(order).reshape(rows_columns(node)[0], -1)[rows]
    begins, within = progression(groups[:, 0]), progression(groups[0])
    if begins is None or within is None or not np.array_equal(groups, groups[:, :1] + groups[:1] - groups[0, 0]):
        raise Refused(node, f"it sums {source.type} over axes {op.axes}, whose rows are not evenly spaced", ON_A_CPU)
    return SummedRows(begins[0], begins[1], groups.shape[1], within[1])


def scale_of(node: Node, count: int, multiplier: int, shift: int) -> Scale:
    """Return one factor for all of ``count`` channels; the engine's multipliers have 16 bits."""
    while multiplier >= 1 << 16:
        multiplier, shift = multiplier // 2, shift - 1
    return Scale(node, np.full(count, multiplier, np.int64), np.full(count, shift, np.int64))


def taps_of(parts: tuple[Selection, ...], rows: Index) -> Taps | None:
    """Return runs of channels as rows that lie at equal distances from each token's first, None if they do not."""
    first = parts[0]
    columns = first.columns
    adjacent = len(columns) == 1 or progression(columns) == (columns[0], 1)
    view = StoredView(first.base, 0, int(columns[0]), 1, len(columns))
    if not adjacent or not aligned(view) or not ends_row(view):
        return None
    if any(part.base is not first.base or not np.array_equal(part.columns, columns) for part in parts):
        return None
    apart = [part.rows[rows] - first.rows[rows] for part in parts]
    if any((away != away[0]).any() or away[0] < 0 for away in apart):
        return None
    offsets = np.array([away[0] for away in apart])
    for lines in range(1, len(parts) + 1):
        if len(parts) % lines == 0:
            step = int(offsets[lines]) if lines < len(parts) else 0
            taps = Taps(len(parts) // lines, lines, step, int(offsets[1]) if lines > 1 else 0)
            if np.array_equal(taps.offsets, offsets):
                return taps
    return None


def spaced(weight: Integers, width: int) -> Integers:
    """Pad each run of ``width`` columns of a weight to whole words."""
    runs_ = weight.reshape(len(weight), -1, width)
    full = np.zeros((*runs_.shape[:2], round_up(width, WORD_BYTES)), np.int64)
    full[:, :, :width] = runs_
    return full.reshape(len(weight), -1)


def places_of(node: Node, axis: int, first: int, count: int) -> list[tuple[Place, Index]]:
    """Return the places of the part of a Concat that takes ``count`` from ``first`` on along ``axis``, each with the rows of the
    part that go there."""
    if axis == channel_axis(node):
        if first % WORD_BYTES:
            raise misplaced(node, first)
        return [(Place(node, first_column=first), every_row(node))]
    shape = tuple(n for at, n in enumerate(node.shape) if at != channel_axis(node))
    at = axis - (axis > channel_axis(node))
    rows = np.arange(rows_columns(node)[0]).reshape(shape)[(slice(None),) * at + (slice(first, first + count),)]
    taken = progression(rows.reshape(-1))
    if taken is not None:
        return [(Place(node, *taken), np.arange(rows.size))]
    groups = rows.reshape(int(np.prod(shape[:at])), -1)
    if len(groups) > MOST_PARTS:
        because = f"it joins along axis {axis} after {len(groups)} others, so that its parts alternate in memory"
        raise Refused(node, because, "join along the first axis that is longer than 1")
    size = groups.shape[1]
    return [(Place(node, int(group[0])), np.arange(n * size, (n + 1) * size)) for n, group in enumerate(groups)]


def misplaced(node: Node, first: int) -> Refused:
    """Return why a part of a joined value cannot be stored in place."""
    because = f"a part starts at channel {first}, and values are written {WORD_BYTES} channels at a time"
    return Refused(node, because, f"join at multiples of {WORD_BYTES} channels, or along tokens")


def every(node: Node) -> Index:
    """Return all columns of a value."""
    return np.arange(rows_columns(node)[1])


def every_row(node: Node) -> Index:
    """Return all rows of a value."""
    return np.arange(rows_columns(node)[0])


def whole_of(node: Node) -> Selection:
    """Select all of ``node`` itself."""
    return Selection(node, every_row(node), every(node))


def rows_view(root: Node, rows: Index, column: int, columns: int) -> StoredView:
    """Return some rows of a stored value, of adjacent channels."""
    even = progression(rows)
    if even is None:
        return StoredView(root, 0, column, len(rows), columns, order=tuple(rows.tolist()))
    return StoredView(root, even[0], column, len(rows), columns, even[1])


def widened(weight: Integers, columns: Index, low: int, high: int) -> Integers:
    """Spread weights of some columns over all columns from ``low`` to ``high``."""
    full = np.zeros((len(weight), high - low), np.int64)
    full[:, columns - low] = weight
    return full


def ends_row(view: StoredView) -> bool:
    """Return whether the words of a view hold no other channels: it consists of whole words, or ends where its rows end."""
    return view.columns % WORD_BYTES == 0 or view.column + view.columns == rows_columns(view.root)[1]


def aligned(view: StoredView) -> bool:
    """Return whether the engine can read a view: 16-byte words, adjacent channels, no tile beyond its row."""
    assert not view.root.type.is_float
    element_bytes = view.root.elem.bits // 8
    padded = round_up(rows_columns(view.root)[1], WORD_BYTES)
    end = view.column + round_up(view.columns, WORD_BYTES)
    return view.column_step == 1 and view.column * element_bytes % WORD_BYTES == 0 and end <= padded


def unreachable(node: Node, seen: Selection) -> Refused:
    """Return why addresses cannot express a part of a value, and no product may select it."""
    because = (
        f"it reads channels from {int(seen.columns[0])} on of a 16-bit value that is not a product, and memory is read "
        f"in words of {WORD_BYTES} bytes"
    )
    return Refused(node, because, f"slice at multiples of {WORD_BYTES} channels, without a step; or {ON_A_CPU}")


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
