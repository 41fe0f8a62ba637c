from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.exact.channel_readers import Absorbed, absorb, can_be_scaled, first_parts, products_reading
from edgewright.passes.ir import Array, Graph, Node
from edgewright.passes.ops import array_of, value_of
from edgewright.passes.ops.groups import NORMS
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class FoldNormAffine(Pass):
    """Fold a normalisation's scale and offset into the products that read it.

    Before: Linear(LayerNorm(x; gamma, beta); W, b), where only Linears and experts with constant weights read the
    LayerNorm (through moves of tokens and means over tokens). After: Linear(LayerNorm(x; 1, 0); W diag(gamma), b + W beta).
    RMSNormalization likewise, without beta. Not done where a weight is also read elsewhere: it would then exist twice;
    nor where float32 cannot hold the new weights.
    Exact: within float rounding (computed in float64).
    Source: the usual folding, as in "Pre-RMSNorm and Pre-CRMSNorm Transformers" (Jiang et al., NeurIPS 2023), section 3.1.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()
        norms: dict[Node, Absorbed] = {}
        for node in graph.nodes():
            if isinstance(node.op, NORMS) and not _is_neutral(node):
                products = products_reading(node, users, graph)
                if not products:
                    continue
                if any(user not in products for product in products for user in users[product.inputs[first_parts(product)[0]]]):
                    note.count("kept, weights are shared")
                    continue
                if not all(can_be_scaled(product, *_affine(node)) for product in products):
                    note.count("kept, the weights would not fit float32")
                    continue
                neutral = np.ones(node.shape[-1], np.float32), np.zeros(node.shape[-1], np.float32)
                norms[node] = Absorbed(products, neutral[: len(node.inputs) - 1], *_affine(node))
                note.count("folded")
        return absorb(graph, norms)


def _is_neutral(norm: Node) -> bool:
    """Return whether there is nothing to fold, or the scale is computed."""
    values = [value_of(n) for n in norm.inputs[1:]]
    neutral = (value is None or np.all(value == number) for value, number in zip(values, (1, 0), strict=False))
    return any(value is None for value in values) or all(neutral)


def _affine(norm: Node) -> tuple[Array, Array]:
    gamma, *beta = (array_of(n).astype(np.float64) for n in norm.inputs[1:])
    return gamma, beta[0] if beta else np.zeros_like(gamma)
