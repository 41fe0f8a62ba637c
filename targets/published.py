"""What others measured on such boards, to stand beside an estimate: models, runtimes and settings that are not ours."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import log

import msgspec

FACTOR = 8.0  # how many times larger or smaller a model may be and still be shown


class PublishedRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of published.toml. `board`: a name of ours, or x86_64 for any such host. `differs`: what is not as in the
    estimate: clock, arithmetic, batch, runtime."""

    board: str
    model: str
    macs: int
    ms: float
    precision: str
    runtime: str
    source: str
    differs: str
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class PublishedLatency:
    """A latency that somebody published. `macs_ratio`: its model's multiply-adds per one of the model in question.
    `threads`: None where its source does not say."""

    model: str
    ms: float
    threads: int | None
    precision: str
    runtime: str
    macs: int
    macs_ratio: float
    differs: str
    source: str


@cache
def table() -> tuple[PublishedRow, ...]:
    """Every row of the file. Raises msgspec.ValidationError where it breaks the schema."""
    text = (resources.files(__package__) / "published.toml").read_text(encoding="utf-8")
    return tuple(msgspec.convert(tomllib.loads(text)["measured"], list[PublishedRow], strict=True))


def nearest(board: str, macs: int, limit: int = 4) -> tuple[PublishedLatency, ...]:
    """Measurements on that board of the models whose multiply-adds are nearest; none where none is near."""
    if macs <= 0:
        return ()
    near = [row for row in table() if row.board == board and 1 / FACTOR <= row.macs / macs <= FACTOR]
    near.sort(key=lambda row: (abs(log(row.macs / macs)), row.model, row.threads or 0))
    return tuple(
        PublishedLatency(
            row.model, row.ms, row.threads, row.precision, row.runtime, row.macs, row.macs / macs, row.differs, row.source
        )
        for row in near[:limit]
    )
