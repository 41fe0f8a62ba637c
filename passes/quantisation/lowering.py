"""Lowering of float values to integer nodes: each value in the forms that its readers need, int8 or int16."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir import INT8, INT16, Array, Graph, Int, Node, Quant, make
from edgewright.passes.ops import constant, value_of
from edgewright.passes.ops.arith import boundary, limit, multiplier_shift, multipliers_shifts
from edgewright.passes.ops.groups import ACCUMULATING, NORMS, WEIGHTED
from edgewright.passes.ops.scaling import IDENTITY
from edgewright.passes.quantisation.calibrate import Calibration, positive
from edgewright.passes.quantisation.demands import Demands
from edgewright.passes.quantisation.lowering_channels import per_channel
from edgewright.passes.quantisation.lowering_experts import experts
from edgewright.passes.quantisation.lowering_hashing import codes
from edgewright.passes.quantisation.lowering_norms import normalised
from edgewright.passes.quantisation.lowering_products import accumulate, number, ratio_out_of_range, scale_of
from edgewright.passes.quantisation.lowering_quotients import divided
from edgewright.passes.quantisation.lowering_structure import (
    ACTIVATIONS,
    CLIPPING,
    SUMS,
    VIEWS,
    carried,
    channel_axis,
    hosted,
    is_part,
    is_quotient,
    is_wide,
    only_moved,
    root,
    scaled_wide,
    split_in_parts,
    wide_values,
)

HEADROOM = 2.0  # int16 ranges beyond what the samples showed: one bit of sixteen against saturation
PROBABILITY = 2.0**-15  # the unit of a Softmax
LOWEST = -127


class IntegerLowering:
    """Memoised lowering of one graph. `int8(node)` and `int16(node)` give integer nodes whose type carries Quant.

    The forms that a node needs depend on its readers, so lowering goes from the outputs to the inputs.
    """

    def __init__(self, graph: Graph, calibration: Calibration, weight_clip: str) -> None:
        self.graph = graph
        self.calibration = calibration
        self.weight_clip = weight_clip
        self.users = graph.users()
        self.events: Counter[str] = Counter()
        self.inputs: dict[Node, Node] = {}
        self._narrow: dict[tuple[Node, Quant | None], Node] = {}
        self._wide: dict[tuple[Node, float | None], Node] = {}
        self._accumulators: dict[Node, tuple[Node, Array]] = {}
        self._probabilities: dict[Node, Node] = {}
        self._order_of_products: set[Node] = set()  # moves of products that take the scale of the sum that reads them
        self._saturations: dict[tuple[Node, Node, Quant], Node] = {}
        self._ranges: dict[Node, Quant] = {}
        self._demands = Demands()
        self.hosted = hosted(graph)
        self._group, self._read_wide = wide_values(graph)

    # ---- forms

    def output(self, node: Node) -> Node:
        """Return a graph output: int16 where the value is a sum or a product, else int8."""
        wide = isinstance(root(node).op, (*ACCUMULATING, *SUMS, ops.Softmax))
        return self._demands.meet(lambda: self.int16(node) if wide else self.int8(node))

    def int8(self, node: Node, quant: Quant | None = None) -> Node:
        """Return the value in [-127, 127], under `quant` or the one its calibration gives."""
        return self._demands.once(self._narrow, (node, quant), lambda: self._int8(node, quant))

    def int16(self, node: Node, scale: float | None = None) -> Node:
        """Return the value in [-32767, 32767], symmetric; under `scale`, or the one its group of joined values has."""
        if scale is not None and isinstance(node.op, (*SUMS, *VIEWS)) and scale == self.scale16(node):
            scale = None  # its own
        return self._demands.once(self._wide, (node, scale), lambda: self._int16(node, scale))

    def scale16(self, node: Node) -> float:
        """Return the int16 scale of a value: with headroom over everything that shares it."""
        magnitude = 0.0
        for member in self._group.get(node, (node,)):
            around = (member, *member.inputs) if isinstance(member.op, (*SUMS, ops.Concat)) else (member,)
            magnitude = max([magnitude, *(self._magnitude(n) for n in around)])
        return positive(HEADROOM * magnitude / limit(INT16))

    def _magnitude(self, node: Node) -> float:
        table = _looked_up(node)
        value = value_of(node if table is None else table)
        return float(np.abs(value).max()) if value is not None else self.calibration[node].magnitude

    # ---- int8

    def _int8(self, node: Node, quant: Quant | None) -> Node:
        op = node.op
        if node in self.hosted:
            return self._on_host(node, quant or self._affine(node), INT8)
        if is_part(node):
            return self._part(node, quant)
        if isinstance(op, ops.HashCodes):
            return codes(self, node, op, quant)
        if quant is None and isinstance(op, (ops.Linear, ops.Conv)) and split_in_parts(self.users[node]):
            return self._parts(node)
        quant = quant or self._affine(node)
        if isinstance(op, VIEWS) and not (isinstance(op, ops.Slice) and is_wide(node)):
            return self._view(node, {i: self.int8(node.inputs[i], quant) for i in carried(node)}, quant)
        if isinstance(op, ops.Constant):
            return _integer_constant(node, quant, INT8)
        if isinstance(op, ops.Input):
            return self._on_host(node, quant, INT8)
        if isinstance(op, (ops.LayerNormalization, ops.RMSNormalization)) and node not in self._read_wide:
            return normalised(self, node, op, quant, INT8)
        if isinstance(op, ops.Relu) and (quant.zero_point == LOWEST or (quant.zero_point == 0 and not _has_table(node))):
            return self._rectified(node, quant)
        if isinstance(op, ops.Clip) and (self._bounds(op, quant, INT8) == ops.Clip() or not _has_table(node)):
            return self._clipped(node, op, quant)
        if isinstance(op, ACTIVATIONS):
            return self._table(node, quant)
        if isinstance(op, ACCUMULATING):
            acc, scale = self.accumulators(node)
            return self.requantised(node, acc, scale, quant, INT8)
        return self._brought(node, self.int16(node), quant, INT8)

    def _view(self, node: Node, values: dict[int, Node], quant: Quant) -> Node:
        """Return the same move of integers; what says where (ids, conditions) stays as it is."""
        operands = (values.get(i, operand) for i, operand in enumerate(node.inputs))
        return make(node.op, *operands, origin=node.origin, quant=quant)

    def _rectified(self, node: Node, quant: Quant) -> Node:
        """Return a Relu merged into the step before it: integers saturate at the zero point where that is the lowest, and are
        clipped at 0 where it is 0. Either is exactly a Relu of what was not yet rounded."""
        source = self._source(node, node.inputs[0], quant)
        self.events["merged Relu"] += 1
        return source if quant.zero_point == LOWEST else make(ops.Relu(), source, origin=node.origin, quant=quant)

    def _clipped(self, node: Node, op: ops.Clip, quant: Quant) -> Node:
        """Return a Clip merged into the step before it, as a Relu is: rounding is monotonic, so clipping what is rounded to the
        rounded bounds is rounding what is clipped. Bounds where integers saturate need no step."""
        source, bounds = self._source(node, node.inputs[0], quant), self._bounds(op, quant, INT8)
        self.events["merged Clip"] += 1
        return source if bounds == ops.Clip() else make(bounds, source, origin=node.origin, quant=quant)

    @staticmethod
    def _bounds(op: ops.Clip, quant: Quant, elem: Int) -> ops.Clip:
        """Return the bounds in integers under `quant`; infinite where integers saturate before."""
        reach = limit(elem)
        low, high = (max(-reach, min(reach, b / number(quant.scale) + quant.zero_point)) for b in (op.low, op.high))
        low, high = (float(math.floor(b + 0.5)) for b in (low, high))
        if high < low:  # then everything is high
            return ops.Clip(high, high)
        return ops.Clip(low if low > -reach else -math.inf, high if high < reach else math.inf)

    def _source(self, node: Node, x: Node, quant: Quant) -> Node:
        return self._demands.once(self._saturations, (node, x, quant), lambda: self._saturated(node, x, quant))

    def _saturated(self, node: Node, x: Node, quant: Quant) -> Node:
        """Return x in int8 under the range and the name of `node`, its Relu or Clip."""
        if isinstance(x.op, VIEWS) and not is_wide(x) and not is_part(x):
            values = {i: self._source(node, x.inputs[i], quant) for i in carried(x)}
            return replace(self._view(x, values, quant), origin=node.origin)
        if isinstance(x.op, ACCUMULATING):
            acc, scale = self.accumulators(x)
            return self.requantised(node, acc, scale, quant, INT8)
        if is_wide(x) or (isinstance(x.op, NORMS) and x in self._read_wide):
            return self._brought(node, self.int16(x), quant, INT8)
        return self.int8(x, quant)

    def _affine(self, node: Node) -> Quant:
        """Return the int8 quantisation of a value: a zero point only where every reader is a product or a table."""
        if node not in self._ranges:
            by_tensor = self._one_scale(node, symmetric=not self._only_affine_readers(node))
            self._ranges[node] = per_channel(self, node, by_tensor)
        return self._ranges[node]

    def _one_scale(self, node: Node, symmetric: bool) -> Quant:
        through = None
        readers = self.users[node]
        if readers and all(reader.op == readers[0].op for reader in readers):
            first = readers[0].op
            if isinstance(first, ACTIVATIONS):
                through = first.eval
        source = node
        while isinstance(source.op, (ops.Reshape, ops.Transpose)):  # all values the same: share the source's ranges
            source = source.inputs[0]
        return self.calibration.affine(_looked_up(source) or source, symmetric, through)

    def narrow_readers(self, node: Node) -> list[Node]:
        """Return the readers of the int8 form. Sums and norms read 16 bits, which come from int8 only after a table."""
        if _widened(node):
            return self.users[node]
        return [
            user
            for user in self.users[node]
            if not (isinstance(user.op, (*SUMS, *NORMS, ops.Softmax)) or is_quotient(user) or scaled_wide(user) is node)
            and not (isinstance(user.op, ops.MoE) and user.inputs[0] is not node)
        ]

    def is_read_wide(self, node: Node) -> bool:
        """Return whether any reader takes the value at 16 bits."""
        return node in self._read_wide

    def _only_affine_readers(self, node: Node) -> bool:
        """Return whether only products and tables read the int8 form, moves between apart."""
        reached, waiting = {node}, [node]
        while waiting:
            moved = waiting.pop()
            if moved in self.graph.outputs or (self.is_read_wide(moved) and _widened(moved)):
                return False
            for user in self.narrow_readers(moved):
                if isinstance(user.op, VIEWS):
                    if user not in reached:
                        reached.add(user)
                        waiting.append(user)
                elif not isinstance(user.op, (*WEIGHTED, *ACTIVATIONS, ops.MoE)):
                    return False
        return True

    def _part(self, node: Node, quant: Quant | None) -> Node:
        """Return channels of a product: a view of the one tensor where it is read in parts only, else its own rescaling."""
        whole = node.inputs[0]
        if quant is None and split_in_parts(self.users[whole]):
            product = self.int8(whole)
            assert product.quant is not None and isinstance(product.quant.scale, tuple)
            assert isinstance(node.op, ops.Slice)
            return make(node.op, product, origin=node.origin, quant=Quant(product.quant.scale[node.op.start], 0))
        return make(node.op, self.int8(whole, quant), origin=node.origin, quant=quant or self.int8(whole).quant)

    def _parts(self, node: Node) -> Node:
        """Return a product read in slices of channels (Q, K, V): one tensor, one symmetric scale per slice."""
        acc, scale = self.accumulators(node)
        axis = channel_axis(node)
        target = np.ones(node.shape[axis])
        for user in self.users[node]:
            assert isinstance(user.op, ops.Slice)
            target[user.op.start : user.op.stop] = number(self._one_scale(user, symmetric=True).scale)
        self.events["scales per slice"] += 1
        return self.requantised(node, acc, scale, Quant(tuple(target.tolist()), axis=axis), INT8)

    def _table(self, node: Node, quant: Quant) -> Node:
        x = self.int8(node.inputs[0])
        assert x.quant is not None and isinstance(x.quant.scale, float)
        real = np.nan_to_num(node.op.eval(x.quant.real(np.arange(-128, 128))))  # beyond a function's domain: anything
        entries = boundary(real, number(quant.scale), quant.zero_point, INT8).astype(np.int8)
        self.events["tables"] += 1
        return make(ops.Table(), x, constant(entries), origin=node.origin, quant=quant)

    # ---- int16

    def _int16(self, node: Node, scale: float | None) -> Node:
        op = node.op
        if isinstance(op, SUMS):
            return self._residual(node) if scale is None else self.rescaled(node, self.int16(node), scale)
        if isinstance(op, ops.Softmax):
            probabilities = self._softmax(node, op)
            return probabilities if scale is None else self.rescaled(node, probabilities, scale)
        target = self.scale16(node) if scale is None else scale
        quant = Quant(target)
        if node in self.hosted:
            return self._on_host(node, quant, INT16)
        if isinstance(op, VIEWS):
            if scale is not None and node not in self._order_of_products:
                return self.rescaled(node, self.int16(node), scale)
            return self._view(node, {i: self.int16(node.inputs[i], target) for i in carried(node)}, quant)
        if isinstance(op, ops.Constant):
            return _integer_constant(node, quant, INT16)
        if isinstance(op, ops.Input):
            return self._on_host(node, quant, INT16)
        if isinstance(op, (ops.LayerNormalization, ops.RMSNormalization)):
            return normalised(self, node, op, quant, INT16)
        if isinstance(op, ops.Relu):
            return make(ops.Relu(), self.int16(node.inputs[0], target), origin=node.origin, quant=quant)
        if isinstance(op, ops.Clip):
            bounds = self._bounds(op, quant, INT16)
            return make(bounds, self.int16(node.inputs[0], target), origin=node.origin, quant=quant)
        if isinstance(op, ACCUMULATING):
            acc, real = self.accumulators(node)
            return self.requantised(node, acc, real, quant, INT16)
        return self._brought(node, self.int8(node), quant, INT16)

    def rescaled(self, node: Node, wide: Node, scale: float) -> Node:
        return wide if scale == scale_of(wide) else self._brought(node, wide, Quant(scale), INT16)

    def _softmax(self, node: Node, op: ops.Softmax) -> Node:
        if node not in self._probabilities:
            x = self.int16(node.inputs[0])
            multiplier, shift = self._ratio(node, x, scale_of(x) * math.log2(math.e) * 256, 1.0)
            integer = replace(op, multiplier=multiplier, shift=shift)
            self._probabilities[node] = make(integer, x, origin=node.origin, quant=Quant(PROBABILITY))
        return self._probabilities[node]

    def _residual(self, node: Node) -> Node:
        """Return the sum at the group's scale. Products arrive at that scale already; what lives at its own is rescaled."""
        target = self.scale16(node)
        operands, pairs = [], []
        subtract = isinstance(node.op, ops.Sub)
        for x in node.inputs:
            value = value_of(x)
            if value is not None:
                negative = isinstance(node.op, ops.Sub) and x is node.inputs[1]
                subtract = subtract and not negative
                value = -value if negative else value
                value = np.broadcast_to(value, node.shape) if node.type.rank <= 3 else value
                operand = _integer_constant(constant(value, x.origin), Quant(target), INT16)
            else:
                lives_elsewhere = isinstance(x.op, (*SUMS, *NORMS, ops.Input, ops.Softmax, *VIEWS))
                if moves := only_moved(x, self.users):  # a product in another order takes the sum's scale as others do
                    self._order_of_products |= moves
                    lives_elsewhere = False
                operand = self.int16(x) if lives_elsewhere else self.int16(x, target)
            operands.append(operand)
            pairs.append(self._ratio(node, operand, scale_of(operand), target))
        op = ops.AddRequantised(*pairs[0], *pairs[1], subtract)
        return make(op, *operands, origin=node.origin, quant=Quant(target))

    def _ratio(self, node: Node, source: Node, scale: float, target: float) -> tuple[int, int]:
        if scale == target:
            return IDENTITY
        try:
            return multiplier_shift(scale / target)
        except ValueError as error:
            raise ratio_out_of_range(node, source, scale, target, INT16) from error

    # ---- accumulators

    def accumulators(self, node: Node) -> tuple[Node, Array]:
        """Return the int32 accumulators of a product, and the real value of their LSB: per channel or (1,)."""

        def compute() -> tuple[Node, Array]:
            if isinstance(node.op, ops.MoE):
                return experts(self, node, node.op)
            return divided(self, node) if is_quotient(node) else accumulate(self, node)

        return self._demands.once(self._accumulators, node, compute)

    def requantised(self, node: Node, acc: Node, real: Array, quant: Quant, elem: Int) -> Node:
        """Return accumulators, or integers of another scale with zero point 0, brought to `quant`."""
        assert acc.quant is None or acc.quant.zero_point == 0, f"{acc.name} has a zero point"
        ratio = real / quant.scales
        ratio = ratio if node.type.rank else ratio.reshape(())
        try:
            multiplier, shift = (x.reshape(ratio.shape) for x in multipliers_shifts(ratio))
        except ValueError as error:
            worst = int(np.argmax(ratio))
            units, targets = (np.broadcast_to(x, ratio.shape).reshape(-1) for x in (real, quant.scales))
            raise ratio_out_of_range(node, acc, float(units[worst]), float(targets[worst]), elem) from error
        op = ops.Requantise(quant.zero_point, elem)
        return make(op, acc, constant(multiplier), constant(shift), origin=node.origin, quant=quant)

    def _brought(self, node: Node, source: Node, quant: Quant, elem: Int) -> Node:
        """Return integers of one scale brought to `quant`."""
        return self.requantised(node, source, np.array([scale_of(source)]), quant, elem)

    def _on_host(self, node: Node, quant: Quant, elem: Int) -> Node:
        """Return the integers of a float value, made where it enters the graph."""
        if isinstance(node.op, ops.Input):
            self.inputs.setdefault(node, node)
        op = ops.Quantise(number(quant.scale), quant.zero_point, elem)
        return make(op, node, origin=node.origin)


def _looked_up(node: Node) -> Node | None:
    """Return the constant table of an embedding: every row counts, whether a sample has it or not."""
    if isinstance(node.op, ops.Gather) and isinstance(node.inputs[0].op, ops.Constant):
        return node.inputs[0]
    return None


def _widened(node: Node) -> bool:
    """Return whether the int16 form of a value is its int8 form at another scale, which therefore has no zero point."""
    return isinstance(node.op, ACTIVATIONS) and not isinstance(node.op, CLIPPING)


def _has_table(node: Node) -> bool:
    """Return whether the engine computes this Relu or Clip by a table, as it does after products that cannot contain it."""
    return isinstance(node.inputs[0].op, (ops.Linear, ops.PatchEmbed))


def _integer_constant(node: Node, quant: Quant, elem: Int) -> Node:
    assert isinstance(node.op, ops.Constant)
    values = boundary(node.op.value, number(quant.scale), quant.zero_point, elem)
    dtype = np.int8 if elem.bits == 8 else np.int16
    return constant(values.astype(dtype), node.origin, quant)
