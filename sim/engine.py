"""Run programs on a whole engine at RTL, with everything that it reads and writes in one simulated memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgewright.hw.kernel.memory_timing import IDEAL, MemoryTiming
from edgewright.hw.kernel.memory_timing import plusargs as memory_plusargs
from edgewright.hw.kernel.types import WORD_BYTES
from edgewright.sim import bench
from edgewright.sim.build import Build, Sources, build, read_sources
from edgewright.sim.runner import run
from edgewright.sim.scoreboard import WriteLog

TOP = "engine_tb"
CELLS = ("axi_ram", "engine_tb")


@dataclass(frozen=True, slots=True)
class Job:
    """One execution of a program: the address and number of its descriptors, and bytes written to memory before it starts."""

    program: int
    descriptors: int
    writes: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class EngineRun:
    """For each job: cycles from start to finished, beats of 16 bytes by AXI port, the bytes dumped after it, and every word
    that it stored, in order."""

    cycles: tuple[int, ...]
    beats: tuple[Mapping[str, int], ...]
    dumps: tuple[bytes, ...]
    logs: tuple[WriteLog, ...]
    seconds: float

    @property
    def kcycles_per_second(self) -> float:
        return sum(self.cycles) / self.seconds / 1000


def build_engine(
    sources: Sources,
    *,
    memory_bytes: int = 1 << 24,
    unroll_stmts: int | None = 1200,
    trace: bool = False,
    coverage: bool = False,
) -> Build:
    """Build the test bench of module `engine` in `sources`, with a memory of `memory_bytes` (rounded up to a power of two)."""
    texts = read_sources(sources)
    for name in CELLS:
        texts.setdefault(f"{name}.sv", bench.cell(name))
    words = 1 << max(10, ((memory_bytes + WORD_BYTES - 1) // WORD_BYTES - 1).bit_length())
    return build(TOP, texts, parameters={"Words": words}, unroll_stmts=unroll_stmts, trace=trace, coverage=coverage)


def run_engine(
    model: Build,
    image: Mapping[int, bytes],
    jobs: Sequence[Job],
    *,
    dump: tuple[int, int] = (0, 0),
    memory: MemoryTiming = IDEAL,
    stall: float = 0.0,
    seed: int = 1,
    limit: int = 100_000_000,
    quiet: int = 1 << 20,
    timeout_s: float = 3600,
    wave: Path | None = None,
    coverage: Path | None = None,
) -> EngineRun:
    """Run `jobs` one after the other on a memory that initially holds `image` (address -> bytes).

    Addresses are multiples of 16; unwritten bytes are random. `dump` is (address, size) of the region that is dumped after
    each job. `memory` is the timing of the memory, `stall` the probability that one of its channels pauses. `wave` and
    `coverage` are files to write, of a model built for them; for coverage, registers are 0 before reset, not random. S004 if
    the engine runs for more than `limit` cycles, or moves no data for `quiet`, by default as many as its own watchdog waits:
    once all weights are there, the last block of a wide network works on chip for 200,000.
    """
    first, size = dump
    if first % WORD_BYTES:
        raise ValueError(f"the dump's address {first:#x} is not a multiple of {WORD_BYTES}")
    last = (first + max(size, WORD_BYTES) - 1) // WORD_BYTES
    plusargs: dict[str, object] = {"jobs": "jobs.txt", "memory": "memory.hex", "limit": limit, "quiet": quiet}
    plusargs |= {"write_log": "writes.bin", "stored_log": "stored.bin"}
    plusargs |= {"dump_first": first // WORD_BYTES, "dump_last": last}
    plusargs |= memory_plusargs(memory) | {"axi_stall": min(255, round(256 * stall)), "axi_seed": seed}
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        cwd = Path(scratch)
        _write_image(cwd / "memory.hex", image)
        lines = []
        for index, job in enumerate(jobs):
            if job.writes:
                _write_image(cwd / f"in_{index}.hex", job.writes)
            lines.append(f"{f'in_{index}.hex' if job.writes else '-'} {job.program:x} {job.descriptors}\n")
        (cwd / "jobs.txt").write_text("".join(lines))
        module = "edgewright.sim.engine_test"
        result = run(
            model,
            module,
            plusargs=plusargs,
            cwd=cwd,
            timeout_s=timeout_s,
            seed=seed,
            randomise=coverage is None,  # a random state would count as bits toggled
            wave=wave,
            coverage=coverage,
        )
        result.require("the engine")
        dumps = [(cwd / f"out_{index}.hex").read_text() for index in range(len(jobs))]
        stored = cwd / "stored.bin"  # of an engine with on-chip memory, whose stores its ports do not show
        log = _read_log(stored if stored.exists() else cwd / "writes.bin")
        by_job = stored.exists()
    values = result.values
    if by_job:  # its cycles start again with each job
        ends = [*(np.flatnonzero(np.diff(log.cycles.astype(np.int64)) < 0) + 1).tolist(), len(log)]
    else:
        ends = np.cumsum([beats["results"] for beats in values["beats"]]).tolist()
    logs = tuple(log.part(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True))
    regions = tuple(bench.from_writememh(text)[:size] for text in dumps)
    return EngineRun(tuple(values["job_cycles"]), tuple(values["beats"]), regions, logs, result.seconds)


def _read_log(file: Path) -> WriteLog:
    """Read the stored words as axi_ram.sv logs them."""
    rows = np.fromfile(file, dtype=np.uint32).reshape(-1, 2 + WORD_BYTES // 4)
    words = rows[:, 2:].copy().view(np.uint8)
    return WriteLog(rows[:, 0], rows[:, 1].astype(np.uint64) * WORD_BYTES, words)


def _write_image(file: Path, image: Mapping[int, bytes]) -> None:
    file.write_text("".join(bench.to_readmemh(data, base) for base, data in image.items()))
