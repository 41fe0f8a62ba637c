"""Simulate a whole plan at RTL: compare every stored word with the interpreter, count cycles."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from edgewright.hw.kernel.memory_timing import IDEAL, MemoryTiming
from edgewright.hw.plan import Plan, pack_rows
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array
from edgewright.sim.engine import EngineRun, Job, build_engine, run_engine
from edgewright.sim.scoreboard import Comparison, WriteLog, compare, compare_outputs

SHARED_MEMORY_BYTES = 1 << 24
"""Memory of a simulated engine unless a model needs more, so that models share one built simulator."""


@dataclass(frozen=True, slots=True)
class NetworkRun:
    """Result of simulating some images.

    ``cycles``: per image. ``step_cycles``: per descriptor of the first image, from the previous one's last stored word
    to its own. ``expected``: the interpreter's values of each image, by node. ``stored_cycles``: of the first image the
    cycle of each stored word, empty for an engine without on-chip memory.
    """

    cycles: tuple[int, ...]
    step_cycles: tuple[int, ...]
    comparisons: tuple[Comparison, ...]
    build_seconds: float
    seconds: float
    expected: tuple[Mapping[Node, Array], ...] = ()
    stored_cycles: tuple[int, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every bit of every image is equal."""
        return all(comparison.exact for comparison in self.comparisons)

    @property
    def kcycles_per_second(self) -> float:
        """Simulated cycles per second of the simulator process, in thousands."""
        return sum(self.cycles) / self.seconds / 1000


def input_writes(plan: Plan, values: Mapping[Node, Array]) -> dict[int, bytes]:
    """Return what the host writes before an image: address -> the quantised inputs, as stored in their regions."""
    layouts = {address: plan.layouts[node] for node, address in plan.addresses.items()}
    return {address: pack_rows(rows, layouts[address]) for address, rows in plan.host_values(values).items()}


def simulate(
    plan: Plan,
    rtl: Mapping[str, str],
    inputs: Mapping[str, Array],
    *,
    image: bytes | None = None,
    memory: MemoryTiming = IDEAL,
    stall: float = 0.0,
    wave: Path | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> NetworkRun:
    """Run every sample of ``inputs`` (by input name, samples along axis 0) on the engine in ``rtl``.

    ``memory``: the timing of the memory behind the engine's ports. ``image`` replaces the plan's memory image (to show that
    a changed weight is detected). Raises ``CompileError`` for a missing tool or an engine that stops moving data.
    """
    started = time.perf_counter()
    note("building the simulator")
    model = build_engine(rtl, memory_bytes=max(SHARED_MEMORY_BYTES, plan.memory_bytes), trace=wave is not None)
    build_seconds = time.perf_counter() - started
    samples = next(iter(inputs.values())).shape[0]
    expected = []
    for sample in range(samples):
        note(f"interpreting image {sample + 1} of {samples}")
        expected.append(interpret_all(plan.graph, {name: array[sample : sample + 1] for name, array in inputs.items()}))
    note(f"simulating {samples} image{'s' if samples > 1 else ''}")
    jobs = [Job(plan.program_address, len(plan.steps), input_writes(plan, values)) for values in expected]
    run = run_engine(model, {0: plan.image if image is None else image}, jobs, memory=memory, stall=stall, wave=wave)
    comparisons = tuple(
        judged(plan, values, log, plan.image if image is None else image, job.writes)
        for values, log, job in zip(expected, run.logs, jobs, strict=True)
    )
    hub = plan.config.on_chip_words > 0  # its log counts from each image's start
    stored = tuple(run.logs[0].cycles.tolist()) if hub else ()
    return NetworkRun(run.cycles, step_cycles(plan, run), comparisons, build_seconds, run.seconds, tuple(expected), stored)


def judged(plan: Plan, values: Mapping[Node, Array], log: WriteLog, image: bytes, writes: Mapping[int, bytes]) -> Comparison:
    """Compare every stored word of one image, then every output where a host reads it."""
    comparison = compare(plan, values, log)
    return replace(comparison, mismatch=compare_outputs(plan, values, log, image, writes)) if comparison.exact else comparison


def step_cycles(plan: Plan, run: EngineRun) -> tuple[int, ...]:
    """Return the cycles of each descriptor of the first image; empty if it did not store all its words. The first one has those
    from the start on, without on-chip memory from its first stored word on."""
    log = run.logs[0]
    ends = np.cumsum([step.stored_words for step in plan.steps])
    if ends[-1] > len(log):
        return ()
    last = log.cycles[ends - 1].astype(np.int64)
    start = 0 if plan.config.on_chip_words else int(log.cycles[0])
    return tuple(np.diff(last, prepend=start).tolist())
