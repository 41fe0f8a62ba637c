"""What the conditions of a measurement mean for its figures: warnings, and energy from power."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.targets.cpu.devices.measured import Conditions, DeviceMeasurement, Power
from edgewright.targets.cpu.profile_results import PowerUse, RailEnergy, RunTimes

# get_throttled of a Raspberry Pi: bits 0-3 now, the same from 16 on since boot.
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_PI_FLAGS = ("under-voltage", "the clock is capped", "throttled", "the soft temperature limit is active")
_PI_SINCE_BOOT = 16
_SPREAD, _LOAD, _COOLER, _HOT_C = 0.1, 0.5, 0.9, 80.0
# Rails that supply all others, by board: the module's input on Jetsons (NVIDIA's Tegra documentation).
_INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "5V_IN")


def warnings(measured: DeviceMeasurement, runs: Sequence[RunTimes]) -> list[str]:
    """Return sentences on what may have distorted the times; none for an emulator, which has no times."""
    if not runs:
        return []
    sentences = []
    before, after = measured.before, measured.after
    if before is None or after is None or not (before.clock_khz or after.clock_khz):
        sentences.append("The device does not report its clock: the frequency of these runs is unknown.")
    if before is not None and after is not None:
        processors = measured.machine.processors if measured.machine else 0
        sentences += _clock(before, after) + _heat(before, after) + _others(before, processors)
    for run in runs:
        if run.spread > _SPREAD:
            threads = f"{run.threads} thread{'s' if run.threads > 1 else ''}"
            sentences.append(f"With {threads} the times vary by {run.spread:.0%}: other programs may have run.")
    return sentences


def _clock(before: Conditions, after: Conditions) -> list[str]:
    sentences = []
    if slow := sorted({*before.governors, *after.governors} - {"performance"}):
        sentences.append(
            f"The clock governor is {', '.join(slow)}: set `performance` for reproducible times "
            "(cpupower frequency-set -g performance; on a Jetson: jetson_clocks)."
        )
    if after.clock_khz and after.clock_max_khz and max(after.clock_khz) < _COOLER * max(after.clock_max_khz):
        now, most = max(after.clock_khz) / 1e3, max(after.clock_max_khz) / 1e3
        sentences.append(f"After the runs the clock was at {now:,.0f} MHz, its maximum is {most:,.0f} MHz.")
    return sentences


def _heat(before: Conditions, after: Conditions) -> list[str]:
    sentences = []
    if before.throttle_count is not None and after.throttle_count is not None:
        times = after.throttle_count - before.throttle_count
        if times > 0:
            sentences.append(f"The processor was throttled {times} time{'s' if times > 1 else ''} by its temperature.")
    flags = after.throttled_flags or 0
    if now := [text for bit, text in enumerate(_PI_FLAGS) if flags >> bit & 1]:
        sentences.append(f"The firmware reports: {', '.join(now)}.")
    risen = flags & ~(before.throttled_flags or 0)
    if past := [text for bit, text in enumerate(_PI_FLAGS) if risen >> (bit + _PI_SINCE_BOOT) & 1]:
        sentences.append(f"The firmware reports that this happened during the runs: {', '.join(past)}.")
    if after.thermal and (hottest := max(after.thermal, key=lambda zone: zone.millicelsius)).millicelsius > _HOT_C * 1e3:
        sentences.append(f"{hottest.name} is at {hottest.millicelsius / 1e3:.0f} °C.")
    return sentences


def _others(before: Conditions, processors: int) -> list[str]:
    if before.load is None or before.load <= _LOAD * max(processors, 1):
        return []
    return [f"Before the runs the load was {before.load:.1f} on {processors} processors: other programs were running."]


def power(measured: Power | None) -> PowerUse | None:
    """Return the rails with their energy per inference in mJ, also above idle, and the input rail; None without sensors."""
    if measured is None or not measured.runs:
        return None
    idle = {rail.name: rail.milliwatts for rail in measured.idle}
    each_s = measured.seconds / measured.runs
    rails = tuple(
        RailEnergy(
            rail.name,
            idle.get(rail.name),
            rail.milliwatts,
            rail.milliwatts * each_s,
            (rail.milliwatts - idle[rail.name]) * each_s if rail.name in idle else None,
        )
        for rail in measured.busy
    )
    whole = next((rail.name for rail in rails if rail.name in _INPUT_RAILS), None)
    return PowerUse(measured.threads, measured.runs, measured.seconds, measured.samples, rails, whole)
