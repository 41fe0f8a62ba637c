"""The clock as a user asks for it: what is made for it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import edgewright
import pytest
from edgewright.frontend.fpga.bundle import FpgaBundle
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.passes.diagnostics import CompileError
from onnx import ModelProto

from tests.models import tiny_vit


@pytest.fixture(scope="module")
def model() -> ModelProto:
    return write_float(tiny_vit(0))


def compiled(model: ModelProto, folder: Path, clock: int | None) -> FpgaBundle:
    found = edgewright.compile(model, target="zcu104", calibration="random", output=folder, clock=clock)
    assert isinstance(found, FpgaBundle)
    return found


def refused(model: ModelProto, folder: Path, target: str, clock: int) -> CompileError:
    with pytest.raises(CompileError) as caught:
        edgewright.compile(model, target=target, calibration="random", output=folder, clock=clock)
    assert not folder.exists()
    return caught.value


@pytest.mark.long
def test_everything_is_made_for_the_clock(model: ModelProto, tmp_path: Path) -> None:
    slow, fast = compiled(model, tmp_path / "slow", 150), compiled(model, tmp_path / "fast", None)
    assert (slow.report.clock_mhz, fast.report.clock_mhz) == (150, 300)
    assert (slow.manifest.engine["clock_mhz"], slow.manifest.options["clock"]) == (150, 150)
    assert "create_clock -period 6.667" in (tmp_path / "slow" / "hls" / "vitis.tcl").read_text()
    assert slow.report.chains[0].ns > 1000 / 300 > fast.report.chains[0].ns
    assert slow.report.memory is not None and "read latency 50," in slow.report.memory.text
    assert slow.report.cycles.predicted is not None and fast.report.cycles.predicted is not None
    assert slow.report.cycles.predicted < fast.report.cycles.predicted
    assert (tmp_path / "slow/rtl/engine_fill.sv").read_text() != (tmp_path / "fast/rtl/engine_fill.sv").read_text()
    assert FpgaBundle.open(tmp_path / "slow").plan.config.clock_mhz == 150
    page = (tmp_path / "slow" / "report.html").read_text()
    assert "Can it reach the clock?" in page and "of 6.67 ns" in page


def test_a_clock_that_the_schedule_cannot_reach_is_refused(model: ModelProto, tmp_path: Path) -> None:
    error = refused(model, tmp_path / "new", "zcu104", 400)
    assert error.exit_code == 1 and {d.code for d in error.diagnostics} == {"P005"}
    assert error.diagnostics[0].at.startswith("process ")


@pytest.mark.parametrize("clock", [0, -300, 300_000_000])
def test_a_number_that_is_no_clock_is_refused(model: ModelProto, tmp_path: Path, clock: int) -> None:
    error = refused(model, tmp_path / "new", "zcu104", clock)
    assert (error.diagnostics[0].code, error.exit_code) == ("U037", 2)


def test_a_cpu_takes_no_clock(model: ModelProto, tmp_path: Path) -> None:
    error = refused(model, tmp_path / "new", "rpi5", 1000)
    assert (error.diagnostics[0].code, error.diagnostics[0].at) == ("U035", "--clock")
