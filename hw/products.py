"""Products: what the array multiplies, and what goes past it, between two stored values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from edgewright.hw.host_windows import host_windows
from edgewright.hw.legal import ON_A_CPU
from edgewright.hw.maxima import pooled
from edgewright.hw.memory import WORD_BYTES, round_up
from edgewright.hw.operand_views import OperandViews
from edgewright.hw.operations.attention import AttentionProduct
from edgewright.hw.operations.biases import biases_of, lowest_bias
from edgewright.hw.operations.convolution import ConvProduct, MapGeometry, geometry_of, kernel_of
from edgewright.hw.operations.direct import DirectProduct
from edgewright.hw.operations.operation import Residual
from edgewright.hw.operations.patches import PatchProduct
from edgewright.hw.operations.pooling import PoolProduct
from edgewright.hw.operations.product import IDENTITY, ONE_ROW, Integers, Product, Scale, Taps, constant, whole
from edgewright.hw.operations.rows import RowProduct
from edgewright.hw.operations.window import WindowProduct, Windows
from edgewright.hw.selecting import (
    LAST,
    MAP,
    MOST_POOLED,
    NORMS,
    Refused,
    aligned,
    every,
    every_row,
    has_odd_heads,
    is_attention,
    rows_view,
    spaced,
    spread,
    summed_rows,
    taps_of,
    unreachable,
    widened,
)
from edgewright.hw.views import (
    Index,
    Selection,
    StoredView,
    axis_from_end,
    is_view,
    matrix,
    progression,
    rows_columns,
    runs,
)
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import INT8
from edgewright.passes.ops import (
    Attention,
    Constant,
    Conv,
    Linear,
    Max,
    Mul,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Requantise,
)
from edgewright.passes.ops import constant as make_constant


class Products(OperandViews):
    """Finds the product whose result is a selection of a value."""

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
        if isinstance(base.op, Max) and shown.takes_all_rows and shown.takes_all_columns:
            return self.maximum(base)
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
            if (source.columns < 0).any():  # of what is stored whole, with its heads apart
                return self.passed(base, shown, Scale.one(base, len(shown.columns)))
            product = self.passed(streamed, spread(streamed, source), scale, axis_from_end(node))
            if not isinstance(product, DirectProduct):  # channels that are not adjacent: of a copy in which they are
                copy = self.turned(streamed, axis_from_end(node))
                product = self.passed(copy, spread(streamed, source), scale)
            if not isinstance(product, DirectProduct):  # some of those: of what is stored whole
                return self.passed(base, shown, Scale.one(base, len(shown.columns)))
            return replace(product, factors=node)
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

    def factor_of(self, product: DirectProduct, shown: Selection) -> Residual | None:
        """Return the second factor of the elementwise product that rows past the array are a factor of, if they are one."""
        if product.factors is None:
            return None
        source = self.through(shown.base.inputs[0], shown, axis_from_end(shown.base))
        _, other = self.factors(product.factors)
        return Residual(self.second(other, source), *IDENTITY, multiplies=True)

    def passed(self, node: Node, selected: Selection, scale: Scale, axis: int | None = None) -> Product:
        """Return the selected rows of ``node``, requantised past the array; channels that are not adjacent in memory are
        selected by a product with ones, exact because 1 * q requantises to q."""
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
        groups = node.op.groups if isinstance(node.op, Conv) else 1
        if self.is_input(x) and groups == 1 and x.shape[0] == 1:
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

    def maximum(self, node: Node) -> WindowProduct:
        """Return the maximum over windows of a map."""
        found = pooled(node)
        if found is None:
            raise Refused(node, "it compares values that are not pixels of windows of one map, as max pooling does", ON_A_CPU)
        if node.elem != INT8:
            because = (
                f"it pools a map of {node.elem.bits} bits, as a sum further on needs it, and the unit for windows reads int8"
            )
            raise Refused(node, because, f"pool before a convolution rather than before a residual sum; or {ON_A_CPU}")
        base, windows = found
        view = self.readable(base, Selection(base, every_row(base), every(base)), axis_from_end(base), listed=False)
        scale, zeros = Scale.one(node, windows.channels), np.zeros(windows.channels, np.int64)
        return WindowProduct(node=node, source=view, scale=scale, windows=windows, weight=None, bias=zeros)

    def windows(self, node: Node, x: Node, kernel: Integers, bias: Integers, scale: Scale) -> RowProduct:
        """Return a convolution of an image whose windows the host writes side by side."""
        root, made, rows = host_windows(node, x, kernel)
        self.fused.windows[root] = made
        return RowProduct(node=node, source=whole(root), scale=scale, weight=rows, bias=bias)

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
