from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.exact.residual_stream import centred, has_zero_mean, is_writer, streams
from edgewright.passes.ir import Graph, Node, make, rebuild
from edgewright.passes.ops import Constant, LayerNormalization, RMSNormalization, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class PreRMSNorm(Pass):
    """Remove the mean from the residual stream, so that no normalisation has to compute it.

    Before: LayerNorm(x; gamma, 0) of sums x of products, tables and constants. After: RMSNorm(x - mean(x); gamma), where
    x - mean(x) is the same sum of products whose weights and biases have no mean over their outputs.
    Done where every writer into the stream can be centred and only LayerNorms read it; these keep their beta, if they
    have one, and stay LayerNorms of a mean that is 0. Each stream that is kept is counted with the reason.
    Exact: within float rounding (means taken in float64).
    Source: "Pre-RMSNorm and Pre-CRMSNorm Transformers" (Jiang et al., NeurIPS 2023), section 3, theorem 1.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        writers: dict[Node, int] = {}
        converted: set[Node] = set()
        for stream in streams(graph):
            plain = [norm for norm in stream.norms if _no_beta(norm)]
            if stream.obstacle is not None:
                note.count(f"stream kept, {stream.obstacle}")
            elif not plain:
                note.count("stream kept, all its norms have offsets")
            else:
                converted.update(plain)
                writers |= {node: axis for node, axis in stream.members.items() if is_writer(node, axis)}
                note.count("norms without a mean", len(plain))

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if old in converted:
                assert isinstance(old.op, LayerNormalization)
                return make(RMSNormalization(old.op.epsilon), *operands[:2], origin=old.origin)
            if old in writers:
                parts = centred(old, writers[old])
                if isinstance(old.op, Constant):
                    return constant(parts[0], old.origin)
                moved = (constant(parts[i], n.origin) if i in parts else n for i, n in enumerate(operands))
                return make(old.op, *moved, origin=old.origin)
            return None

        return rebuild(graph, change)


@dataclass(frozen=True, slots=True)
class RMSAsLayerNorm(Pass):
    """Replace RMSNorm by LayerNorm where both are equal, for machines that have only the latter.

    Before: RMSNorm(x; gamma), x a sum of products, tables and constants without a mean over their outputs.
    After: LayerNorm(x; gamma, 0). Exact: within float rounding, the mean being 0.
    Source: the inverse of `PreRMSNorm`.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        known = {node for node in graph.nodes() if isinstance(node.op, RMSNormalization) and has_zero_mean(node.inputs[0])}
        others = sum(isinstance(node.op, RMSNormalization) for node in graph.nodes()) - len(known)
        note.count("as LayerNorm", len(known))
        note.count("kept, the mean may not be 0", others)

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if old not in known:
                return None
            assert isinstance(old.op, RMSNormalization)
            zeros = constant(np.zeros(old.shape[-1], np.float32))
            return make(LayerNormalization(old.op.epsilon), *operands, zeros, origin=old.origin)

        return rebuild(graph, change)


def _no_beta(norm: Node) -> bool:
    beta = value_of(norm.inputs[2])
    return beta is not None and not np.any(beta)
