from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.exact.channel_readers import Absorbed, absorb, can_be_scaled, products_reading
from edgewright.passes.ir import Array, Graph, Node
from edgewright.passes.ops import array_of, value_of
from edgewright.passes.ops.groups import NORMS
from edgewright.passes.quantisation.calibrate import Calibration, Observed
from edgewright.passes.transform import Note, Pass

RATIO_MAX = 64.0
FEWEST = 32  # values of a channel; fewer say too little about its range to move weights by it


@dataclass(frozen=True, slots=True)
class ReparameteriseLayerNorm(Pass):
    """Give all channels of a LayerNormalization one range, by moving their scales into gamma, beta and weights.

    Before: Linear(LayerNorm(x; gamma, beta); W, b) whose channels range over [low_c, high_c].
    After: Linear(LayerNorm(x; gamma / r, (beta - m) / r); W diag(r), b + W m), with m_c the middle of the range and
    r_c its width relative to the mean width: one scale with zero point 0 then suits every channel. An RMSNormalization
    gets an offset for that; in integers both normalisations have one anyway.
    Exact: within float rounding. Applies when only Linears and experts read the value (Reshape, slices of tokens and the mean
    over tokens between them change no channel).
    Source: RepQ-ViT (Li et al., ICCV 2023), section 3.2; here the zero points go to 0 instead of to their mean.
    """

    calibration: Calibration

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()
        norms: dict[Node, Absorbed] = {}
        for node in graph.nodes():
            if isinstance(node.op, NORMS):
                linears = products_reading(node, users, graph)
                constants = all(value_of(n) is not None for n in node.inputs[1:])
                if linears and constants and self._seen_enough(node):
                    ratio, middle = self._ratio_middle(node)
                    if not all(can_be_scaled(linear, ratio, middle) for linear in linears):
                        continue
                    gamma, *betas = (array_of(n).astype(np.float64) for n in node.inputs[1:])
                    norms[node] = Absorbed(linears, (gamma / ratio, (sum(betas) - middle) / ratio), ratio, middle)
                    note.count("reparameterised")
        return absorb(graph, norms)

    def _seen_enough(self, node: Node) -> bool:
        """Return False for few samples, or for samples that are all alike."""
        seen = self.calibration[node]
        spread = np.median(seen.channels.high - seen.channels.low)
        return _per_channel(seen) >= FEWEST and bool(spread > 1e-3 * np.abs(array_of(node.inputs[1])).max())

    def _ratio_middle(self, node: Node) -> tuple[Array, Array]:
        seen = self.calibration[node]
        low, high = seen.channels.low.astype(np.float64), seen.channels.high.astype(np.float64)
        width = np.maximum(high - low, 1e-12)
        # a range seen on few values is too narrow by chance: then no channel gets less than the usual width
        trust = min(1.0, 4 / math.sqrt(_per_channel(seen)))
        width = np.maximum(width, trust * np.median(width))
        return np.clip(width / width.mean(), 1 / RATIO_MAX, RATIO_MAX), (low + high) / 2


def _per_channel(seen: Observed) -> float:
    return seen.count / len(seen.channels.low)
