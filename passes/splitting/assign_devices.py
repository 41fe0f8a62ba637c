"""Which device runs which sub-model: greedy, under limits of memory, computing and energy.

Source: ED-ViT (arXiv 2410.11650), assignment under device resources: sub-models in order of their energy, each to the
device with the most energy left whose memory still holds it; when one finds no device, the heaviest is pruned harder and
all is tried again. Costs depend on shapes alone, so here nothing is trained before the assignment stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from edgewright.passes.diagnostics import fail
from edgewright.passes.structure.sub_model_shape import Footprint


@dataclass(frozen=True, slots=True)
class Place:
    """A device as the assignment sees it. macs: most per inference; energy_mj: most per inference; None: no limit."""

    name: str
    memory_bytes: int
    macs: int | None = None
    energy_mj: float | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """For each sub-model its device and its level, a place in the ladder of shapes. harder: how many times a level was
    raised above where it started."""

    devices: tuple[int, ...]
    levels: tuple[int, ...]
    harder: int


Energy = Callable[[int, int], float]  # (device, level) -> mJ for one inference


def assign_devices(
    costs: Sequence[Sequence[Footprint]], start: int, places: Sequence[Place], energy: Energy | None = None
) -> Assignment:
    """costs: for each sub-model the footprint of each level, falling; start: the level to begin with.

    A device takes one sub-model before any takes two; of devices with as much energy left, the one with the least memory
    that holds the sub-model is taken. CompileError K005 when the smallest sub-models do not fit either;
    it names the smallest limits that would do.
    """
    levels = [min(start, len(ladder) - 1) for ladder in costs]
    harder = 0
    while True:
        devices = _greedy(costs, levels, places, energy)
        if devices is not None:
            return Assignment(devices, tuple(levels), harder)
        prunable = [i for i, level in enumerate(levels) if level + 1 < len(costs[i])]
        if not prunable:
            _nothing_fits(costs, places, energy)
        heaviest = max(prunable, key=lambda i: (costs[i][levels[i]].macs, -i))
        levels[heaviest] += 1
        harder += 1


@dataclass(slots=True)
class _Left:
    """What a device still has."""

    place: Place
    memory_bytes: int
    macs: float
    energy_mj: float
    taken: int = 0

    def takes(self, need: Footprint, energy_mj: float) -> bool:
        return need.memory_bytes <= self.memory_bytes and need.macs <= self.macs and energy_mj <= self.energy_mj


def _greedy(
    costs: Sequence[Sequence[Footprint]], levels: Sequence[int], places: Sequence[Place], energy: Energy | None
) -> tuple[int, ...] | None:
    left = [_Left(p, p.memory_bytes, _limit(p.macs), _limit(p.energy_mj)) for p in places]
    chosen = [-1] * len(costs)
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i][levels[i]].macs, i)):
        need = costs[i][levels[i]]
        asked = [_energy(energy, places, d, levels[i]) for d in range(len(places))]
        able = [d for d in range(len(places)) if left[d].takes(need, asked[d])]
        if not able:
            return None
        best = min(able, key=lambda d: (left[d].taken, -left[d].energy_mj, left[d].memory_bytes, d))
        left[best].memory_bytes -= need.memory_bytes
        left[best].macs -= need.macs
        left[best].energy_mj -= asked[best]
        left[best].taken += 1
        chosen[i] = best
    return tuple(chosen)


def _limit(value: float | None) -> float:
    return float("inf") if value is None else value


def _energy(energy: Energy | None, places: Sequence[Place], device: int, level: int) -> float:
    """Asked for only where there is a limit: it may take a prediction of latency."""
    return 0.0 if energy is None or places[device].energy_mj is None else energy(device, level)


def _nothing_fits(costs: Sequence[Sequence[Footprint]], places: Sequence[Place], energy: Energy | None) -> NoReturn:
    needs = [ladder[-1] for ladder in costs]
    smallest = max(needs, key=lambda need: need.memory_bytes)
    level = len(costs[0]) - 1
    limits = []
    for d, place in enumerate(places):
        words = [f"{_kib(place.memory_bytes)} of memory"]
        if place.macs is not None:
            words.append(f"{place.macs / 1e6:,.3g} million multiply-adds")
        if place.energy_mj is not None:
            asked = _energy(energy, places, d, level)
            words.append(f"{place.energy_mj:.3g} mJ (one there takes {asked:.3g} mJ)")
        limits.append(f"{place.name}: {', '.join(words)}")
    need = f"{_kib(smallest.memory_bytes)} of memory and {smallest.macs / 1e6:,.3g} million multiply-adds"
    fail(
        "K005",
        "the fleet cannot hold the model, however small its parts are made",
        "; ".join(limits),
        f"the smallest of the {len(costs)} sub-models still needs {need}",
        f"the smallest sufficient fleet has {len(costs)} devices with {need} each: raise the limits, or add devices",
    )


def _kib(count: int) -> str:
    return f"{count / 1024:,.4g} KiB" if count < 1 << 20 else f"{count / (1 << 20):,.4g} MiB"
