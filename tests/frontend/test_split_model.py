"""`edgewright split` from the command line: what it writes, that it runs elsewhere, and that nothing is half-written."""

from __future__ import annotations

import html.parser
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
import pytest
from edgewright.frontend.cli import app
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.frontend.report.split_results import Range, SubModel
from edgewright.frontend.splitting.fleet import parse_fleet
from edgewright.frontend.splitting.folder import SplitFolder, is_split
from edgewright.frontend.splitting.latency import FleetPricing
from edgewright.frontend.splitting.model import SplitOptions, plan_split, predicted_report
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.interp import interpret
from typer.testing import CliRunner

from tests.models import images, tiny_vit
from tests.moe_models import moe_network

pytestmark = pytest.mark.train

LINK = 'link_mbit_per_s = 100\nlink_latency_ms = 0.5\nsource = "made up"\n'
FLEET = f'[[device]]\nboard = "rpi4"\n{LINK}[[device]]\nboard = "jetson-nano"\n{LINK}'


def command(*words: object) -> Any:
    """The result of a command line."""
    import torch

    torch.set_num_threads(1)
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, data, a fleet, and what `split` made of them."""
    folder = tmp_path_factory.mktemp("split")
    graph = tiny_vit(3, image=8, classes=4, width=16, heads=2, hidden=24, blocks=1)
    many = images(graph, 4000)
    labels = interpret(graph, {"image": many})["logits"].argmax(-1)
    chosen = np.concatenate([np.flatnonzero(labels == c)[:50] for c in range(4)])
    np.savez(folder / "data.npz", images=many[chosen], labels=labels[chosen])
    onnx.save(write_float(graph), folder / "model.onnx")
    (folder / "fleet.toml").write_text(FLEET)
    made = command(
        "split",
        folder / "model.onnx",
        "--fleet",
        folder / "fleet.toml",
        "--data",
        folder / "data.npz",
        "-o",
        folder / "out",
        "--size",
        0.6,
        "--epochs",
        3,
        "--partition",
        "confusion",
        "--seed",
        2,
    )
    assert made.exit_code == 0, made.output
    assert "Parameters per device" in made.output and "edgewright run" in made.output
    return folder


def test_the_folder_is_whole(place: Path) -> None:
    names = {"sub0.onnx", "sub1.onnx", "fusion.onnx", "manifest.json", "report.html", "report.json"}
    assert {path.name for path in (place / "out").iterdir()} == names
    assert not (place / "out.training").exists()
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    assert manifest["options"] == {"partition": "confusion", "size": 0.6, "epochs": 3.0, "seed": 2}
    assert sorted(c for row in manifest["sub_models"] for c in row["classes"]) == [0, 1, 2, 3]
    assert {row["device"] for row in manifest["sub_models"]} == {"rpi4", "jetson-nano"}
    text = (place / "out" / "manifest.json").read_text() + (place / "out" / "report.json").read_text()
    assert str(place) not in text.replace(str(place / "data.npz"), "")


def test_the_report_says_what_was_made(place: Path) -> None:
    report = json.loads((place / "out" / "report.json").read_text())
    for row in report["sub_models"]:
        assert row["parameters"] <= 0.6 * report["whole"]["parameters"] and row["macs"] < report["whole"]["macs"]
    accuracy = report["accuracy"]
    assert accuracy["images"] == round(0.25 * len(np.load(place / "data.npz")["labels"]))
    assert 0 <= accuracy["split"] <= 1 and len(accuracy["sub_models"]) == 2
    assert len(report["stages"]) == 6
    page = (place / "out" / "report.html").read_text()
    checker = html.parser.HTMLParser()
    checker.feed(page)
    for words in ("28.9 times", "34.1 times", "fusion.onnx", "Which device does what?", "jetson-nano"):
        assert words in page
    assert page.count("<svg") == 3 and "<script" not in page and "://" not in page.replace("http://www.w3.org", "")


def test_the_whole_deployment_runs_here_and_in_onnxruntime(place: Path) -> None:
    ran = command("run", place / "out", "--input", place / "data.npz", "-o", place / "out.npz", "--samples", 40)
    assert ran.exit_code == 0 and "40 samples through 2 sub-models" in ran.output and "top-1" in ran.output
    found = np.load(place / "out.npz")
    assert set(found) == {"logits", "class", "features_0", "features_1"}
    assert np.array_equal(found["class"], found["logits"].argmax(-1))
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    data = np.load(place / "data.npz")["images"][:40]
    features = []
    for row in manifest["sub_models"]:
        session = onnxruntime.InferenceSession(place / "out" / row["file"], providers=["CPUExecutionProvider"])
        name = row["inputs"]["image"] if "image" in row["inputs"] else next(iter(row["inputs"].values()))
        features.append(np.concatenate([session.run([row["features"]], {name: one[None]})[0] for one in data]))
    session = onnxruntime.InferenceSession(place / "out" / "fusion.onnx", providers=["CPUExecutionProvider"])
    names = manifest["fusion"]["inputs"]
    logits = np.concatenate(
        [session.run(None, {n: f[i : i + 1] for n, f in zip(names, features, strict=True)})[0] for i in range(40)]
    )
    np.testing.assert_allclose(found["logits"], logits, atol=2e-3)
    np.testing.assert_allclose(found["features_1"], features[1], atol=2e-4)


def test_a_changed_or_missing_file_is_noticed(place: Path, tmp_path: Path) -> None:
    assert is_split(place / "out") and not is_split(place)
    for name, change in (("sub1.onnx", b"x"), ("fusion.onnx", None), ("manifest.json", b"\x00")):
        copy = tmp_path / name
        shutil.copytree(place / "out", copy)
        if change is None:
            (copy / name).unlink()
        else:
            (copy / name).write_bytes((copy / name).read_bytes() + change)
        with pytest.raises(CompileError) as error:
            SplitFolder.open(copy)
        assert error.value.diagnostics[0].code == "K010" and name in error.value.diagnostics[0].at
    outside = tmp_path / "outside"
    shutil.copytree(place / "out", outside)
    manifest = json.loads((outside / "manifest.json").read_text())
    manifest["fusion"]["file"] = "../out/fusion.onnx"
    (outside / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CompileError, match="K010"):
        SplitFolder.open(outside)
    assert command("run", place / "out").exit_code == 2
    assert command("run", place / "out", "--input", place / "data.npz", "--check").exit_code == 2


def test_the_same_run_gives_the_same_bytes(place: Path) -> None:
    made = command(
        "split",
        place / "model.onnx",
        "--fleet",
        place / "fleet.toml",
        "--data",
        place / "data.npz",
        "-o",
        place / "again",
        "--size",
        0.6,
        "--epochs",
        3,
        "--partition",
        "confusion",
        "--seed",
        2,
    )
    assert made.exit_code == 0
    for name in ("sub0.onnx", "sub1.onnx", "fusion.onnx", "manifest.json"):
        assert (place / "out" / name).read_bytes() == (place / "again" / name).read_bytes()


@pytest.mark.parametrize(
    ("fleet", "change", "code"),
    [
        ('[[device]]\nboard = "rpi4"\ncount = 5\n', "", "K004"),
        ('[[device]]\nboard = "rpi4"\nmemory_mib = 0.001\nsource = "x"\n', "", "K005"),
        ('[[device]]\nboard = "rpi4"\nenergy_mj = 1e-9\npower_w = 4\nsource = "x"\n', "", "K005"),
        ('[[device]]\nboard = "zcu104"\n', "", "K012"),
        ('[[device]]\nboard = "rpi4"\n', "one class", "L005"),
        ('[[device]]\nboard = "rpi4"\n', "five classes", "L004"),
    ],
)
def test_what_cannot_be_split_is_refused_and_nothing_written(
    place: Path, tmp_path: Path, fleet: str, change: str, code: str
) -> None:
    (tmp_path / "fleet.toml").write_text(fleet)
    found = np.load(place / "data.npz")
    count = len(found["labels"])
    labels = {"": found["labels"], "one class": np.zeros(count, np.int64), "five classes": np.arange(count) % 5}[change]
    np.savez(tmp_path / "data.npz", images=found["images"], labels=labels)
    made = command(
        "split",
        place / "model.onnx",
        "--fleet",
        tmp_path / "fleet.toml",
        "--data",
        tmp_path / "data.npz",
        "-o",
        tmp_path / "out",
    )
    assert made.exit_code in (1, 2) and f"error[{code}]" in made.output, made.output
    assert not (tmp_path / "out").exists()


def test_a_model_with_experts_is_refused_with_the_reason() -> None:
    with pytest.raises(CompileError) as caught:
        plan_split(moe_network(), parse_fleet(FLEET), SplitOptions())
    assert [one.code for one in caught.value.diagnostics] == ["A006"]


def test_latency_of_a_deployment_is_the_slowest_with_transfer_and_fusion() -> None:
    pricing = FleetPricing(parse_fleet(FLEET))
    rows = [
        SubModel("", "rpi4", "", (), 0, 0, 0, 0, 0, 0, 64, Range(3.0, 5.0)),
        SubModel("", "jetson-nano", "", (), 0, 0, 0, 0, 0, 0, 125, Range(2.0, 6.0)),
    ]
    assert pricing.total(rows, Range(0.25, 0.5)) == Range(3.25, 0.5 + 6.0 + 0.5 + 0.01)
    assert pricing.total([rows[0], rows[0]], Range(0.0, 1.0)) == Range(6.0, 11.0)
    unknown = FleetPricing(parse_fleet('[[device]]\nboard = "rpi4"\n[[device]]\nboard = "jetson-nano"\n'))
    assert unknown.total(rows, Range(0.0, 0.0)) == Range(None, None) and "jetson-nano has no link" in unknown.reasons[0]


def test_a_plan_for_an_fpga_keeps_to_its_grain_and_is_priced(tmp_path: Path) -> None:
    graph = tiny_vit(image=8, classes=4, width=48, heads=3, hidden=96, blocks=1)
    onnx.save(write_float(graph), tmp_path / "m.onnx")
    read = read_model(tmp_path / "m.onnx")
    fleet = parse_fleet('[[device]]\nboard = "zcu104"\n[[device]]\nboard = "rpi4"\n')
    plan = plan_split(read, fleet, SplitOptions(size=0.4))
    assert all(shape.width % 16 == 0 and shape.hidden % 16 == 0 for shape in plan.shapes)
    report = predicted_report("m", read, fleet, plan, FleetPricing(fleet))
    for part in report.sub_models:
        whole = report.whole.latency[part.board].low_ms
        assert part.latency.low_ms is not None and whole is not None and 0 < part.latency.low_ms < whole
