"""Running aarch64 programs under QEMU's user emulation, and counting the instructions they execute.

Emulated time says nothing about speed; instruction counts and results do not depend on the host.
"""

from __future__ import annotations

import functools
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edgewright.passes import cache
from edgewright.passes.diagnostics import CompileError, Exit, fail
from edgewright.targets.cpu.child_process import Finished, run_child

PROGRAMS = ("qemu-aarch64", "qemu-aarch64-static")  # Debian's qemu-user and qemu-user-static
CPUS = {"generic_aarch64": "cortex-a72", "neon": "cortex-a72", "dotprod": "cortex-a76", "i8mm": "max"}
INSTALL = "install QEMU's user emulation: Debian and Ubuntu have it as `apt-get install qemu-user`"


@dataclass(frozen=True)
class EmulatedRun:
    """The result of an emulated program.

    exit_code: negative when a signal ended it (-SIGILL: an instruction that the processor lacks). instructions: how
    many the whole process executed, None unless counted. marks: (kind, instructions so far) for each mark it set,
    which is its system call close(-1163000000 - kind) with 0 <= kind < 64.
    """

    stdout: str
    stderr: str
    exit_code: int
    instructions: int | None
    marks: tuple[tuple[int, int], ...] = ()


def run(
    program: Path,
    args: Sequence[str],
    cpu: str,
    timeout_s: float,
    count: bool = False,
    library_root: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> EmulatedRun:
    """Run an aarch64 program on an emulated `cpu` (cortex-a72, cortex-a76, max ...).

    library_root: the folder that replaces / when a dynamic program looks for its loader and libraries.
    environment: all variables of the program, by default only PATH. The emulator is ended after the time limit.
    CompileError T012 without QEMU (or, when counting, without one that takes plugins), T013 after the time limit.
    """
    variables = {"PATH": "/usr/bin:/bin"} if environment is None else environment
    with tempfile.TemporaryDirectory(prefix="edgewright-qemu-") as scratch:
        counts = Path(scratch) / "counts"
        emulation = command(program, args, cpu, library_root, counts if count else None)
        done = _execute(emulation, variables, timeout_s)
        if not count or not counts.exists():  # a signal ends the emulator without its exit handlers
            return EmulatedRun(done.stdout, done.stderr, done.code, None)
        total, *marks = counts.read_text().split()
    pairs = (mark.split(":") for mark in marks)
    return EmulatedRun(done.stdout, done.stderr, done.code, int(total), tuple((int(kind), int(at)) for kind, at in pairs))


def command(
    program: Path, args: Sequence[str], cpu: str, library_root: Path | None = None, counts: Path | None = None
) -> list[str]:
    """Return the command line that `run` executes; counts: the file for the instruction counts, written at the end."""
    emulator = find(plugins=counts is not None)
    options = ["-cpu", cpu]
    if library_root is not None:
        options += ["-L", str(library_root)]
    if counts is not None:
        options += ["-plugin", f"{_escaped(_plugin(emulator))},out={_escaped(counts)}"]
    return [emulator, *options, str(program), *args]


def forbid_core_dump(pid: int) -> None:
    """Forbid core dumps: QEMU writes one of the emulated program to the current folder if the limits allow it."""
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def find(plugins: bool = False) -> str:
    """Return the path of an aarch64 user emulator, with plugins if asked; CompileError T012 when there is none."""
    emulators = [path for name in PROGRAMS if (path := shutil.which(name))]
    if not emulators:
        fail("T012", "there is no emulator for aarch64", help=INSTALL, exit=Exit.USAGE)
    if not plugins:
        return emulators[0]
    for path in emulators:
        if _takes_plugins(path):
            return path
    because = f"{emulators[0]} takes no plugins, as statically linked builds do not"
    fail("T012", "instructions cannot be counted by this emulator", because=because, help=INSTALL, exit=Exit.USAGE)


def missing() -> list[str]:
    """Return what this machine lacks to count instructions."""
    try:
        find(plugins=True)
    except CompileError:
        return ["qemu-aarch64 with plugins (Debian's qemu-user)"]
    return []


@functools.cache
def _takes_plugins(emulator: str) -> bool:
    done = subprocess.run([emulator, "-h"], capture_output=True, text=True, errors="replace", timeout=60)
    return "-plugin" in done.stdout


@functools.cache
def _interface(emulator: str) -> int:
    """Return the version of the plugin interface: QEMU 9 refuses plugins of version 1, and older ones know no other."""
    version_text = subprocess.run([emulator, "--version"], capture_output=True, text=True, errors="replace", timeout=60).stdout
    version = re.search(r"version (\d+)", version_text)
    return 2 if version and int(version[1]) >= 9 else 1


def _plugin(emulator: str) -> Path:
    """Return the counting plugin, built for this machine and this emulator's interface, from the cache."""
    source = (files("edgewright.targets.cpu") / "qemu_plugin" / "count.c").read_text()
    compiler = [path] if (path := shutil.which("cc")) else [sys.executable, "-m", "ziglang", "cc"]
    flags = [f"-DEW_PLUGIN_VERSION={_interface(emulator)}", "-std=gnu17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"]

    def make(folder: Path) -> None:
        (folder / "count.c").write_text(source)
        build = [*compiler, *flags, str(folder / "count.c"), "-o", str(folder / "count.so")]
        zig = {"ZIG_GLOBAL_CACHE_DIR": str(cache.root() / "zig"), "ZIG_LOCAL_CACHE_DIR": str(cache.root() / "zig")}
        done = subprocess.run(build, capture_output=True, text=True, errors="replace", timeout=300, env={**zig, **os.environ})
        if done.returncode:
            because = done.stderr.strip()[:2000]
            fail("T011", "the C compiler failed on QEMU's plugin", because=because, exit=Exit.BUG)

    return cache.entry("qemu", cache.key({"count.c": source}, [*compiler, *flags]), make) / "count.so"


def _escaped(path: Path) -> str:
    """Double commas, which would end an option's value."""
    return str(path).replace(",", ",,")


def _execute(emulation: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> Finished:
    try:
        return run_child(emulation, timeout_s, keep_stdout=True, environment=environment, started=forbid_core_dump)
    except subprocess.TimeoutExpired:
        message = f"the emulated program did not end within {timeout_s:g} s"
        hint = "emulation is 20 to 100 times slower than a board; allow more time, or use a smaller model"
        fail("T013", message, help=hint, exit=Exit.USAGE)
