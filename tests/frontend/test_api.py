"""The Python interface: what `edgewright` has, what it takes, and what a notebook shows of its results."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import edgewright
import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir import Array

from tests.frontend.sample_files import class_folders, only, pixels
from tests.frontend.sample_report import sample, typed
from tests.models import tiny_vit

SHORT = 600


def images(count: int = 8) -> Array:
    return np.random.default_rng(0).standard_normal((count, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "tiny.onnx"
    onnx.save(write_float(tiny_vit(1, image=8, width=32, hidden=32, blocks=1, classes=4)), path)
    return path


def shown(value: Any) -> str:
    """What a notebook shows, well-formed and short; what a console shows is short too."""
    assert len(repr(value)) < SHORT and "\n" not in repr(value)
    html: str = value._repr_html_()
    parser = HTMLParser()
    parser.feed(html)
    parser.close()
    assert len(html) < 4 * SHORT and html.startswith("<table>")
    return html


def test_the_public_names() -> None:
    for name in edgewright.__all__:
        assert getattr(edgewright, name) is not None and name in dir(edgewright)
    assert edgewright.CompileError is CompileError
    with pytest.raises(AttributeError):
        edgewright.absent  # noqa: B018


def test_inspect_says_what_runs_where(model: Path) -> None:
    found = edgewright.inspect(model, target="zcu104")
    assert found.runs_on() == ("zcu104 int8",) and "runs on zcu104 int8" in repr(found)
    assert "parameters" in shown(found)
    with pytest.raises(edgewright.CompileError) as caught:
        edgewright.inspect(model, target="zcu105")
    assert only(caught.value).code == "T001"


def test_arrays_calibrate_and_bundles_are_short_to_look_at(model: Path, tmp_path: Path) -> None:
    data: dict[str, Array] = {"images": images(24), "labels": np.arange(24) % 4}
    bundle = edgewright.compile(model, target="zcu104", calibration=data, calibration_samples=4, output=tmp_path / "out")
    assert bundle.report.calibration.images == 4 and bundle.report.accuracy.images == 20
    assert "accuracy" in shown(bundle) and "zcu104" in repr(bundle)
    assert "cycles" in shown(bundle.report) and "95 %" in repr(bundle.report)
    ran = bundle.run(images(3))
    name = next(iter(ran))
    assert ran[name].shape[0] == 3 and "Ran" in repr(ran) and "sample 0" in shown(ran)
    single = edgewright.compile(model, target="zcu104", calibration=images(4), output=tmp_path / "single")
    assert single.report.calibration.images == 4 and single.report.accuracy.int8 is None
    with pytest.raises(CompileError) as caught:
        edgewright.compile(model, target="zcu104", calibration={"images": images(4)[:, :, :5]}, output=tmp_path / "bad")
    assert only(caught.value).code == "D005" and "array 'images'" in only(caught.value).at


def test_a_rule_as_a_value(model: Path, tmp_path: Path) -> None:
    rule = edgewright.Preprocess(channels="L", mean=0.5, std=0.25)
    folder = class_folders(tmp_path / "set", ("a", "b", "c", "d"), 3, 8, 8)
    arguments = {"preprocess": rule, "labels": ("ant", "bee", "cat", "dog")}
    with pytest.raises(CompileError) as caught:  # folders by other names than the classes
        edgewright.compile(model, target="zcu104", calibration=folder, output=tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert only(caught.value).code == "D018"
    bundle = edgewright.compile(model, target="zcu104", calibration=folder, preprocess=rule, output=tmp_path / "out")
    ran = bundle.run(np.stack([pixels(8, 8, 1)])[:, None])
    expected = bundle.run(((pixels(8, 8, 1)[None, None] / 255 - 0.5) / 0.25).astype(np.float32))
    assert all(np.array_equal(ran[name], expected[name]) for name in ran) and ran.answers(1)[0][0].name in "abcd"


def test_large_reports_are_short_to_look_at() -> None:
    shown(typed(sample()))


def test_two_bundles_and_onnxruntime_are_compared(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data: dict[str, Array] = {"images": images(60), "labels": np.arange(60) % 4}
    bundles = [
        edgewright.compile(
            model, target="zcu104", calibration=data, calibration_samples=8, method=method, output=tmp_path / method
        )
        for method in ("mse", "minmax")
    ]
    (same,) = edgewright.compare(bundles[0], bundles[0], data).outputs
    assert same.sqnr_db is None and same.largest_difference == 0 and same.agree is not None and same.agree.value == 1
    np.savez(tmp_path / "data.npz", images=data["images"], labels=data["labels"])
    compared = edgewright.compare(model, tmp_path / "minmax", tmp_path / "data.npz")
    (output,) = compared.outputs
    assert compared.first.by == "onnxruntime" and output.sqnr_db is not None and output.sqnr_db > 15
    assert output.labelled == 52 and output.samples == 60, "the eight that calibrated do not count"
    assert output.agree is not None and output.agree.low < output.agree.value <= output.agree.high
    assert output.difference is not None and output.difference.low <= output.difference.value <= output.difference.high
    without = edgewright.compare(bundles[0], bundles[1])
    assert without.outputs[0].samples == 4 and without.outputs[0].first is None


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="an ONNX file"):
        edgewright.compile(b"bytes", target="zcu104", output=tmp_path / "out")  # type: ignore[arg-type]
