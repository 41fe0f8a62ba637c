"""Print the Tcl script with which Vitis HLS synthesises a printed block."""

from __future__ import annotations

from collections.abc import Iterable

from edgewright.hw.kernel.cpp import HLS_FOLDER
from jinja2 import Environment, FileSystemLoader, StrictUndefined

BENCH = "main.cpp"


def vitis_tcl(
    top: str, part: str, clock_mhz: float, files: Iterable[str], vectors: str = "vectors", script: str = "vitis.tcl"
) -> str:
    """Return a script that synthesises `top` for `part` at `clock_mhz` from the sources among `files`. With a main.cpp among
    them
    it runs C simulation too, with the shims in the folder `shim` and the vectors in the folder `vectors`."""
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
        vectors=vectors,
        script=script,
        sources=[s for s in sources if s != BENCH],
        bench=[s for s in sources if s == BENCH],
    )
