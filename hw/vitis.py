"""The Tcl that builds an engine's C++ in Vitis HLS. It has not been run: Vitis HLS is the user's own, licensed tool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

TEMPLATE = Path(__file__).resolve().parent / "hls" / "vitis.tcl.j2"


def vitis_tcl(top: str, part: str, clock_mhz: float, sources: Sequence[str]) -> str:
    """Project script for `vitis_hls -f vitis.tcl` in the folder of the sources."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(top=top, part=part, period_ns=f"{1000 / clock_mhz:.3f}", sources=list(sources))
