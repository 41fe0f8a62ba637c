"""CUDA source -> cubin, by nvcc or by NVRTC of PyPI's nvidia-cuda-nvrtc-cu12, whichever knows the architecture.

CUDA 10.2 to 12.9 compile sm_53 and sm_72; sm_87 needs 11.4 or later; CUDA 13 knows sm_87 only.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from edgewright.passes import cache
from edgewright.passes.diagnostics import Exit, fail

TIMEOUT_SECONDS = 600
ADVICE = "CUDA 10.2 to 12.9 compile sm_53 and sm_72, 11.4 and later sm_87; or: pip install nvidia-cuda-nvrtc-cu12"
RESOURCES = re.compile(r"(\d+) (?:bytes )?(registers|smem|stack frame|spill stores|spill loads)")


@dataclass(frozen=True, slots=True)
class KernelResources:
    """What ptxas reports of one kernel."""

    registers: int
    shared_bytes: int
    spill_bytes: int


@dataclass(frozen=True, slots=True)
class Cubin:
    """Machine code of one architecture, and the compiler it comes from."""

    code: bytes
    compiler: str
    resources: Mapping[str, KernelResources]


@dataclass(frozen=True, slots=True)
class Compiler:
    """nvcc or the library of NVRTC, and the architectures it compiles for."""

    kind: str
    path: str
    version: str
    architectures: frozenset[str]

    @property
    def title(self) -> str:
        return f"{self.kind} {self.version}"


def compile_cubin(source: str, arch: str, *, require: bool = False) -> Cubin | None:
    """Return the cubin; None if no compiler for the architecture is found, unless one is required.

    CompileError T030 (no compiler found knows the architecture), T031 (none found), T033 (it failed).
    """
    available = compilers()
    chosen = next((compiler for compiler in available if arch in compiler.architectures), None)
    if chosen is None:
        if not require:
            return None
        if available:
            titles = " and ".join(compiler.title for compiler in available)
            fail("T030", f"{titles} cannot compile for {arch}", help=ADVICE, exit=Exit.USAGE)
        fail("T031", f"there is no CUDA compiler for {arch}", help=ADVICE, exit=Exit.USAGE)

    def make(folder: Path) -> None:
        (folder / "model.cu").write_text(source)
        log = (_nvcc if chosen.kind == "nvcc" else _nvrtc)(chosen, arch, folder)
        used = {name: asdict(value) for name, value in resource_usage(log).items()}
        (folder / "resources.json").write_text(json.dumps(used))

    folder = cache.entry("cuda", cache.key({"model.cu": source}, [chosen.title, arch]), make)
    used = json.loads((folder / "resources.json").read_text())
    resources = {name: KernelResources(**value) for name, value in used.items()}
    return Cubin((folder / "model.cubin").read_bytes(), chosen.title, resources)


def resource_usage(log: str) -> dict[str, KernelResources]:
    """Return the resources of each kernel from the verbose output of ptxas."""
    resources: dict[str, KernelResources] = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part[: part.index("'")]
        numbers = {kind: int(number) for number, kind in RESOURCES.findall(part)}
        spilled = numbers.get("spill stores", 0) + numbers.get("spill loads", 0)
        resources[name] = KernelResources(numbers.get("registers", 0), numbers.get("smem", 0), spilled)
    return resources


def compilers() -> Sequence[Compiler]:
    """Return nvcc of PATH or CUDA_HOME, then NVRTC; those that are installed."""
    return [compiler for compiler in (_find_nvcc(), _find_nvrtc()) if compiler is not None]


def _find_nvcc() -> Compiler | None:
    home = os.environ.get("CUDA_HOME")
    path = shutil.which("nvcc", path=f"{home}/bin") if home else None
    path = path or shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    return None if path is None else _ask_nvcc(path)


@functools.cache
def _ask_nvcc(path: str) -> Compiler | None:
    version = _said([path, "--version"])
    number = re.search(r"release ([\d.]+)", version)
    if number is None:
        return None
    known = re.findall(r"compute_(\d+)", _said([path, "--list-gpu-arch"]) or _said([path, "--help"]))
    return Compiler("nvcc", path, number[1], frozenset(f"sm_{number}" for number in known))


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


@functools.cache
def _find_nvrtc() -> Compiler | None:
    try:
        spec = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        return None
    folders = [Path(place) / "lib" for place in (spec.submodule_search_locations or ())] if spec else []
    path = next((library for folder in folders for library in sorted(folder.glob("libnvrtc.so.*"))), None)
    if path is None:
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    major, minor, count = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(known)
    return Compiler("NVRTC", str(path), f"{major.value}.{minor.value}", frozenset(f"sm_{number}" for number in known))


def _nvcc(compiler: Compiler, arch: str, folder: Path) -> str:
    command = [compiler.path, "-cubin", f"-arch={arch}", "-O3", "-Xptxas", "-v", "-o", "model.cubin", "model.cu"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        _failed(compiler, f"it did not end within {TIMEOUT_SECONDS} s")
    if done.returncode:
        _failed(compiler, done.stderr)
    return done.stderr + done.stdout


def _nvrtc(compiler: Compiler, arch: str, folder: Path) -> str:
    library = ctypes.CDLL(compiler.path)
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    source = (folder / "model.cu").read_bytes()
    library.nvrtcCreateProgram(ctypes.byref(program), source, b"model.cu", 0, None, None)
    try:
        options = [f"--gpu-architecture={arch}".encode(), b"--ptxas-options=-v"]
        bad = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, buffer)
        log = buffer.value.decode(errors="replace")
        if bad or library.nvrtcGetCUBINSize(program, ctypes.byref(size)):
            _failed(compiler, log)
        code = ctypes.create_string_buffer(size.value)
        library.nvrtcGetCUBIN(program, code)
        (folder / "model.cubin").write_bytes(code.raw)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
    return log


def _failed(compiler: Compiler, log: str) -> NoReturn:
    fail("T033", f"{compiler.title} failed", because=log.strip()[:2000], exit=Exit.BUG)
