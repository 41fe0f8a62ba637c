"""Bad input to `optimise` and to the same options of `compile`: one clear error, the exit code, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright.frontend import cli
from edgewright.frontend.onnx_writing.writer import with_own_names, write_float
from edgewright.passes.ir.graph import Graph
from typer.testing import CliRunner

from tests.models import tiny_vit
from tests.passes.order_models import experts

pytestmark = pytest.mark.train

Arrays = dict[str, Any]
RNG = np.random.default_rng(0)


def image(count: int = 8) -> np.ndarray[Any, Any]:
    return RNG.standard_normal((count, 1, 8, 8)).astype(np.float32)


def data(**more: Any) -> Arrays:
    return {"images": image(), **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer of three blocks, one of three blocks of two widths, and one of two tasks with experts."""
    made = tmp_path_factory.mktemp("models")
    for name, graph in (("plain", vit()), ("experts", experts())):
        (made / f"{name}.onnx").write_bytes(with_own_names(write_float(graph), graph).SerializeToString())
    return made


def vit() -> Graph:
    return tiny_vit(1, image=8, width=16, hidden=16, blocks=3, classes=4, pooling="avg")


def optimise(folder: Path, tmp_path: Path, model: str, arguments: list[str], arrays: Arrays | None) -> tuple[int, str]:
    """(exit code, what was said); nothing may be left but the data."""
    given = []
    if arrays is not None:
        np.savez(tmp_path / "data.npz", **arrays)
        given = ["--data", str(tmp_path / "data.npz")]
    out = tmp_path / "small.onnx"
    command = ["optimise", str(folder / f"{model}.onnx"), "-o", str(out), *arguments, *given]
    result = CliRunner().invoke(cli.app, command)
    assert "Traceback" not in result.output
    left = sorted(path.name for path in tmp_path.iterdir() if path.name not in ("data.npz", "checkpoints"))
    assert left == [], f"half-written: {left}"
    return result.exit_code, " ".join(result.output.split())


CASES: dict[str, tuple[str, list[str], Callable[[], Arrays] | None, int, str, str]] = {
    "no such task": ("experts", ["--task", "edges"], None, 1, "E010", "its tasks are class, shape"),
    "a task without experts": ("plain", ["--task", "class"], None, 1, "E012", "without experts"),
    "a threshold without data": ("experts", ["--usage-threshold", "0.1"], None, 2, "U031", "--data"),
    "a threshold that is no share": ("experts", ["--usage-threshold", "1.5"], data, 2, "U030", "from 0 to below 1"),
    "blocks without data": ("plain", ["--fuse-blocks", "1"], None, 2, "U031", "nothing to learn from"),
    "a share of nothing": ("plain", ["--fuse-blocks", "0%"], data, 2, "U030", "25% or a number"),
    "not a share": ("plain", ["--fuse-blocks", "some"], data, 2, "U030", "'some'"),
    "all blocks": ("plain", ["--fuse-blocks", "3"], data, 1, "F002", "at most 2"),
    "blocks with experts": ("experts", ["--fuse-blocks", "1"], data, 1, "A005", "router"),
    "no such layer": ("plain", ["--hash-attention", "7"], data, 1, "H003", "7"),
    "no such layers": ("plain", ["--hash-attention", "first"], data, 2, "U030", "all, auto"),
    "too few samples to hash": ("plain", ["--hash-attention", "all"], data, 1, "H001", "too few"),
    "no bits": ("plain", ["--hash-attention", "all", "--hash-bits", "0"], data, 2, "U030", "--hash-bits"),
    "no such constant": ("plain", ["--hash-attention", "all", "--hash-constant", "x"], data, 2, "U030", "sum"),
    "bits of nothing": ("plain", ["--hash-bits", "8"], data, 2, "U030", "no attention is hashed"),
    "fewer epochs than none": ("plain", ["--fuse-blocks", "1", "--epochs", "-1"], data, 2, "U030", "from 0"),
    "epochs of nothing": ("plain", ["--epochs", "2"], data, 2, "U034", "no pass"),
    "resume nothing": ("plain", ["--fuse-blocks", "1", "--resume"], data, 2, "U034", "--checkpoints DIR"),
    "labels out of range": ("plain", ["--fuse-blocks", "1"], lambda: data(labels=np.full(8, 4)), 1, "L004", "they go up to 4"),
    "labels below zero": ("plain", ["--fuse-blocks", "1"], lambda: data(labels=np.full(8, -1)), 1, "D006", "out of range"),
    "too few labels": ("plain", ["--fuse-blocks", "1"], lambda: data(labels=np.zeros(7, int)), 1, "D005", "7 labels for 8"),
    "targets of another shape": (
        "experts",
        ["--task", "shape"],
        lambda: data(shape=np.zeros((8, 3))),
        1,
        "L010",
        "array 'shape'",
    ),
    "too few samples": ("plain", ["--fuse-blocks", "1"], lambda: {"images": image(3)}, 1, "L006", "there are 3"),
    "images of another size": (
        "plain",
        ["--fuse-blocks", "1"],
        lambda: {"images": np.zeros((8, 1, 4, 4), np.float32)},
        1,
        "D005",
        "shape",
    ),
    "no images": ("plain", ["--fuse-blocks", "1"], lambda: {"pictures": image()}, 1, "D004", "'pictures'"),
    "no such target": ("plain", ["--target", "toaster"], None, 2, "T001", "toaster"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case: str, folder: Path, tmp_path: Path) -> None:
    model, arguments, arrays, exit_code, code, words = CASES[case]
    found, said = optimise(folder, tmp_path, model, arguments, None if arrays is None else arrays())
    assert (found, f"error[{code}]" in said) == (exit_code, True), said
    assert words in said and "help" in said


def test_an_output_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    model = folder / "plain.onnx"
    before = model.read_bytes()
    (tmp_path / "taken").mkdir()
    for output, words in (
        (model, "it is the model that is read"),
        (tmp_path / "taken", "it is a folder"),
        (tmp_path / "absent" / "small.onnx", "there is no folder"),
    ):
        result = CliRunner().invoke(cli.app, ["optimise", str(model), "-o", str(output)])
        assert result.exit_code == 2 and "U020" in result.output
        assert words in " ".join(result.output.split())
    assert model.read_bytes() == before


def test_a_result_that_was_there_stays_when_a_pass_refuses(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    assert CliRunner().invoke(cli.app, ["optimise", str(folder / "plain.onnx"), "-o", str(out)]).exit_code == 0
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(kept) == {"small.onnx", "small.report.html", "small.report.json"}
    assert CliRunner().invoke(cli.app, ["optimise", str(folder / "plain.onnx"), "-o", str(out), "--task", "x"]).exit_code == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_checkpoints_of_another_run(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoints"
    kept.mkdir()
    (kept / "thesis.txt").write_text("mine")
    found, said = optimise(folder, tmp_path, "experts", ["--task", "class", "--checkpoints", str(kept)], None)
    assert found == 2 and "U032" in said and "other than a run" in said
    assert [path.name for path in kept.iterdir()] == ["thesis.txt"]
    (kept / "thesis.txt").unlink()
    (kept / "run.json").write_text('{"key": "another"}')
    found, said = optimise(folder, tmp_path, "experts", ["--task", "class", "--checkpoints", str(kept), "--resume"], None)
    assert found == 2 and "another model, other data" in said


def test_compile_refuses_alike_and_leaves_no_folder(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **data())
    out = tmp_path / "build"
    shared = ["compile", str(folder / "plain.onnx"), "-t", "host", "-o", str(out), "--precision", "fp32"]
    for arguments, code, exit_code in (
        (["--fuse-blocks", "9", "--data", str(tmp_path / "data.npz")], "F002", 1),
        (["--fuse-blocks", "1"], "U031", 2),
        (["--task", "class", "--data", str(tmp_path / "data.npz")], "E012", 1),
        (["--from", "passes", "--fuse-blocks", "1", "--data", str(tmp_path / "data.npz")], "U033", 2),
    ):
        result = CliRunner().invoke(cli.app, [*shared, *arguments])
        assert (result.exit_code, code in result.output) == (exit_code, True), result.output
        assert not out.exists()
