"""Read the ports of a SystemVerilog module from its header: streams and AXI masters by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_RANGE = r"\[\s*(\d+)\s*:\s*(\d+)\s*\]"
_PORT = re.compile(rf"^(input|output)\s+(?:wire\s+|var\s+)?(?:logic\b\s*)?(?:{_RANGE})?\s*(\w+)$")


@dataclass(frozen=True, slots=True)
class ModulePorts:
    """Stream name -> width in bits, in the header's order; names of AXI masters that read or write."""

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    widths: Mapping[str, int]


def read_ports(text: str, top: str) -> ModulePorts:
    """Return the ports of module `top` in `text`; widths must be literal numbers, as the printers write them."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
    header = re.search(rf"\bmodule\s+{re.escape(top)}\b(?:\s*#\s*\(.*?\)\s*(?=\())?\s*\((.*?)\)\s*;", text, flags=re.S)
    if header is None:
        raise ValueError(f"no module {top} with an ANSI port list in the sources")
    directions: dict[str, str] = {}
    widths: dict[str, int] = {}
    for declaration in header[1].split(","):
        if (port := _PORT.search(declaration.strip())) is None:
            raise ValueError(f"port declaration of {top} not understood: {declaration.strip()!r}")
        directions[port[4]] = port[1]
        widths[port[4]] = 1 if port[2] is None else int(port[2]) - int(port[3]) + 1
    inputs = {name[: -len("_data_i")]: width for name, width in widths.items() if name.endswith("_data_i")}
    outputs = {name[: -len("_data_o")]: width for name, width in widths.items() if name.endswith("_data_o")}
    return ModulePorts(inputs, outputs, _masters(directions, "araddr"), _masters(directions, "awaddr"), widths)


def _masters(directions: Mapping[str, str], signal: str) -> tuple[str, ...]:
    suffix = f"_{signal}"
    return tuple(
        name[len("m_axi_") : -len(suffix)]
        for name, direction in directions.items()
        if name.startswith("m_axi_") and name.endswith(suffix) and direction == "output"
    )
