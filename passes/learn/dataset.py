"""Samples to learn from: inputs by name, labels where there are any, and the checks that name what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir import Array, Graph
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
        problems = list(_problems(self.inputs, self.labels))
        if problems:
            raise CompileError(problems)
        if self.labels is not None:
            object.__setattr__(self, "labels", self.labels.astype(np.int64))

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def choose(self, index: Array) -> LearningData:
        """Return the samples at these positions, in this order."""
        labels = None if self.labels is None else self.labels[index]
        return LearningData({name: value[index] for name, value in self.inputs.items()}, labels)

    def check(
        self,
        graph: Graph | None = None,
        classes: int | None = None,
        *,
        labelled: bool = False,
        every_class: bool = False,
        purpose: str = "for this step",
    ) -> None:
        """Raise everything at once: L010 inputs that do not fit the graph, L007 no labels where `labelled`, L004 labels
        outside [0, classes), L005 classes without a sample where `every_class`."""
        problems = list(_misfits(self, graph)) if graph is not None else []
        if labelled and self.labels is None:
            problems.append(
                Diagnostic("L007", "the data has no labels", because=f"they are needed {purpose}", help="add an array labels")
            )
        if classes is not None and self.labels is not None:
            problems += _label_problems(self.labels, classes, every_class)
        if problems:
            raise CompileError(problems)

    @property
    def digest(self) -> str:
        """The same for the same samples, labels included."""
        state = hashlib.blake2b(digest_size=16)
        for name, value in (*sorted(self.inputs.items()), ("labels", self.labels)):
            if value is not None:
                state.update(f"{name} {value.dtype.str} {value.shape}".encode())
                state.update(np.ascontiguousarray(value).data)
        return state.hexdigest()


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
    model_inputs = {node.name: node for node in graph.inputs}
    if set(model_inputs) != set(data.inputs):
        yield Diagnostic(
            "L010",
            "the data's arrays are not the model's inputs",
            because=f"the data has {_names(data.inputs)}, the model takes {_names(model_inputs)}",
            help="name the arrays like the inputs",
        )
    for name, node in model_inputs.items():
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
