"""Integer arithmetic of a mixture of experts: gates, and what each expert adds to its tokens. Bits as in `arith`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import INT8, INT16, Array
from edgewright.passes.ops import arith
from edgewright.passes.ops.arith import exact_matmul, int64, requantise, round_shift

GATE_BITS = 15  # fractional bits of a gate; 1 becomes 32767
EXPERT_FRACTION = 8  # fractional bits of the sum of gated experts
CHOSEN_MAX = 1 << 12  # experts a token may choose: gates then add up to less than 2^15 + 2^12, gated sums to less than 2^31


@dataclass(frozen=True, slots=True, eq=False)
class Experts:
    """The constants of N experts, h units wide: w1 int8 (N, h, d), b1 int32 (N, h), w2 int8 (N, o, h), b2 int32 (N, o);
    multiplier and shift of both products, (N, h) and (N, o), as `arith.requantise` takes them; `table` int8 (256,), the
    activation after the first; `zero_point` of what the table reads. Zero points of x and of the table's entries are
    folded into b1 and b2."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array
    multiplier1: Array
    shift1: Array
    table: Array
    multiplier2: Array
    shift2: Array
    zero_point: int

    def hidden(self, expert: int, x: Array) -> Array:
        """table[saturate8(round_shift((w1 x + b1) * multiplier1, shift1) + zero_point)] of rows x int8 (M, d)."""
        acc = exact_matmul(x, self.w1[expert].T) + int64(self.b1[expert])
        q = requantise(acc, int64(self.multiplier1[expert]), int64(self.shift1[expert]), self.zero_point, INT8)
        return np.asarray(int64(self.table)[q + 128])

    def output(self, expert: int, x: Array) -> Array:
        """saturate16(round_shift((w2 hidden + b2) * multiplier2, shift2)): one scale for all experts and channels."""
        acc = exact_matmul(self.hidden(expert, x).astype(np.int8), self.w2[expert].T) + int64(self.b2[expert])
        return requantise(acc, int64(self.multiplier2[expert]), int64(self.shift2[expert]), 0, INT16)


def route(logits: Array, top_k: int, over_chosen: bool, multiplier: int, shift: int) -> tuple[Array, Array]:
    """Return rows of int16 logits (M, N) to the chosen experts (M, K), best first and of equal ones the lower first, and
    their gates (M, K) in [0, 32767]: `arith.softmax` over all N logits, or over the K chosen ones."""
    logits = int64(logits)
    chosen = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    if over_chosen:
        return chosen, arith.softmax(np.take_along_axis(logits, chosen, 1), multiplier, shift, 1)
    return chosen, np.take_along_axis(arith.softmax(logits, multiplier, shift, 1), chosen, 1)


def queues(chosen: Array, experts: int) -> list[tuple[int, Array, Array]]:
    """For each expert that some token chose: (expert, rows of its tokens in order, its place among their choices)."""
    queued = ((expert, np.nonzero(chosen == expert)) for expert in range(experts))
    return [(expert, tokens, places) for expert, (tokens, places) in queued if tokens.size]


def mixture(x: Array, chosen: Array, gates: Array, experts: Experts) -> Array:
    """round_shift(sum over a token's experts of gate * output, 7): (M, o), 8 fractional bits, below 2^25 in magnitude.

    The sum itself stays inside int32, so that the order of experts does not matter.
    """
    out = np.zeros((len(x), experts.w2.shape[1]), np.int64)
    for expert, tokens, places in queues(chosen, len(experts.w1)):
        out[tokens] += experts.output(expert, x[tokens]) * gates[tokens, places][:, None]
    return round_shift(out, GATE_BITS - EXPERT_FRACTION)
