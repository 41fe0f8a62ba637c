"""`edgewright explain`: the texts of passes/errors in the terminal."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from edgewright.passes import error_texts
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.error_texts import ErrorText

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 110  # characters of a line on a wide terminal
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def find(code: str) -> ErrorText:
    """Return the text of a code, spelt as in `error[N014]:` or not. CompileError C003 (exit 2) suggests the nearest."""
    known = error_texts.codes()
    wanted = code.strip().upper().removeprefix("ERROR").strip("[]: ")
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        help_text = f"{hint}`edgewright explain` lists every code"
        fail("C003", f"there is no error code '{code}'", help=help_text, exit=Exit.USAGE)
    return error_texts.read(wanted)


def text(code: str) -> str:
    """Return what is printed where there is no terminal: plain text, examples indented."""
    explained = find(code)
    parts = [f"{explained.code}: {explained.title}"]
    parts += [f"{heading}:\n{FENCE.sub(lambda fenced: _indent(fenced[1]), body)}" for heading, body in explained.sections]
    return "\n\n".join(parts)


def show(console: Console, code: str) -> None:
    """Print the text of a code on a terminal."""
    from rich.markdown import Markdown
    from rich.text import Text

    explained = find(code)
    width = min(console.width, WIDEST)
    console.print(Text.assemble((f"{explained.code}", "bold red"), (f": {explained.title}", "bold")), width=width)
    for heading, body in explained.sections:
        console.print()
        console.print(Text(heading, "bold cyan"))
        for number, part in enumerate(FENCE.split(body)):  # every second part is an example
            if number and part.strip():
                console.print()
            if number % 2:
                console.print(Text(_indent(part)), soft_wrap=True, highlight=False)
            elif part.strip():
                console.print(Markdown(part.strip()), width=width)


def overview() -> str:
    """Return one line a code."""
    return "\n".join(f"{code}  {error_texts.read(code).title}" for code in error_texts.codes())


def _indent(lines: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in lines.rstrip("\n").split("\n"))
