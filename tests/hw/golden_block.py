"""One small block as it is printed, kept in tests/hw/golden so that a change of the printers shows as a difference.

python -m tests.hw.golden_block        # parse the printed files, then renew the kept ones
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgewright.hw.kernel import Block, ProcessTrace, Struct, StructValue, Value, dot, first, i, last, round_shift, sat, u
from edgewright.hw.kernel.cpp import HLS_FOLDER, SHIM_FOLDER, to_cpp
from edgewright.hw.kernel.sv_block import to_systemverilog
from edgewright.sim import tools

from tests.hw.slang import elaborate

GOLDEN = Path(__file__).with_name("golden")
CELLS = Path(__file__).parents[2] / "hw" / "rtl"


def block() -> Block:
    """A product of int8 vectors over k words, then a rounding shift into int8: command, streams, a FIFO, two processes."""
    b = Block("dense")
    job = Struct("Job", depth=u(4), shift=u(4))
    jobs, x, w = b.input("jobs", job), b.input("x", i(8)[2, 4]), b.input("w", i(8)[2, 4])
    y = b.output("y", i(8)[2, 2])
    sums = b.channel("sums", i(32)[2, 2], depth=2)
    shifts = b.channel("shifts", u(4), depth=2)

    @b.process(command=jobs, loops=[("k", lambda c: c.depth)])
    def multiply(p: ProcessTrace, c: StructValue, k: Value) -> None:
        total = p.accumulate(dot(p.read(x), p.read(w)), clear=first(k), type=i(32))
        p.write(sums, total, when=last(k))
        p.write(shifts, c.shift, when=last(k))

    @b.process(loops=[("n", 1)])
    def requantise(p: ProcessTrace, n: Value) -> None:
        p.write(y, sat(round_shift(p.read(sums), p.read(shifts)), i(8)))

    return b


def printed() -> dict[str, str]:
    """The block's files: SystemVerilog without the hand-written cells, and C++."""
    return {
        name: text
        for files in (to_systemverilog(block()), to_cpp(block()))
        for name, text in files.items()
        if not (CELLS / name).is_file() and name.startswith("dense")
    }


def kept() -> dict[str, str]:
    """The files as they were when they were last renewed."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(GOLDEN.iterdir())}


def errors_of(files: Mapping[str, str]) -> str:
    """What pyslang says of the SystemVerilog and g++ of the C++; empty when both take it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, text in {**to_systemverilog(block()), **to_cpp(block()), **files}.items():
            (folder / name).write_text(text, encoding="utf-8")
        cells = (CELLS / name for name in ("fifo.sv",) if not (folder / name).exists())
        report = elaborate(sorted([*folder.glob("*.sv"), *cells])).errors
        command = [
            str(tools.program("g++")),
            "-std=c++17",
            "-fsyntax-only",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unknown-pragmas",
            "-Wno-unused-label",
            f"-I{SHIM_FOLDER}",
            f"-I{HLS_FOLDER}",
            str(folder / "dense.cpp"),
        ]
        return report + subprocess.run(command, capture_output=True, text=True, check=False).stderr


if __name__ == "__main__":
    if problems := errors_of(printed()):
        sys.exit(problems)
    for path in GOLDEN.iterdir():
        path.unlink()
    for file_name, content in printed().items():
        (GOLDEN / file_name).write_text(content, encoding="utf-8")
    print(f"renewed {', '.join(printed())}")
