from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.gelu import Gelu
from edgewright.passes.ops.hard_swish import HardSwish
from edgewright.passes.ops.numeric import expect_count, float32, softmax
from edgewright.passes.ops.relu import Relu
from edgewright.passes.ops.sigmoid import Sigmoid
from edgewright.passes.ops.silu import Silu
from edgewright.passes.ops.tanh import Tanh

ACTIVATION_OPS: dict[str, Op] = {
    "Gelu": Gelu("none"),
    "GeluTanh": Gelu("tanh"),
    "HardSwish": HardSwish(),
    "Relu": Relu(),
    "Sigmoid": Sigmoid(),
    "Silu": Silu(),
    "Tanh": Tanh(),
}


@dataclass(frozen=True, slots=True)
class MoE(Op):
    """A mixture of experts: each token computes `top_k` of N experts and adds them up, weighted.

    MoE(x (B, T, d), logits (B, T, N), w1 (N, h, d), b1 (N, h), w2 (N, o, h), b2 (N, o)) -> (B, T, o)
    Expert e: f_e(x) = w2_e act(w1_e x + b1_e) + b2_e, act one of `ACTIVATION_OPS` by name. A token takes the experts of its
    K largest logits, of equal ones the lower expert; y = sum_k p_k f_k(x) with the gates p:
      softmax "before": over all N logits, the K chosen kept as they are, or divided by their sum if `renormalise`;
      softmax "after": over the K chosen logits (`renormalise` then changes nothing).
    Source: M3ViT (arXiv:2210.14793, section 3.1) with "before"; Shazeer et al. (arXiv:1701.06538, section 2.1) with "after".
    """

    top_k: int
    softmax: str = "before"
    renormalise: bool = False
    activation: str = "Gelu"

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 6)
        x, logits, w1, b1, w2, b2 = types
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
        expect(self.activation in ACTIVATION_OPS, f"unknown activation {self.activation!r}")
        expect(all(t.is_float for t in types), f"mixed float and integer: {', '.join(map(str, types))}")
        return TensorType((*x.shape[:2], w2.shape[1]), F32)

    def eval(self, *arrays: Array) -> Array:
        x, logits, w1, b1, w2, b2 = arrays
        batch = np.broadcast_shapes(x.shape[:2], logits.shape[:2])
        rows = np.broadcast_to(x, (*batch, x.shape[2])).reshape(-1, x.shape[2])
        chosen, gates = self.route(np.broadcast_to(logits, (*batch, logits.shape[2])).reshape(-1, logits.shape[2]))
        act = ACTIVATION_OPS[self.activation]
        out = np.zeros((len(rows), w2.shape[1]), np.float32)
        for expert, (tokens, places) in queues(chosen, len(w1)):
            hidden = act.eval(float32(np.matmul(rows[tokens], w1[expert].T) + b1[expert]))
            result = np.matmul(hidden, w2[expert].T) + b2[expert]
            out[tokens] += result * gates[tokens, places][:, None]  # a token stands in a queue once
        return out.reshape(*batch, w2.shape[1])

    def route(self, logits: Array) -> tuple[Array, Array]:
        """For rows of float logits (M, N): the chosen experts (M, K), best first, and their gates (M, K)."""
        chosen = choose(logits, self.top_k)
        kept = np.take_along_axis(logits, chosen, 1)
        if self.softmax == "after" or self.renormalise:
            return chosen, softmax(kept, -1)  # what the others contribute to the sum cancels
        return chosen, np.take_along_axis(softmax(logits, -1), chosen, 1)

    def macs(self, *types: TensorType) -> int:
        """Of the K experts each token chooses; the router is a Linear in front."""
        x, _, w1, _, w2, _ = types
        return math.prod(x.shape[:2]) * self.top_k * (math.prod(w1.shape[1:]) + math.prod(w2.shape[1:]))


def choose(logits: Array, top_k: int) -> Array:
    """The experts of the K largest logits of each row (M, K), best first; of equal ones the lower expert first."""
    order: Array = np.argsort(-logits, axis=-1, kind="stable")[..., :top_k]
    return order


def queues(chosen: Array, experts: int) -> list[tuple[int, tuple[Array, Array]]]:
    """For each expert that some token chose: (expert, (rows of its tokens, in order, and its place among their choices))."""
    found = []
    for expert in range(experts):
        tokens, places = np.nonzero(chosen == expert)
        if tokens.size:
            found.append((expert, (tokens, places)))
    return found
