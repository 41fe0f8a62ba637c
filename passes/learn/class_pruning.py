"""A sub-model for some of the classes: three stages of structured pruning, each followed by fine-tuning.

Importance of a unit: KL(answers of the sub-model, answers without the unit) over samples of its classes and as many others.
A forward pass for each unit would be slow, so units are first sorted by the second-order estimate of that divergence,
1/2 E[(d log p(y|x) / d m)^2] for a mask m on the unit and y drawn from p (gradient times activation, summed over tokens and
over all places where the unit enters the model); only those near the cut are judged by the exact divergence.

Source: ED-ViT (arXiv 2410.11650), class-wise pruning by KL divergence in the order residual channels, attention,
feed-forward; the estimate: the Fisher information is the second derivative of the divergence (Theis et al., Faster gaze
prediction with dense networks and Fisher pruning, arXiv 1801.05787). The "other" output is this project's addition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from edgewright.passes.ir import Array, Graph, checkpoint
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.fit import Batch, fit
from edgewright.passes.learn.losses import known_answers
from edgewright.passes.learn.measure import outputs
from edgewright.passes.learn.progress import Progress
from edgewright.passes.learn.recipe import Recipe
from edgewright.passes.learn.torch_graph import TorchGraph
from edgewright.passes.learn.torch_import import Tensor, functional, torch
from edgewright.passes.structure.classifier import FEATURES, LOGITS, collapsed, keep_classes, relabelled
from edgewright.passes.structure.prune_structure import CHANNEL, HEAD, HIDDEN, UNITS, Structure, Unit, prune, structure_of
from edgewright.passes.structure.sub_model_shape import SubShape

STAGES = (CHANNEL, HEAD, HIDDEN)
LABEL_SHARE = 0.3
"""Of the loss; the rest is the divergence from the whole model's answers."""


@dataclass(frozen=True, slots=True)
class PruningStage:
    """How long one stage fine-tunes: images seen in all, at most `pool` different ones."""

    images: int
    pool: int
    rate: float


@dataclass(frozen=True, slots=True)
class PruningSchedule:
    """The three stages, that of all sub-models together, and what importance is judged on. The first two models are larger
    and slower to train than the last, which is the one that will be used: most of the time goes there.

    score_images: samples for the estimate; exact_images: samples for exact divergences; exact: units of a group that are
    judged exactly, half of them on either side of the cut (all where a group has no more)."""

    channels: PruningStage = PruningStage(8_000, 20_000, 2e-3)
    heads: PruningStage = PruningStage(6_000, 20_000, 2e-3)
    hidden: PruningStage = PruningStage(100_000, 60_000, 3e-3)
    together: PruningStage = PruningStage(100_000, 60_000, 2e-3)
    batch: int = 64
    score_images: int = 384
    exact_images: int = 96
    exact: int = 6

    def stage(self, kind: str) -> PruningStage:
        return {CHANNEL: self.channels, HEAD: self.heads, HIDDEN: self.hidden}[kind]

    def scaled(self, epochs: float, samples: int) -> PruningSchedule:
        """Return the same proportions, the last stage of a sub-model seeing `epochs` times all samples."""
        factor = epochs * samples / self.hidden.images

        def longer(stage: PruningStage) -> PruningStage:
            images = max(self.batch, round(stage.images * factor))
            return replace(stage, images=images, pool=min(stage.pool, samples))

        channels, heads, hidden, together = map(longer, (self.channels, self.heads, self.hidden, self.together))
        return replace(self, channels=channels, heads=heads, hidden=hidden, together=together)


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of one stage. accuracy: of the sub-model's own outputs on the samples it was judged by, before and after
    fine-tuning; divergence: of the answers before and after the cut."""

    kind: str
    before: int
    after: int
    divergence: float
    accuracy_cut: float
    accuracy: float
    images: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class SubModelTraining:
    """The data and settings that train a sub-model. teacher: the whole model's probabilities (samples, classes) for `data`.
    folder: where finished stages are stored, so that an interrupted run can resume."""

    data: LearningData
    teacher: Array
    schedule: PruningSchedule
    seed: int = 0
    folder: Path | None = None
    progress: Progress | None = None
    name: str = "sub-model"
    said: list[Pruned] = field(default_factory=list)


def prune_for_classes(graph: Graph, classes: Sequence[int], shape: SubShape, training: SubModelTraining) -> Graph:
    """Return the sub-model of a whole classifier (outputs "features" and "logits") in the shape wanted."""
    current = keep_classes(graph, classes)
    for number, kind in enumerate(STAGES):
        current = _stage(current, classes, shape, kind, number, training)
    return current


def _stage(graph: Graph, classes: Sequence[int], shape: SubShape, kind: str, number: int, training: SubModelTraining) -> Graph:
    """Return the graph after one cut and its fine-tuning, read from the folder if an earlier run finished it."""
    schedule, stage = training.schedule, training.schedule.stage(kind)
    stored = None if training.folder is None else training.folder / f"{training.name}-{number}-{kind}.npz"
    index = balanced(training.data.labels, classes, stage.pool, training.seed + number)
    chosen = training.data.choose(index)
    part = LearningData(chosen.inputs, relabelled(_labels(chosen), classes))
    answers = collapsed(training.teacher[index], classes)
    judged = part.choose(np.arange(min(len(part), schedule.score_images)))
    start = stored.with_suffix(".start.npz") if stored is not None else None
    if start is not None and start.is_file():
        cut = checkpoint.load(start)
    else:
        cut = cut_to(graph, shape, kind, judged, schedule)
        if start is not None:
            checkpoint.save(cut, start)
    module = TorchGraph(cut)
    accuracy_cut = _accuracy(module, judged)
    divergence = float(_divergence(_log_answers(TorchGraph(graph), judged), _log_answers(module, judged)))
    steps, settings = max(1, stage.images // schedule.batch), {"warmup_epochs": 0.25, "ema": 0.99, "seed": training.seed}
    recipe = Recipe.of_steps(steps, len(part), schedule.batch, stage.rate, **settings)
    history = fit(
        module,
        recipe,
        part,
        answers_loss(module, answers),
        checkpoint=None if stored is None else stored.with_suffix(".pt"),
        progress=training.progress,
        stage=f"{training.name}, {UNITS[kind]}",
    )
    units = len(structure_of(graph, (FEATURES,)).groups(kind)[0]), shape.left(kind)
    accuracy = _accuracy(module, judged)
    training.said.append(Pruned(kind, *units, divergence, accuracy_cut, accuracy, stage.images, history.seconds))
    return module.to_graph()


def answers_loss(module: TorchGraph, answers: Array) -> Callable[[Batch], Tensor]:
    """Return divergence from the whole model's answers, and cross entropy with the labels."""
    target = torch.from_numpy(answers.astype(np.float32))

    def loss(batch: Batch) -> Tensor:
        assert batch.labels is not None
        return known_answers(module(batch.inputs)[LOGITS], target[batch.index], batch.labels, LABEL_SHARE)

    return loss


def cut_to(graph: Graph, shape: SubShape, kind: str, data: LearningData, schedule: PruningSchedule) -> Graph:
    """Return the graph with the least important units of one kind gone, so many in each group that the shape is met."""
    structure = structure_of(graph, (FEATURES,))
    scores = estimate_divergence(structure, kind, data)
    few = data.choose(np.arange(min(len(data), schedule.exact_images)))
    answers = _log_answers(TorchGraph(graph), few)
    certain: list[Unit] = []
    undecided: list[tuple[list[Unit], int]] = []
    for group, units in enumerate(structure.groups(kind)):
        surplus = len(units) - shape.left(kind)
        if surplus <= 0:
            continue
        order = [units[i] for i in np.argsort(scores[group], kind="stable")]
        low = max(0, surplus - schedule.exact // 2) if len(units) > schedule.exact else 0
        high = min(len(units), low + schedule.exact)
        certain += order[:low]
        undecided.append((order[low:high], surplus - low))
    dropped = list(certain)
    for candidates, count in undecided:
        if count in (0, len(candidates)):  # nothing to choose
            dropped += candidates[:count]
            continue
        cuts = (TorchGraph(prune(structure, [*certain, unit])) for unit in candidates)
        exact = [float(_divergence(answers, _log_answers(cut, few))) for cut in cuts]
        dropped += [candidates[i] for i in np.argsort(exact, kind="stable")[:count]]
    return prune(structure, dropped) if dropped else graph


def estimate_divergence(structure: Structure, kind: str, data: LearningData, batch: int = 64) -> list[Array]:
    """For each group of a kind (units,): the second-order estimate of the divergence that removing the unit causes."""
    module = TorchGraph(structure.graph)
    groups = structure.groups(kind)
    places = [(g, node) for g, units in enumerate(groups) if units for node in structure.sites[kind, g]]
    masks = {(g, node): torch.from_numpy(structure.positions(node, groups[g]).astype(np.float32)) for g, node in places}
    logits = structure.graph.outputs[structure.graph.output_names.index(LOGITS)]
    nodes = list(dict.fromkeys(node for _, node in places))
    totals = [np.zeros(len(units)) for units in groups]
    generator = torch.Generator().manual_seed(0)
    for start in range(0, len(data), batch):
        part = {name: torch.from_numpy(np.array(value[start : start + batch])) for name, value in data.inputs.items()}
        *values, scores = module.evaluate(part, [*nodes, logits])
        answers = functional.log_softmax(scores, -1)
        drawn = torch.multinomial(answers.detach().exp(), 1, generator=generator)
        gradients = torch.autograd.grad(answers.gather(1, drawn).sum(), values, allow_unused=True)
        count = len(answers)
        slopes = [torch.zeros(count, len(units)) for units in groups]
        at_node = dict(zip(nodes, zip(values, gradients, strict=True), strict=True))
        for g, node in places:
            value, gradient = at_node[node]
            if gradient is not None:
                product = (value * gradient).detach().reshape(count, -1, value.shape[-1]).sum(1)
                slopes[g] += product @ masks[g, node].T
        for total, slope in zip(totals, slopes, strict=True):
            total += 0.5 * slope.square().sum(0).numpy()
    return [total / len(data) for total in totals]


def balanced(labels: Array | None, classes: Sequence[int], count: int, seed: int) -> Array:
    """Return positions of at most `count` samples: half of them of these classes, half of the others (none if there are no
    others), each class as often as the scarcest allows; in random order."""
    assert labels is not None
    rng = np.random.default_rng(seed)
    every = np.unique(labels)
    own = [c for c in every if c in set(classes)]
    others = [c for c in every if c not in set(classes)]
    chosen: list[Array] = []
    for group, share in ((own, count // 2 if others else count), (others, count - count // 2)):
        if not group:
            continue
        each = max(1, share // len(group))
        chosen += [rng.permutation(np.flatnonzero(labels == c))[:each] for c in group]
    return rng.permutation(np.concatenate(chosen))


def _log_answers(module: TorchGraph, data: LearningData) -> Tensor:
    return functional.log_softmax(torch.from_numpy(outputs(module, data)[LOGITS]), -1)


def _divergence(before: Tensor, after: Tensor) -> Tensor:
    """Return KL(before, after), mean over samples; both log probabilities."""
    return functional.kl_div(after, before, reduction="batchmean", log_target=True)


def _accuracy(module: TorchGraph, data: LearningData) -> float:
    return float((outputs(module, data)[LOGITS].argmax(-1) == _labels(data)).mean())


def _labels(data: LearningData) -> Array:
    assert data.labels is not None
    return data.labels
