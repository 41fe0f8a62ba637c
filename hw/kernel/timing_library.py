"""The compiled loop of the timing model, `timing_loop.c`: built once for this machine and kept in the cache."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache as once
from importlib.resources import files
from pathlib import Path

import numpy as np
from edgewright.hw.kernel.tokens import Rows
from edgewright.passes import cache
from edgewright.targets.cpu.compile_c import clang, compiler_version
from edgewright.targets.cpu.variants import host_arch

FLAGS = ("-std=gnu17", "-O2", "-fPIC", "-g0", "-fno-sanitize=all", "-Wall", "-Wextra", "-Werror")
ARRAYS = (
    *("sizes", "initial", "processes", "plan_of", "plans", "position", "pattern", "takes_first", "takes", "gives_first"),
    *("gives", "give_delay", "ports", "address", "words", "mark", "drains", "memory", "clocks"),
    *("spans", "ends", "outputs", "waits", "moves", "counts"),
)
"""Fields of `Input` in timing_loop.c, in order: pointers to 64-bit integers. The last six are written."""
NO_MEMORY, MORE_ROWS = -1, -2


class _Input(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in ARRAYS)


def run_loop(arrays: Mapping[str, Rows]) -> bool:
    """Run the loop on contiguous int64 arrays, one for each of `ARRAYS`; return whether `outputs`, `waits` and `moves` hold
    all rows, whose numbers are in `counts` in any case.

    MemoryError; CompileError T010 or T011 without a C compiler, or when it fails."""
    pointers = {}
    for name in ARRAYS:
        array = arrays[name]
        assert array.dtype == np.int64 and array.flags.c_contiguous, name
        pointers[name] = array.ctypes.data
    found = int(_library().ew_timing(ctypes.byref(_Input(**pointers))))
    if found == NO_MEMORY:
        raise MemoryError("no memory for the timing model")
    return found != MORE_ROWS


@once
def _library() -> ctypes.CDLL:
    source = (files("edgewright.hw.kernel") / "timing_loop.c").read_text()
    arch = host_arch()

    def make(folder: Path) -> None:
        (folder / "timing_loop.c").write_text(source)
        clang(arch, [*FLAGS, "-shared", "-s", str(folder / "timing_loop.c"), "-o", str(folder / "timing_loop.so")])

    name = cache.key({"timing_loop.c": source}, [compiler_version(), arch, *FLAGS])
    library = ctypes.CDLL(str(cache.entry("timing", name, make) / "timing_loop.so"))
    library.ew_timing.restype = ctypes.c_int64
    return library
