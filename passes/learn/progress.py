"""Progress of training: not reported, or written as lines with the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgewright.passes.transform import Progress

__all__ = ["Progress", "TimedLines", "minutes", "seconds_left", "silent"]


def silent(stage: str, done: int, total: int) -> None:
    """Progress that is not reported."""


class TimedLines:
    """Progress as lines `stage 120 of 1000, 1:20 left` through `say`, at most one every `seconds` and one at the end.

    The time left is estimated from the pace since the stage's first report, so that a resumed run counts its own steps.
    """

    def __init__(self, say: Callable[[str], None], seconds: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._seconds, self._clock = say, seconds, clock
        self._stage, self._first, self._begun, self._said = "", 0, 0.0, 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        if stage != self._stage:
            self._stage, self._first, self._begun, self._said = stage, done, now, now
            return
        if done < total and now - self._said < self._seconds:
            return
        self._said = now
        left = seconds_left(done - self._first, total - done, now - self._begun)
        self._say(f"{stage} {done} of {total}" + ("" if left is None else f", {minutes(left)} left"))


def seconds_left(done: int, left: int, seconds: float) -> float | None:
    """Return how long `left` more take when `done` took so long; None while nothing is done, or nothing left."""
    return seconds / done * left if done > 0 and left > 0 else None


def minutes(seconds: float) -> str:
    """1:05 for 65 seconds, 2:01:00 above an hour."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02d}"
