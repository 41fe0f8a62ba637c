"""Memoised demands whose nesting does not grow Python's stack, for graphs of any depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Made = TypeVar("Made")

DEEPEST = 100  # demands inside each other; each takes up to six frames of Python's thousand


class _Deeper(Exception):
    """A demand nested too deeply, which has to be met first, outside all others."""

    def __init__(self, demand: Callable[[], object]) -> None:
        super().__init__("too deep")
        self.demand = demand


class Demands:
    """Calls of `once` inside what `meet` calls may nest without limit.

    A demand that is nested too deeply aborts the enclosing ones; `meet` meets it first and then restarts those. Results
    made until then are kept, so each is restarted at most once for each of its own demands. A key has to be the same each
    time, so an object made by a demand cannot be one.
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
            except _Deeper as deeper:
                inner.append(deeper.demand)
