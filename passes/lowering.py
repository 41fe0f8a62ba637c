"""From values of a float graph to integer nodes: each value in the forms its readers need, int8 or int16."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
from edgewright.passes.calibrate import Calibration, positive
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import INT8, INT16, Array, Int, Quant
from edgewright.passes.ops import (
    Add,
    AddRequantised,
    Attention,
    Concat,
    Constant,
    Erf,
    Gelu,
    HardSwish,
    Input,
    LayerNormalization,
    Linear,
    PatchEmbed,
    Quantise,
    ReduceMean,
    ReduceSum,
    Relu,
    Requantise,
    Reshape,
    Sigmoid,
    Silu,
    Slice,
    Table,
    Tanh,
    Transpose,
    constant,
    value_of,
)
from edgewright.passes.ops.add_requantised import IDENTITY
from edgewright.passes.ops.arith import (
    ATTENTION_FRACTION,
    LAYER_NORM_FRACTION,
    LAYER_NORM_SHIFT_MAX,
    boundary,
    eps_term,
    limit,
    multiplier_shift,
    multipliers_shifts,
)
from edgewright.passes.quantise_weights import integer_product

ACTIVATIONS: tuple[type[Op], ...] = (Gelu, Relu, Sigmoid, Silu, HardSwish, Tanh, Erf)
VIEWS: tuple[type[Op], ...] = (Slice, Reshape, Transpose, Concat)
ACCUMULATING: tuple[type[Op], ...] = (Linear, PatchEmbed, Attention, ReduceMean)
HEADROOM = 2.0  # int16 ranges beyond what the samples showed: one bit of sixteen against saturation


class OutOfRange(Exception):
    """A scale ratio or an offset that the integer arithmetic cannot hold."""

    def __init__(self, node: Node, what: str) -> None:
        super().__init__(what)
        self.diagnostic = Diagnostic(
            "Q007",
            f"{node.op.kind} needs {what}",
            node.name,
            "multipliers have 16 bits and shifts at most 47",
            "check the calibration samples; a value that is nearly always zero gives such scales",
        )


class Lowering:
    """Memoised lowering of one graph. `int8(node)` and `int16(node)` give integer nodes whose type carries Quant."""

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
        self._group = _wide_groups(graph)

    # ---- forms

    def output(self, node: Node) -> Node:
        """A graph output: int16 where the value is a sum or a product, else int8."""
        source = node
        while isinstance(source.op, VIEWS):
            source = next((n for n in source.inputs if not isinstance(n.op, Constant)), source.inputs[0])
        return self.int16(node) if isinstance(source.op, (*ACCUMULATING, Add)) else self.int8(node)

    def int8(self, node: Node, quant: Quant | None = None) -> Node:
        """The value in [-127, 127], under `quant` or the one its calibration gives."""
        key = (node, quant)
        if key not in self._narrow:
            self._narrow[key] = self._int8(node, quant)
        return self._narrow[key]

    def int16(self, node: Node, scale: float | None = None) -> Node:
        """The value in [-32767, 32767], symmetric; under `scale`, or the one its group of joined values has."""
        if scale is not None and isinstance(node.op, (Add, *VIEWS)) and scale == self.scale16(node):
            scale = None  # its own
        key = (node, scale)
        if key not in self._wide:
            self._wide[key] = self._int16(node, scale)
        return self._wide[key]

    def scale16(self, node: Node) -> float:
        """The int16 scale of a value: with headroom over everything that shares it."""
        magnitude = 0.0
        for member in self._group.get(node, (node,)):
            around = (member, *member.inputs) if isinstance(member.op, (Add, Concat)) else (member,)
            magnitude = max([magnitude, *(self._magnitude(n) for n in around)])
        return positive(HEADROOM * magnitude / limit(INT16))

    def _magnitude(self, node: Node) -> float:
        value = value_of(node)
        return float(np.abs(value).max()) if value is not None else self.calibration[node].magnitude

    # ---- int8

    def _int8(self, node: Node, quant: Quant | None) -> Node:
        op = node.op
        if isinstance(op, Slice) and _is_columns(node) and isinstance(node.inputs[0].op, Linear):
            return self._columns(node, quant)
        if isinstance(op, VIEWS):
            quant = quant or self._affine(node)
            operands = [self.int8(n, quant) for n in node.inputs]
            return make(op, *operands, origin=node.origin, quant=operands[0].quant)
        if quant is None and isinstance(op, Linear) and _split_in_columns(self.users[node]):
            return self._segments(node)
        quant = quant or self._affine(node)
        if isinstance(op, Constant):
            return _integer_constant(node, quant, INT8)
        if isinstance(op, Input):
            return self._input(node, quant, INT8)
        if isinstance(op, LayerNormalization):
            return self._layer_norm(node, op, quant)
        if isinstance(op, ACTIVATIONS):
            return self._table(node, quant)
        if isinstance(op, ACCUMULATING):
            acc, scale = self.accumulators(node)
            return self.requantised(node, acc, scale, quant, INT8)
        wide = self.int16(node)
        return self.requantised(node, wide, np.array([_scale(wide)]), quant, INT8)

    def _affine(self, node: Node) -> Quant:
        """The int8 quantisation of a value: a zero point only where every reader is a product or a table."""
        symmetric = not self._only_affine_readers(node)
        through = None
        readers = self.users[node]
        if readers and all(type(reader.op) is type(readers[0].op) for reader in readers):
            first = readers[0].op
            if isinstance(first, ACTIVATIONS):
                through = first.eval
        while isinstance(node.op, (Reshape, Transpose)):  # all values the same: share the source's ranges
            node = node.inputs[0]
        return self.calibration.affine(node, symmetric, through)

    def _only_affine_readers(self, node: Node) -> bool:
        if node in self.graph.outputs:
            return False
        for user in self.users[node]:
            if isinstance(user.op, VIEWS):
                if not self._only_affine_readers(user):
                    return False
            elif not isinstance(user.op, (Linear, PatchEmbed, *ACTIVATIONS)):
                return False
        return True

    def _columns(self, node: Node, quant: Quant | None) -> Node:
        """Columns of a Linear: a view of the one tensor where it is read in columns only, else its own rescaling."""
        whole = node.inputs[0]
        if quant is None and _split_in_columns(self.users[whole]):
            product = self.int8(whole)
            assert product.quant is not None and isinstance(product.quant.scale, tuple)
            assert isinstance(node.op, Slice)
            own = Quant(product.quant.scale[node.op.start], 0)
            return make(node.op, product, origin=node.origin, quant=own)
        return make(node.op, self.int8(whole, quant), origin=node.origin, quant=quant or self.int8(whole).quant)

    def _segments(self, node: Node) -> Node:
        """A Linear read in slices of columns (Q, K, V): one tensor, one symmetric scale per slice."""
        acc, scale = self.accumulators(node)
        target = np.ones(node.shape[-1])
        for user in self.users[node]:
            assert isinstance(user.op, Slice)
            target[user.op.start : user.op.stop] = _number(self.calibration.affine(user, symmetric=True).scale)
        self.events["scales per slice"] += 1
        return self.requantised(node, acc, scale, Quant(tuple(target.tolist())), INT8)

    def _layer_norm(self, node: Node, op: LayerNormalization, quant: Quant) -> Node:
        x = self.int16(node.inputs[0])
        gamma, beta = (np.asarray(value_of(n), np.float64) for n in node.inputs[1:])
        factor = gamma / _number(quant.scale)
        offset = beta / _number(quant.scale) + quant.zero_point
        shift = min(
            LAYER_NORM_SHIFT_MAX,
            _room(float(np.abs(factor).max()), 16) + LAYER_NORM_FRACTION,
            _room(float(np.abs(offset).max()), 47),
        )
        if shift < 1:
            raise OutOfRange(node, "a factor of 2^27 or more")
        multiplier = np.floor(np.ldexp(factor, shift - LAYER_NORM_FRACTION) + 0.5).astype(np.int32)
        whole = np.floor(np.ldexp(offset, shift) + 0.5).astype(np.int64)
        width = node.shape[-1]
        integer = replace(
            op,
            eps_term=eps_term(op.epsilon, width, _scale(x)),
            shift=shift,
            zero_point=quant.zero_point,
        )
        operands = (constant(multiplier, node.inputs[1].origin), constant(whole, node.inputs[2].origin))
        return make(integer, x, *operands, origin=node.origin, quant=quant)

    def _table(self, node: Node, quant: Quant) -> Node:
        x = self.int8(node.inputs[0])
        assert x.quant is not None and isinstance(x.quant.scale, float)
        real = node.op.eval(x.quant.real(np.arange(-128, 128)))
        entries = boundary(real, _number(quant.scale), quant.zero_point, INT8).astype(np.int8)
        self.events["tables"] += 1
        return make(Table(), x, constant(entries), origin=node.origin, quant=quant)

    # ---- int16

    def _int16(self, node: Node, scale: float | None) -> Node:
        op = node.op
        if isinstance(op, Add):
            return self._residual(node) if scale is None else self.rescaled(node, self.int16(node), scale)
        wanted = self.scale16(node) if scale is None else scale
        quant = Quant(wanted)
        if isinstance(op, VIEWS):
            if scale is not None:
                return self.rescaled(node, self.int16(node), scale)
            operands = (self.int16(n, wanted) for n in node.inputs)
            return make(op, *operands, origin=node.origin, quant=quant)
        if isinstance(op, Constant):
            return _integer_constant(node, quant, INT16)
        if isinstance(op, Input):
            return self._input(node, quant, INT16)
        if isinstance(op, ACCUMULATING):
            acc, real = self.accumulators(node)
            return self.requantised(node, acc, real, quant, INT16)
        narrow = self.int8(node)
        return self.requantised(node, narrow, np.array([_scale(narrow)]), quant, INT16)

    def rescaled(self, node: Node, wide: Node, scale: float) -> Node:
        return self.requantised(node, wide, np.array([_scale(wide)]), Quant(scale), INT16)

    def _residual(self, node: Node) -> Node:
        """The sum at the group's scale. Products arrive at that scale already; what lives at its own is rescaled."""
        target = self.scale16(node)
        operands, pairs = [], []
        for x in node.inputs:
            if isinstance(x.op, Constant):
                x = constant(np.broadcast_to(x.op.value, node.shape), x.origin)
            lives_elsewhere = isinstance(x.op, (Add, Input, *VIEWS))
            operand = self.int16(x) if lives_elsewhere else self.int16(x, target)
            operands.append(operand)
            pairs.append(self._ratio(node, _scale(operand), target))
        return make(AddRequantised(*pairs[0], *pairs[1]), *operands, origin=node.origin, quant=Quant(target))

    def _ratio(self, node: Node, scale: float, target: float) -> tuple[int, int]:
        if scale == target:
            return IDENTITY
        try:
            return multiplier_shift(scale / target)
        except ValueError as error:
            raise OutOfRange(node, str(error)) from error

    # ---- accumulators

    def accumulators(self, node: Node) -> tuple[Node, Array]:
        """The int32 accumulators of a product, and the real value of their LSB: (O,) or (1,)."""
        if node not in self._accumulators:
            self._accumulators[node] = self._accumulate(node)
        return self._accumulators[node]

    def _accumulate(self, node: Node) -> tuple[Node, Array]:
        op = node.op
        if isinstance(op, (Linear, PatchEmbed)):
            x = self.int8(node.inputs[0])
            weight, bias = (value_of(n) for n in node.inputs[1:])
            assert weight is not None and bias is not None and x.quant is not None
            product = integer_product(weight, bias, x.quant, self.weight_clip)
            operands = (
                constant(product.weight, node.inputs[1].origin),
                constant(product.bias, node.inputs[2].origin),
            )
            self.events["products"] += 1
            scales = Quant(tuple(product.scale.tolist()))
            return make(op, x, *operands, origin=node.origin, quant=scales), product.scale
        if isinstance(op, Attention):
            q, k, v = (self.int8(n) for n in node.inputs)
            real = _scale(q) * _scale(k) * op.scale * math.log2(math.e) * 256
            try:
                multiplier, shift = multiplier_shift(real)
            except ValueError as error:
                raise OutOfRange(node, str(error)) from error
            integer = replace(op, score_multiplier=multiplier, score_shift=shift)
            scale = math.ldexp(_scale(v), -ATTENTION_FRACTION)
            return make(integer, q, k, v, origin=node.origin, quant=Quant(scale)), np.array([scale])
        assert isinstance(op, ReduceMean)
        x = self.int8(node.inputs[0])
        (axis,) = op.axes
        scale = _scale(x) / x.shape[axis]
        total = make(ReduceSum(axis, op.keepdims), x, origin=node.origin, quant=Quant(scale))
        return total, np.array([scale])

    def requantised(self, node: Node, acc: Node, real: Array, quant: Quant, elem: Int) -> Node:
        """Accumulators, or integers of another scale with zero point 0, brought to `quant`."""
        try:
            multiplier, shift = multipliers_shifts(real / np.asarray(quant.scale))
        except ValueError as error:
            raise OutOfRange(node, str(error)) from error
        op = Requantise(quant.zero_point, elem)
        return make(op, acc, constant(multiplier), constant(shift), origin=node.origin, quant=quant)

    def _input(self, node: Node, quant: Quant, elem: Int) -> Node:
        self.inputs.setdefault(node, node)
        op = Quantise(_number(quant.scale), quant.zero_point, elem)
        return make(op, node, origin=node.origin)


def _wide_groups(graph: Graph) -> dict[Node, tuple[Node, ...]]:
    """Which int16 values share a scale: Concat, Slice, Reshape and Transpose cannot change it."""
    needed: set[Node] = set(graph.outputs)
    joined: dict[Node, list[Node]] = {}
    for node in reversed(graph.nodes()):
        operands = [n for n in node.inputs if not isinstance(n.op, Constant)]
        if isinstance(node.op, Add):
            needed.update(operands)
        elif isinstance(node.op, LayerNormalization):
            needed.add(node.inputs[0])
        elif isinstance(node.op, VIEWS) and node in needed:
            needed.update(operands)
            members = [node, *operands]
            merged = list(dict.fromkeys(m for n in members for m in joined.get(n, [n])))
            joined.update(dict.fromkeys(merged, merged))
    return {node: tuple(members) for node, members in joined.items()}


def _integer_constant(node: Node, quant: Quant, elem: Int) -> Node:
    assert isinstance(node.op, Constant)
    values = boundary(node.op.value, _number(quant.scale), quant.zero_point, elem)
    dtype = np.int8 if elem.bits == 8 else np.int16
    return constant(values.astype(dtype), node.origin, quant)


def _is_columns(node: Node) -> bool:
    return isinstance(node.op, Slice) and node.op.axis % node.type.rank == node.type.rank - 1


def _split_in_columns(users: list[Node]) -> bool:
    """Read by slices of columns only, no column twice under different slices."""
    if not users or not all(_is_columns(user) for user in users):
        return False
    spans = sorted({(u.op.start, u.op.stop) for u in users if isinstance(u.op, Slice) and u.op.step == 1})
    apart = all(a[1] <= b[0] for a, b in pairwise(spans))
    return apart and all(isinstance(u.op, Slice) and u.op.step == 1 for u in users)


def _room(magnitude: float, bits: int) -> int:
    """The largest n with round(magnitude * 2^n) < 2^bits."""
    if magnitude == 0:
        return LAYER_NORM_SHIFT_MAX
    room = bits - math.frexp(magnitude)[1]
    return room - 1 if math.floor(math.ldexp(magnitude, room) + 0.5) >= 1 << bits else room


def _number(scale: float | tuple[float, ...]) -> float:
    assert isinstance(scale, float), "one scale per tensor"
    return scale


def _scale(node: Node) -> float:
    assert node.quant is not None
    return _number(node.quant.scale)
