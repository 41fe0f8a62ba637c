"""Print the Tcl script with which Vitis HLS simulates, synthesises and exports a printed block."""

from __future__ import annotations

from collections.abc import Iterable

from edgewright.hw.kernel.cpp import HLS_FOLDER
from edgewright.hw.kernel.cpp_bench import BENCH
from jinja2 import Environment, FileSystemLoader, StrictUndefined

VERSIONS = ("2023.2", "2024.1", "2024.2", "2025.1", "2025.2")
"""Those whose user guide (UG1399) the printed C++ was held against. None of them has run it."""
UNCERTAINTY_NS = 0.4
"""What synthesis leaves of the period for setup and clock uncertainty: as much as the scheduler does, not 27 %."""


def vitis_tcl(
    top: str,
    part: str,
    clock_mhz: float,
    files: Iterable[str],
    asked: Iterable[tuple[str, str]] = (),
    vectors: str = "vectors",
    script: str = "vitis.tcl",
) -> str:
    """Return a script that synthesises `top` for `part` at `clock_mhz` from the sources among `files`, compares the intervals
    of the pipelines `asked` (label, function) with 1, and exports the IP. With a main.cpp among the files it also runs C
    simulation on the folder `vectors`, and co-simulation on the tokens of that."""
    if clock_mhz <= 0:
        raise ValueError(f"a clock of {clock_mhz} MHz")
    sources = sorted(name for name in files if name.endswith(".cpp"))
    environment = Environment(
        loader=FileSystemLoader(HLS_FOLDER), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template("vitis.tcl.j2").render(
        top=top,
        part=part,
        period_ns=f"{1000 / clock_mhz:.3f}",
        uncertainty_ns=f"{UNCERTAINTY_NS:.3f}",
        versions=VERSIONS,
        asked=list(asked),
        vectors=vectors,
        script=script,
        sources=[s for s in sources if s != BENCH],
        bench=[s for s in sources if s == BENCH],
    )
