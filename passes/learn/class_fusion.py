"""The network that combines sub-models: a small MLP on their features, trained while the sub-models are frozen.

Source: ED-ViT (arXiv 2410.11650), fusion of the concatenated features of all sub-models by an MLP; one hidden layer here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir import Array, Graph, Node, make
from edgewright.passes.learn.class_pruning import answers_loss
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.fit import fit
from edgewright.passes.learn.progress import Progress
from edgewright.passes.learn.recipe import Recipe
from edgewright.passes.learn.torch_graph import TorchGraph

LOGITS = "logits"
STEPS = 1000


def feature_names(count: int) -> tuple[str, ...]:
    """Return inputs of the fusion network, one for each sub-model."""
    return tuple(f"features_{i}" for i in range(count))


def fusion_graph(
    widths: Sequence[int], classes: int, seed: int, mean: Array | None = None, spread: Array | None = None
) -> Graph:
    """Return inputs "features_0" (1, widths[0]) and so on; Concat, Linear, Gelu, Linear; output "logits" (1, classes).

    Hidden width: twice the classes or half of the features, whichever is more. Weights are random (Glorot and Bengio 2010);
    mean and spread of the joined features are folded into the first layer.
    """
    rng = np.random.default_rng(seed)
    total = sum(widths)
    hidden = max(2 * classes, total // 2)

    def weights(outs: int, ins: int) -> Array:
        bound = np.sqrt(6.0 / (outs + ins))
        return rng.uniform(-bound, bound, (outs, ins))

    inputs = [ops.graph_input(name, (1, width)) for name, width in zip(feature_names(len(widths)), widths, strict=True)]
    first = weights(hidden, total) / (np.ones(total) if spread is None else np.maximum(spread, 1e-3))
    bias = -first @ (np.zeros(total) if mean is None else mean)
    joined = inputs[0] if len(inputs) == 1 else make(ops.Concat(1), *inputs, origin=("features",))
    wide = make(ops.Linear(), joined, _constant(first, "fuse1"), _constant(bias, "fuse1"), origin=("fuse1",))
    active = make(ops.Gelu(), wide, origin=("fuse_gelu",))
    second = weights(classes, hidden)
    logits = make(ops.Linear(), active, _constant(second, "fuse2"), _constant(np.zeros(classes), "fuse2"), origin=("fuse2",))
    return Graph("fusion", tuple(inputs), (logits,), (LOGITS,))


def train_fusion(
    features: Sequence[Array],
    labels: Array,
    teacher: Array,
    seed: int,
    *,
    steps: int = STEPS,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Graph:
    """Return the fusion network of sub-models whose features (samples, width) these are; teacher: (samples, classes).
    `steps` of training at least, and whole passes over the samples, 20 at least."""
    joined = np.concatenate(features, axis=1)
    names = feature_names(len(features))
    widths = [part.shape[1] for part in features]
    graph = fusion_graph(widths, teacher.shape[1], seed, joined.mean(axis=0), joined.std(axis=0))
    module = TorchGraph(graph)
    data = LearningData(dict(zip(names, features, strict=True)), labels)
    batch = min(128, len(labels))
    recipe = Recipe(max(20, -(-steps // (len(labels) // batch))), batch, 2e-3, weight_decay=0.01, ema=0.99, seed=seed)
    fit(module, recipe, data, answers_loss(module, teacher), checkpoint=checkpoint, progress=progress, stage="fusion")
    return module.to_graph()


def _constant(value: Array, name: str) -> Node:
    return ops.constant(np.asarray(value, np.float32), (name,))
