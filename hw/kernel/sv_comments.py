"""What a printed process says of itself: where its source is, and which of its lines each stage computes. None of it changes
what the text means."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.placement import SOURCES, Placement
from edgewright.hw.kernel.source import Statement, own_line


def heading(process: ir.Process) -> list[str]:
    """Return the comment above a module."""
    lines = [f"Process {process.name}, printed from {process.place}." if process.place else f"Process {process.name}."]
    return [f"/// {line}".rstrip() for line in [*lines, *process.doc.splitlines()]]


def stage_comment(process: ir.Process, stages: Placement, printed: Container[ir.Node], number: int) -> list[str]:
    """Return the comment above a stage: the statements of which it computes something, in their order. `printed`: the nodes
    that have a variable."""
    head = f"// stage {number}"
    found: dict[str, str] = {}
    for node in stages.order:
        shown = node in printed or isinstance(node.op, (ir.Write, ir.Store))
        if number in (stages.start[node], stages.ready[node]) and shown and not isinstance(node.op, (*SOURCES, ir.Const)):
            said = statement(process, node)
            found.setdefault(said.where, said.text)
    lines = [f"{text}   {where}".lstrip() for where, text in sorted(found.items(), key=lambda item: place(item[0]))]
    if len(lines) == 1:
        return [f"{head}: {lines[0]}"]
    return [f"{head}:", *(f"//   {line}" for line in lines)] if lines else [f"{head}: what later stages read"]


def statement(process: ir.Process, node: ir.Node) -> Statement:
    """Return the statement that a node is of; the fields of a command are of none."""
    if isinstance(node.op, ir.Command) or (isinstance(node.op, ir.Part) and isinstance(node.args[0].op, ir.Command)):
        assert process.command is not None
        return Statement("", f"the command's fields, from {process.command.name}_data_i")
    line = own_line(node.where)
    return process.statements.get(line, Statement(line, ""))


def place(where: str) -> tuple[str, int]:
    """Return file and line to sort by."""
    file, _, line = where.rpartition(":")
    return file, int(line or 0)


STRING_OR_COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|[ \t]*//(?![^\n]*verilator)[^\n]*')


def without_comments(files: Mapping[str, str]) -> dict[str, str]:
    """Return files with the Verilog among them stripped of line comments and empty lines, which say nothing to a tool: what is
    made of them need not be made again when a line of the kernel has moved."""
    return {name: stripped(text) if name.endswith((".sv", ".v")) else text for name, text in files.items()}


def stripped(text: str) -> str:
    """Return Verilog without line comments, save those that direct Verilator, and without empty lines."""
    bare = STRING_OR_COMMENT.sub(lambda found: found[1] or "", text)
    return "\n".join(line for line in bare.splitlines() if line.strip())
