"""Generate the pages of commands and error codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
from edgewright.frontend.cli import app
from edgewright.passes import error_texts

STAGES = {
    "N": "Reading a model",
    "D": "Data",
    "E": "Mixtures of experts",
    "G": "The graph",
    "Q": "Quantisation",
    "A": "Order of passes",
    "F": "Fusing blocks",
    "H": "Hashing attention",
    "L": "Learning",
    "K": "Splitting",
    "P": "Planning for an FPGA",
    "S": "Simulation and synthesis",
    "T": "Targets and devices",
    "U": "Output and options",
    "C": "The command line",
}


def write(folder: Path) -> None:
    """Write all generated pages; a page that does not change keeps its time stamp, so that it is not rendered again."""
    folder.mkdir(exist_ok=True)
    pages = {"cli.md": commands(), "errors.md": errors(), **{f"errors-{x.lower()}.md": stage(x) for x in STAGES}}
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text + "\n":
            path.write_text(text + "\n", encoding="utf-8")


def commands() -> str:
    """Return the page of all commands with their arguments and options."""
    group: Any = typer.main.get_command(app)
    lines = ["# Commands", ""]
    for name, command in group.commands.items():
        context = command.context_class(command, info_name=f"edgewright {name}")
        lines += [f"## edgewright {name}", "", command.help or "", "", "```text"]
        lines += [command.get_usage(context), "```", ""]
        rows = [record for p in command.params if (record := p.get_help_record(context)) is not None]
        if rows:
            lines += ["| option | |", "|---|---|"]
            lines += [f"| `{cell(option)}` | {cell(text)} |" for option, text in rows]
            lines.append("")
    return "\n".join(lines)


def errors() -> str:
    """Return the page that links to the codes of each stage."""
    lines = ["# Error codes", "", "`edgewright explain CODE` prints the same texts.", "", "```{toctree}", ":maxdepth: 1", ""]
    return "\n".join([*lines, *(f"errors-{letter.lower()}" for letter in STAGES), "```"])


def stage(letter: str) -> str:
    """Return the page with the texts of all codes of one stage."""
    lines = [f"# {letter}: {STAGES[letter]}", ""]
    for code in error_texts.codes():
        if code.startswith(letter):
            text = error_texts.read(code)
            lines += [f"## {code}: {text.title}", ""]
            for heading, body in text.sections:
                lines += [f"**{heading}**", "", body, ""]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Return a text as one cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()
