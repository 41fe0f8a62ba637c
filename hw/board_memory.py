"""Return the timing of a board's memory in cycles of the engine's clock, or that of another memory named by an option."""

from __future__ import annotations

import math
from dataclasses import replace

from edgewright.hw.kernel.memory_timing import COST_UNIT, IDEAL, MOST_OUTSTANDING, MemoryTiming
from edgewright.passes.diagnostics import Exit, fail
from edgewright.targets.device import Device, Dram

MOST_LATENCY = 10_000


def memory_of_board(device: Device, clock_mhz: float | None = None) -> MemoryTiming:
    """Return the memory of an FPGA board at a clock, by default the board's. CompileError T060 if its file does not say."""
    memory, clock = device.memory, clock_mhz or device.clock_mhz
    assert memory is not None and clock is not None
    dram = memory.dram
    if dram is None:
        fail(
            "T060",
            f"the board file of '{device.name}' does not describe its memory's timing",
            f"targets/boards/{device.name}.toml, [memory.dram]",
            "without it only a memory that no board has could be simulated",
            "add the table, with its sources, or use --memory ideal",
            exit=Exit.USAGE,
        )
    return _in_cycles(dram, memory.dram_gb_per_s, clock)


def _in_cycles(dram: Dram, peak_gb_per_s: float, clock_mhz: float) -> MemoryTiming:
    def cycles(ns: float) -> int:
        return math.ceil(ns * clock_mhz / 1000 - 1e-9)

    sustained = peak_gb_per_s * dram.efficiency
    return MemoryTiming(
        read_latency=cycles(dram.read_latency_ns),
        write_latency=cycles(dram.write_latency_ns),
        outstanding=dram.outstanding,
        line_cost=max(1, round(COST_UNIT * dram.line_bytes / sustained * clock_mhz / 1000)),
        line_bytes=dram.line_bytes,
        page_cost=round(COST_UNIT * dram.activate_ns * clock_mhz / 1000),
        page_bytes=dram.page_bytes,
        banks=dram.banks,
        refresh=cycles(dram.refresh_ns),
        refresh_interval=cycles(dram.refresh_interval_ns),
    )


_KEYS = {"read": "read_latency", "write": "write_latency", "outstanding": "outstanding"}
_RANGES = {"read": (1, MOST_LATENCY), "write": (1, MOST_LATENCY), "outstanding": (1, MOST_OUTSTANDING), "bandwidth": (1, 4096)}


def parse_memory(text: str, device: Device) -> MemoryTiming:
    """Return the memory that an option names: "board", "ideal", or the board's with changes as in "read=60,outstanding=8".

    Keys: read, write (cycles), outstanding (transactions a port), bandwidth (bytes a cycle in all). CompileError U036 for
    anything else.
    """
    if text == "ideal":
        return IDEAL
    memory = memory_of_board(device)
    if text == "board":
        return memory
    for part in text.split(","):
        key, _, value = part.partition("=")
        low, high = _RANGES.get(key, (0, 0))
        if key not in _RANGES or not value.isdecimal() or not low <= int(value) <= high:
            ranges = ", ".join(f"{name} ({a} to {b})" for name, (a, b) in _RANGES.items())
            fail(
                "U036",
                f"'{part[:60]}' does not describe a memory",
                "--memory",
                f"it takes board, ideal, or numbers separated by commas: {ranges}",
                "for example --memory read=60,write=40,outstanding=8",
                exit=Exit.USAGE,
            )
        if key == "bandwidth":
            memory = replace(memory, line_cost=max(1, round(COST_UNIT * memory.line_bytes / int(value))))
        else:
            memory = replace(memory, **{_KEYS[key]: int(value)})
    return memory
