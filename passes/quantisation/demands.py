"""Memoised demands whose nesting does not show on Python's stack: a graph may be as deep as it likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Made = TypeVar("Made")

DEEPEST = 100  # demands inside each other; each takes up to six frames of Python's thousand


class _Deeper(Exception):
    """A demand inside too many others: to be met first, with nothing else open."""

    def __init__(self, demand: Callable[[], object]) -> None:
        super().__init__("too deep")
        self.demand = demand


class Demands:
    """`once` inside what `meet` calls may nest without end.

    A demand that lies too deep ends the ones around it; `meet` takes it from there, and starts those again when it is met.
    What they had made until then is remembered, so each is started at most once more for each of its own demands; a key
    has to be the same each time, so nothing made on the way can be one.
    """

    def __init__(self) -> None:
        self._depth = 0

    def once(self, known: dict[Key, Made], key: Key, compute: Callable[[], Made]) -> Made:
        """Return known[key], computed if unknown; the computation may be started several times."""
        if key not in known:
            if self._depth == DEEPEST:
                raise _Deeper(lambda: self.once(known, key, compute))
            self._depth += 1
            try:
                known[key] = compute()
            finally:
                self._depth -= 1
        return known[key]

    def meet(self, demand: Callable[[], Made]) -> Made:
        """Return the demand's result, after all that it demands."""
        inner: list[Callable[[], object]] = []
        while True:
            try:
                while inner:
                    inner[-1]()
                    inner.pop()
                return demand()
            except _Deeper as found:
                inner.append(found.demand)
