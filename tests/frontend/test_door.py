"""The first hour of a new user: a folder of pictures in, a picture run, class names out, on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgewright.frontend import cli
from edgewright.frontend.bundle import open_bundle
from edgewright.frontend.onnx_writing.writer import write_float
from typer.testing import CliRunner

from tests.frontend.sample_files import class_folders, picture, pixels
from tests.models import tiny_vit

ANIMALS = ("ant", "bee", "cat", "dog")
RULE = 'channels = "L"\nmean = 0.5\nstd = 0.3\n'


def edge(*arguments: object) -> tuple[int, str]:
    """Exit code and everything that the command printed."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, pictures of four classes, and rules."""
    folder = tmp_path_factory.mktemp("door")
    onnx.save(write_float(tiny_vit(1, image=8, width=32, hidden=32, blocks=1, classes=4)), folder / "tiny.onnx")
    class_folders(folder / "photos", ANIMALS, 12, height=8, width=8)
    (folder / "rule.toml").write_text(RULE)
    return folder


@pytest.fixture(scope="module")
def bundle(place: Path) -> Path:
    arguments = ("--calibration", place / "photos", "--preprocess", place / "rule.toml", "--calibration-samples", 16)
    code, text = edge("compile", place / "tiny.onnx", "--target", "zcu104", *arguments, "-o", place / "out")
    assert code == 0, text
    assert "48 pictures became inputs by --preprocess: (pixel / 255 - 0.5) / 0.3, L." in text
    assert "32 images, 95 % between" in text
    return place / "out"


def test_a_folder_compiles_and_the_bundle_keeps_how_it_was_read(bundle: Path, place: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["options"]["calibration_samples"] == 16
    assert {"preprocess.json", "labels.txt", "checkpoints/calibrated.txt"} <= set(manifest["files"])
    assert (bundle / "labels.txt").read_text().split() == list(ANIMALS)
    report = json.loads((bundle / "report.json").read_text())
    assert (report["calibration"]["images"], report["accuracy"]["images"]) == (16, 32)
    assert "16 of 48 samples calibrated, drawn over the classes with seed 0" in report["calibration"]["how"]
    opened = open_bundle(bundle)
    assert opened.classes == ANIMALS and opened.reading.preprocess is not None and opened.reading.preprocess.means == (0.5,)


def test_a_picture_runs_and_its_class_is_named(bundle: Path, place: Path, tmp_path: Path) -> None:
    code, text = edge("run", bundle, place / "photos" / "bee" / "3.png", "-o", tmp_path / "out.npz")
    assert code == 0 and "3.png" in text and all(name in text for name in ANIMALS) and "%" in text
    assert "the interpreter, which computes what zcu104 has to compute, bit for bit" in text
    ran = open_bundle(bundle).run(place / "photos" / "bee" / "3.png")
    by_hand = ((pixels(8, 8, 1, seed=103) / 255 - 0.5) / 0.3).astype(np.float32)[None, None]
    expected = open_bundle(bundle).run(by_hand)
    name = next(iter(ran))
    assert np.array_equal(ran[name], expected[name]) and ran.answers(1)[0][0].name in ANIMALS
    raw = open_bundle(bundle).run(pixels(8, 8, 1, seed=103)[None, None])  # the same pixels, as an array
    assert np.array_equal(raw[name], ran[name])
    with np.load(tmp_path / "out.npz") as written:
        assert np.array_equal(written[name], ran[name])


def test_accuracy_of_a_folder_leaves_out_what_calibrated(bundle: Path, place: Path) -> None:
    code, text = edge("run", bundle, place / "photos")
    assert code == 0 and "16 of 48 samples calibrated the model and do not count for its accuracy" in text
    assert "32 samples" in text and "and 36 more" in text
    accuracy = json.loads((bundle / "report.json").read_text())["accuracy"]["int8"]
    assert open_bundle(bundle).run(place / "photos").scores[0].value == pytest.approx(accuracy)
    code, text = edge("run", bundle, place / "photos" / "bee")
    assert code == 0 and "top-1" not in text  # a flat folder says nothing of classes


def test_other_names_and_another_rule_at_run_time(bundle: Path, place: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("eins\nzwei\ndrei\nvier\n")
    code, text = edge("run", bundle, place / "photos" / "ant" / "0.png", "--labels", tmp_path / "names.txt")
    assert code == 0 and "drei" in text
    large = picture(tmp_path / "large.jpg", pixels(20, 30))
    code, text = edge("run", bundle, large)
    assert code == 1 and "D015" in text and "20 x 30" in text
    (tmp_path / "rule.toml").write_text(RULE + "resize = 9\ncrop = 8\n")
    code, text = edge("run", bundle, large, "--preprocess", tmp_path / "rule.toml")
    assert code == 0 and "shorter side to 9" in text
    code, text = edge("run", bundle, large, "--input", large)
    assert code == 2 and "--input" in text


def test_what_a_newcomer_forgets(place: Path, tmp_path: Path) -> None:
    command = ("compile", place / "tiny.onnx", "--target", "zcu104", "-o", tmp_path / "out", "--calibration")
    code, text = edge(*command, place / "photos")
    assert code == 2 and "D011" in text and "edgewright explain D011" in text and "preprocessor_config.json" in text
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    code, text = edge(*command, place / "photos", "--preprocess", place / "rule.toml", "--labels", tmp_path / "names.txt")
    assert code == 2 and "D018" in text and "2 classes" in text and "4" in text
    (tmp_path / "other.toml").write_text("mean = [0, 0, 0]\nstd = [1, 1, 1]\n")
    code, text = edge(*command, place / "photos", "--preprocess", tmp_path / "other.toml")
    assert code == 2 and "D013" in text
    code, text = edge(*command, place / "photos", "--preprocess", place / "rule.toml", "--calibration-samples", 0)
    assert code == 2 and "U030" in text
    assert not (tmp_path / "out").exists()


def test_later_stages_keep_the_rule(bundle: Path, place: Path) -> None:
    before = (bundle / "preprocess.json").read_bytes(), (bundle / "labels.txt").read_bytes()
    arguments = ("--calibration", place / "photos", "--from", "plan", "-o", bundle, "--calibration-samples", 16)
    code, text = edge("compile", place / "tiny.onnx", "--target", "zcu104", *arguments)
    assert code == 0, text
    assert ((bundle / "preprocess.json").read_bytes(), (bundle / "labels.txt").read_bytes()) == before
    assert open_bundle(bundle).classes == ANIMALS


def test_an_earlier_stage_reads_data_as_before(bundle: Path, place: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "out")
    arguments = ("--calibration", place / "photos", "--from", "reshape", "-o", tmp_path / "out", "--calibration-samples", 8)
    code, text = edge("compile", place / "tiny.onnx", "--target", "zcu104", *arguments)
    assert code == 0 and "40 images" in text, text
    assert open_bundle(tmp_path / "out").classes == ANIMALS


@pytest.mark.sim
def test_a_picture_is_simulated_and_its_class_is_named(bundle: Path, place: Path) -> None:
    code, text = edge("simulate", bundle, place / "photos" / "cat" / "1.png")
    assert code == 0 and "bit-exact" in text and "1.png" in text and any(name in text for name in ANIMALS)
