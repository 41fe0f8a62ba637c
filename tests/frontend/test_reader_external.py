"""Weights beside the model: in Constant nodes, from any folder, as download caches lay them out; and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.ir.interp import interpret
from onnx import TensorProto, helper

from tests.frontend.bad_models import chain, codes, external, product, refusal, saved

WEIGHT = np.arange(16, dtype=np.float32).reshape(4, 4)
X = np.ones((1, 4), np.float32)


def constant_outside(location: str = "w.bin") -> onnx.ModelProto:
    """The weight in a Constant node whose data is in another file."""
    tensor = TensorProto(dims=[4, 4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    constant = helper.make_node("Constant", [], ["v"], value=tensor, name="held")
    return chain(constant, helper.make_node("MatMul", ["x", "v"], ["y"]))


def check(path: Path) -> None:
    assert np.array_equal(interpret(read_model(path), {"x": X})["y"], X @ WEIGHT)


@pytest.mark.parametrize("inside", [True, False])
def test_constant_nodes_from_any_folder(inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    path = saved(constant_outside(), tmp_path)
    monkeypatch.chdir(tmp_path if inside else tmp_path.parent)
    check(Path(path.name) if inside else path)


@pytest.mark.parametrize("make", [constant_outside, lambda: external(chain(product()), "w.bin")])
def test_missing_data_is_told_once(make: object, tmp_path: Path) -> None:
    assert callable(make)
    assert codes(refusal(saved(make(), tmp_path))) == ["N007"]


def test_a_cache_of_blobs(tmp_path: Path) -> None:
    """snapshots/revision/onnx/ holds links into blobs/, for the model and its data."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1" / "onnx"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "aa").write_bytes(constant_outside("model.onnx_data").SerializeToString())
    (blobs / "bb").write_bytes(WEIGHT.tobytes())
    (snapshot / "model.onnx").symlink_to("../../../blobs/aa")
    (snapshot / "model.onnx_data").symlink_to("../../../blobs/bb")
    check(snapshot / "model.onnx")


def test_data_beside_what_a_link_points_to(tmp_path: Path) -> None:
    real, here = tmp_path / "real", tmp_path / "here"
    real.mkdir()
    here.mkdir()
    (real / "w.bin").write_bytes(WEIGHT.tobytes())
    (here / "other.onnx").symlink_to(saved(constant_outside(), real))
    check(here / "other.onnx")


def test_a_linked_model_opens_no_other_folder(tmp_path: Path) -> None:
    real, here = tmp_path / "real", tmp_path / "here"
    real.mkdir()
    here.mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (here / "w.bin").symlink_to(tmp_path / "secret")
    (here / "model.onnx").symlink_to(saved(constant_outside(), real))
    assert codes(refusal(here / "model.onnx")) == ["N008"]
    (here / "climbs.onnx").symlink_to(real / "climbs.onnx")
    (real / "climbs.onnx").write_bytes(constant_outside("../secret").SerializeToString())
    assert codes(refusal(here / "climbs.onnx")) == ["N008"]


@pytest.mark.parametrize("location", [".", "sub", "sub/."])
def test_data_that_is_a_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    error = refusal(saved(external(chain(product()), location), tmp_path))
    assert codes(error) == ["N005"] and "folder" in error.diagnostics[0].because
