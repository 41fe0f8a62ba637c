"""Simulate a kernel block in Verilator with a small C++ driver: streams from files, random idle and back-pressure.

For blocks without AXI ports. Faster to build and to run than a cocotb bench, for many small differential tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from edgewright.hw.kernel import Block, ir, to_systemverilog
from edgewright.hw.kernel.delays import PERIOD_NS
from edgewright.hw.kernel.tokens import decode, encode, pack, unpack
from edgewright.hw.kernel.types import width
from edgewright.passes import cache
from edgewright.sim import tools
from edgewright.sim.build import borrow_runtime, lend_runtime
from numpy.typing import NDArray

FAST = ("OPT_FAST=-O2", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2")
# one file instead of several with two precompiled headers, which would take most of the time
QUICK = ("OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0", "VM_PARALLEL_BUILDS=0")
QUIET = 2000  # cycles without a transfer after which a run is over

DRIVER = r"""
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <vector>
#include "V@TOP@.h"
#include "verilated.h"

using Words = std::vector<uint32_t>;

static uint64_t state = 1;
static bool chance(int per_256) {
  state ^= state << 13; state ^= state >> 7; state ^= state << 17;
  return int((state >> 24) & 255) < per_256;
}

template <class T> static void put(T& port, const uint32_t* words, int count) {
  if constexpr (std::is_integral_v<T>) {
    uint64_t value = words[0];
    if (count > 1) value |= uint64_t(words[1]) << 32;
    port = T(value);
  } else {
    for (int n = 0; n < count; n++) port[n] = words[n];
  }
}

template <class T> static void get(const T& port, Words& out, int count) {
  if constexpr (std::is_integral_v<T>) {
    out.push_back(uint32_t(port));
    if (count > 1) out.push_back(uint32_t(uint64_t(port) >> 32));
  } else {
    for (int n = 0; n < count; n++) out.push_back(port[n]);
  }
}

static Words load(const std::string& path) {
  Words out;
  if (FILE* file = fopen(path.c_str(), "rb")) {
    uint32_t word;
    while (fread(&word, 4, 1, file) == 1) out.push_back(word);
    fclose(file);
  }
  return out;
}

static void save(const std::string& path, const Words& words) {
  FILE* file = fopen(path.c_str(), "wb");
  if (!words.empty()) fwrite(words.data(), 4, words.size(), file);
  fclose(file);
}

int main(int argc, char** argv) {
  const std::string folder = argv[1];
  const int idle = atoi(argv[2]), stall = atoi(argv[3]);
  state = 0x9E3779B97F4A7C15ull * (strtoull(argv[4], nullptr, 10) + 1);
  const uint64_t quiet = strtoull(argv[5], nullptr, 10);
  VerilatedContext context;
  context.commandArgs(argc, argv);  // plusargs for $test$plusargs
  context.randReset(2);
  context.randSeed(atoi(argv[4]) + 1);
  V@TOP@ top(&context);
  for (auto* signal : {&top.rst_ni, &top.clk_i}) *signal = 0;
@CLEAR@
  for (int n = 0; n < 8; n++) { top.clk_i = n & 1; top.eval(); }
  top.rst_ni = 1;
@LOAD@
  uint64_t cycle = 0, last = 0, busy = 0;
  while (cycle - busy < quiet && !context.gotFinish()) {
    top.clk_i = 0;
@DRIVE@
    top.eval();
@SAMPLE@
    top.clk_i = 1;
    top.eval();
    cycle++;
  }
@SAVE@
  Words total{uint32_t(last), uint32_t(cycle)};
  save(folder + "/cycles", total);
  return 0;
}
"""


@dataclass(frozen=True, slots=True)
class KernelRun:
    """`cycles`: one more than the cycle of the last output token; reset ends before cycle 0. `times`: the cycle in which each
    token went in or out, by stream."""

    outputs: dict[str, Any]
    cycles: int
    times: dict[str, NDArray[np.int64]]


def driver(program: ir.Program) -> str:
    """Return the C++ of the driver for the ports of a program."""
    clear, load, drive, sample, save = [], [], [], [], []
    for c in program.inputs:
        n, words = c.name, -(-width(c.type) // 32)
        clear += [f"  top.{n}_valid_i = 0;"]
        load += [f'  Words {n} = load(folder + "/{n}"), {n}_times; size_t {n}_at = 0; bool {n}_on = false;']
        drive += [
            f"    if (!{n}_on && {n}_at < {n}.size() && !chance(idle)) "
            f"{{ {n}_on = true; put(top.{n}_data_i, &{n}[{n}_at], {words}); }}",
            f"    top.{n}_valid_i = {n}_on;",
        ]
        sample += [
            f"    if (top.{n}_valid_i && top.{n}_ready_o) "
            f"{{ {n}_on = false; {n}_at += {words}; busy = cycle; {n}_times.push_back(uint32_t(cycle)); }}"
        ]
        save += [f'  save(folder + "/{n}.times", {n}_times);']
    for c in program.outputs:
        n, words = c.name, -(-width(c.type) // 32)
        clear += [f"  top.{n}_ready_i = 0;"]
        load += [f"  Words {n}, {n}_times;"]
        drive += [f"    top.{n}_ready_i = !chance(stall);"]
        sample += [
            f"    if (top.{n}_valid_o && top.{n}_ready_i) "
            f"{{ get(top.{n}_data_o, {n}, {words}); busy = last = cycle; {n}_times.push_back(uint32_t(cycle)); }}"
        ]
        save += [f'  save(folder + "/{n}", {n}); save(folder + "/{n}.times", {n}_times);']
    text = DRIVER.replace("@TOP@", program.name)
    for key, lines in (("CLEAR", clear), ("LOAD", load), ("DRIVE", drive), ("SAMPLE", sample), ("SAVE", save)):
        text = text.replace(f"@{key}@", "\n".join(lines))
    return text


def build(
    block: Block | ir.Program,
    files: Mapping[str, str] | None = None,
    unroll_stmts: int = 600,
    period_ns: float = PERIOD_NS,
    optimise: bool = True,
) -> Path:
    """Build the model, cached. `files` replaces the printed SystemVerilog (mutants); without `optimise` it compiles several
    times
    faster and runs several times slower."""
    make_flags = FAST if optimise else QUICK
    program = block.check() if isinstance(block, Block) else block
    if program.axi:
        raise ValueError(f"block {program.name} has AXI ports")
    texts = dict(files if files is not None else to_systemverilog(program, period_ns))
    texts["driver.cpp"] = driver(program)
    flags = ("-O3", "--assert", "--x-initial", "unique", "-Wno-fatal", "--unroll-stmts", str(unroll_stmts))
    name = cache.key(texts, (tools.fingerprint(), *make_flags, *flags))

    def make(folder: Path) -> None:
        for file, text in texts.items():
            (folder / file).write_text(text)
        tool = tools.verilator()
        environment = tool.environment(dict(os.environ))
        verilate = [
            *(str(tool.root / "bin" / "verilator"), "--cc", "--exe", "--top-module", program.name, "-Mdir", "obj", "-o", "sim"),
            *(*flags, *sorted(f for f in texts if f.endswith(".sv")), str(folder / "driver.cpp")),
        ]
        run_step(verilate, folder, environment)
        make_it = ["make", "-j2", "-C", "obj", "-f", f"V{program.name}.mk", *make_flags, *tools.MAKE_VARIABLES]
        runtime = cache.key({}, ("kernel", tools.fingerprint(), *make_flags))
        borrow_runtime(runtime, folder / "obj")
        run_step(make_it, folder, environment)
        lend_runtime(runtime, folder / "obj")
        (folder / "obj" / "sim").rename(folder / "sim")
        shutil.rmtree(folder / "obj")

    return cache.entry("kernels", name, make) / "sim"


def run_step(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n" + "\n".join(done.stdout.splitlines()[-40:]))


def trace_rtl(
    block: Block | ir.Program,
    inputs: Mapping[str, Any],
    idle: float = 0.0,
    stall: float = 0.0,
    seed: int = 0,
    plusargs: Sequence[str] = (),
    **options: Any,
) -> KernelRun:
    """Simulate a block. `idle` and `stall` are the shares of cycles in which inputs are idle and outputs are not taken.
    RuntimeError if an assertion of the RTL fails. `options` are those of `build`."""
    program = block.check() if isinstance(block, Block) else block
    executable = build(program, **options)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for c in program.inputs:
            words = -(-width(c.type) // 32)
            columns = encode(c.type, inputs.get(c.name, []), f"input {c.name}") if c.name in inputs else None
            packed = pack(c.type, columns) if columns is not None and len(columns[0]) else []
            (folder / c.name).write_bytes(b"".join(v.to_bytes(4 * words, "little") for v in packed))
        arguments = [str(round(256 * idle)), str(round(256 * stall)), str(seed), str(QUIET), *plusargs]
        done = subprocess.run([executable, name, *arguments], capture_output=True, text=True, timeout=600)
        if done.returncode or "Error" in done.stdout + done.stderr:
            raise RuntimeError(f"simulation of {program.name} failed:\n{(done.stdout + done.stderr)[-4000:]}")
        outputs, times = {}, {}
        for c in [*program.inputs, *program.outputs]:
            times[c.name] = np.fromfile(folder / f"{c.name}.times", "<u4").astype(np.int64)
        for c in program.outputs:
            size = 4 * -(-width(c.type) // 32)
            raw = (folder / c.name).read_bytes()
            tokens = [int.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), size)]
            outputs[c.name] = decode(c.type, unpack(c.type, tokens))
        last = int(np.fromfile(folder / "cycles", "<u4")[0])
    return KernelRun(outputs, last + 1, times)


def run_rtl(
    block: Block | ir.Program, inputs: Mapping[str, Any], idle: float = 0.0, stall: float = 0.0, seed: int = 0, **options: Any
) -> tuple[dict[str, Any], int]:
    """Return the output tokens and the cycles of a run; see `trace_rtl`."""
    run = trace_rtl(block, inputs, idle, stall, seed, **options)
    return run.outputs, run.cycles
