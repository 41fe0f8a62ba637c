"""Damaged bundles, artifacts, split folders and resume folders: one refusal that is not called a bug, or the same result."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgewright
import numpy as np
import onnx
import pytest
from edgewright.frontend.bundle import read_report
from edgewright.frontend.files.ownership import sealed
from edgewright.frontend.fpga.bundle import FpgaBundle
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.frontend.reshaping.resume import ResumableRun
from edgewright.frontend.splitting.fleet import load_fleet, parse_fleet
from edgewright.frontend.splitting.folder import SplitFolder
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.passes.exact.drop_identities import DropIdentities
from edgewright.passes.ir import checkpoint
from edgewright.passes.ir.graph import Graph
from edgewright.targets.cpu.artifact import Artifact

from tests.frontend.damage import bytes_changed, checkpoint_changed, json_changed
from tests.models import tiny_vit

SPLIT = Path(__file__).parents[2] / "examples" / "split" / "devices2"
SEEDS = 12


def refused(act: Callable[[], object], what: object) -> bool:
    """Whether it is refused; anything but a refusal that blames the file fails."""
    try:
        act()
    except CompileError as error:
        assert error.exit_code in (Exit.MODEL, Exit.USAGE), (what, str(error))
        assert all(one.message and one.because and one.help and "\n" not in one.because for one in error.diagnostics), what
        return True
    except Exception as error:
        raise AssertionError(what) from error
    return False


def graph() -> Graph:
    return tiny_vit(1, image=8, width=32, hidden=32, blocks=1, classes=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(write_float(graph()), path)
    return path


@pytest.fixture(scope="module")
def bundle(model: Path) -> Path:
    edgewright.compile(model, target="zcu104", calibration="random", output=model.with_name("bundle"))
    return model.with_name("bundle")


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def repair(folder: Path, name: str) -> None:
    """Hash and seal as if the changed file had been written so."""
    if name == "manifest.json":
        return
    manifest = json.loads((folder / "manifest.json").read_bytes())
    if name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / "manifest.json").write_bytes(json.dumps(manifest).encode())
    if name == "report.json":
        pair = {one: (folder / one).read_bytes() for one in ("report.html", "report.json")}
        for one, content in sealed(pair).items():
            (folder / one).write_bytes(content)


NAMES = (
    "manifest.json",
    "report.json",
    "checkpoints/measured.json",
    "memory/map.json",
    "memory/program.json",
    "checkpoints/passes.npz",
    "checkpoints/read.npz",
    "checkpoints/passes.txt",
)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_changed_bytes(name: str, copied: Path, model: Path) -> None:
    image = (copied / "memory" / "image.bin").read_bytes()
    content = (copied / name).read_bytes()
    kept = (copied / "manifest.json").read_bytes()
    for seed in range(SEEDS):
        (copied / "manifest.json").write_bytes(kept)
        (copied / name).write_bytes(bytes_changed(content, seed))
        if name != "manifest.json":
            assert refused(lambda: FpgaBundle.open(copied), seed), seed  # a hash says so
            repair(copied, name)
        refused(lambda: read_report(copied), seed)
        if not refused(lambda: FpgaBundle.open(copied), seed):
            assert FpgaBundle.open(copied).plan.external_image == image, seed


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(".txt")])
def test_changed_structure(name: str, copied: Path) -> None:
    image = (copied / "memory" / "image.bin").read_bytes()
    content = (copied / name).read_bytes()
    kept = (copied / "manifest.json").read_bytes()
    change = checkpoint_changed if name.endswith(".npz") else json_changed
    for seed in range(SEEDS):
        (copied / "manifest.json").write_bytes(kept)
        (copied / name).write_bytes(change(content, seed))
        repair(copied, name)
        if not refused(lambda: FpgaBundle.open(copied), seed) and "passes" not in name:
            assert FpgaBundle.open(copied).plan.external_image == image, seed


@pytest.mark.parametrize(
    ("name", "stage"),
    [("checkpoints/passes.npz", "plan"), ("checkpoints/measured.json", "plan"), ("checkpoints/read.npz", "passes")],
)
def test_starting_from_a_changed_checkpoint(name: str, stage: str, copied: Path, model: Path) -> None:
    content = (copied / name).read_bytes()
    change = checkpoint_changed if name.endswith(".npz") else json_changed
    for seed in range(100, 108):
        (copied / name).write_bytes(change(content, seed))
        repair(copied, name)
        act: Any = lambda: edgewright.compile(  # noqa: E731
            model, target="zcu104", calibration="random", output=copied, start_from=stage
        )
        if not refused(act, seed):
            content = (copied / name).read_bytes()


def test_the_engine_is_the_board_s(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_bytes())
    for name, value in (("tokens", 10**9), ("tokens", 14), ("outs", 0), ("key_tiles", -1), ("more", 1)):
        (copied / "manifest.json").write_text(json.dumps(manifest | {"engine": manifest["engine"] | {name: value}}))
        with pytest.raises(CompileError) as caught:
            FpgaBundle.open(copied)
        assert caught.value.diagnostics[0].code == "U023"


@pytest.mark.parametrize("change", [{"format": 99}, {"files": {}}, {"files": {"../x": "0" * 64}}])
def test_what_no_version_wrote(change: dict[str, Any], copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_bytes())
    (copied / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(CompileError) as caught:
        FpgaBundle.open(copied)
    assert (caught.value.diagnostics[0].code, caught.value.exit_code) == ("U022", 2)


def test_hashes_come_before_the_checkpoint(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied / "rtl" / "engine_top.v").write_text("module evil; endmodule")
    monkeypatch.setattr(checkpoint, "load", lambda path: pytest.fail("it was read"))
    with pytest.raises(CompileError) as caught:
        FpgaBundle.open(copied)
    assert caught.value.diagnostics[0].code == "U023" and caught.value.diagnostics[0].at == "rtl/engine_top.v"


def test_files_beside_the_design_are_not_simulated(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied / "rtl" / "added.sv").write_text("module evil; endmodule")
    (copied / "rtl" / "more").mkdir()
    given: list[set[str]] = []

    def stop(plan: object, rtl: dict[str, str], *_: object, **__: object) -> None:
        given.append(set(rtl))
        raise KeyboardInterrupt

    monkeypatch.setattr("edgewright.sim.network.simulate", stop)
    with pytest.raises(KeyboardInterrupt):
        FpgaBundle.open(copied).simulate(samples=1)
    assert "engine_top.v" in given[0] and "added.sv" not in given[0]


def test_a_folder_compiled_again_is_not_mixed(copied: Path) -> None:
    opened = FpgaBundle.open(copied)
    manifest = json.loads((copied / "manifest.json").read_bytes())
    manifest["program"]["descriptors"] += 1
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CompileError) as caught:
        opened.simulate(samples=1)
    assert caught.value.diagnostics[0].code == "U023"


def test_resume_folders(tmp_path: Path) -> None:
    def run() -> object:
        begun = ResumableRun.begin(tmp_path / "run", "key", True)
        begun.offered(1, "DropIdentities")
        return begun.step(1, DropIdentities(), graph())

    run()
    for name in ("run.json", "1-DropIdentities/statistics.json", "1-DropIdentities/after.npz"):
        path = tmp_path / "run" / name
        content = path.read_bytes()
        for seed in range(SEEDS):
            change = bytes_changed if seed % 2 else checkpoint_changed if name.endswith(".npz") else json_changed
            path.write_bytes(change(content, seed))
            refused(run, (name, seed))
        path.write_bytes(content)
    run()


@pytest.mark.long
def test_split_folders(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SPLIT, tmp_path / "split"))
    path = folder / "manifest.json"
    content = path.read_bytes()
    found = SplitFolder.open(folder)
    shapes = {
        given: node.shape
        for one, graph in zip(found.manifest.sub_models, found.sub_models, strict=True)
        for given, written in one.inputs.items()
        for node in graph.inputs
        if node.name == written
    }
    rng = np.random.default_rng(0)
    samples: dict[str, Any] = {name: rng.standard_normal((2, *shape[1:])).astype(np.float32) for name, shape in shapes.items()}
    np.savez(tmp_path / "data.npz", **samples)

    def act() -> None:
        opened = SplitFolder.open(folder)
        opened.run(tmp_path / "data.npz")

    for seed in range(3 * SEEDS):
        path.write_bytes((bytes_changed if seed % 3 == 0 else json_changed)(content, seed))
        refused(act, seed)
    for logits in ("nobody", "out0_features"):
        changed = json.loads(content)
        changed["fusion"]["logits"] = logits
        path.write_text(json.dumps(changed))
        assert refused(act, logits)
    path.write_bytes(content)
    model = folder / "sub0.onnx"
    model.write_bytes(bytes_changed(model.read_bytes(), 1))
    assert refused(act, "sub0.onnx")


FLEET = """name = "shelf"
[[device]]
board = "rpi4"
count = 2
memory_mib = 8
link_mbit_per_s = 100
source = "made up"
"""


def test_fleets(tmp_path: Path) -> None:
    draw = random.Random(1)
    odd = ("9" * 5000, "-1", "nan", "inf", "1e400", '"x"', "true", "[]", "1979-05-27", "0x7fffffffffffffffffffff", "[" * 5000)
    for seed in range(SEEDS):
        changed = FLEET.replace(draw.choice(("2", "8", "100", '"rpi4"', '"shelf"', '"made up"')), draw.choice(odd), 1)
        refused(lambda changed=changed: parse_fleet(changed), changed[:300])  # type: ignore[misc]
        (tmp_path / "fleet.toml").write_bytes(bytes_changed(FLEET.encode(), seed))
        refused(lambda: load_fleet(tmp_path / "fleet.toml"), seed)
    for text in ("9" * 5000, "1e400", "nan", "-3"):
        assert refused(lambda text=text: parse_fleet(FLEET.replace("8", text, 1)), text[:10])  # type: ignore[misc]


def test_a_fleet_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fleet.toml")
    assert refused(lambda: load_fleet(tmp_path / "fleet.toml"), "pipe")
    assert refused(lambda: load_fleet(tmp_path), "folder")


@pytest.mark.parametrize("content", [b"", b"{}", b"[{}]", b"[" * 100_000, b'[{"macs": 1e400}]'])
def test_what_the_steps_do(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "work.json").write_bytes(content)
    manifest: Any = None
    assert refused(lambda: Artifact(tmp_path, manifest).works, content[:20])
