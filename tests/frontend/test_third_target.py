"""A third kind of target is one folder: registered in one place, it compiles, opens, runs and reports like the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import edgewright
import numpy as np
import onnx
import pytest
from edgewright.frontend import cli, target
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.passes.diagnostics import CompileError
from edgewright.targets import device
from typer.testing import CliRunner

from tests.frontend.toy_target.target import ToyBundle
from tests.models import tiny_vit


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    target.register("toy", "tests.frontend.toy_target.target")
    yield
    del target.KINDS["toy"], device.KINDS[-1], device.BOARD_FOLDERS[-1]
    device.load.cache_clear()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(write_float(tiny_vit(1, image=8, width=32, hidden=32, blocks=1, classes=4)), path)
    return path


def edge(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


def test_from_python(model: Path, tmp_path: Path) -> None:
    made = edgewright.compile(model, target="toy", calibration="random", output=tmp_path / "out")
    assert isinstance(made, ToyBundle) and made.report.target == "toy" and made.report.macs
    opened = edgewright.open(tmp_path / "out")
    opened.check()
    assert isinstance(opened, ToyBundle) and opened.manifest == made.manifest and opened.report == made.report
    ran = opened.run(check=True)
    again = opened.run(opened.samples())
    assert ran.agrees and all(np.array_equal(ran[name], again[name]) for name in ran)
    for act in (opened.simulate, opened.profile):
        with pytest.raises(CompileError) as caught:
            act()
        assert (caught.value.diagnostics[0].code, caught.value.exit_code) == ("U022", 2)


def test_from_the_command_line(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text = edge("compile", model, "--target", "toy", "--calibration", "random", "-o", out)
    assert code == 0 and f"edgewright run {out}" in text, text
    assert json.loads((out / "manifest.json").read_text())["kind"] == "toy"
    assert "tiny" in (out / "report.html").read_text()
    code, text = edge("run", out, "--check")
    assert code == 0 and "same bits as the interpreter" in text
    code, text = edge("simulate", out)
    assert code == 2 and "error[U022]" in text and "toy" in text
    code, text = edge("compile", model, "--target", "toy", "--calibration", "random", "--variant", "neon", "-o", tmp_path / "x")
    assert code == 2 and "error[U035]" in text and "--variant" in text
    assert not (tmp_path / "x").exists()
    code, text = edge("targets")
    assert code == 0 and "A table of outputs" in text
    code, text = edge("inspect", model, "--target", "toy")
    assert code == 0 and "runs on toy: int8" in text, text


def test_its_files_are_checked_and_its_stages_start_anew(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    edgewright.compile(model, target="toy", calibration="random", output=out)
    table = (out / "outputs.npz").read_bytes()
    edgewright.compile(model, target="toy", calibration="random", output=out, start_from="plan")
    assert (out / "outputs.npz").read_bytes() == table
    (out / "outputs.npz").write_bytes(table[:-1])
    with pytest.raises(CompileError) as caught:
        edgewright.open(out)
    assert caught.value.diagnostics[0].code == "U023"
