"""Count the cells of a module on an UltraScale+ device with Yosys. An estimate: no placement, no timing."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache as once
from importlib import metadata
from pathlib import Path

from edgewright.hw import synth_worker
from edgewright.hw.kernel.sv_comments import without_comments
from edgewright.passes import cache
from edgewright.passes.diagnostics import Exit, fail

# LUTs that a cell occupies: distributed memories and shift registers by the datasheet (UG474), others one each.
LUTS = {
    **{f"LUT{inputs}": 1 for inputs in range(1, 7)},
    **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4},
    **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM32M16": 8, "RAM64M8": 8},
    **{"SRL16E": 1, "SRLC32E": 1, "LUT6_2": 1},
}
DSPS = {"DSP48E1": 1, "DSP48E2": 1}
BRAM36S = {"RAMB36E1": 1.0, "RAMB36E2": 1.0, "RAMB18E1": 0.5, "RAMB18E2": 0.5}
URAMS = {"URAM288": 1}
PRIMITIVES = Path(__file__).parent / "rtl" / "primitives.sv"
"""Black boxes of what cells instantiate."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one module with all submodules; `source` names the estimator."""

    dsp: int
    lut: int
    ff: int
    bram36: float
    uram: int
    source: str


@dataclass(frozen=True, slots=True)
class _Yosys:
    """The command that runs Yosys on a list of commands, and whether it reads SystemVerilog with slang."""

    version: str
    command: tuple[str, ...]
    has_slang: bool

    def arguments(self, commands: Sequence[str]) -> list[str]:
        return [*self.command, *(commands if self.has_slang else ["; ".join(commands)])]


@once
def _yosys() -> _Yosys:
    if importlib.util.find_spec("pyosys") is not None:
        worker = (sys.executable, str(Path(synth_worker.__file__)))
        return _Yosys(metadata.version("pyosys"), worker, True)
    if executable := shutil.which("yosys"):
        shown = subprocess.run([executable, "-V"], capture_output=True, text=True, check=True).stdout
        return _Yosys(shown.split()[1], (executable, "-q", "-p"), False)
    fail(
        "S001",
        "Yosys is missing",
        because="neither the Python package pyosys nor a yosys on PATH was found",
        help="pip install pyosys==0.70",
        exit=Exit.USAGE,
    )


def estimate(
    sources: Mapping[str, str] | Sequence[Path | str],
    top: str,
    *,
    flatten: bool = True,
    timeout_s: float = 1800,
    memory_gb: float = 8,
) -> Cells:
    """Estimate the cells of module `top`, cached by its sources (file name -> text, or paths) without their comments.

    DSPs and memories are counted by `synth_xilinx -family xcup`, LUTs and flip-flops by `-family xc7`: Yosys packs no
    registers and adders into UltraScale+ DSPs, which makes LUTs there 6.7 times and flip-flops 3 times too many.
    Without `flatten`, modules are optimised one by one, which is faster. S006 if Yosys ends without statistics.
    """
    texts = dict(sources) if isinstance(sources, Mapping) else {Path(p).name: Path(p).read_text() for p in sources}
    if any(primitive in text for primitive in DSPS for text in texts.values()):
        texts[PRIMITIVES.name] = PRIMITIVES.read_text()
    yosys = _yosys()
    name = cache.key(without_comments(texts), (yosys.version, str(yosys.has_slang), top, str(flatten)))

    def make(folder: Path) -> None:
        up = _count(texts, top, "xcup", flatten, folder / "xcup", timeout_s, memory_gb)
        seven = _count(texts, top, "xc7", flatten, folder / "xc7", timeout_s, memory_gb)
        flops = sum(count for cell, count in seven.items() if cell.startswith(("FD", "LD")))
        cells = Cells(
            dsp=_weighted(up, DSPS),
            lut=_weighted(seven, LUTS),
            ff=flops,
            bram36=sum(BRAM36S.get(cell, 0.0) * count for cell, count in up.items()),
            uram=_weighted(up, URAMS),
            source=f"Yosys {yosys.version} estimate",
        )
        (folder / "cells.json").write_text(json.dumps(asdict(cells)))

    folder = cache.entry("synth", name, make)
    return Cells(**json.loads((folder / "cells.json").read_text()))


def _weighted(counts: Mapping[str, int], weights: Mapping[str, int]) -> int:
    return sum(weights.get(cell, 0) * count for cell, count in counts.items())


def _count(
    texts: Mapping[str, str], top: str, family: str, flatten: bool, folder: Path, timeout_s: float, memory_gb: float
) -> dict[str, int]:
    """Return cell type -> count after synthesis for `family`; the sources and the log remain in `folder`."""
    folder.mkdir()
    for name, text in texts.items():
        # xc7 has no UltraRAM, and refuses a memory that asks for one
        (folder / name).write_text(text.replace('"ultra"', '"block"') if family == "xc7" else text)
    yosys = _yosys()
    files = " ".join(name for name in texts if Path(name).suffix in (".sv", ".v"))
    read = f"read_slang --threads 1 -DSYNTHESIS --top {top} {files}"
    if not yosys.has_slang:
        read = f"read_verilog -sv -DSYNTHESIS {files}"
    commands = [
        read,
        f"synth_xilinx -family {family} -top {top} -noiopad -noclkbuf{' -flatten' if flatten else ''}",
        "tee -o cells.json stat -json",
    ]
    log = folder / "yosys.log"
    ending = _run(yosys.arguments(commands), folder, log, timeout_s, memory_gb)
    try:
        design = json.loads((folder / "cells.json").read_text())["design"]
        counts = {str(cell): int(count) for cell, count in design["num_cells_by_type"].items()}
    except (OSError, ValueError, KeyError):
        wrong = [line for line in log.read_text().splitlines() if "ERROR" in line or "error:" in line][:8]
        message, at = f"Yosys gave no statistics for module {top}", f"synth_xilinx -family {family}"
        help_text = "raise its limits, or synthesise one processing element and scale"
        fail("S006", message, at, "\n    ".join([ending, *wrong]), help_text, Exit.BUG)
    return counts


def _run(command: Sequence[str], cwd: Path, log: Path, timeout_s: float, memory_gb: float) -> str:
    """Run a process within limits of time and address space; describe how it ended."""
    limit = int(memory_gb * (1 << 30))

    def confine() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        os.nice(10)

    with log.open("w") as handle:
        try:
            done = subprocess.run(
                command, cwd=cwd, stdout=handle, stderr=subprocess.STDOUT, timeout=timeout_s, preexec_fn=confine
            )
        except subprocess.TimeoutExpired:
            return f"it was stopped after {timeout_s:g} s"
    return f"it ended with exit code {done.returncode}, within {memory_gb:g} GB of memory"
