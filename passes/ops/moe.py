from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, INT8, INT16, INT32, Allowed, Array, Op, TensorType, expect, fixed
from edgewright.passes.ir.facts import BOTH_LEVELS, of_a_product
from edgewright.passes.ops.activations import ACTIVATIONS
from edgewright.passes.ops.arith import SHIFT_MAX, product_bound
from edgewright.passes.ops.arith_experts import CHOSEN_MAX, Experts, mixture, queues, route
from edgewright.passes.ops.numeric import expect_count, expect_factor, float32, softmax

FLOAT_OPERANDS = 6
INTEGER_OPERANDS = 11


@dataclass(frozen=True, slots=True)
class MoE(Op):
    """A mixture of experts: each token computes `top_k` of N experts and adds them up, weighted.

    MoE(x (B, T, d), logits (B, T, N), w1 (N, h, d), b1 (N, h), w2 (N, o, h), b2 (N, o)) -> (B, T, o)
    Expert e: f_e(x) = w2_e act(w1_e x + b1_e) + b2_e, act one of `ACTIVATIONS` by name. A token takes the experts of its
    K largest logits, of equal ones the lower expert; y = sum_k p_k f_k(x) with the gates p:
      softmax "before": over all N logits, the K chosen kept as they are, or divided by their sum if `renormalise`;
      softmax "after": over the K chosen logits (`renormalise` then changes nothing).
    Integers: x int8, logits int16, w1 int8, b1 int32, w2 int8, b2 int32, multiplier and shift of the first product (N, h),
    activation table int8 (256,), multiplier and shift of the second (N, o); attributes gate_multiplier and gate_shift (as
    `arith.exponentials`) and zero_point, as `arith_experts` defines; the result has `EXPERT_FRACTION` fractional bits.
    Source: M3ViT (arXiv:2210.14793, section 3.1) with "before"; Shazeer et al. (arXiv:1701.06538, section 2.1) with "after".
    """

    facts = of_a_product(per_token=False, weighted=False, levels=BOTH_LEVELS, instructions=(1.7, 2.0))

    top_k: int
    softmax: str = "before"
    renormalise: bool = False
    activation: str = "Gelu"
    gate_multiplier: int = 0
    gate_shift: int = 0
    zero_point: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, FLOAT_OPERANDS, INTEGER_OPERANDS)
        x, logits, w1, b1, w2, b2 = types[:FLOAT_OPERANDS]
        expect(x.rank == 3, f"tokens {x.shape} are not (batch, tokens, width)")
        expect(w1.rank == 3 and w2.rank == 3, f"weights {w1.shape} and {w2.shape} are not (experts, out, in)")
        experts, hidden, width = w1.shape
        expect(x.shape[2] == width, f"tokens {x.shape} do not fit the experts' weight {w1.shape}")
        expect(w2.shape[0] == experts and w2.shape[2] == hidden, f"second weight {w2.shape} does not fit the first {w1.shape}")
        expect(b1.shape == (experts, hidden), f"bias {b1.shape} does not fit weight {w1.shape}")
        expect(b2.shape == w2.shape[:2], f"bias {b2.shape} does not fit weight {w2.shape}")
        expect(
            logits.shape == (*x.shape[:2], experts),
            f"router's logits {logits.shape} do not fit tokens {x.shape} and {experts} experts",
        )
        expect(1 <= self.top_k <= experts, f"each token chooses {self.top_k} of {experts} experts")
        expect(self.softmax in ("before", "after"), f"softmax {self.softmax!r} is neither before nor after the choice")
        expect(self.activation in ACTIVATIONS, f"unknown activation {self.activation!r}")
        shape = (*x.shape[:2], w2.shape[1])
        if len(types) == FLOAT_OPERANDS:
            expect(all(t.is_float for t in types), f"mixed float and integer: {', '.join(map(str, types))}")
            return TensorType(shape, F32)
        m1, s1, table, m2, s2 = types[FLOAT_OPERANDS:]
        expect(not any(t.is_float for t in types), f"mixed float and integer: {', '.join(map(str, types))}")
        expect(x.elem == INT8 and logits.elem == INT16, f"needs int8 tokens and int16 logits, got {x} and {logits}")
        expect(m1.shape == s1.shape == b1.shape, f"multiplier {m1.shape} and shift {s1.shape} do not fit {b1.shape}")
        expect(m2.shape == s2.shape == b2.shape, f"multiplier {m2.shape} and shift {s2.shape} do not fit {b2.shape}")
        expect(table.shape == (256,) and table.elem == INT8, f"the table is {table}")
        expect(self.top_k <= CHOSEN_MAX, f"each token chooses {self.top_k} experts, at most {CHOSEN_MAX} add up")
        expect_factor("gate multiplier", self.gate_multiplier, self.gate_shift)
        expect(-127 <= self.zero_point <= 127, f"zero point {self.zero_point} outside [-127, 127]")
        return TensorType(shape, INT32)

    def eval(self, *arrays: Array) -> Array:
        x, logits, w1, b1, w2, b2 = arrays[:FLOAT_OPERANDS]
        batch = np.broadcast_shapes(x.shape[:2], logits.shape[:2])
        rows = np.broadcast_to(x, (*batch, x.shape[2])).reshape(-1, x.shape[2])
        scores = np.broadcast_to(logits, (*batch, logits.shape[2])).reshape(-1, logits.shape[2])
        chosen, gates = self.route(scores)
        if len(arrays) == INTEGER_OPERANDS:
            m1, s1, table, m2, s2 = arrays[FLOAT_OPERANDS:]
            experts = Experts(w1, b1, w2, b2, m1, s1, table, m2, s2, self.zero_point)
            return mixture(rows, chosen, gates, experts).reshape(*batch, w2.shape[1])
        out = np.zeros((len(rows), w2.shape[1]), np.float32)
        for expert, tokens, places in queues(chosen, len(w1)):
            result = np.matmul(self.activated(self.entered(rows[tokens], w1[expert], b1[expert])), w2[expert].T) + b2[expert]
            out[tokens] += result * gates[tokens, places][:, None]  # a token stands in a queue once
        return out.reshape(*batch, w2.shape[1])

    @property
    def over_chosen(self) -> bool:
        """Whether the gates of a token are a softmax over its chosen logits: the sum of the kept divides the others out."""
        return self.softmax == "after" or self.renormalise

    def route(self, logits: Array) -> tuple[Array, Array]:
        """For rows of logits (M, N): the chosen experts (M, K), best first, and their gates (M, K), floats or integers."""
        if logits.dtype.kind != "f":
            return route(logits, self.top_k, self.over_chosen, self.gate_multiplier, self.gate_shift)
        chosen = np.argsort(-logits, axis=1, kind="stable")[:, : self.top_k]
        if self.over_chosen:
            return chosen, softmax(np.take_along_axis(logits, chosen, 1), -1)
        return chosen, np.take_along_axis(softmax(logits, -1), chosen, 1)

    def entered(self, rows: Array, w1: Array, b1: Array) -> Array:
        """Return what one expert's activation sees of float rows (M, d): (M, h)."""
        return float32(np.matmul(rows, w1.T) + b1)

    def activated(self, x: Array) -> Array:
        """Return the activation of floats."""
        return ACTIVATIONS[self.activation].eval(x)

    def macs(self, *types: TensorType) -> int:
        """Of the K experts each token chooses; the router is a Linear in front."""
        x, _, w1, _, w2 = types[:5]
        return math.prod(x.shape[:2]) * self.top_k * (math.prod(w1.shape[1:]) + math.prod(w2.shape[1:]))

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        for weight in (2, 4):
            yield fixed("weight", values[weight], -127, 127)
        for multiplier in (6, 9):
            yield fixed("multiplier", values[multiplier], 1 << 15, (1 << 16) - 1)
            yield fixed("shift", values[multiplier + 1], 1, SHIFT_MAX)
        yield fixed("entry", values[8], -127, 127)

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        pairs = ((2, 3), (4, 5))
        return max(product_bound(types[w].shape, values[w], (values[b],), leading=2) for w, b in pairs)
