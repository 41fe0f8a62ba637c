"""Joint training of the sub-models and the network that combines them, so that their features complement each other.

Source: ours. ED-ViT (arXiv 2410.11650) trains sub-models one by one and then the fusion, so that no sub-model can make up
for what another lacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgewright.passes.ir import Array, Graph
from edgewright.passes.learn.class_fusion import feature_names
from edgewright.passes.learn.class_pruning import LABEL_SHARE, PruningStage
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.fit import Batch, fit
from edgewright.passes.learn.losses import known_answers
from edgewright.passes.learn.progress import Progress
from edgewright.passes.learn.recipe import Recipe
from edgewright.passes.learn.torch_graph import TorchGraph
from edgewright.passes.learn.torch_import import Tensor, nn, torch
from edgewright.passes.structure.classifier import FEATURES, LOGITS, collapsed, relabelled

STAGE = "all together"
OWN_SHARE = 0.3
"""Of the sub-models' own answers, beside the answer of all: a device can still be asked alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """The result of joint training. loss: means over the first and the last epoch, or part of one."""

    sub_models: tuple[Graph, ...]
    fusion: Graph
    loss: tuple[float, float]
    images: int
    seconds: float


class Deployment(nn.Module):
    """All sub-models and their fusion as one module."""

    def __init__(self, sub_models: Sequence[Graph], fusion: Graph) -> None:
        super().__init__()
        self.sub_models = nn.ModuleList(TorchGraph(graph) for graph in sub_models)
        self.fusion = TorchGraph(fusion)

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return (samples, classes) of all, and (samples, own classes + other) of each sub-model."""
        outputs = [sub_model(inputs) for sub_model in self.sub_models]
        features = {name: each[FEATURES] for name, each in zip(feature_names(len(outputs)), outputs, strict=True)}
        return self.fusion(features)[LOGITS], [each[LOGITS] for each in outputs]


def tune_together(
    sub_models: Sequence[Graph],
    fusion: Graph,
    partition: Sequence[Sequence[int]],
    data: LearningData,
    teacher: Array,
    stage: PruningStage,
    batch: int,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Together:
    """Train everything for one more stage. teacher: the whole model's probabilities (samples, classes) for `data`,
    labelled."""
    begun = time.monotonic()
    index = np.random.default_rng(seed).permutation(len(data))[: stage.pool]
    chosen = data.choose(index)
    module = Deployment(sub_models, fusion)
    settings = {"warmup_epochs": 0.1, "weight_decay": 0.01, "ema": 0.99, "seed": seed}
    recipe = Recipe.of_steps(max(1, stage.images // batch), len(chosen), batch, stage.rate, **settings)
    loss = _loss(module, partition, teacher[index], chosen)
    history = fit(module, recipe, chosen, loss, checkpoint=checkpoint, progress=progress, stage=STAGE)
    trained = [part.to_graph() for part in (*module.sub_models, module.fusion) if isinstance(part, TorchGraph)]
    ends = history.epochs[0].loss, history.epochs[-1].loss
    return Together(tuple(trained[:-1]), trained[-1], ends, stage.images, time.monotonic() - begun)


def _loss(
    module: Deployment, partition: Sequence[Sequence[int]], teacher: Array, data: LearningData
) -> Callable[[Batch], Tensor]:
    assert data.labels is not None
    everything = torch.from_numpy(teacher.astype(np.float32))
    by_part = [
        (torch.from_numpy(collapsed(teacher, part).astype(np.float32)), torch.from_numpy(relabelled(data.labels, part)))
        for part in partition
    ]

    def loss(batch: Batch) -> Tensor:
        assert batch.labels is not None
        answers, alone = module(batch.inputs)
        value = known_answers(answers, everything[batch.index], batch.labels, LABEL_SHARE)
        for logits, (part, labels) in zip(alone, by_part, strict=True):
            loss_alone = known_answers(logits, part[batch.index], labels[batch.index], LABEL_SHARE)
            value = value + OWN_SHARE / len(by_part) * loss_alone
        return value

    return loss
