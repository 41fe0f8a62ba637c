"""C simulation of a block: its printed HLS C++, compiled by g++ with the shims of hw/hls, run on the interpreter's tokens."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp import HLS_FOLDER, SHIM_FOLDER, Printer
from edgewright.hw.kernel.tokens import decode, encode, from_octets, octets_of, to_octets
from edgewright.hw.kernel.trace import Block
from edgewright.hw.kernel.types import WORD_BYTES
from edgewright.sim.children import run_child
from edgewright.sim.csim import build_csim
from numpy.typing import NDArray

PLAIN = ("-O3", "-march=native", "-Wextra")
EXACT = ("-O1", "-DEW_AP_INT")


class CsimError(Exception):
    """The C simulation did not compile, was aborted, or stopped with work left."""


@dataclass(frozen=True, slots=True)
class BlockRun:
    """Result of a run: tokens by output, the memory, each beat written to it in order, and `rest`: lines on tokens left in
    the block ("left <stream> <count>") and on unfinished tasks ("waits <process> read|write <stream>")."""

    outputs: dict[str, Any]
    memory: NDArray[np.uint8] | None
    writes: list[tuple[int, bytes]]
    rest: list[str]


def run_block(
    block: Block | ir.Program,
    inputs: Mapping[str, Any],
    memory: NDArray[np.uint8] | None = None,
    ap_int: bool = False,
    *,
    optimise: bool = True,
) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    """Return (outputs, memory afterwards). CsimError if anything is left inside the block."""
    run = simulate(block, inputs, memory, ap_int=ap_int, optimise=optimise)
    if run.rest:
        raise CsimError(f"C simulation of {block.name} stopped with work left: {'; '.join(run.rest)}")
    return run.outputs, run.memory


def simulate(
    block: Block | ir.Program,
    inputs: Mapping[str, Any],
    memory: NDArray[np.uint8] | None = None,
    *,
    ap_int: bool = False,
    bounded: bool = False,
    checked: bool = False,
    optimise: bool = True,
) -> BlockRun:
    """Run until no process can proceed. `memory` (uint8, whole beats) is not changed. With `bounded`, streams hold `depth`
    tokens
    and buffers `banks` banks; with `checked`, a `fit` out of range aborts the run. Without `optimise` it compiles in a
    fraction of the time and runs several times slower."""
    program = block.check() if isinstance(block, Block) else block
    if program.axi and (memory is None or len(memory) % WORD_BYTES):
        raise ValueError(f"block {program.name} has AXI ports: give it a memory of whole 16-byte beats")
    if unknown := set(inputs) - {c.name for c in program.inputs}:
        raise ValueError(f"block {program.name} has no input {', '.join(sorted(unknown))}")
    binary = build(program, ap_int, checked, optimise)
    with tempfile.TemporaryDirectory(prefix="block_csim_") as folder:
        at = Path(folder)
        for port in program.inputs:
            tokens = inputs.get(port.name)
            raw = b"" if tokens is None else to_octets(port.type, encode(port.type, tokens, f"input {port.name}")).tobytes()
            (at / f"{port.name}.in").write_bytes(raw)
        if program.axi and memory is not None:
            (at / "memory.in").write_bytes(np.ascontiguousarray(memory).tobytes())
        done = run_child([binary, folder, str(int(bounded))], stderr=subprocess.PIPE)
        if done.returncode:
            raise CsimError(f"C simulation of {program.name} ended with {done.returncode}: {done.stderr.strip()}")
        outputs = {}
        for c in program.outputs:
            octets = np.fromfile(at / f"{c.name}.out", np.uint8).reshape(-1, octets_of(c.type))
            outputs[c.name] = decode(c.type, from_octets(c.type, octets))
        after, writes = None, []
        if program.axi:
            after = np.frombuffer((at / "memory.out").read_bytes(), np.uint8).copy()
            log = (at / "writes.out").read_bytes()
            for n in range(0, len(log), 8 + WORD_BYTES):
                writes.append((int.from_bytes(log[n : n + 8], "little"), log[n + 8 : n + 8 + WORD_BYTES]))
        return BlockRun(outputs, after, writes, (at / "rest.out").read_text().splitlines())


def build(program: ir.Program, ap_int: bool = False, checked: bool = False, optimise: bool = True) -> Path:
    """Build the simulation, or take it from the cache if sources and compiler are the same."""
    printer = Printer(program)
    flags = list(EXACT if ap_int else PLAIN) if optimise else ["-O0", *(["-DEW_AP_INT"] if ap_int else [])]
    flags += ["-DEW_CHECK"] if checked else []
    return build_csim(printer.files(), main_program(printer), [SHIM_FOLDER, HLS_FOLDER], ap_int=ap_int, flags=flags)


def main_program(printer: Printer) -> str:
    """Return a main() that reads tokens and memory from a folder, runs the block and its movers until nothing moves, and
    writes the results."""
    program = printer.program
    out = ["#include <hls_task.h>", "#include <ew_axi.h>", "#include <ew_tokens.h>", ""]
    out += [f'#include "{program.name}.hpp"', "", "using namespace ew::sim;", "", "int main(int, char** argv) {"]
    out += ['  const std::string folder = std::string(argv[1]) + "/";']
    out += ["  schedule().bounded = argv[2][0] == '1';"]
    if program.axi:
        out += [
            '  const std::vector<uint8_t> image = load(folder + "memory.in");',
            "  std::vector<UInt<128>>& words = memory().words;",
            "  words.resize(image.size() / 16);",
            "  for (size_t n = 0; n < words.size(); ++n) words[n] = get_u<128>(image.data(), 128 * n);",
        ]
    for channel, names in printer.port.items():
        for kind, name in zip(printer.carriers.streams(channel), names, strict=True):
            out += [f'  static {kind} {name}("{channel.name}");', f"  {name}.limit({max(1, channel.depth)});"]
            out += [f"  {name}.unbounded();"] if channel in program.outputs else []
    for port in program.inputs:
        out += feed(printer, port)
    out += [f"  {printer.top}({', '.join(name for names in printer.port.values() for name in names)});"]
    for axi in program.axi:
        streams = [axi.requests, axi.data, *([axi.done] if axi.done else [])]
        joined = ", ".join(name for channel in streams for name in printer.port[channel])
        kind = "write" if axi.done else "read"
        out += [f"  static hls::task {axi.name}_task(axi_{kind}, {joined}, words.data());"]
    tasks = [nest.process.name for nest in printer.nests] + [f"axi_{a.name}" for a in program.axi]
    out += [f"  const char* names[] = {{{', '.join(f'{chr(34)}{n}{chr(34)}' for n in [*tasks, ''])}}};"]
    out += [f"  for (size_t n = 0; n < {len(tasks)}; ++n) schedule().tasks[n]->name = names[n];"]
    out += ["  run();"]
    for port in program.outputs:
        out += drain(printer, port)
    if program.axi:
        out += [
            "  std::vector<uint8_t> after(16 * words.size()), log(24 * memory().log.size());",
            "  for (size_t n = 0; n < words.size(); ++n) put<128>(after.data(), 128 * n, words[n]);",
            "  for (size_t n = 0; n < memory().log.size(); ++n) {",
            "    put_bits(log.data(), 192 * n, 64, 16 * memory().log[n].first);",
            "    put<128>(log.data(), 192 * n + 64, memory().log[n].second);",
            "  }",
            '  save(folder + "memory.out", after);',
            '  save(folder + "writes.out", log);',
        ]
    out += ['  std::FILE* rest = std::fopen((folder + "rest.out").c_str(), "w");', "  report(rest);", "  std::fclose(rest);"]
    return "\n".join([*out, "  std::fflush(nullptr);", "  std::_Exit(0);", "}"]) + "\n"


def places(printer: Printer, port: ir.Channel) -> list[tuple[str, int, int, int]]:
    """Return for each stream of a port: its name, the first bit of its word in a token, the bits used, and the bits."""
    out, at = [], 0
    for name, word in zip(printer.port[port], printer.carriers.words(port), strict=True):
        out.append((name, at, word.used, word.bits))
        at += word.used
    return out


def feed(printer: Printer, port: ir.Channel) -> list[str]:
    size = octets_of(port.type)
    out = ["  {", f'    const std::vector<uint8_t> raw = load(folder + "{port.name}.in");']
    out += [f"    for (size_t at = 0; at < raw.size(); at += {size}) {{"]
    for name, first, used, bits in places(printer, port):
        out.append(f"      {name}.write(UInt<{bits}>(get_u<{used}>(raw.data() + at, {first})));")
    return [*out, "    }", "  }"]


def drain(printer: Printer, port: ir.Channel) -> list[str]:
    size, found = octets_of(port.type), places(printer, port)
    out = ["  {", f"    std::vector<uint8_t> raw({found[0][0]}.size() * {size});"]
    out += [f"    for (size_t at = 0; at < raw.size(); at += {size}) {{"]
    for name, first, used, _ in found:
        out.append(f"      put<{used}>(raw.data() + at, {first}, {name}.read());")
    return [*out, "    }", f'    save(folder + "{port.name}.out", raw);', "  }"]
