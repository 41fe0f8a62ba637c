"""Ranges inside a mixture of experts on samples: each expert gets only the tokens of its queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from edgewright.passes.ir import Array, Graph, Node
from edgewright.passes.ops import MoE, value_of
from edgewright.passes.ops.arith_experts import queues

if TYPE_CHECKING:
    from edgewright.passes.quantisation.calibrate import Observed


@dataclass(frozen=True, slots=True, eq=False)
class ExpertsSeen:
    """`entered`: what activations saw, over all queues (last axis: the hidden units). `largest`: magnitude of the experts'
    outputs before their gates. `tokens` (N,): how many tokens chose each expert."""

    entered: Observed
    largest: float
    tokens: Array

    def joined(self, other: ExpertsSeen) -> ExpertsSeen:
        """Return both observations as one."""
        tokens = self.tokens + other.tokens
        return ExpertsSeen(self.entered.joined(other.entered), max(self.largest, other.largest), tokens)


class ExpertsWatch:
    """Follows a visit of a graph in topological order; `seen` then has every mixture of experts."""

    def __init__(self, graph: Graph, observe: Callable[[Array], Observed]) -> None:
        self.seen: dict[Node, ExpertsSeen] = {}
        self._observe = observe
        self._held: dict[Node, Array | None] = {}
        for node in graph.nodes():
            if isinstance(node.op, MoE):
                self._held |= {operand: value_of(operand) for operand in node.inputs[:2]}

    def see(self, node: Node, value: Array) -> None:
        """Record tokens and logits, and evaluate the experts that they choose."""
        if node in self._held:
            self._held[node] = value
        if not isinstance(node.op, MoE):
            return
        x, logits = (self._held[operand] for operand in node.inputs[:2])
        weights = [value_of(operand) for operand in node.inputs[2:]]
        if any(w is None for w in weights):
            return  # computed weights, which have no integer form
        assert x is not None and logits is not None
        w1, b1, w2, b2 = (w for w in weights if w is not None)
        batch = np.broadcast_shapes(x.shape[:2], logits.shape[:2])
        rows = np.broadcast_to(x, (*batch, x.shape[2])).reshape(-1, x.shape[2])
        chosen, _ = node.op.route(np.broadcast_to(logits, (*batch, logits.shape[2])).reshape(-1, logits.shape[2]))
        entered, largest = [], 0.0
        for expert, tokens, _ in queues(chosen, len(w1)):
            entered.append(node.op.entered(rows[tokens], w1[expert], b1[expert]))
            output = np.matmul(node.op.activated(entered[-1]), w2[expert].T) + b2[expert]
            largest = max(largest, float(np.abs(output).max()))
        now = ExpertsSeen(
            self._observe(np.concatenate(entered)), largest, np.bincount(chosen.ravel(), minlength=len(w1)).astype(np.int64)
        )
        self.seen[node] = self.seen[node].joined(now) if node in self.seen else now
