"""Errors as data: every layer raises them, the frontend renders them, `errors/*.md` explain them."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NoReturn


class Exit(enum.IntEnum):
    """The process's exit code for a failed command."""

    MODEL = 1  # the user's model or data
    USAGE = 2  # the command line, or a missing tool or device
    MISMATCH = 3  # a failed verification
    BUG = 4  # in edgewright


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning.

    message: what is wrong, in one sentence. at: where, in the model's names. because: why that is an error.
    help: what to do.
    """

    code: str
    message: str
    at: str = ""
    because: str = ""
    help: str = ""

    def __str__(self) -> str:
        lines = [f"error[{self.code}]: {self.message}"]
        lines += [f"  {word} {text}" for word, text in (("at", self.at), ("because", self.because)) if text]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


NAMED = 3  # places that a group lists before it counts the rest
LONGEST = 280  # characters of places in a printed error


def grouped(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Merge diagnostics that differ only in their place, for printing: the first places, and how many more there are.

    Names come from a model and may have any length, so places are cut to LONGEST characters."""
    groups: dict[Diagnostic, list[str]] = {}
    for diagnostic in diagnostics:
        groups.setdefault(replace(diagnostic, at=""), []).append(diagnostic.at)
    return [replace(shared, at=_places(places)) for shared, places in groups.items()]


def _places(places: Iterable[str]) -> str:
    different = [place for place in dict.fromkeys(places) if place]
    more = f" and {len(different) - NAMED:,} more" if len(different) > NAMED else ""
    room = (LONGEST - len(more)) // max(1, min(NAMED, len(different))) - 2
    return ", ".join(_short(place, room) for place in different[:NAMED]) + more


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 4] + " ..."


class CompileError(Exception):
    """All diagnostics of one stage; its text groups those with the same cause."""

    def __init__(self, diagnostics: Iterable[Diagnostic], exit_code: int = Exit.MODEL) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        self.exit_code = int(exit_code)
        super().__init__("\n".join(map(str, grouped(self.diagnostics))))


def fail(
    code: str,
    message: str,
    at: str = "",
    because: str = "",
    help: str = "",
    exit: int = Exit.MODEL,
    cause: BaseException | None = None,
) -> NoReturn:
    """Raise a CompileError with one diagnostic, from `cause`; the other arguments are those of `Diagnostic`."""
    raise CompileError([Diagnostic(code, message, at, because, help)], exit) from cause
