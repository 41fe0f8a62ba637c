"""What a command prints: text, JSON for programs, or nothing but errors."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

Mode = Literal["text", "json", "quiet"]
_MODE: ContextVar[Mode] = ContextVar("mode", default="text")


def silent() -> bool:
    """Return whether text and progress are left out."""
    return _MODE.get() != "text"


@contextmanager
def printing(mode: Mode) -> Iterator[None]:
    """Print so inside of the body."""
    token = _MODE.set(mode)
    try:
        yield
    finally:
        _MODE.reset(token)


def answer(value: Callable[[], Any]) -> None:
    """Print the value as JSON if a program asked for it; it is made only then."""
    if _MODE.get() == "json":
        sys.stdout.write(json.dumps(_plain(value()), indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Return JSON's values: structs and dataclasses as objects, what is not finite as null."""
    import msgspec

    return _finite(msgspec.to_builtins(value, enc_hook=str, str_keys=True))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
