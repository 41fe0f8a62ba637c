"""Models and data of the CPU benchmark: found, made or refused with a reason."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from edgewright.frontend.samples.data import load_samples

from benchmarks import cpu_models
from benchmarks.cpu_models import MODELS, CannotMake, Model, Wheel, check_digest, data_path, model_path, sentences, split

PROSE = """.. _title:

A heading
---------

The patients were followed for one whole year. Each of them answered *many* questions at home.
See :ref:`the guide <guide>` for a longer account of the matter. x = 3

:Number of Instances: 150
"""


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEWRIGHT_BENCH_MODELS", raising=False)
    monkeypatch.setenv("EDGEWRIGHT_BENCH_PYTHON", sys.executable)


def test_a_named_folder_wins_and_its_file_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "deit_tiny.dynamo18.onnx").write_bytes(b"anything")
    (second / "vit_s_focus.onnx").write_bytes(b"anything")
    monkeypatch.setenv("EDGEWRIGHT_BENCH_MODELS", f"{first}:{second}")
    assert model_path(MODELS["deit_tiny"]) == first / "deit_tiny.dynamo18.onnx"
    assert model_path(MODELS["vit_s_focus"]) == second / "vit_s_focus.onnx"


def test_the_trained_example_needs_nothing() -> None:
    inputs = ["x"]
    assert model_path(MODELS["fashion"]).is_file()
    calibration, held_out = split(data_path(MODELS["fashion"]), inputs)
    assert calibration["x"].shape == (128, 1, 28, 28) and held_out["x"].shape == (cpu_models.HELD_OUT, 1, 28, 28)


def test_missing_packages_are_named_with_what_to_do() -> None:
    model = Model("odd", "odd.onnx", "odd.npz", ("numpy", "no_such_package_of_ours"))
    with pytest.raises(CannotMake, match=r"needs no_such_package_of_ours, which .* lacks: pip install no_such_package_of_ours"):
        model_path(model)


def test_a_python_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_BENCH_PYTHON", "/nonexistent/python")
    with pytest.raises(CannotMake, match="/nonexistent/python"):
        model_path(MODELS["deit_tiny"])


def test_a_failed_making_leaves_nothing_behind(tmp_path: Path) -> None:
    model = Model("no_such_network", "no_such_network.onnx", "odd.npz")
    with pytest.raises(CannotMake, match=r"making no_such_network.onnx failed"):
        model_path(model)
    assert list((tmp_path / "cache" / "bench_models").iterdir()) == []


def test_a_wheel_with_another_digest_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "thing-1-py3-none-any.whl"
    archive.write_bytes(b"what was looked at")
    wheel = Wheel("thing", "1", hashlib.sha256(b"what was looked at").hexdigest())
    check_digest(archive, wheel)
    archive.write_bytes(b"something else")
    with pytest.raises(CannotMake, match="was expected"):
        check_digest(archive, wheel)


def test_sentences_are_prose_without_markup() -> None:
    rows = sentences({"a.rst": PROSE}, 12)
    assert len(rows) == 12 and rows == sentences({"a.rst": PROSE}, 12)
    assert rows[0] == "The patients were followed for one whole year."
    assert rows[1].startswith("Each of them answered many questions at home. See the guide for a longer")
    assert len({row.count(".") for row in rows}) == 6
    with pytest.raises(CannotMake):
        sentences({"a.rst": ":Number of Instances: 150"}, 1)


def test_an_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cpu_models.main(["no_such_model"])
    assert exit_.value.code == 2 and "no_such_model" in capsys.readouterr().err


@pytest.mark.train
def test_photographs_make_calibration_data(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")
    path = data_path(MODELS["deit_tiny"])
    samples = load_samples(path, {"x": (1, 3, 224, 224)}, calibration=True)
    assert samples.inputs["x"].shape == (cpu_models.CALIBRATION, 3, 224, 224)
    calibration, held_out = split(path, ["x"])
    assert len(held_out["x"]) == cpu_models.HELD_OUT
    assert not any(np.array_equal(row, other) for row in held_out["x"] for other in calibration["x"])
