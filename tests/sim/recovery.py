"""A small engine behind its registers, with a good program in memory, driven by scripts of engine_top_tb.sv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from edgewright.hw.cost import rtl_files
from edgewright.hw.kernel.types import WORD_BYTES
from edgewright.hw.plan import Plan, plan
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array
from edgewright.sim import bench
from edgewright.sim.build import Build, build
from edgewright.sim.network import input_writes
from edgewright.sim.runner import run
from edgewright.sim.scoreboard import WriteLog, compare

from tests.hw.blocks.recordings import CONFIG, MODELS
from tests.hw.integer_models import random_image, random_vit

HERE = Path(__file__).parent
CONTROL, STATUS, ADDRESS, COUNT, CYCLES, ERRORS, WATCHDOG, LIMIT = 0x00, 0x04, 0x08, 0x10, 0x14, 0x24, 0x28, 0x2C
START, CLEAR, INTERRUPT, ABORT, FORGET = 1, 2, 4, 8, 16
BUSY, DONE, FAILED, DRAINING = 1, 2, 4, 8
NO_PROGRESS, OVER_LIMIT, NO_DESCRIPTORS, BUSY_START, FORGOT = (1 << bit for bit in range(16, 21))
NEVER = 0xFFFFFFFF
PATIENCE = 20_000  # cycles that a bench waits for what must come
MEMORY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Good:
    """A program that is right, its memory image, and the values of every node for its input."""

    plan: Plan
    values: Mapping[Node, Array]

    @property
    def image(self) -> dict[int, bytes]:
        """The memory before it runs."""
        return {0: self.plan.image} | input_writes(self.plan, self.values)

    @property
    def words(self) -> int:
        """Words that it stores."""
        return sum(step.stored_words for step in self.plan.steps)


@cache
def good(model: str = "class token") -> Good:
    """A small model, with all that the engine does in it."""
    graph = random_vit(1, **MODELS[model])
    return Good(plan(graph, CONFIG), interpret_all(graph, random_image(graph, 1)))


@cache
def simulator(change: tuple[str, str, str] | None = None) -> Build:
    """The small engine with its registers. `change`: a file, a text in it, and what takes its place."""
    texts = dict(rtl_files(CONFIG)) | {"axi_ram.sv": bench.cell("axi_ram")}
    texts["engine_top_tb.sv"] = (HERE / "engine_top_tb.sv").read_text()
    if change is not None:
        file, before, after = change
        assert before in texts[file], before
        texts[file] = texts[file].replace(before, after)
    return build("engine_top_tb", texts, parameters={"Words": MEMORY_BYTES // WORD_BYTES}, unroll_stmts=1200)


@dataclass(slots=True)
class Script:
    """Commands, and what has to come of them."""

    good: Good
    lines: list[str] = field(default_factory=list)
    checks: dict[int, tuple[str, int | None]] = field(default_factory=dict)  # measurement -> what it is, its value
    programs: list[tuple[int, str]] = field(default_factory=list)  # measurement of the words stored after a good program
    measured: int = 0

    def do(self, command: str, first: int = 0, second: int = 0) -> None:
        """A command that measures nothing."""
        self.lines.append(f"{command} {first:x} {second:x}")

    def measure(self, what: str, command: str, first: int = 0, expected: int | None = None) -> None:
        """A command that measures: `expected`, or any number but NEVER."""
        self.do(command, first)
        self.checks[self.measured] = what, expected
        self.measured += 1

    def write(self, register: int, value: int) -> None:
        """A register write."""
        self.do("w", register, value)

    def read(self, what: str, register: int, expected: int) -> None:
        """A register read that has to give `expected`."""
        self.measure(what, "r", register, expected)

    def start(self, count: int | None = None, program: int | None = None, also: int = 0) -> None:
        """Start a program, by default the good one."""
        address = self.good.plan.program_address if program is None else program
        self.write(ADDRESS, address & 0xFFFFFFFF)
        self.write(ADDRESS + 4, address >> 32)
        self.write(COUNT, len(self.good.plan.steps) if count is None else count)
        self.write(CONTROL, START | INTERRUPT | also)

    def run_good(self, what: str, count: int | None = None, also: int = 0) -> None:
        """The good program has to give every bit, and nothing else."""
        self.start(count, also=also)
        self.measure(f"{what}: interrupt", "i", PATIENCE)
        self.read(f"{what}: status", STATUS, DONE)
        self.programs.append((self.measured, what))
        self.measure(f"{what}: words", "m")

    def run(
        self,
        model: Build,
        *,
        image: Mapping[int, bytes] | None = None,
        latency: int = 24,
        stall: float = 0.0,
        seed: int = 1,
        assertions: bool = True,
        folder: Path,
    ) -> list[int]:
        """The measurements, after every check."""
        (folder / "script.txt").write_text("\n".join(self.lines) + "\n")
        content = {**self.good.image, **(image or {})}
        text = "".join(bench.to_readmemh(data, base) for base, data in content.items())
        (folder / "image.hex").write_text(text)
        plusargs: dict[str, object] = {"script": "script.txt", "memory": "image.hex", "write_log": "writes.bin"}
        plusargs |= {"axi_latency": latency, "axi_stall": round(256 * stall), "axi_seed": seed}
        run(
            model,
            HERE / "engine_top_script.py",
            plusargs=plusargs,
            cwd=folder,
            seed=seed,
            randomise=True,
            assertions=assertions,
        ).require("the engine")
        found = [int(line, 16) for line in (folder / "script.log").read_text().split()]
        assert len(found) == self.measured
        for index, (what, expected) in self.checks.items():
            if expected is None:
                assert found[index] != NEVER, f"{what}: never came"
            else:
                assert found[index] == expected, f"{what}: {found[index]:#x} instead of {expected:#x}"
        rows = np.fromfile(folder / "writes.bin", dtype=np.uint32).reshape(-1, 2 + WORD_BYTES // 4)
        log = WriteLog(rows[:, 0], rows[:, 1].astype(np.uint64) * WORD_BYTES, rows[:, 2:].copy().view(np.uint8))
        for index, what in self.programs:
            comparison = compare(self.good.plan, self.good.values, log.part(found[index] - self.good.words, found[index]))
            assert comparison.exact, f"{what}: {comparison.mismatch}"
        return found
