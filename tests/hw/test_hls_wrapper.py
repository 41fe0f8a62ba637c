"""The module around the IP of Vitis HLS: it elaborates with the ports that Vitis gives an AXI-Stream, and takes the place of
the engine: with the processes of the RTL as the IP, a whole network is bit-exact."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of, rtl_files
from edgewright.hw.kernel import Block, ProcessTrace, Value, i, ir, to_systemverilog, u
from edgewright.hw.kernel.cpp import to_cpp
from edgewright.hw.kernel.cpp_words import ports_of
from edgewright.hw.kernel.cpp_wrapper import hls_wrapper
from edgewright.hw.kernel.types import width
from edgewright.hw.plan import plan
from edgewright.sim.network import simulate
from edgewright.targets.device import load

from tests.hw.hls_rules.source import Design, parse, split
from tests.hw.integer_models import random_image, random_vit
from tests.hw.rtl.test_lint import lint
from tests.hw.slang import elaborate

SMALL = EngineConfig(tokens=4, weight_tiles=64, softmax_keys=4)
BOARD = EngineConfig.of_board(load("zcu104"))


def streams_of(design: Design, top: str) -> list[tuple[str, str, int]]:
    """Return direction, name and bits of the AXI-Streams of a top function."""
    found = []
    for v in design.functions[top].parameters:
        bits = design.width(split(v.type[len("hls::stream<") : -1])[0])
        found.append(("input" if v.name.startswith("s_axis_") else "output", v.name, bits))
    return found


def ip_ports(design: Design, top: str) -> str:
    """Return the port list that Vitis HLS makes of a top function of AXI-Streams without control (UG1399, AXI4-Stream)."""
    ports = ["input wire ap_clk", "input wire ap_rst_n"]
    for direction, name, bits in streams_of(design, top):
        back = "output" if direction == "input" else "input"
        ports += [
            f"{direction} wire [{bits - 1}:0] {name}_TDATA",
            f"{direction} wire {name}_TVALID",
            f"{back} wire {name}_TREADY",
        ]
    return ",\n  ".join(ports)


def cells(config: EngineConfig) -> dict[str, str]:
    """Return the modules of the bundle's rtl folder that stay."""
    program = program_of(config)
    gone = {"engine.sv", *(f"engine_{p.name}.sv" for p in program.processes)}
    return {name: text for name, text in rtl_files(config).items() if name not in gone}


def errors_of(files: Mapping[str, str]) -> str:
    pytest.importorskip("pyslang")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        return elaborate(sorted(Path(folder).iterdir())).errors


@pytest.mark.parametrize("config", [SMALL, BOARD], ids=["without on-chip memory", "zcu104"])
def test_it_elaborates_around_what_vitis_makes(config: EngineConfig) -> None:
    program = program_of(config)
    design = parse(*sorted(to_cpp(program).values(), key=lambda text: "#ifndef" not in text))
    box = f"(* blackbox *)\nmodule engine_hls_0 (\n  {ip_ports(design, 'engine_hls')}\n);\nendmodule\n"
    assert errors_of(cells(config) | {"engine.sv": hls_wrapper(program), "box.v": box}) == ""
    assert "TDATA" in errors_of(
        cells(config) | {"engine.sv": hls_wrapper(program), "box.v": box.replace("start_TDATA", "start_DATA")}
    )


@pytest.mark.sim
@pytest.mark.parametrize("config", [SMALL, BOARD], ids=["without on-chip memory", "zcu104"])
def test_verilator_warns_of_nothing(config: EngineConfig, tmp_path: Path) -> None:
    program = program_of(config)
    design = parse(*sorted(to_cpp(program).values(), key=lambda text: "#ifndef" not in text))
    quiet = "/* verilator lint_off UNDRIVEN */ /* verilator lint_off UNUSEDSIGNAL */\n"
    box = f"{quiet}module engine_hls_0 (\n  {ip_ports(design, 'engine_hls')}\n);\nendmodule\n"
    files = cells(config) | {"engine.sv": hls_wrapper(program), "engine_hls_0.v": box}
    paths = [tmp_path / name for name in files if name.endswith(("v", "sv")) and name not in ("pingpong.sv", "ring.sv")]
    for path in paths:
        path.write_text(files[path.name])
    assert not lint("--top-module", "engine_top", *paths)


def test_its_ports_are_those_of_the_engine() -> None:
    def head(text: str) -> str:
        return text[text.index("\nmodule engine (") : text.index(");\n")]

    assert head(hls_wrapper(program_of(BOARD))) == head(rtl_files(BOARD)["engine.sv"])


def test_a_port_of_several_streams_is_refused() -> None:
    b = Block("wide")
    x, y = b.input("x", i(27)[200]), b.output("y", u(1))

    @b.process()
    def sign(p: ProcessTrace, k: Value) -> None:
        p.write(y, p.read(x)[0] < 0)

    with pytest.raises(ValueError, match="port x has more bits"):
        hls_wrapper(b.check())


def rtl_as_ip(program: ir.Program) -> dict[str, str]:
    """Return the processes, FIFOs and buffers of a program as the IP: its RTL without movers, behind AXI-Streams."""
    inputs, outputs = ports_of(program)
    core = replace(program, name="core", inputs=inputs, outputs=outputs, axi=[], on_chip=None)
    design = parse(*sorted(to_cpp(program).values(), key=lambda text: "#ifndef" not in text))
    pins = [".clk_i(ap_clk)", ".rst_ni(ap_rst_n)"]
    inside = []
    for c in inputs:
        name = f"s_axis_{c.name}"
        pins += [f".{c.name}_valid_i({name}_TVALID)", f".{c.name}_ready_o({name}_TREADY)"]
        pins += [f".{c.name}_data_i({name}_TDATA[{width(c.type) - 1}:0])"]
    for c in outputs:
        name = f"m_axis_{c.name}"
        inside += [f"  wire [{width(c.type) - 1}:0] {c.name}_data;", f"  assign {name}_TDATA = {c.name}_data;"]
        pins += [f".{c.name}_valid_o({name}_TVALID)", f".{c.name}_ready_i({name}_TREADY)", f".{c.name}_data_o({c.name}_data)"]
    ip = f"module engine_hls_0 (\n  {ip_ports(design, 'engine_hls')}\n);\n"
    ip += "\n".join([*inside, f"  core i_core ({', '.join(pins)});", "endmodule\n"])
    files = {name: text for name, text in to_systemverilog(core).items() if name.startswith("core")}
    return files | {"engine_hls_0.sv": ip}


@pytest.mark.sim
@pytest.mark.long
def test_a_network_is_exact_behind_it() -> None:
    config = replace(SMALL, on_chip_words=1024)
    program, graph = program_of(config), random_vit(image=8, blocks=1)
    files = cells(config) | {"engine.sv": hls_wrapper(program)} | rtl_as_ip(program)
    files |= {name: text for name, text in rtl_files(config).items() if re.fullmatch(r"(fifo|ring|pingpong)\.sv", name)}
    planned = plan(graph, config)
    run = simulate(planned, files, random_image(graph))
    assert [str(c.mismatch) for c in run.comparisons if not c.exact] == []
    assert all(c.integers > 1000 for c in run.comparisons)
