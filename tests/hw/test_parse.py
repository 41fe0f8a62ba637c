"""The whole printed engine, its cells and its benches through a second SystemVerilog front end: no errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import rtl_files
from edgewright.hw.synth import PRIMITIVES
from edgewright.hw.top import RTL
from edgewright.targets.device import load

from tests.hw.slang import elaborate


@pytest.mark.parametrize("use", ["simulation", "synthesis"])
def test_slang_elaborates_the_engine_and_its_test_bench(tmp_path: Path, use: str) -> None:
    pytest.importorskip("pyslang")
    files = dict(rtl_files(EngineConfig.of_board(load("zcu104"))))
    files |= {name: (RTL / name).read_text() for name in ("axi_ram.sv", "engine_tb.sv")}
    if use == "synthesis":
        files = {name: f"`define SYNTHESIS\n{text}" for name, text in files.items()}
        files[PRIMITIVES.name] = PRIMITIVES.read_text()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = elaborate(sorted(tmp_path.iterdir()))
    assert not found.errors, found.errors
    assert set(found.tops) == {"engine_tb", "engine_top"}
