"""Latencies that others published for such boards, to compare with an estimate: other models, runtimes and settings."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from math import log

import msgspec
from edgewright.passes.results import Published

FACTOR = 8.0  # how many times larger or smaller a model shown may be


class PublishedRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of published.toml. `board`: a board file, or x86_64 for any such host. `differs`: what differs from the
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


@cache
def table() -> tuple[PublishedRow, ...]:
    """Return every row of the file. Raises msgspec.ValidationError if it breaks the schema."""
    text = (resources.files(__package__) / "published.toml").read_text(encoding="utf-8")
    return tuple(msgspec.convert(tomllib.loads(text)["measured"], list[PublishedRow], strict=True))


def nearest(board: str, macs: int, limit: int = 4) -> tuple[Published, ...]:
    """Return measurements on that board of the models with the nearest multiply-adds; none if none is near."""
    if macs <= 0:
        return ()
    near = [row for row in table() if row.board == board and 1 / FACTOR <= row.macs / macs <= FACTOR]
    near.sort(key=lambda row: (abs(log(row.macs / macs)), row.model, row.threads or 0))
    return tuple(
        Published(
            row.model, row.ms, row.threads, row.precision, row.runtime, row.macs, row.macs / macs, row.differs, row.source
        )
        for row in near[:limit]
    )
