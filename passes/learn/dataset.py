"""Samples to learn from: inputs by name, labels where there are any, and the checks that name what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.types import Array
from edgewright.passes.names import plain

NAMED = 12  # classes listed in a message


@dataclass(frozen=True, slots=True, eq=False)
class LearningData:
    """Inputs by name, a sample a row; labels (samples, ...) of whole numbers, or none.

    CompileError L002 when the numbers of samples differ or there are none, L003 for labels that are no whole numbers.
    """

    inputs: Mapping[str, Array]
    labels: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", {name: np.asarray(value) for name, value in self.inputs.items()})
        if self.labels is not None:
            object.__setattr__(self, "labels", np.asarray(self.labels))
        found = list(_problems(self.inputs, self.labels))
        if found:
            raise CompileError(found)
        if self.labels is not None:
            object.__setattr__(self, "labels", self.labels.astype(np.int64))

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def choose(self, index: Array) -> LearningData:
        """Return the samples at these positions, in this order."""
        labels = None if self.labels is None else self.labels[index]
        return LearningData({name: value[index] for name, value in self.inputs.items()}, labels)

    def split(self, share: float, seed: int = 0) -> tuple[LearningData, LearningData]:
        """Return all other samples, and a random share of the samples (at least one in each): to train on, and to judge by.

        With one label a sample, the share holds of every class. L006 for fewer than two samples.
        """
        self.check(least=2, purpose="to hold some back")
        held = np.zeros(len(self), bool)
        for members in self._classes(np.random.default_rng(seed)):
            held[members[: round(share * len(members))]] = True
        order = np.random.default_rng(seed).permutation(len(self))
        if not held.any() or held.all():
            held[order[0]] = not held[order[0]]
        return self.choose(np.flatnonzero(~held)), self.choose(np.flatnonzero(held))

    def take(self, count: int, seed: int = 0) -> LearningData:
        """Return `count` random samples in random order. Raise L006 when there are fewer."""
        self.check(least=count, purpose="as asked")
        return self.choose(np.random.default_rng(seed).permutation(len(self))[:count])

    def _classes(self, rng: np.random.Generator) -> Iterator[Array]:
        """Yield positions of each class in random order; of all samples where labels are not one a sample."""
        order = rng.permutation(len(self))
        if self.labels is None or self.labels.ndim > 1:
            yield order
            return
        for label in np.unique(self.labels):
            yield order[self.labels[order] == label]

    def check(
        self,
        graph: Graph | None = None,
        classes: int | None = None,
        *,
        labelled: bool = False,
        every_class: bool = False,
        least: int = 1,
        purpose: str = "for this step",
    ) -> None:
        """Raise everything at once: L010 inputs that do not fit the graph, L007 no labels where `labelled`, L004 labels
        outside [0, classes), L005 classes without a sample where `every_class`, L006 fewer samples than `least`."""
        found = list(_misfits(self, graph)) if graph is not None else []
        if len(self) < least:
            found.append(
                Diagnostic(
                    "L006",
                    f"{len(self)} samples are too few",
                    because=f"{least} are needed {purpose}",
                    help=f"give at least {least} samples in --data",
                )
            )
        if labelled and self.labels is None:
            found.append(
                Diagnostic("L007", "the data has no labels", because=f"they are needed {purpose}", help="add an array labels")
            )
        if classes is not None and self.labels is not None:
            found += _label_problems(self.labels, classes, every_class)
        if found:
            raise CompileError(found)

    @property
    def digest(self) -> str:
        """The same for the same samples, labels included."""
        found = hashlib.blake2b(digest_size=16)
        for name, value in (*sorted(self.inputs.items()), ("labels", self.labels)):
            if value is not None:
                found.update(f"{name} {value.dtype.str} {value.shape}".encode())
                found.update(np.ascontiguousarray(value).data)
        return found.hexdigest()


def _problems(inputs: Mapping[str, Array], labels: Array | None) -> Iterator[Diagnostic]:
    counts = {name: len(value) if value.ndim else 0 for name, value in inputs.items()}
    if labels is not None:
        counts["labels"] = len(labels) if labels.ndim else 0
    if not inputs or 0 in counts.values():
        yield Diagnostic("L002", "the data holds no samples", because=_counted(counts), help="give arrays with a sample a row")
    elif len(set(counts.values())) > 1:
        yield Diagnostic("L002", "the arrays hold different numbers of samples", because=_counted(counts))
    if labels is not None and labels.dtype.kind not in "iu" and not _whole(labels):
        yield Diagnostic(
            "L003",
            f"the labels are not whole numbers but {labels.dtype}",
            help="give the number of the class of each sample, counted from 0",
        )


def _whole(labels: Array) -> bool:
    return labels.dtype.kind in "fb" and bool(np.isfinite(labels).all() and (labels == np.floor(labels)).all())


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{plain(name)} has {count}" for name, count in counts.items()) or "there are no arrays"


def _misfits(data: LearningData, graph: Graph) -> Iterator[Diagnostic]:
    wanted = {node.name: node for node in graph.inputs}
    if set(wanted) != set(data.inputs):
        yield Diagnostic(
            "L010",
            "the data's arrays are not the model's inputs",
            because=f"the data has {_names(data.inputs)}, the model takes {_names(wanted)}",
            help="name the arrays like the inputs",
        )
    for name, node in wanted.items():
        value = data.inputs.get(name)
        if value is not None and value.shape[1:] != node.shape[1:]:
            yield Diagnostic("L010", f"samples of {plain(name)} have shape {value.shape[1:]}, the model takes {node.shape[1:]}")


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(plain(name) for name in sorted(names)) or "none"


def _label_problems(labels: Array, classes: int, every_class: bool) -> Iterator[Diagnostic]:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        yield Diagnostic(
            "L004",
            "labels out of range",
            because=f"they lie in [{low}, {high}], the model's head has {classes} classes, 0 to {classes - 1}",
            help="number the classes from 0" if low >= 1 and high <= classes else "give data of the model's own classes",
        )
        return
    missing = np.setdiff1d(np.arange(classes), labels)
    if every_class and missing.size:
        named = ", ".join(map(str, missing[:NAMED].tolist())) + (", ..." if missing.size > NAMED else "")
        yield Diagnostic(
            "L005",
            f"{missing.size} of {classes} classes have no sample",
            because=f"no label is {named}",
            help="give samples of every class",
        )
