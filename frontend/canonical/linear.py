"""Products with weights become Linear, and what they read becomes part of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from edgewright.passes.exact.channel_readers import keeps_channels
from edgewright.passes.ir import Array, Node, make
from edgewright.passes.ops import Concat, Conv, Linear, MatMul, Reshape, constant, value_of
from edgewright.passes.ops.groups import PER_TOKEN
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class FuseLinear(Rule):
    """Recognise a product with a weight.

    Before: MatMul(x, W), W (K, O) constant. After: Linear(x; W^T, 0). Exact: up to the order of float sums.
    Source: the definition of Linear.
    """

    on = (MatMul,)
    event = "linears"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        x, w = node.inputs
        weight = value_of(w)
        if weight is None or value_of(x) is not None or weight.ndim > len(x.shape) or weight.size != w.shape[-1] * w.shape[-2]:
            return None
        rows: Array = weight.reshape(weight.shape[-2], weight.shape[-1]).T
        zeros = constant(np.zeros(rows.shape[0], np.float32))
        return make(Linear(), x, constant(rows, origin=w.origin), zeros, origin=node.origin)


@dataclass(frozen=True, slots=True)
class MoveReshapesDown(Rule):
    """Keep the three axes (batch, tokens, channels) around what works on tokens.

    Before: op(Reshape(x)), (1, T, K) -> (T, K), (T, 1, K) ..., op being a Linear, a normalisation or any other on tokens.
    After: Reshape(op(x)). Exact: yes. Source: such operators do not depend on the leading axes.
    """

    on = PER_TOKEN
    event = "moved"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        x = node.inputs[0]
        if not isinstance(x.op, Reshape):
            return None
        source = x.inputs[0]
        # One row alone, (1, 1, K) -> (1, K), is how a class token is taken out, and stays.
        if len(source.shape) != 3 or source.shape[-1] != x.shape[-1] or source.type.size == x.shape[-1]:
            return None
        moved = make(node.op, source, *node.inputs[1:], origin=node.origin)
        return make(Reshape(node.shape), moved, origin=x.origin)


@dataclass(frozen=True, slots=True)
class AbsorbPadding(Rule):
    """Let a convolution pad its image itself.

    Before: Conv(Concat(0, x, 0)) along rows or columns. After: Conv(x) with more padding, once for each axis.
    Exact: yes. Source: the padding of a convolution is zeros.
    """

    on = (Conv,)
    event = "absorbed"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        op, x = node.op, node.inputs[0]
        if not isinstance(op, Conv) or not isinstance(x.op, Concat) or x.op.axis % 4 < 2:
            return None
        zero = [value_of(part) is not None and not np.any(value_of(part)) for part in x.inputs]
        if zero.count(False) != 1:
            return None
        at, axis, pads = zero.index(False), x.op.axis % 4 - 2, list(op.pads)
        pads[axis] += sum(part.shape[axis + 2] for part in x.inputs[:at])
        pads[axis + 2] += sum(part.shape[axis + 2] for part in x.inputs[at + 1 :])
        padded = replace(op, pads=(pads[0], pads[1], pads[2], pads[3]))
        return make(padded, x.inputs[at], *node.inputs[1:], origin=node.origin)


@dataclass(frozen=True, slots=True)
class AbsorbKnownColumns(Rule):
    """Add what a product makes of the same columns of every token to its bias.

    Before: Linear(Concat(x, c); W, b), c a constant with equal rows. After: Linear(x; W_x, b + W_c c).
    Exact: within float rounding (computed in float64). Source: block product of matrices.
    """

    on = (Linear,)
    event = "absorbed"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        joined, *constants = node.inputs
        weight, bias = (value_of(n) for n in constants)
        while isinstance(joined.op, Reshape) and keeps_channels(joined):
            joined = joined.inputs[0]
        op, last = joined.op, joined.type.rank - 1
        if weight is None or bias is None or not isinstance(op, Concat) or op.axis % joined.type.rank != last:
            return None
        computed: list[Node] = []
        columns: list[Array] = []
        start, moved = 0, bias.astype(np.float64)
        for part in joined.inputs:
            place = np.arange(start, start + part.shape[-1])
            start += part.shape[-1]
            value = value_of(part)
            rows = None if value is None else value.reshape(-1, value.shape[-1])
            if rows is not None and (rows == rows[:1]).all():
                moved = moved + weight[:, place].astype(np.float64) @ rows[0]
            else:
                computed.append(part)
                columns.append(place)
        if not computed or len(computed) == len(joined.inputs):
            return None
        x = computed[0] if len(computed) == 1 else make(op, *computed, origin=joined.origin)
        shape = (*node.inputs[0].shape[:-1], x.shape[-1])
        x = x if x.shape == shape else make(Reshape(shape), x, origin=joined.origin)
        w = constant(np.ascontiguousarray(weight[:, np.concatenate(columns)]), constants[0].origin)
        return make(Linear(), x, w, constant(moved.astype(np.float32), constants[1].origin), origin=node.origin)
