"""Verilator's lint over every hand-written cell and over a whole engine, with all warnings on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of, rtl_files
from edgewright.hw.kernel.sv_block import DOT_CELLS
from edgewright.hw.synth import PRIMITIVES
from edgewright.hw.top import engine_top
from edgewright.sim import tools
from edgewright.targets.device import load

pytestmark = pytest.mark.sim
ROOT = Path(__file__).parents[3]
RTL = ROOT / "hw" / "rtl"
SYNTHESISED = DOT_CELLS - {"dot_cascade"}  # nothing for others
FILES = sorted(
    file
    for file in (*RTL.glob("*.sv"), *(ROOT / "sim" / "cells").glob("*.sv"))
    if file.name != PRIMITIVES.name and file.stem not in SYNTHESISED
)


def lint(*arguments: str | Path) -> str:
    verilator = tools.verilator()
    command = [verilator.root / "bin" / "verilator", "--lint-only", "-Wall", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=verilator.environment(dict(os.environ)))
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_warnings(file: Path) -> None:
    stub = ROOT / "tests" / "sim" / "stub_engine.sv"
    quiet = ("-Wno-MULTITOP", "-Wno-DECLFILENAME") if "engine" in file.stem else ()
    below = [RTL / f"{name}.sv" for name in ("axi_read_mover", "axi_write_mover", "axi_ram", "axil_control", "axi_outstanding")]
    others = [stub, *below] if quiet else ["-y", RTL]  # a cell may consist of others
    assert not lint("--top-module", file.stem, *quiet, *others, file)


@pytest.mark.parametrize("name", sorted({*DOT_CELLS, "lut_products"}))
def test_no_warnings_in_what_synthesis_reads(name: str, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet.vlt"
    quiet.write_text(f'`verilator_config\nlint_off -file "*{PRIMITIVES.name}"\n')
    flags = ("-DSYNTHESIS", "-Wno-PINCONNECTEMPTY")  # outputs of a primitive that nobody needs
    assert not lint("--top-module", name, *flags, "-y", RTL, quiet, PRIMITIVES, RTL / f"{name}.sv")


def test_no_warnings_in_the_printed_top(tmp_path: Path) -> None:
    (tmp_path / "engine_top.v").write_text(engine_top(program_of(EngineConfig())))
    test_no_warnings(tmp_path / "engine_top.v")


def test_no_warnings_in_a_whole_bundle(tmp_path: Path) -> None:
    files = rtl_files(EngineConfig.of_board(load("zcu104")))
    sources = [tmp_path / name for name in files if name.endswith((".sv", ".v"))]
    for source in sources:
        source.write_text(files[source.name])
    assert not lint("--top-module", "engine_top", *sources)


def test_a_warning_is_found(tmp_path: Path) -> None:
    ports = "input logic [3:0] a_i, output logic [1:0] b_o"
    (tmp_path / "bad.sv").write_text(f"module bad ({ports});\n  assign b_o = a_i;\nendmodule\n")
    assert "WIDTHTRUNC" in lint(tmp_path / "bad.sv")
