"""The text of every error code: `errors/CODE.md`, one Markdown file for each, all with the same sections."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).with_name("errors")
SECTIONS = ("What happened", "Example", "Why", "What to do")


@dataclass(frozen=True, slots=True)
class ErrorText:
    """What `edgewright explain` knows of one code. sections: (heading, Markdown) in the order of the file."""

    code: str
    title: str
    sections: tuple[tuple[str, str], ...]


@lru_cache(maxsize=1)
def codes() -> tuple[str, ...]:
    """Return every code that has a text, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.md")))


def read(code: str) -> ErrorText:
    """Return the text of a code that has one."""
    head, *parts = (FOLDER / f"{code}.md").read_text(encoding="utf-8").split("\n## ")
    sections = ((heading, body.strip("\n")) for heading, _, body in (part.partition("\n") for part in parts))
    return ErrorText(code, head.strip().removeprefix(f"# {code}: "), tuple(sections))
