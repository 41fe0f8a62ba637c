"""Print `engine_top.v`, the module of a block design: the engine's AXI masters, and its registers in front."""

from __future__ import annotations

from pathlib import Path

from edgewright.hw.kernel import axi, ir, width
from jinja2 import Environment, FileSystemLoader, StrictUndefined

RTL = Path(__file__).resolve().parent / "rtl"


def engine_top(program: ir.Program) -> str:
    """Return the Verilog around an engine with the streams ``start`` and ``finished``; one set of wires per AXI master."""
    environment = Environment(
        loader=FileSystemLoader(RTL), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    masters = [master(index, port) for index, port in enumerate(program.axi)]
    (start,) = (port for port in program.inputs if port.name == "start")
    return environment.get_template("engine_top.v.j2").render(
        masters=masters,
        writers=[each for each in masters if each["writes"]],
        top=len(masters) - 1,
        start_bits=width(start.type),
        meanings=axi.MEANINGS,
    )


def master(index: int, port: ir.AxiPort) -> dict[str, object]:
    """Describe one AXI master: its signals, and the wires that its handshakes use inside the module."""
    writes = port.done is not None
    address, response = ("aw", "b") if writes else ("ar", "r")
    wires = {
        f"{address}valid": "asks",
        f"{address}ready": "taken",
        f"{response}valid": "answers",
        f"{response}ready": "accepts",
    }
    wires |= {} if writes else {"rlast": "last"}
    inside = {signal: f"{wire}[{index}]" for signal, wire in wires.items()}
    if writes:
        inside |= {f"w{end}": f"{port.name}_w_{end}" for end in ("valid", "ready")}
    signals = axi.WRITE if writes else axi.READ
    return {
        "index": index,
        "name": port.name,
        "writes": writes,
        "signals": signals,
        "address": address,
        "response": response,
        "wires": inside,
    }
