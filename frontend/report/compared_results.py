"""The results of a comparison as typed values, which the terminal and `--json` show."""

from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.confidence import wilson
from edgewright.passes.ir import Array


@dataclass(frozen=True, slots=True)
class Share:
    """A share of samples, and the interval that holds the true one with 95 % confidence (Wilson)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: Array) -> Share:
        """Return the share of True."""
        value = float(hits.mean())
        return cls(value, *wilson(value, len(hits)))


@dataclass(frozen=True, slots=True)
class ComparedOutput:
    """One output of both models. agree: samples of the same class; first, second: top-1, where the data has labels, with their
    difference (second less first; its interval by Agresti and Min) and how likely equally good models differ so much
    (McNemar). sqnr_db: of the second against the first; None for equal values."""

    output: str
    samples: int
    largest_difference: float
    sqnr_db: float | None
    agree: Share | None = None
    first: Share | None = None
    second: Share | None = None
    difference: Share | None = None
    p_value: float | None = None
    labelled: int = 0


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """What is compared. by: what computed its outputs; cost: what its report predicts or measured, by name."""

    name: str
    by: str
    cost: dict[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Compared:
    """Two models on the same samples. source: what the samples are; notes: what the user must know."""

    first: ComparedModel
    second: ComparedModel
    source: str
    outputs: tuple[ComparedOutput, ...]
    notes: tuple[str, ...] = ()
