"""The result of running a compiled model: its outputs, and what they say where they are classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgewright.frontend.samples.scores import classes_of
from edgewright.passes.confidence import wilson
from edgewright.passes.ir import Array
from edgewright.passes.names import plain
from edgewright.passes.results import Score, html_of

_ROWS = 12
"""Samples that a notebook shows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One class that a sample may be of. share: of all classes together, by softmax where the output is not one already."""

    label: int
    name: str
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Ran(Mapping[str, Array]):
    """One run: outputs as real numbers by name, and whether they agree with the interpreter (None: not checked). by: what
    computed them; scores: accuracy of each output, where the data has labels; classes: their names; titles: what the samples
    are called; notes: what was done to the data."""

    outputs: dict[str, Array]
    agrees: bool | None = None
    by: str = "this machine"
    scores: tuple[Score, ...] = ()
    classes: tuple[str, ...] | None = None
    titles: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def classifier(self) -> str | None:
        """The first output that tells classes apart; None where there is none."""
        counts = {name: classes_of(value.shape) for name, value in self.outputs.items()}
        fitting = [name for name, count in counts.items() if count and (self.classes is None or count == len(self.classes))]
        return fitting[0] if fitting else None

    def answers(self, most: int = 5) -> list[list[Answer]]:
        """Return for each sample the classes that it most likely is of, the first first; nothing without a classifier."""
        if (name := self.classifier) is None:
            return []
        values = self.outputs[name].reshape(len(self.outputs[name]), -1).astype(np.float64)
        if values.min() < 0 or not np.allclose(values.sum(axis=1), 1, atol=0.05):
            values = np.exp(values - values.max(axis=1, keepdims=True))
            values /= values.sum(axis=1, keepdims=True)
        order = np.argsort(-values, axis=1, kind="stable")[:, :most]
        return [
            [Answer(int(i), self._name(int(i)), float(row[i])) for i in best] for row, best in zip(values, order, strict=True)
        ]

    def _name(self, label: int) -> str:
        return str(label) if self.classes is None else self.classes[label]

    def summary(self) -> dict[str, Any]:
        """Return what a program wants to know of it besides the arrays."""
        outputs = {
            name: {"shape": list(value.shape), "lowest": float(value.min()), "highest": float(value.max())}
            for name, value in self.outputs.items()
        }
        titles = self.titles or ()
        rows = [{"sample": titles[i] if i < len(titles) else i, "answers": row} for i, row in enumerate(self.answers())]
        shares = [wilson(score.value, score.images) for score in self.scores]
        scores = [
            {"output": s.output, "metric": s.metric, "value": s.value, "interval": ends, "samples": s.images}
            for s, ends in zip(self.scores, shares, strict=True)
        ]
        facts: dict[str, Any] = {"by": self.by, "agrees": self.agrees, "notes": self.notes}
        return {"outputs": outputs, "samples": rows, "scores": scores, **facts}

    def _repr_html_(self) -> str:
        titles = self.titles or ()
        rows = [
            (titles[i] if i < len(titles) else f"sample {i}", ", ".join(f"{a.name} {100 * a.share:.1f} %" for a in row))
            for i, row in enumerate(self.answers(3)[:_ROWS])
        ]
        return html_of(repr(self), rows)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{plain(name)} {' x '.join(map(str, value.shape))}" for name, value in self.outputs.items())
        agrees = "" if self.agrees is None else f", agrees={self.agrees}"
        return f"<Ran: {shapes}{agrees}>"
