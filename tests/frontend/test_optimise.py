"""`optimise`, and the same passes in `compile`: what is written, measured, recorded, resumed and restarted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import edgewright
import jsonschema
import numpy as np
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import with_own_names, write_float
from edgewright.frontend.report import page
from edgewright.frontend.reshaping.options import Reshaping
from edgewright.passes.blocks.fuse_blocks import FuseBlocks
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import MoE
from edgewright.passes.results import Report, to_data
from edgewright.passes.structure.find_blocks import find_blocks
from edgewright.passes.transform import Note

from tests.frontend.sample_report import schema
from tests.models import tiny_vit
from tests.passes.order_models import experts

pytestmark = pytest.mark.train

MODELS = Path(__file__).parents[2] / "examples" / "models"
FUSE = Reshaping(fuse_blocks="1", epochs=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plain.onnx of three blocks, experts.onnx of two tasks, and data for both whose labels are what the model says."""
    made = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    images, calib = (rng.standard_normal((n, 1, 8, 8)).astype(np.float32) for n in (40, 24))
    for name, graph in (("plain", vit()), ("experts", experts())):
        (made / f"{name}.onnx").write_bytes(with_own_names(write_float(graph), graph).SerializeToString())
        said = {output: value.argmax(axis=1) for output, value in interpret(graph, {"image": images}).items()}
        np.savez(made / f"{name}.npz", images=images, calib=calib, **said)
    return made


def vit() -> Graph:
    return tiny_vit(1, image=8, width=32, hidden=32, blocks=3, classes=4, pooling="avg")


def checked(told: Report) -> dict[str, Any]:
    data = to_data(told)
    jsonschema.validate(json.loads(page.json_text(told)), schema())
    return data


def test_one_task_of_two_is_exact_and_keeps_its_name(folder: Path, tmp_path: Path) -> None:
    made = edgewright.optimise(
        folder / "experts.onnx", tmp_path / "one.onnx", data=folder / "experts.npz", reshaping=Reshaping(task="shape")
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.onnx", "one.report.html", "one.report.json"]
    (change,) = checked(made.report)["changes"]
    assert change["exact"] and change["agreement"] == 1.0 and change["images"] == 40
    assert [score["output"] for score in change["before"]["scores"]] == ["class", "shape"]
    assert change["before"]["accuracy"] == change["after"]["accuracy"] == 1.0
    assert change["after"]["parameters"] < change["before"]["parameters"]
    assert 0 < change["after"]["weights_bytes"] < change["before"]["weights_bytes"]
    assert change["after"]["latency_low_ms"] < change["after"]["latency_high_ms"]
    again = read_model(tmp_path / "one.onnx", {})
    assert again.output_names == ("shape",) and [node.name for node in again.inputs] == ["image"]
    x = {"image": np.load(folder / "experts.npz")["images"]}
    assert np.allclose(interpret(again, x)["shape"], interpret(experts(), x)["shape"], atol=1e-4)
    page = (tmp_path / "one.report.html").read_text()
    assert "Experts of one task" in page and 'aria-label="Heat map"' in page and "<script" not in page
    assert page == made.html()


def test_an_interrupted_run_resumes_to_the_same_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"data": folder / "plain.npz", "reshaping": FUSE}
    edgewright.optimise(folder / "plain.onnx", tmp_path / "whole.onnx", **given)
    ran = FuseBlocks.run

    def interrupted(self: FuseBlocks, graph: Graph, note: Note) -> Graph:
        ran(self, graph, note)
        raise KeyboardInterrupt

    kept = tmp_path / "run"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(FuseBlocks, "run", interrupted)
        edgewright.optimise(folder / "plain.onnx", tmp_path / "parts.onnx", checkpoints=kept, **given)
    assert not (tmp_path / "parts.onnx").exists()
    with pytest.raises(CompileError, match="U032"):
        edgewright.optimise(folder / "plain.onnx", tmp_path / "parts.onnx", checkpoints=kept, **given)
    edgewright.optimise(folder / "plain.onnx", tmp_path / "parts.onnx", checkpoints=kept, resume=True, **given)
    assert (tmp_path / "parts.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()

    def never(self: FuseBlocks, graph: Graph, note: Note) -> Graph:
        raise AssertionError("a finished pass ran again")

    monkeypatch.setattr(FuseBlocks, "run", never)
    edgewright.optimise(folder / "plain.onnx", tmp_path / "third.onnx", checkpoints=kept, resume=True, **given)
    assert (tmp_path / "third.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_what_is_written_for_one_task_is_read_again(tmp_path: Path) -> None:
    """With a class token, the last mixture sees a single token once the exact passes have run."""
    made = edgewright.optimise(MODELS / "moe_fashion.onnx", tmp_path / "one.onnx", reshaping=Reshaping(task="class"))
    again = read_model(tmp_path / "one.onnx", {})
    tokens = [node.shape[1] for node in again.nodes() if isinstance(node.op, MoE)]
    assert min(tokens) == 1 < max(tokens)
    x = np.random.default_rng(0).standard_normal((3, 1, 28, 28)).astype(np.float32)
    (before,), (after,) = interpret(made.graph, {"x": x}).values(), interpret(again, {again.inputs[0].name: x}).values()
    np.testing.assert_allclose(before, after, atol=1e-4)


def test_no_epochs_train_nothing(folder: Path, tmp_path: Path) -> None:
    small = Reshaping(fuse_blocks="1", hash_attention="all", hash_supports=8, epochs=0)
    made = edgewright.optimise(folder / "plain.onnx", tmp_path / "small.onnx", data=folder / "plain.npz", reshaping=small)
    fused, hashed = checked(made.report)["changes"]
    assert {table["name"] for table in fused["tables"]} == {"Macro Influence"}  # and no loss: 96 tokens predict nothing either
    assert {table["name"] for table in hashed["tables"]} == {"Attention maps"}
    found = find_blocks(read_model(tmp_path / "small.onnx", {}))
    assert len(found) == 2 and all(block.hashed for block in found)


@pytest.mark.tvm
def test_compile_records_the_passes_and_starts_from_each_stage(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "build"
    given: dict[str, Any] = {"target": "host", "output": out, "data": folder / "plain.npz"}
    made = edgewright.compile(folder / "plain.onnx", reshaping=FUSE, **given)
    (change,) = checked(made.report)["changes"]
    assert change["name"] == "FuseBlocks" and change["learned"] == 24 and change["images"] == 40
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["options"]["passes"] == {"fuse_blocks": "1", "epochs": 1, "seed": 0}
    assert len(find_blocks(read_model(folder / "plain.onnx", {}))) == 3
    assert "Blocks fused into their neighbours" in (out / "report.html").read_text()
    library = (out / "weights.bin").read_bytes()
    for stage in ("reshape", "passes", "plan"):
        again = edgewright.compile(folder / "plain.onnx", reshaping=FUSE, start_from=stage, **given)
        assert (out / "weights.bin").read_bytes() == library, stage
        assert checked(again.report)["changes"][0]["after"] == change["after"]
    without = edgewright.compile(folder / "plain.onnx", start_from="passes", **given)
    assert without.report.changes == again.report.changes  # what the checkpoint went through is not forgotten
    names = [stage.name for stage in without.report.stages]
    assert names[:2] == ["read", "reshape"]


def test_an_engine_is_planned_for_fewer_blocks(folder: Path, tmp_path: Path) -> None:
    made = edgewright.compile(
        folder / "plain.onnx", "zcu104", data=folder / "plain.npz", reshaping=FUSE, output=tmp_path / "engine"
    )
    (change,) = checked(made.report)["changes"]
    assert change["after"]["cycles"] == made.report.cycles.predicted < change["before"]["cycles"]
    assert change["after"]["latency_low_ms"] == pytest.approx(made.report.latency_ms, rel=1e-4)
    kept = json.loads((tmp_path / "engine" / "manifest.json").read_text())
    assert kept["options"]["passes"]["fuse_blocks"] == "1"


@pytest.mark.tvm
def test_every_output_with_targets_is_measured(folder: Path, tmp_path: Path) -> None:
    made = edgewright.compile(folder / "experts.onnx", "host", folder / "experts.npz", output=tmp_path / "build")
    data = checked(made.report)["accuracy"]
    assert [(row["output"], row["float"], row["images"]) for row in data["outputs"]] == [("class", 1.0, 40), ("shape", 1.0, 40)]
    assert data["int8"] == data["outputs"][0]["int8"] > 0.8
    page = (tmp_path / "build" / "report.html").read_text()
    assert "class, top-1" in page and "shape, top-1" in page
