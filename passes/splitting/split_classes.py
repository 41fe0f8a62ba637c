"""One classifier becomes several smaller ones, each for some of the classes, and a network that puts them together.

Source: ED-ViT (arXiv 2410.11650): split by classes, class-wise pruning, assignment to devices, fusion.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgewright.passes import orders
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.documents import Unreadable, read_json
from edgewright.passes.ir import Array, Graph
from edgewright.passes.ir.text import digest
from edgewright.passes.splitting.assign_devices import Energy, Place, assign_devices
from edgewright.passes.splitting.partition_classes import (
    Method,
    Partition,
    confusion_of,
    partition_by_confusion,
    partition_even,
)
from edgewright.passes.structure.classifier import FEATURES, find_classifier, keep_classes
from edgewright.passes.structure.prune_structure import CHANNEL, HEAD, HIDDEN, UNITS, structure_of
from edgewright.passes.structure.sub_model_shape import Footprint, SubShape, footprint, full_shape, ladder, shaped

if TYPE_CHECKING:
    from edgewright.passes.learn.class_pruning import Pruned, PruningSchedule
    from edgewright.passes.learn.class_tuning import Together
    from edgewright.passes.learn.dataset import LearningData
    from edgewright.passes.learn.progress import Progress

FUSION_IMAGES = 30_000
FORWARD_SHARE = 3  # of a step's time, going forward alone is about a third
ANSWERS, RUN_FILE = "answers.npy", "run.json"
ANOTHER_RUN = "the training to resume is another one"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """What will be made, before anything is trained: for each sub-model its classes, its shape and its device.

    costs: the footprint of each; whole: that of the model that is split; harder: how many times a sub-model had to be
    made smaller than asked for."""

    partition: Partition
    shapes: tuple[SubShape, ...]
    devices: tuple[int, ...]
    costs: tuple[Footprint, ...]
    whole: Footprint
    harder: int


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The result of a split. pruned: the stages of each sub-model; together: the joint training.

    sub_models: graphs with outputs "features" and "logits" (its classes, then "other"); fusion: from all features to "logits"
    of all classes."""

    plan: SplitPlan
    pruned: tuple[tuple[Pruned, ...], ...]
    together: Together

    @property
    def sub_models(self) -> tuple[Graph, ...]:
        return self.together.sub_models

    @property
    def fusion(self) -> Graph:
        return self.together.fusion


@dataclass(frozen=True, slots=True)
class SplitClasses:
    """Before: a float classifier with equal blocks. After: a `Split`. Not a Pass: several graphs come out.

    Finally all learn together, for as long as one sub-model in its last stage.
    parts: sub-models; size: parameters of one, at most, as a share of the model's (default: 1 / parts); grain: what widths
    are multiples of. epochs: how many times as many images as there are the last stage of each sub-model sees (default:
    the schedule's own). checkpoints: a folder in which an interrupted run is kept; `resume` goes on from it.
    Exact: no. Source: see above, and the modules that do the parts.
    """

    parts: int
    partition: Method = "even"
    size: float | None = None
    grain: int = 4
    seed: int = 0
    epochs: float | None = None
    schedule: PruningSchedule | None = None
    checkpoints: Path | None = None
    resume: bool = False
    progress: Progress | None = field(default=None, compare=False)
    say: Say | None = field(default=None, compare=False)

    exact = False

    def plan(
        self, graph: Graph, places: Sequence[Place] | None = None, energy: Energy | None = None, confusion: Array | None = None
    ) -> SplitPlan:
        """Return who gets which classes and how small each becomes; `places` default to devices without limits. `energy`:
        of a device and a shape's place in the ladder, see `levels`."""
        orders.check("SplitClasses", graph)
        classes = find_classifier(graph).classes
        if self.partition == "confusion" and confusion is not None:
            partition_even(classes, self.parts)  # refuses the same
            partition = partition_by_confusion(confusion, self.parts)
        else:
            partition = partition_even(classes, self.parts)
        shapes = self.levels(graph)
        whole = footprint(graph)
        by_count = {
            count: [footprint(shaped(keep_classes(graph, range(count)), shape)) for shape in shapes]
            for count in {len(part) for part in partition}
        }
        costs = [by_count[len(part)] for part in partition]
        if self.size is not None and not 0 < self.size <= 1:
            because = "it is the share of the model's parameters that one sub-model may keep"
            fail("K013", f"--size {self.size} makes no sub-model", "--size", because, exit=Exit.USAGE)
        limit = (1 / self.parts if self.size is None else self.size) * whole.parameters
        start = next((i for i, cost in enumerate(costs[0]) if cost.parameters <= max(limit, 0)), len(shapes) - 1)
        if self.size is None and self.parts == 1:
            start = 0
        unlimited = [Place(f"device {i}", 1 << 62) for i in range(self.parts)]
        assignment = assign_devices(costs, start, unlimited if places is None else places, energy)
        chosen = tuple(shapes[level] for level in assignment.levels)
        cost = tuple(ladder[level] for ladder, level in zip(costs, assignment.levels, strict=True))
        return SplitPlan(partition, chosen, assignment.devices, cost, whole, assignment.harder)

    def levels(self, graph: Graph) -> tuple[SubShape, ...]:
        """Return the shapes that a sub-model may have, largest first."""
        return ladder(full_shape(structure_of(graph)), self.grain)

    def run(
        self, graph: Graph, data: LearningData, places: Sequence[Place] | None = None, energy: Energy | None = None
    ) -> Split:
        """Plan, trains every sub-model and the fusion network. CompileError: K-codes; L001 without torch, L004 labels out
        of range, L005 classes without samples, L007 no labels; K008 a folder with another run's checkpoints."""
        from edgewright.passes.learn.class_fusion import train_fusion
        from edgewright.passes.learn.class_pruning import SubModelTraining, prune_for_classes
        from edgewright.passes.learn.class_tuning import tune_together
        from edgewright.passes.learn.measure import outputs

        orders.check("SplitClasses", graph)
        classes = find_classifier(graph).classes
        data.check(graph, classes, labelled=True, every_class=True, purpose="to split by classes")
        assert data.labels is not None
        self._claim(graph, data)
        if self.partition == "even":
            plan = self.plan(graph, places, energy)
        teacher = self.teacher(graph, data)
        if self.partition == "confusion":
            plan = self.plan(graph, places, energy, confusion_of(teacher, data.labels))
        schedule = self.timetable(len(data))
        told = None if self.progress is None else _Whole(graph, plan, schedule, self.progress)
        say = self.say or (lambda line: None)
        sub_models: list[Graph] = []
        pruned: list[tuple[Pruned, ...]] = []
        for i, (part, shape) in enumerate(zip(plan.partition, plan.shapes, strict=True)):
            name = f"sub-model {i + 1} of {self.parts}"
            training = SubModelTraining(data, teacher, schedule, self.seed + i, self.checkpoints, told, name)
            sub_models.append(prune_for_classes(graph, part, shape, training))
            pruned.append(tuple(training.said))
            for stage in training.said:
                say(f"{name}, classes {', '.join(map(str, part))}: {describe(stage)}")
        index = np.random.default_rng(self.seed).permutation(len(data))[:FUSION_IMAGES]
        few = data.choose(index)
        features = [outputs(sub_model, few)[FEATURES] for sub_model in sub_models]
        assert few.labels is not None
        fusion = train_fusion(
            features, few.labels, teacher[index], self.seed, checkpoint=self._stored("fusion.pt"), progress=told
        )
        together = tune_together(
            sub_models,
            fusion,
            plan.partition,
            data,
            teacher,
            schedule.together,
            schedule.batch,
            self.seed,
            checkpoint=self._stored("together.pt"),
            progress=told,
        )
        first, last = together.loss
        say(f"all together: loss {first:.4f} to {last:.4f} after {together.images:,} images, {together.seconds:.0f} s")
        return Split(plan, tuple(pruned), together)

    def timetable(self, samples: int) -> PruningSchedule:
        """Return the schedule that `run` follows."""
        from edgewright.passes.learn.class_pruning import PruningSchedule

        schedule = self.schedule or PruningSchedule()
        return schedule if self.epochs is None else schedule.scaled(self.epochs, samples)

    def teacher(self, graph: Graph, data: LearningData) -> Array:
        """Return the whole model's probabilities (samples, classes); from the folder where they are kept there."""
        from edgewright.passes.learn.measure import outputs

        stored = self._stored(ANSWERS)
        if stored is not None and stored.is_file():
            return np.asarray(np.load(stored, allow_pickle=False))
        head = find_classifier(graph)
        scores = outputs(Graph(graph.name, graph.inputs, (head.head,), ("scores",)), data)["scores"].reshape(len(data), -1)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        answers: Array = powers / powers.sum(axis=1, keepdims=True)
        if stored is not None:
            partial = stored.with_suffix(".partial.npy")
            np.save(partial, answers)
            partial.replace(stored)
        return answers

    def _stored(self, name: str) -> Path | None:
        return None if self.checkpoints is None else self.checkpoints / name

    def _claim(self, graph: Graph, data: LearningData) -> None:
        """Write down whose checkpoints the folder holds. K008 when they are another run's; without `resume` they go, but for
        the whole model's answers to the same data."""
        if self.checkpoints is None:
            return
        run = {
            "model": digest(graph),
            "data": data.digest,
            "parts": self.parts,
            "partition": self.partition,
            "size": self.size,
            "grain": self.grain,
            "seed": self.seed,
            "schedule": dataclasses.asdict(self.timetable(len(data))),
        }
        path = self.checkpoints / RUN_FILE
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        before = self._begun(path)
        if self.resume and before:
            if differs := sorted(key for key in {*before, *run} if before.get(key) != json.loads(json.dumps(run.get(key)))):
                because, help_text = (
                    f"{', '.join(differs)} changed since",
                    "use the same model, data and options, or omit --resume",
                )
                fail("K008", ANOTHER_RUN, str(self.checkpoints), because, help_text, exit=Exit.USAGE)
            return
        same_answers = all(before.get(key) == run[key] for key in ("model", "data"))
        for old in kept_by_training(self.checkpoints):
            if old.name != RUN_FILE and not (same_answers and old.name == ANSWERS):
                old.unlink()
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)

    def _begun(self, path: Path) -> dict[str, Any]:
        """Return whose checkpoints a folder holds. CompileError K008 for a folder that holds something else."""
        try:
            return read_json(path, dict[str, Any])
        except Unreadable as error:
            if all(file.name.endswith(".partial") for file in path.parent.iterdir()):
                return {}
            because = f"{path.name}: {error}" if path.exists() else "it holds files that are not from a training"
            help_text = "move the folder away, or choose another -o"
            fail("K008", ANOTHER_RUN, str(path.parent), because, help_text, Exit.USAGE, error)


def kept_by_training(folder: Path) -> list[Path]:
    """Return the files in a folder of checkpoints that a training keeps there; others are the user's."""
    state = r"(fusion|together|sub-model \d+ of \d+-\d+-\w+)\.pt(\.\d+\.partial)?"
    names = re.compile(rf"run\.(json|partial)|answers(\.partial)?\.npy|{state}|sub-model \d+ of \d+-\d+-\w+(\.start)?\.npz")
    return [file for file in sorted(folder.iterdir()) if names.fullmatch(file.name) and file.is_file()]


class _Whole:
    """Progress of all trainings as one: units of work follow products, so that the time left is that of the whole."""

    def __init__(self, graph: Graph, plan: SplitPlan, schedule: PruningSchedule, progress: Progress) -> None:
        self.progress, self.before, self.now = progress, 0, ("", 0)
        full = full_shape(structure_of(graph))
        self.costs: list[int] = []  # of the stages to come
        for part, shape in zip(plan.partition, plan.shapes, strict=True):
            base = keep_classes(graph, part)
            cuts = (
                (CHANNEL, SubShape(shape.width, full.heads, full.hidden)),
                (HEAD, SubShape(shape.width, shape.heads, full.hidden)),
                (HIDDEN, shape),
            )
            for kind, cut in cuts:
                self.costs.append(1 + schedule.stage(kind).images * footprint(shaped(base, cut)).macs // 10**6)
        every = sum(cost.macs for cost in plan.costs)
        self.costs += [1 + FUSION_IMAGES * every // 10**6 // FORWARD_SHARE, 1 + schedule.together.images * every // 10**6]
        self.total = sum(self.costs)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self.now[0]:
            self.before += self.now[1]
            self.now = stage, self.costs.pop(0) if self.costs else 0
        self.progress(stage, self.before + self.now[1] * done // max(1, total), self.total)


def describe(stage: Pruned) -> str:
    """Return one line about a stage, for logs."""
    return (
        f"{stage.before} -> {stage.after} {UNITS[stage.kind]}, divergence {stage.divergence:.4f}, own top-1 "
        f"{100 * stage.accuracy_cut:.2f} % cut, {100 * stage.accuracy:.2f} % after {stage.images:,} images, "
        f"{stage.seconds:.0f} s"
    )


def answer(split: Split, data: LearningData) -> Array:
    """Return (samples, classes): logits of the whole deployment."""
    from edgewright.passes.learn.class_fusion import feature_names
    from edgewright.passes.learn.measure import outputs

    features = [outputs(sub_model, data)[FEATURES] for sub_model in split.sub_models]
    return outputs(split.fusion, dict(zip(feature_names(len(features)), features, strict=True)))["logits"]


def identity(split: Split) -> str:
    """Return the same for the same sub-models and fusion."""
    digests = "".join(digest(graph) for graph in (*split.sub_models, split.fusion))
    return hashlib.sha256(digests.encode()).hexdigest()
