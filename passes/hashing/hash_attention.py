from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.hashing.attention_layers import AttentionLayer, attention_layers
from edgewright.passes.hashing.energy import WORTH, hashing_gains
from edgewright.passes.hashing.hash_layer import (
    QUERIES,
    Values,
    attention_map,
    compared,
    hashed_map,
    learn_layer,
    read_by,
    replace_attention,
)
from edgewright.passes.ir import Array, Graph, Node
from edgewright.passes.ir.interp import visit
from edgewright.passes.learn.recipe import Recipe
from edgewright.passes.ops import HashAttention
from edgewright.passes.ops.hashing import CONSTANTS
from edgewright.passes.transform import Note, Pass, Progress

LEAST_SAMPLES = 16
LEARNED_FROM = 32  # samples, as in the released code: one batch
COMPARED_ON = 32  # further samples, where there are any
PROJECTIONS = ("scores", "queries")
TARGETS = ("scores", "directions")
RECIPE = Recipe(epochs=2, batch=64, rate=1e-3)


@dataclass(frozen=True, slots=True)
class HashAttentionLayers(Pass):
    """Replaces softmax attention by attention between binary codes, linear in the number of tokens.

    Before: Attention(Wq x, Wk x, v). After: HashAttention(HashCodes(Wu x, anchors, coefficients, threshold), v); no Wk.
    layers: "all" that can be hashed, "auto" (`energy.HashingGain.pays`), positions from 0 ("0,2"), or tokens (">=128").
    projection: what u starts from, the part of the scores that is the same both ways ("scores") or the rows of Q, as
    published ("queries"). target: what codes learn to agree on, "scores" or nearness of u, as published ("directions").
    samples by input name: hash functions learn from the first of them; with a recipe the whole model then learns the
    unmodified model's outputs on all of them, attention's own outputs beside with weight `hidden`.
    Exact: no. Source: EcoFormer (arXiv 2209.09004), sections 3.1 to 3.3; tuning hash functions by gradients is ours, and so
    are the two defaults "scores": accuracy before tuning is higher by them.
    """

    exact: ClassVar[bool] = False

    layers: str | Sequence[int] = "all"
    bits: int = 16
    supports: int = 25
    constant: str = "sum"
    projection: str = "scores"
    target: str = "scores"
    samples: Mapping[str, Array] = field(default_factory=dict)
    recipe: Recipe | None = RECIPE
    hidden: float = 0.0
    seed: int = 0
    progress: Progress | None = None
    checkpoints: Path | None = None

    def __post_init__(self) -> None:
        if self.constant not in CONSTANTS or self.projection not in PROJECTIONS or self.target not in TARGETS:
            raise ValueError(f"constant {self.constant}, projection {self.projection}, target {self.target}")
        if min(self.bits, self.supports) < 1:
            raise ValueError(f"{self.bits} bits from {self.supports} support samples")

    def run(self, graph: Graph, note: Note) -> Graph:
        chosen, refused = self._choose(graph)
        for diagnostic in (*refused, *self._too_few(chosen)):
            note.refuse(diagnostic)
        if note.refusals:
            return graph
        learned, others = self._calibration(graph, chosen)
        hashed = {}
        for i, layer in enumerate(chosen):
            if self.progress is not None:
                self.progress("learn hash functions", i, len(chosen))
            hashed[layer.node] = learn_layer(layer, learned.values, self)
        note.count("hashed layers", len(chosen))
        result = replace_attention(graph, hashed, self)
        models = [("hashed", result)]
        if self.recipe is not None:
            models.append(("tuned", self._tuned(graph, result, chosen, note)))
        self._compare(chosen, models, others, note)
        return models[-1][1]

    def _choose(self, graph: Graph) -> tuple[list[AttentionLayer], list[Diagnostic]]:
        layers = attention_layers(graph)
        if not layers:
            return [], [_nothing_to_hash(graph)]
        if not isinstance(self.layers, str):
            return _by_index(layers, list(self.layers))
        if self.layers[:1].isdigit():
            return _by_index(layers, [int(part) for part in self.layers.split(",")])
        if self.layers == "auto":
            gains = hashing_gains(graph, self.bits, self.supports)
            worthy = [gain.layer for gain in gains if gain.pays]
            return worthy, [] if worthy else [_pays_nowhere(graph, max(gain.bound for gain in gains))]
        least = 0 if self.layers == "all" else int(self.layers.removeprefix(">="))
        among = [layer for layer in layers if layer.tokens >= least]
        chosen = [layer for layer in among if layer.obstacle is None]
        return chosen, [] if chosen else [_obstructed(layer) for layer in among] or [_too_short(layers, least)]

    def _too_few(self, chosen: list[AttentionLayer]) -> Iterator[Diagnostic]:
        count = min((len(value) for value in self.samples.values()), default=0)
        tokens = min((layer.tokens * layer.windows for layer in chosen), default=1)
        need = max(LEAST_SAMPLES, -(-2 * self.supports // tokens))
        if chosen and count < need:
            yield Diagnostic(
                "H001",
                f"{count} calibration samples are too few to learn hash functions from",
                chosen[0].node.name,
                f"{self.supports} support samples are drawn from their tokens, and codes are fitted to all of them",
                f"give at least {need} samples",
            )

    def _calibration(self, graph: Graph, chosen: Sequence[AttentionLayer]) -> tuple[_Seen, _Seen]:
        """Return samples to learn from, and others to compare on (the same where there are no more)."""
        count = min(len(value) for value in self.samples.values())
        order = np.random.default_rng(self.seed).permutation(count)
        nodes = [node for layer in chosen for node in read_by(layer)]
        first = _Seen.of(graph, self.samples, order[:LEARNED_FROM], nodes)
        rest = order[LEARNED_FROM : LEARNED_FROM + COMPARED_ON]
        return first, _Seen.of(graph, self.samples, rest, nodes) if len(rest) else first

    def _tuned(self, graph: Graph, hashed: Graph, chosen: Sequence[AttentionLayer], note: Note) -> Graph:
        from edgewright.passes.learn.hash_tuning import tune

        assert self.recipe is not None
        pairs = list(zip((layer.node for layer in chosen), _of_layers(hashed, chosen), strict=True))
        checkpoint = None if self.checkpoints is None else self.checkpoints / "hashed_attention.pt"
        result, history = tune(
            graph,
            hashed,
            self.samples,
            self.recipe,
            pairs=pairs,
            hidden=self.hidden,
            checkpoint=checkpoint,
            progress=self.progress,
        )
        rows = [(epoch.number, epoch.loss) for epoch in history.epochs]
        note.table("Tuning of hashed attention", ("epoch", "loss"), rows, "How far the model was from the unmodified one.")
        return result

    def _compare(self, chosen: Sequence[AttentionLayer], models: Sequence[tuple[str, Graph]], seen: _Seen, note: Note) -> None:
        """Add a table of the similarity of maps before and after; codes have to beat the similarity of equal weights."""
        rows: dict[AttentionLayer, list[float]] = {}
        maps = {}
        rng = np.random.default_rng(self.seed)
        picked = {layer: np.sort(rng.permutation(layer.tokens)[:QUERIES]) for layer in chosen}
        for layer in chosen:
            maps[layer] = attention_map(layer, seen.values, picked[layer])
            rows[layer] = [*compared(maps[layer], np.full_like(maps[layer], 1 / maps[layer].shape[-1]))]
        for _, model in models:
            codes = [node.inputs[0] for node in _of_layers(model, chosen)]
            values = _Seen.of(model, self.samples, seen.order, codes).values
            for layer, node in zip(chosen, codes, strict=True):
                rows[layer] += compared(maps[layer], hashed_map(values[node], layer.op.heads, picked[layer]))
        names = ["equal weights", *(name for name, _ in models)]
        columns = ["layer", "tokens", *(f"{measure}, {name}" for name in names for measure in ("cosine", "KL"))]
        cells = [(f"{layer.index}: {layer.node.name}", layer.tokens, *values) for layer, values in rows.items()]
        note.table("Attention maps", columns, cells, f"Against softmax's, on {len(seen.order)} samples; KL in nats.")


@dataclass(frozen=True, slots=True)
class _Seen:
    """Values of some nodes on the samples at `order`."""

    order: Array
    values: Values

    @staticmethod
    def of(graph: Graph, samples: Mapping[str, Array], order: Array, nodes: Sequence[Node]) -> _Seen:
        values: dict[Node, list[Array]] = {node: [] for node in nodes}

        def see(node: Node, value: Array) -> None:
            if node in values:
                values[node].append(value)

        visit(graph, {name: np.asarray(value)[order] for name, value in samples.items()}, see)
        return _Seen(order, {node: np.concatenate(runs) for node, runs in values.items()})


def _of_layers(graph: Graph, chosen: Sequence[AttentionLayer]) -> list[Node]:
    """Return the HashAttention that stands for each layer: it has its name."""
    hashed = {node.origin: node for node in graph.nodes() if isinstance(node.op, HashAttention)}
    return [hashed[layer.node.origin] for layer in chosen]


def _by_index(layers: Sequence[AttentionLayer], wanted: Sequence[int]) -> tuple[list[AttentionLayer], list[Diagnostic]]:
    missing = [index for index in wanted if not 0 <= index < len(layers)]
    refused = [
        Diagnostic("H003", f"there is no attention layer {index}", help=f"layers are counted from 0 to {len(layers) - 1}")
        for index in missing
    ]
    chosen = [layers[index] for index in sorted(set(wanted) - set(missing))]
    return chosen, refused + [_obstructed(layer) for layer in chosen if layer.obstacle is not None]


def _obstructed(layer: AttentionLayer) -> Diagnostic:
    return Diagnostic(
        "H004", f"attention layer {layer.index} cannot be hashed", layer.node.name, layer.obstacle or "", "omit this layer"
    )


def _nothing_to_hash(graph: Graph) -> Diagnostic:
    done = any(isinstance(node.op, HashAttention) for node in graph.nodes())
    because = "its attention is hashed already" if done else "it has no softmax attention that was recognised"
    return Diagnostic("H002", "there is no attention to hash", graph.name, because, "edgewright inspect lists the operators")


def _too_short(layers: Sequence[AttentionLayer], least: int) -> Diagnostic:
    lengths = ", ".join(str(n) for n in sorted({layer.tokens for layer in layers}))
    return Diagnostic("H005", f"no attention layer has {least} tokens or more", help=f"there are layers of {lengths} tokens")


def _pays_nowhere(graph: Graph, bound: float) -> Diagnostic:
    return Diagnostic(
        "H006",
        "hashing pays in no layer of this model",
        graph.name,
        f"scores and their sums take at most {bound:.0%} of a block's energy, and below {WORTH:.0%} there is little to save",
        'name the layers to hash anyway ("--hash-attention all"), or leave attention as it is',
    )
