"""Test benches of blocks: tokens in, tokens out, compared bit for bit, with idle inputs and back-pressure."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
from edgewright.hw.kernel.memory_timing import IDEAL, MemoryTiming
from edgewright.hw.kernel.memory_timing import plusargs as memory_plusargs
from edgewright.hw.kernel.types import WORD_BYTES
from edgewright.passes.diagnostics import Exit, fail
from edgewright.sim.build import Build, Sources, build, read_sources
from edgewright.sim.harness import TOP, harness
from edgewright.sim.ports import ModulePorts, read_ports
from edgewright.sim.runner import Result, run

SMALLEST_MEMORY = 1 << 16  # words
SHOWN_MISMATCHES = 3


def cell(name: str) -> str:
    """Return the text of a hand-written cell: a file of hw/rtl or sim/cells."""
    for package, folder in (("edgewright.hw", "rtl"), ("edgewright.sim", "cells")):
        for suffix in (".sv", ".v"):
            file = resources.files(package) / folder / f"{name}{suffix}"
            if file.is_file():
                return file.read_text()
    raise FileNotFoundError(f"no cell called {name}")


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a block's AXI masters: `image` starts at address 0; `expected` maps addresses to the bytes that must be
    there at the end (both multiples of 16). `timing` says when it answers."""

    image: bytes = b""
    expected: Mapping[int, bytes] = field(default_factory=dict)
    size: int = 0  # bytes; 0: as needed
    timing: MemoryTiming = IDEAL

    def words(self) -> int:
        """Return the number of words: a power of two that holds everything named."""
        top = max([self.size, len(self.image), *(base + len(data) for base, data in self.expected.items())])
        return max(SMALLEST_MEMORY, 1 << max(0, (top + WORD_BYTES - 1) // WORD_BYTES - 1).bit_length())


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tokens received by output port, the memory afterwards, cycles from first input to last output."""

    outputs: Mapping[str, list[int]]
    memory: bytes
    cycles: int
    result: Result


def to_readmemh(data: bytes, base: int = 0) -> str:
    """Return `data` as 128-bit words for $readmemh from byte address `base` on, the byte of the highest address first."""
    if base % WORD_BYTES:
        raise ValueError(f"address {base:#x} is not a multiple of {WORD_BYTES}")
    padded = data + bytes(-len(data) % WORD_BYTES)
    words = np.frombuffer(padded, np.uint8).reshape(-1, WORD_BYTES)[:, ::-1]
    return f"@{base // WORD_BYTES:x}\n{words.tobytes().hex(chr(10), -WORD_BYTES)}\n"


def from_writememh(text: str) -> bytes:
    """Return the bytes of consecutive words written by $writememh."""
    digits = "".join(line for line in text.split("\n") if not line.startswith(("@", "//")))
    return np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(-1, WORD_BYTES)[:, ::-1].tobytes()


@dataclass(frozen=True, slots=True)
class BlockBench:
    """A compiled test bench with the block in it."""

    model: Build
    ports: ModulePorts
    words: int

    def play(
        self,
        inputs: Mapping[str, Sequence[int]],
        expected_counts: Mapping[str, int],
        *,
        idle: float = 0.0,
        stall: float = 0.0,
        seed: int = 1,
        memory: Memory | None = None,
        quiet: int = 5000,
        wave: Path | None = None,
        timeout_s: float = 600,
    ) -> Outcome:
        """Send `inputs` and receive until nothing has moved for `quiet` cycles, or for 200 after every output has its expected
        count. `idle`, `stall`: probabilities of pauses of sources, and of sinks and memory."""
        _check_names(self.ports, inputs, expected_counts)
        memory = memory or Memory()
        if memory.words() > self.words and (self.ports.reads or self.ports.writes):
            raise ValueError(f"this bench was built with {self.words} words of memory, {memory.words()} are needed")
        plusargs: dict[str, object] = {"idle": round(256 * idle), "stall": round(256 * stall)}
        plusargs |= {"seed": seed, "quiet": quiet}
        plusargs |= {f"expect_{name}": count for name, count in expected_counts.items()}
        plusargs |= {"memory": "memory.hex", "dump": "memory.out"} | memory_plusargs(memory.timing)
        plusargs |= {"axi_stall": min(255, round(256 * stall)), "axi_seed": seed}
        with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
            cwd = Path(scratch)
            for name, width in self.ports.inputs.items():
                size = (width + 7) // 8
                (cwd / f"{name}.in.bin").write_bytes(b"".join(token.to_bytes(size, "big") for token in inputs[name]))
            if self.ports.reads or self.ports.writes:
                (cwd / "memory.hex").write_text(to_readmemh(memory.image.ljust(memory.words() * WORD_BYTES, b"\0")))
            env = {"EDGEWRIGHT_INPUTS": " ".join(self.ports.inputs)}
            module = "edgewright.sim.stream_test"
            result = run(
                self.model,
                module,
                plusargs=plusargs,
                env=env,
                cwd=cwd,
                timeout_s=timeout_s,
                seed=seed,
                randomise=True,
                wave=wave,
            )
            result.require(self.model.top)
            outputs = {name: _read_tokens(cwd / f"{name}.out.hex") for name in self.ports.outputs}
            left = (cwd / "memory.out").read_text() if (cwd / "memory.out").exists() else ""
        return Outcome(outputs, from_writememh(left), result.cycles, result)


def build_block(
    sources: Sources, top: str, *, words: int = SMALLEST_MEMORY, unroll_stmts: int | None = 600, trace: bool = False
) -> BlockBench:
    """Build the bench of module `top`; `sources` must hold every module that it instantiates."""
    texts = read_sources(sources)
    ports = read_ports("\n".join(texts.values()), top)
    for name in ("axi_ram", "stream_source", "stream_sink"):
        texts.setdefault(f"{name}.sv", cell(name))
    texts["block_bench.sv"] = harness(top, ports, words)
    return BlockBench(build(TOP, texts, unroll_stmts=unroll_stmts, trace=trace), ports, words)


def check_block(
    sources: Sources,
    top: str,
    inputs: Mapping[str, Sequence[int]],
    expected: Mapping[str, Sequence[int]],
    *,
    idle: float = 0.0,
    stall: float = 0.0,
    seed: int = 1,
    memory: Memory | None = None,
    quiet: int = 5000,
    unroll_stmts: int | None = 600,
    wave: Path | None = None,
    timeout_s: float = 600,
) -> int:
    """Return the cycles from the first input token taken to the last output token taken, both included. S004, exit code 3,
    with the first differences, unless every output port gave exactly `expected` and the memory holds `memory.expected`.

    Tokens are packed integers, the first field or element in the least significant bits. All calls with the same sources
    share one build.
    """
    words = SMALLEST_MEMORY if memory is None else memory.words()
    block = build_block(sources, top, words=words, unroll_stmts=unroll_stmts, trace=wave is not None)
    counts = {name: len(tokens) for name, tokens in expected.items()}
    outcome = block.play(
        inputs, counts, idle=idle, stall=stall, seed=seed, memory=memory, quiet=quiet, wave=wave, timeout_s=timeout_s
    )
    wrong = [line for name in block.ports.outputs for line in mismatches(name, outcome.outputs[name], expected[name])]
    for base, data in ({} if memory is None else memory.expected).items():
        wrong += _memory_mismatches(base, outcome.memory[base : base + len(data)], data)
    if wrong:
        taken = outcome.result.values["taken"]
        wrong += [f"{name}: {taken[name]} of {len(tokens)} tokens were taken" for name, tokens in inputs.items()]
        at = f"{top}, idle={idle:g} stall={stall:g} seed={seed}"
        message = f"the simulation of {top} gave different bits than expected"
        fail("S004", message, at, "\n    ".join(wrong), exit=Exit.MISMATCH)
    return outcome.cycles


def mismatches(name: str, got: Sequence[int], expected: Sequence[int]) -> list[str]:
    """Describe the differences between two token sequences; empty if there are none."""
    differing = [i for i, (a, b) in enumerate(zip(got, expected, strict=False)) if a != b]
    lines = []
    for i in differing[:SHOWN_MISMATCHES]:
        bits = got[i] ^ expected[i]
        low, high = (bits & -bits).bit_length() - 1, bits.bit_length() - 1
        mask = (1 << (high - low + 1)) - 1
        have, want = got[i] >> low & mask, expected[i] >> low & mask
        shown = (f"{have:#x}", f"{want:#x}") if high - low < 256 else ("one value", "another")
        lines.append(f"{name}: token {i}, bits {high}..{low}: {shown[0]} instead of {shown[1]}")
    if len(differing) > SHOWN_MISMATCHES:
        lines.append(f"{name}: {len(differing)} of {len(expected)} tokens differ")
    if len(got) < len(expected):
        lines.append(f"{name}: {len(got)} tokens arrived, {len(expected)} were expected; then nothing moved")
    if len(got) > len(expected):
        lines.append(f"{name}: {len(got)} tokens arrived, only {len(expected)} were expected")
    return lines


def _read_tokens(file: Path) -> list[int]:
    return [int(line, 16) for line in file.read_text().split()]


def _memory_mismatches(base: int, got: bytes, expected: bytes) -> list[str]:
    a, b = np.frombuffer(got, np.uint8), np.frombuffer(expected, np.uint8)
    differing = np.flatnonzero(a != b)
    if not differing.size:
        return []
    first = int(differing[0])
    return [
        f"memory: address {base + first:#x} holds {a[first]:#04x} instead of {b[first]:#04x}; "
        f"{differing.size} of {len(b)} bytes from {base:#x} on differ"
    ]


def _check_names(ports: ModulePorts, inputs: Mapping[str, object], outputs: Mapping[str, object]) -> None:
    if set(inputs) != set(ports.inputs):
        raise ValueError(f"the inputs are {sorted(ports.inputs)}, the tokens are for {sorted(inputs)}")
    if set(outputs) != set(ports.outputs):
        raise ValueError(f"the outputs are {sorted(ports.outputs)}, tokens are expected from {sorted(outputs)}")
