"""One integer model: a target changes the code, never the quantised graph, unless its own numerics are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import edgewright
import numpy as np
import pytest
from edgewright.frontend.fpga.bundle import FpgaBundle
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.passes.ir.graph import Graph

from tests.models import images, tiny_vit
from tests.passes.test_quantise_channels import normal, with_outliers

MODELS: dict[str, Callable[[], Graph]] = {"vit": tiny_vit, "outliers": with_outliers}


def compiled(graph: Graph, folder: Path, target: str, numerics: str = "shared") -> tuple[bytes, tuple[str, ...]]:
    """The written integer model, and the report's notes."""
    name = graph.inputs[0].name
    (folder / "model.onnx").write_bytes(write_float(graph).SerializeToString())
    data = images(graph, 4) if name == "image" else normal(graph, 8, 0)[name]
    np.savez(folder / "data.npz", images=data)
    output = folder / f"{target}-{numerics}"
    done = edgewright.compile(
        folder / "model.onnx", target=target, calibration=folder / "data.npz", numerics=numerics, output=output
    )
    return (output / "model" / "quantised.onnx").read_bytes(), done.report.notes


@pytest.mark.tvm
@pytest.mark.parametrize("name", MODELS)
def test_the_integer_model_is_the_same_for_every_target(name: str, tmp_path: Path) -> None:
    engine, _ = compiled(MODELS[name](), tmp_path, "zcu104")
    for target in ("host", "rpi5"):
        assert compiled(MODELS[name](), tmp_path, target)[0] == engine


@pytest.mark.tvm
def test_own_numerics_are_asked_for_and_said(tmp_path: Path) -> None:
    shared, notes = compiled(tiny_vit(), tmp_path, "host")
    own, own_notes = compiled(tiny_vit(), tmp_path, "host", "target")
    assert shared != own
    assert any("--numerics target" in note for note in own_notes)
    assert not any("numerics" in note for note in notes)


def test_a_board_with_one_numerics_keeps_it(tmp_path: Path) -> None:
    assert compiled(tiny_vit(), tmp_path, "zcu104")[0] == compiled(tiny_vit(), tmp_path, "zcu104", "target")[0]


@pytest.mark.sim
def test_split_outliers_run_on_the_engine(tmp_path: Path) -> None:
    model, _ = compiled(with_outliers(), tmp_path, "zcu104")
    assert b"Concat" in model
    report = FpgaBundle.open(tmp_path / "zcu104-shared").simulate(samples=1)
    assert report.bit_exact is True
