"""The machine that runs the compiler as a device: what it reports, and what is known of its core.

/proc/cpuinfo names the core and its instruction sets, sysfs its caches and clocks. Neither reports how many instructions a core
completes per cycle: `cores.toml` and the board files do; what no source states is assumed and marked as assumed.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from edgewright.targets.cpu.variants import Variant, best, cpuinfo, host_arch, host_features
from edgewright.targets.device import Cpu, Device

# Assumed where the machine does not report it (virtual machines): how far the clock rises above the reported one, and what
# memory delivers. Memory bandwidth depends on the installed modules, so none is looked up.
TURBO = 1.5
READ_GB_PER_S = 10.0
READ_ALL_GB_PER_S = 30.0
L1D_KIB, L2_KIB = 32, 512
FALLBACK_MHZ = 2_000.0
_FIGURES = (
    "issue_width",
    "fma_per_cycle",
    "mull_per_cycle",
    "dot_per_cycle",
    "mma_per_cycle",
    "tile_macs_per_cycle",
    "vector_per_cycle",
    "simd_bits",
)


def this_machine(device: Device, boards: Iterable[Device], root: Path = Path("/")) -> Device:
    """Return `device` with the figures of this machine; without `cpu` if there are no micro-kernels for its architecture.

    boards: their figures are used if this machine has the same core. root: where /proc and /sys are.
    """
    about = cpuinfo(root / "proc/cpuinfo")
    try:
        variant = best(host_arch(), host_features(root / "proc/cpuinfo"))
    except KeyError:
        return device
    figures, core, pipes = _core(about, variant, boards)
    clock, clock_max, clocks = _clocks(about, root)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    caches = _caches(root)
    cpu = Cpu(
        core=core,
        cores=cores,
        variant=variant.name,
        midr=_midr(about),
        clock_max_mhz=clock_max,
        **figures,
        **caches,
        read_gb_per_s=READ_GB_PER_S,
        read_all_gb_per_s=max(READ_GB_PER_S, min(READ_ALL_GB_PER_S, cores * READ_GB_PER_S)),
    )
    source = {
        **device.source,
        "clock_mhz": clocks,
        "cpu": "/proc/cpuinfo; the fastest micro-kernels that it can run",
        "cpu.pipes": pipes,
        "cpu.caches": "sysfs" if caches else "not known, assumed",
        "cpu.bandwidth": "not measured: an assumption",
    }
    return msgspec.structs.replace(device, cpu=cpu, clock_mhz=clock, part=core, source=source)


def _midr(about: Mapping[str, str]) -> str:
    try:
        return f"{int(about['cpu implementer'], 16):02x}:{int(about['cpu part'], 16):03x}"
    except (KeyError, ValueError):
        return ""


def _core(about: Mapping[str, str], variant: Variant, boards: Iterable[Device]) -> tuple[dict[str, Any], str, str]:
    """Return (figures of the core, its name, their source); vectors are at most as wide as those of the kernels."""
    table = tomllib.loads((resources.files(__package__) / "cores.toml").read_text(encoding="utf-8"))
    midr = _midr(about)
    for board in boards:
        if midr and board.cpu is not None and board.cpu.midr == midr:
            known = {name: getattr(board.cpu, name) for name in _FIGURES}
            return _narrowed(known, variant), board.cpu.core, f"as {board.name}: {board.source['cpu.pipes']}"
    for core in table["core"]:
        if _is(core, about, midr):
            known = {name: core[name] for name in _FIGURES if name in core}
            return _narrowed(known, variant), core["name"], f"{core['name']}: {table['source']}"
    name = about.get("model name") or f"an unknown {variant.arch} core"
    guess = dict(issue_width=4, simd_bits=variant.vector_bits, fma_per_cycle=2, mull_per_cycle=1, vector_per_cycle=2)
    return guess | {"dot_per_cycle": 1, "mma_per_cycle": 1}, name, "an assumption: this core is not in cores.toml"


def _is(core: Mapping[str, Any], about: Mapping[str, str], midr: str) -> bool:
    if "midr" in core:
        return bool(core["midr"] == midr)
    if about.get("vendor_id") != core["vendor"] or about.get("cpu family") != str(core["family"]):
        return False
    model = about.get("model", "")
    return model.isdecimal() and any(first <= int(model) <= last for first, last in core["models"])


def _narrowed(figures: dict[str, Any], variant: Variant) -> dict[str, Any]:
    """Return the figures for narrower vectors: as many instructions per cycle, or twice if a wide one counts as two."""
    width = min(figures["simd_bits"], variant.vector_bits)
    ratio = figures["simd_bits"] // width
    if ratio == 1:
        return figures
    scaled = {name: min(2.0, figures.get(name, 0.0) * ratio) for name in ("fma_per_cycle", "mull_per_cycle")}
    return figures | scaled | {"simd_bits": width}


def _clocks(about: Mapping[str, str], root: Path) -> tuple[float, float, str]:
    """Return (sustained clock, highest clock, source), in MHz."""
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    at_best = _number(folder / "cpuinfo_max_freq")
    base = _number(folder / "base_frequency")
    if at_best:
        sustained = base or at_best / TURBO
        return sustained / 1000, at_best / 1000, "sysfs" if base else f"sysfs; kept up: assumed 1 / {TURBO:g} of the highest"
    try:
        shown = float(about["cpu mhz"])
    except (KeyError, ValueError):
        shown = 0.0
    known = f"/proc/cpuinfo; at best: assumed {TURBO:g} times that, for this machine does not tell"
    if shown <= 0:
        return FALLBACK_MHZ, FALLBACK_MHZ * TURBO, "not known, assumed"
    return round(shown), round(shown * TURBO), known


def _caches(root: Path) -> dict[str, int]:
    """Return the sizes of the data caches from sysfs, and how many cores share the L2; assumed where sysfs lacks them."""
    caches = {"l1d_kib": L1D_KIB, "l2_kib": L2_KIB}
    for index in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*")):
        size = re.fullmatch(r"(\d+)K", _text(index / "size"))
        if size is None or _text(index / "type") == "Instruction" or not int(size[1]):
            continue
        level = _text(index / "level")
        if name := {"1": "l1d_kib", "2": "l2_kib", "3": "l3_kib"}.get(level):
            caches[name] = int(size[1])
        if level == "2":
            caches["l2_cores"] = max(1, _count(_text(index / "shared_cpu_list")))
    return caches


def _count(cpus: str) -> int:
    """Return how many processors a list like 0-3,8 names."""
    ranges = re.findall(r"(\d+)(?:-(\d+))?", cpus)
    return sum(int(last or first) - int(first) + 1 for first, last in ranges)


def _number(path: Path) -> float:
    text = _text(path)
    return float(text) if text.isdecimal() else 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
