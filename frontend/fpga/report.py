"""The reports of a compilation for an FPGA and of a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from edgewright.frontend.options import Options
from edgewright.frontend.target import Prepared
from edgewright.hw.board_memory import memory_of_board
from edgewright.hw.cost import Cycles, chains_of, cycles_of, resources_of
from edgewright.hw.kernel.timing import Timing
from edgewright.hw.lifetimes import lifetimes, most_live
from edgewright.hw.plan import Plan, Step
from edgewright.hw.profile import array_times, profile, tracks_of
from edgewright.passes import results

if TYPE_CHECKING:
    from edgewright.sim.network import NetworkRun
    from edgewright.sim.scoreboard import Comparison


def compiled_report(
    prepared: Prepared, options: Options, plan: Plan, timing: Timing, memory: results.MemoryUsed
) -> results.Report:
    """Return the report before any simulation. ``timing``: the predicted run behind the board's ``memory``."""
    used, available = resources_of(plan.config), prepared.device.resources
    resources = results.Resources(
        **{
            name: results.Resource(getattr(used, name), getattr(available, name), used.source)
            for name in ("dsp", "lut", "ff", "bram36", "uram")
        }
    )
    compiled = prepared.report(
        options,
        macs=plan.macs,
        resources=resources,
        chains=tuple(
            results.SlowestChain(chain.process, round(chain.ns, 2), chain.where, str(chain)) for chain in chains_of(plan.config)
        ),
        roofline=results.Roofline(plan.config.macs_per_cycle, memory_of_board(prepared.device).bytes_per_cycle),
    )
    assert prepared.device.memory is not None
    external_bytes = prepared.device.memory.dram_mib << 20
    return with_latency(with_timing(compiled, plan, timing, memory, external_bytes))


def with_timing(
    report: results.Report, plan: Plan, timing: Timing, memory: results.MemoryUsed, external_bytes: int
) -> results.Report:
    """Return the report with what follows from a predicted run behind a memory of ``external_bytes``."""
    tracks, cycles = tracks_of(plan, timing), cycles_of(timing)
    values = lifetimes(plan, tracks)
    times = array_times(tracks, len(plan.steps))
    operations = tuple(replace(cost, array=time) for cost, time in zip(predicted_operations(plan, cycles), times, strict=True))
    uses = []
    for name, begin, capacity in (
        ("on chip", 0, plan.config.on_chip_bytes),
        ("external", plan.config.on_chip_bytes, external_bytes),
    ):
        inside = [value for value in values if (value.place == "on chip") == (name == "on chip")]
        top = max((value.region.end for value in inside), default=begin)
        if capacity:
            uses.append(results.MemoryUse(name, top - begin, most_live(inside), capacity))
    return replace(
        report,
        cycles=results.Cycles(cycles.total),
        memory=memory,
        operations=operations,
        memory_map=tuple(
            results.MemoryRange(v.region.name, v.region.kind, v.region.address, v.region.size_bytes, v.place, v.first, v.last)
            for v in values
        ),
        memory_use=tuple(uses),
        profile=profile(tracks),
    )


def simulated_report(
    report: results.Report, plan: Plan, run: NetworkRun, simulator: str, cpp: tuple[Comparison, ...] = ()
) -> results.Report:
    """Return the report after a simulation of ``plan`` at RTL, and of its HLS C++ (``cpp``) if that ran."""
    wrong = next((c.mismatch for c in (*run.comparisons, *cpp) if c.mismatch is not None), None)
    mismatch = None
    notes = tuple(note for note in report.notes if not note.startswith(("The engine", "The HLS C++")))
    if cpp:
        verdict = "stored the same bits" if all(c.exact for c in cpp) else "differs from the integer model"
        notes = (*notes, f"The HLS C++, compiled with g++, {verdict} for {len(cpp)} images.")
    if wrong is not None:
        if wrong.expected is None or wrong.found is None:
            notes = (*notes, f"The engine first differs at {wrong.operation}: {wrong.because}.")
        else:
            mismatch = results.Mismatch(wrong.operation, wrong.tensor, wrong.index, wrong.expected, wrong.found)
    steps = run.step_cycles or (None,) * len(plan.steps)
    operations = tuple(
        replace(operation_cost(plan, step, before.cycles.predicted, count), array=before.array)
        for step, before, count in zip(plan.steps, report.operations, steps, strict=True)
    )
    cycles = round(sum(run.cycles) / len(run.cycles))
    speed = (round(run.kcycles_per_second, 2), round(run.seconds, 2), round(run.build_seconds, 1))
    simulated = replace(
        report,
        bit_exact=run.exact and all(comparison.exact for comparison in cpp),
        images=len(run.cycles),
        tensors_compared=sum(comparison.tensors for comparison in run.comparisons),
        mismatch=mismatch,
        cycles=results.Cycles(report.cycles.predicted, cycles),
        simulation=results.Simulation(*speed, simulator),
        operations=operations,
        profile=with_counted(report.profile, run.stored_cycles),
        notes=notes,
    )
    return with_latency(simulated)


def with_counted(profile: results.Profile | None, stored_cycles: Sequence[int]) -> results.Profile | None:
    """Return the profile with the words that a simulation stored, bin by bin, beside those that were predicted."""
    if profile is None or not stored_cycles:
        return profile
    timelines = []
    for shown in profile.timelines:
        bins = -(-shown.cycles // shown.bin_cycles)
        edges = shown.first_cycle + np.minimum(np.arange(bins + 1) * shown.bin_cycles, shown.cycles)
        counts = np.diff(np.searchsorted(np.sort(stored_cycles), edges))
        lanes = [lane for lane in shown.lanes if lane.kind != "simulated"]
        at = next((place for place, lane in enumerate(lanes) if (lane.name, lane.kind) == ("results", "port")), len(lanes) - 1)
        lanes.insert(at + 1, results.Lane("results", "simulated", {"busy": tuple(counts.tolist())}))
        timelines.append(replace(shown, lanes=tuple(lanes)))
    return replace(profile, timelines=tuple(timelines))


def predicted_operations(plan: Plan, cycles: Cycles) -> tuple[results.OperationCost, ...]:
    """Return the rows of all descriptors before a simulation."""
    return tuple(operation_cost(plan, step, count, None) for step, count in zip(plan.steps, cycles.steps, strict=True))


def operation_cost(plan: Plan, step: Step, predicted: int | None, simulated: int | None) -> results.OperationCost:
    """Return one descriptor's row of the report."""
    cycles = results.Cycles(predicted, simulated)
    count = cycles.best_known
    utilisation = step.macs / (count * plan.config.macs_per_cycle) if count and step.macs else None
    return results.OperationCost(title(step), step.operation.kind, step.macs, step.moved_bytes, cycles, utilisation)


def title(step: Step) -> str:
    """Return the operation's name, with the channels where one descriptor computes only some."""
    whole = step.columns == step.operation.result.shape[-1]
    return step.operation.name if whole else f"{step.operation.name} [{step.first_column}:{step.first_column + step.columns}]"


def with_latency(report: results.Report) -> results.Report:
    """Return the report with the figures that follow from cycles, clock and DSPs."""
    cycles = report.cycles.best_known
    if not cycles or not report.clock_mhz:
        return report
    dsp = report.resources.dsp.used
    products = report.macs / (cycles * dsp) if dsp and report.macs else None
    latency_ms = cycles / (report.clock_mhz * 1000)
    return replace(report, latency_ms=latency_ms, products_per_dsp_per_cycle=products)
