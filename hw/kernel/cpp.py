"""Print a block as Vitis HLS C++.

`<block>.hpp` holds the structs of tokens and the constants, `<block>.cpp` one function per process and the top function, in
which every process is an hls::task. Both include the headers of hw/hls (`HLS_FOLDER`). Vitis has never compiled them: tests
compile the same text with g++ and the shims of hw/hls/shim, and compare it with the interpreter."""

from __future__ import annotations

import re
from pathlib import Path

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp_nest import Nest, Port
from edgewright.hw.kernel.cpp_types import Names, TypeNames, bank_axes, int_name, shape_note
from edgewright.hw.kernel.cpp_variables import initialiser
from edgewright.hw.kernel.nest import expand
from edgewright.hw.kernel.trace import Block
from edgewright.hw.kernel.types import Array, Request, elem_of, size_of

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
        self.top = names.claim(program.name)
        tokens = [c.type for c in program.channels] + [b.type for b in program.buffers]
        self.types = TypeNames.of([*([Request] if program.axi else []), *tokens], names)
        self.roms = {rom: names.claim(rom.name) for rom in program.roms}
        shared = Names(names.taken)  # what process functions must not shadow
        self.nests: list[Nest] = []
        for process in program.processes:
            if process.command is None and expand(process, [], 1).count == 0:
                continue  # never runs
            self.nests.append(Nest(process, self.types, shared, names.claim(process.name), self.roms))
        self.inside = Names(names.taken)
        self.port = {c: self.inside.claim(c.name) for c in [*program.inputs, *program.outputs]}
        self.memory = {a: self.inside.claim(f"{a.name}_memory") for a in program.axi}

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
            "#include <hls_stream.h>",
            "",
            '#include "ew_int.h"',
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
        parameters = [f"hls::stream<{self.types.token(c.type)}>& {name}" for c, name in self.port.items()]
        parameters += [f"{'' if a.done else 'const '}UInt<128>* {name}" for a, name in self.memory.items()]
        return f"void {self.top}({', '.join(parameters)})"

    # --- source -----------------------------------------------------------------------------------------------------

    def source(self) -> list[str]:
        name = self.program.name
        includes = ['"ew_dot.h"', *(['"ew_axi.h"'] if self.program.axi else []), f'"{name}.hpp"']
        out = [
            "#include <hls_task.h>",
            *(["#include <hls_streamofblocks.h>"] if any(not b.ring for b in self.program.buffers) else []),
            "",
        ]
        out += [f"#include {i}" for i in includes] + [""]
        # a namespace, because names like index or round are the C library's outside it
        out.append(f"namespace {PROCESSES} {{")
        for rom, text in self.roms.items():
            out += ["", *self.rom(rom, text)]
        for nest in self.nests:
            out += ["", *nest.function()]
        return [*out, "", f"}}  // namespace {PROCESSES}", "", *self.top_function()]

    def rom(self, rom: ir.Rom, text: str) -> list[str]:
        flat = [v for row in rom.values for v in row]
        size = f"{len(rom.values)} * {size_of(rom.type.shape)}" if isinstance(rom.type, Array) else str(len(flat))
        line = f"static const {int_name(elem_of(rom.type))} {text}[{size}] = {initialiser(tuple(flat))};"
        note = shape_note(rom.type).strip()
        return [*([note] if note else []), line]

    def top_function(self) -> list[str]:
        program = self.program
        out = [f"{self.signature()} {{", "#pragma HLS INTERFACE mode=ap_ctrl_none port=return"]
        out += [f"#pragma HLS INTERFACE mode=axis port={name}" for name in self.port.values()]
        for axi, name in self.memory.items():
            # no offset register: requests carry whole addresses
            out.append(f"#pragma HLS INTERFACE mode=m_axi port={name} bundle={axi.name} offset=off depth=1048576")
            out.append(f"#pragma HLS STABLE variable={name}")
        if self.memory:
            out.append("#pragma HLS DATAFLOW")
        where: dict[ir.Channel | ir.Buffer, str] = {}
        where.update({c: name for c, name in self.port.items()})
        for c in program.channels:
            if c not in where:
                where[c] = self.inside.claim(c.name)
                stream = f"hls::stream<{self.types.token(c.type)}, {max(2, c.depth)}>"
                out.append(f'  hls_thread_local {stream} {where[c]}("{c.name}");')
        for b in program.buffers:
            where[b] = self.inside.claim(b.name)
            if b.ring:
                stream = f"hls::stream<{self.types.token(b.type)}, {b.depth}>"
                out.append(f'  hls_thread_local {stream} {where[b]}("{b.name}");')
                continue
            out.append(f"  hls_thread_local hls::stream_of_blocks<{self.types.bank(b.type, b.depth)}, {b.banks}> {where[b]};")
            out += self.layout(b, where[b])
        for nest in self.nests:
            task = self.inside.claim(f"{nest.name}_task")
            arguments = self.arguments(f"{PROCESSES}::{nest.name}", nest.parameters, where)
            out.append(f"  hls_thread_local hls::task {task}({arguments});")
        request = self.types.structs.get(Request, "")
        for axi, name in self.memory.items():
            task = self.inside.claim(f"{axi.name}_task")
            streams = [where[axi.requests], where[axi.data], *([where[axi.done]] if axi.done else [])]
            kind = "write" if axi.done else "read"
            out.append(f"  hls_thread_local hls::task {task}(axi_{kind}<{request}>, {', '.join([*streams, name])});")
        return [*out, "}"]

    def arguments(self, function: str, ports: list[Port], where: dict[ir.Channel | ir.Buffer, str]) -> str:
        return ", ".join([function, *(where[p.what] for p in ports)])

    def layout(self, buffer: ir.Buffer, name: str) -> list[str]:
        """Return the pragmas for one whole element per clock: words of its width, or one memory per lane of a masked store."""
        axes = bank_axes(buffer.type)
        if not axes:
            return []
        stores = [e.op for p in self.program.processes for e in p.effects if isinstance(e.op, ir.Store)]
        masked = any(store.buffer is buffer and store.masked for store in stores)
        kinds = ["ARRAY_PARTITION" if masked else "ARRAY_RESHAPE", "ARRAY_RESHAPE"]
        return [f"#pragma HLS {kinds[d]} variable={name} type=complete dim={d + 2}" for d in range(len(axes))]


__all__ = ["HLS_FOLDER", "SHIM_FOLDER", "support_files", "to_cpp"]
