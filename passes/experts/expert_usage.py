"""Which experts tokens choose: on samples, per task and layer, and which no input can choose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Graph, Node, topological
from edgewright.passes.ir.interp import visit
from edgewright.passes.ops import LayerNormalization, Linear, MoE, Reshape, RMSNormalization, value_of
from edgewright.passes.transform import Note

NEGLIGIBLE = 20.0  # e^-20 of another expert's probability changes no float32 gate
ROUNDING = 1e-4  # of the terms of a difference of two logits: float products are no better than that


@dataclass(frozen=True, slots=True, eq=False)
class LayerUsage:
    """One mixture of experts on samples. `task`: the outputs that depend on it, `tokens`: how many were routed, `chosen`
    (N,): how many of them chose each expert."""

    node: Node
    task: str
    tokens: int
    chosen: Array

    @property
    def shares(self) -> Array:
        """The share of tokens that choose each expert; they add up to K."""
        return np.asarray(self.chosen / max(self.tokens, 1))


def mixtures(graph: Graph) -> list[Node]:
    """Return every MoE, in order."""
    return [node for node in graph.nodes() if isinstance(node.op, MoE)]


def tasks_of(graph: Graph) -> dict[Node, tuple[str, ...]]:
    """Return which outputs depend on each MoE."""
    below = {name: set(topological([output])) for name, output in zip(graph.output_names, graph.outputs, strict=True)}
    return {node: tuple(name for name, nodes in below.items() if node in nodes) for node in mixtures(graph)}


def expert_usage(graph: Graph, samples: Mapping[str, Array]) -> list[LayerUsage]:
    """Run the samples through the graph and counts the tokens of each expert's queue."""
    layers = mixtures(graph)
    readers: dict[Node, list[Node]] = {}
    for node in layers:
        readers.setdefault(node.inputs[1], []).append(node)
    chosen = {node: np.zeros(node.inputs[1].shape[2], np.int64) for node in layers}
    tokens = dict.fromkeys(layers, 0)

    def see(node: Node, value: Array) -> None:
        for layer in readers.get(node, ()):
            assert isinstance(layer.op, MoE)
            rows = value.reshape(-1, value.shape[-1])
            picked, _ = layer.op.route(rows)
            chosen[layer] += np.bincount(picked.ravel(), minlength=len(chosen[layer]))
            tokens[layer] += len(rows)

    visit(graph, samples, see)
    names = tasks_of(graph)
    return [LayerUsage(node, ", ".join(names[node]), tokens[node], chosen[node]) for node in layers]


def tell_usage(note: Note, usage: Sequence[LayerUsage]) -> None:
    """The table of shares: a row for each task and layer, a column for each expert."""
    if not usage:
        return
    most = max(len(layer.chosen) for layer in usage)
    rows = []
    for layer in usage:
        shares = [round(float(share), 4) for share in layer.shares]
        rows.append((f"{layer.task}: {layer.node.name}", *shares, *[None] * (most - len(shares))))
    text = "Share of the tokens that choose each expert, on the samples given; a row adds up to the number a token chooses."
    note.table("Expert usage", ("task and layer", *map(str, range(most))), rows, text, draw="map")


def unreachable(node: Node) -> tuple[int, ...]:
    """Return experts of a MoE that no input whatever makes a token choose, and whose probabilities change no gate.

    An expert is out when K others have larger logits for every token: a constant router, rows of the router that differ by
    their bias only, or tokens bounded by a norm: |(w_i - w_j) (gamma z + beta)| with |z|^2 at most the width.
    """
    op, logits = node.op, node.inputs[1]
    assert isinstance(op, MoE)
    margin = 0.0 if op.over_chosen else NEGLIGIBLE
    value = value_of(logits)
    if value is not None:
        return _never_chosen(value.reshape(-1, value.shape[-1]), op.top_k, margin)
    lead = _least_lead(logits)
    if lead is None:
        return ()
    ahead = lead > margin
    if op.over_chosen:  # equal for every token: the lower expert is chosen first
        order = np.arange(len(lead))
        ahead |= (lead == 0) & (lead.T == 0) & (order[:, None] < order[None, :])
    return tuple(np.flatnonzero(ahead.sum(axis=0) >= op.top_k).tolist())


def _never_chosen(rows: Array, top_k: int, margin: float) -> tuple[int, ...]:
    """Of logits that are constants."""
    best = np.sort(rows, axis=1)[:, ::-1]
    chosen = np.unique(np.argsort(-rows, axis=1, kind="stable")[:, :top_k])
    others = np.setdiff1d(np.arange(rows.shape[1]), chosen).tolist()
    return tuple(e for e in others if bool((best[:, 0] - rows[:, e] >= margin).all()))


def _least_lead(logits: Node) -> Array | None:
    """[i, j]: by how much logit i exceeds logit j at least, for every input; None for an unknown router."""
    logits = _before_reshapes(logits)
    if not isinstance(logits.op, Linear):
        return None
    weight, bias = (value_of(n) for n in logits.inputs[1:])
    if weight is None or bias is None:
        return None
    w, b = weight.astype(np.float64), bias.astype(np.float64)
    differences = w[:, None] - w[None]  # (N, N, d)
    with np.errstate(invalid="ignore"):
        offset = b[:, None] - b[None]
    x = _before_reshapes(logits.inputs[0])
    factors = [value_of(n) for n in x.inputs[1:]] if isinstance(x.op, LayerNormalization | RMSNormalization) else [None]
    if any(factor is None for factor in factors):
        return np.asarray(np.where((differences == 0).all(axis=2), offset, -np.inf))
    gamma, *betas = (np.asarray(factor, np.float64) for factor in factors)
    scaled = differences * gamma
    if isinstance(x.op, LayerNormalization):
        scaled = scaled - scaled.mean(axis=2, keepdims=True)  # the normalised channels add up to 0
    reach = math.sqrt(len(gamma)) * np.sqrt((scaled**2).sum(axis=2))
    middle = offset + sum(differences @ beta for beta in betas)
    size = np.abs(differences) @ (np.abs(gamma) * math.sqrt(len(gamma)) + sum(np.abs(beta) for beta in betas))
    return np.asarray(middle - reach - ROUNDING * size)


def _before_reshapes(node: Node) -> Node:
    """Return the value before Reshapes that keep the last axis."""
    while isinstance(node.op, Reshape) and node.inputs[0].shape[-1:] == node.shape[-1:]:
        node = node.inputs[0]
    return node
