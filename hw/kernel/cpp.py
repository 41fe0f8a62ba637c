"""Print a block as Vitis HLS C++.

`<block>.hpp` holds the structs of tokens, `<block>.cpp` one function per process and the top function `<block>_hls`, in which
every process is an hls::task. Both include the headers of hw/hls (`HLS_FOLDER`). Its ports are AXI-Streams of whole words: the
block's inputs (`s_axis_<name>`) and outputs (`m_axis_<name>`), and of each AXI port the requests and data, behind which the
movers of hw/rtl stand (`cpp_wrapper`). Vitis has never compiled it: tests compile the same text with g++ and the shims of
hw/hls/shim, compare it with the interpreter, and hold it against the rules of Vitis HLS 2023.2 to 2025.2."""

from __future__ import annotations

import re
from pathlib import Path

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp_nest import Nest
from edgewright.hw.kernel.cpp_types import Names, TypeNames
from edgewright.hw.kernel.cpp_words import (
    carriers_of,
    declared,
    fifo_implementation,
    implementation,
    ports_of,
    ring_fifo,
)
from edgewright.hw.kernel.nest import expand
from edgewright.hw.kernel.trace import Block
from edgewright.hw.kernel.types import width

HLS_FOLDER = Path(__file__).resolve().parent.parent / "hls"
SHIM_FOLDER = HLS_FOLDER / "shim"
LINE = 120
PROCESSES = "processes"


def support_files() -> dict[str, str]:
    """Return the headers that the printed C++ includes, by name; a bundle holds them next to it."""
    return {path.name: path.read_text() for path in sorted(HLS_FOLDER.glob("*.h"))}


def to_cpp(block: Block | ir.Program) -> dict[str, str]:
    """Return the files of a block by name."""
    return Printer(block.check() if isinstance(block, Block) else block).files()


def wrapped(line: str) -> list[str]:
    """Break a long line after commas outside template arguments, else before operators; indent the further lines."""
    if len(line) <= LINE or line.lstrip().startswith(("//", "#")):
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    out, rest = [], line
    while len(rest) > LINE:
        cut = break_at(rest, len(indent) + 1)
        if not cut:
            break
        out.append(rest[:cut].rstrip())
        rest = indent + rest[cut:].lstrip()
    return [*out, rest]


def break_at(text: str, first: int) -> int:
    """Return where to break a long line, 0 where it cannot be broken."""
    for pattern in (r", ", r" (?=[?:|&+] )", r" (?=[-*] )"):
        for end in reversed([m.end() for m in re.finditer(pattern, text) if first < m.start() < LINE]):
            if pattern != ", " or text.count("<", 0, end) == text.count(">", 0, end):
                return end
    return 0


class Printer:
    def __init__(self, program: ir.Program) -> None:
        self.program = program
        names = Names({PROCESSES})
        self.top = names.claim(f"{program.name}_hls")
        self.types = TypeNames.of(declared(program), names)
        self.carriers = carriers_of(program, self.types)
        shared = Names(names.taken)  # what process functions must not shadow
        self.nests: list[Nest] = []
        for process in program.processes:
            if process.command is None and expand(process, [], 1).count == 0:
                continue  # never runs
            self.nests.append(Nest(process, self.carriers, shared, names.claim(process.name)))
        self.inside = Names(names.taken)
        inputs, outputs = ports_of(program)
        self.port = {
            c: tuple(self.inside.claim(f"{side}_{name}") for name in self.carriers.suffixed(c))
            for side, channels in (("s_axis", inputs), ("m_axis", outputs))
            for c in channels
        }

    def files(self) -> dict[str, str]:
        name = self.program.name
        texts = {f"{name}.hpp": self.header(), f"{name}.cpp": self.source()}
        return {file: "\n".join(part for line in lines for part in wrapped(line)) + "\n" for file, lines in texts.items()}

    # --- header -----------------------------------------------------------------------------------------------------

    def header(self) -> list[str]:
        guard = f"{self.program.name.upper()}_HPP"
        out = [
            f"// Block {self.program.name}: tokens and top function.",
            f"#ifndef {guard}",
            f"#define {guard}",
            "",
            '#include "ew_int.h"',
            "",
            "#include <hls_task.h>  // before hls_stream.h, which it makes safe for threads",
            "",
            "using namespace ew;",
            "",
            *self.types.declarations(),
            f"{self.signature()};",
            "",
            "#endif",
        ]
        return out

    def signature(self) -> str:
        parameters = [
            f"{t}& {name}" for c, names in self.port.items() for t, name in zip(self.carriers.streams(c), names, strict=True)
        ]
        return f"void {self.top}({', '.join(parameters)})"

    # --- source -----------------------------------------------------------------------------------------------------

    def source(self) -> list[str]:
        name = self.program.name
        blocks = any(not b.ring for b in self.program.buffers)
        out = [
            f'#include "{name}.hpp"',
            "",
            *(["#include <hls_streamofblocks.h>"] if blocks else []),
            "",
            '#include "ew_dot.h"',
            "",
        ]
        # a namespace, because names like index or round are the C library's outside it
        out.append(f"namespace {PROCESSES} {{")
        for nest in self.nests:
            out += ["", *nest.function()]
        return [*out, "", f"}}  // namespace {PROCESSES}", "", *self.top_function()]

    def top_function(self) -> list[str]:
        program = self.program
        out = [f"{self.signature()} {{", "#pragma HLS INTERFACE mode=ap_ctrl_none port=return"]
        out += [f"#pragma HLS INTERFACE mode=axis port={name}" for names in self.port.values() for name in names]
        where: dict[ir.Channel | ir.Buffer, tuple[str, ...]] = dict(self.port.items())
        for c in program.channels:
            if c not in where:
                where[c] = self.claimed(c)
                bits = [word.bits for word in self.carriers.words(c)] or [width(c.type)]
                for token, size, name in zip(self.carriers.tokens(c), bits, where[c], strict=True):
                    out += self.fifo(token, size, max(2, c.depth), name)
        for b in program.buffers:
            where[b] = self.claimed(b)
            memory = self.carriers.memories[b]
            words = [word for _ in range(memory.copies) for word in memory.words]
            for word, kind, name in zip(words, self.carriers.streams(b), where[b], strict=True):
                if b.ring:
                    depth, style = ring_fifo(b)
                    out += self.fifo(word.type, word.bits, depth, name, style)
                    continue
                made = implementation(b.style, word.bits, b.depth)
                out.append(f"  hls_thread_local {kind} {name};")
                out.append(f"#pragma HLS BIND_STORAGE variable={name} type=ram_s2p impl={made}")
        for nest in self.nests:
            task = self.inside.claim(f"{nest.name}_task")
            arguments = [f"{PROCESSES}::{nest.name}", *(name for p in nest.parameters for name in where[p.what])]
            out.append(f"  hls_thread_local hls::task {task}({', '.join(arguments)});")
        return [*out, "}"]

    def claimed(self, what: ir.Channel | ir.Buffer) -> tuple[str, ...]:
        return tuple(self.inside.claim(name) for name in self.carriers.suffixed(what))

    def fifo(self, token: str, bits: int, depth: int, name: str, style: str = "auto") -> list[str]:
        made = fifo_implementation(bits, depth, style)
        bind = f"#pragma HLS BIND_STORAGE variable={name} type=fifo impl={made}"
        return [f'  hls_thread_local hls::stream<{token}, {depth}> {name}("{name}");', *([bind] if made else [])]


__all__ = ["HLS_FOLDER", "SHIM_FOLDER", "support_files", "to_cpp"]
