"""Documents: written with a stable layout, and read strictly into a type or refused for one reason, since a file may be
damaged or come from a stranger."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from edgewright.passes.names import plain

LARGEST_BYTES = 64 << 20
LARGEST_INTEGER = 1 << 63
DEEPEST = 64
T = TypeVar("T")


class Unreadable(Exception):
    """Why a file is not what it should be, in one line."""


def to_json(value: Any) -> bytes:
    """Return JSON of plain values, one item a line; ValueError for nan and infinity."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a regular file; None for anything else, links included."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """Return the content of a regular file of at most so many bytes. `Unreadable` for everything else; never waits for a
    pipe."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Unreadable("it is not a regular file")
            content = file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from error
    if len(content) > largest:
        raise Unreadable(f"it is larger than {largest >> 20} MiB")
    return content


def read_json(path: Path, kind: type[T], largest: int = LARGEST_BYTES) -> T:
    """Return the value of a JSON file, of exactly this type. `Unreadable` otherwise."""
    return parse_json(read_bytes(path, largest), kind)


def parse_json(content: bytes, kind: type[T]) -> T:
    """As `read_json`, from bytes."""
    try:
        return _converted(msgspec.json.decode(content), kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unreadable(_reason(error)) from error


def parse_toml(content: bytes, kind: type[T]) -> T:
    """Return the value of a TOML file, of exactly this type. `Unreadable` otherwise."""
    try:
        return _converted(tomllib.loads(content.decode()), kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError are ValueErrors
        raise Unreadable(_reason(error)) from error


def bounded(value: Any) -> None:
    """ValueError for integers beyond 64 bits and for nesting that later code would not survive."""
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        if isinstance(item, dict):
            stack.extend((inner, depth + 1) for inner in item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend((inner, depth + 1) for inner in item)
        elif isinstance(item, int) and not -LARGEST_INTEGER <= item < LARGEST_INTEGER:
            raise ValueError("it holds an integer beyond 64 bits")


def _converted(value: Any, kind: type[T]) -> T:
    bounded(value)
    return msgspec.convert(value, kind, strict=True)


def _reason(error: BaseException) -> str:
    return plain("it is nested too deep" if isinstance(error, RecursionError) else str(error))[:300]
