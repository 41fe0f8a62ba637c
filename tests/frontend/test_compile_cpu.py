"""From a model file to CPU code and its profile, as a user does it on the command line and in Python."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import edgewright
import numpy as np
import onnx
import pytest
from edgewright.frontend import cli
from edgewright.frontend.cpu.bundle import CpuBundle
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.interp import interpret
from typer.testing import CliRunner

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = EXAMPLES / "models" / "vit_digits.dynamo18.onnx"
DATA = EXAMPLES / "data" / "digits.npz"

pytestmark = pytest.mark.tvm


def edge(*arguments: object) -> tuple[int, str]:
    """Exit code and everything that the command printed."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "digits"
    code, text = edge("compile", MODEL, "--target", "host", "--calibration", DATA, "-o", folder)
    assert code == 0 and "edgewright profile" in text, text
    return folder


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fp32") / "digits"
    edgewright.compile(MODEL, target="host", precision="fp32", output=folder)
    return folder


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pi") / "digits"
    code, text = edge("compile", MODEL, "--target", "rpi4", "--calibration", DATA, "-o", folder)
    assert code == 0 and "neon" in text, text
    return folder


def test_a_run_gives_the_bits_of_the_interpreter(integers: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    code, text = edge("run", integers, "--input", DATA, "--samples", 40, "--check", "-o", out)
    assert code == 0 and "same bits as the interpreter" in text
    with np.load(out) as found, np.load(DATA) as given:
        (logits,) = (found[name] for name in found.files)
        assert logits.shape[0] == 40
        images, labels = (
            given["images" if "images" in given.files else "x"],
            given["labels" if "labels" in given.files else "y"],
        )
    assert (logits.argmax(axis=1) == labels[:40]).mean() >= 0.9, "it no longer recognises digits"
    compiled = CpuBundle.open(integers)
    (name,) = (one.name for one in compiled.artifact.manifest.inputs)
    stored = compiled.artifact.runner()({name: images[:1].astype(np.float32)})
    expected = interpret(compiled.graph, {name: images[:1].astype(np.float32)})
    assert all(np.array_equal(stored[key], expected[key]) for key in expected)


def test_float_needs_no_calibration_and_agrees_with_onnxruntime(floats: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    compiled = CpuBundle.open(floats)
    assert compiled.artifact.manifest.precision == "fp32"
    samples = compiled.samples(DATA)
    ran = compiled.run(DATA, samples=4, check=True)
    assert ran.agrees is True
    session = ort.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    for i in range(4):
        wanted = session.run(None, {name: array[i : i + 1] for name, array in samples.items()})[0]
        assert np.allclose(next(iter(ran.outputs.values()))[i : i + 1], wanted, atol=2e-5 * np.abs(wanted).max())


def test_compiling_again_gives_the_same_bytes(integers: Path, tmp_path: Path) -> None:
    code, _ = edge("compile", MODEL, "--target", "host", "--calibration", DATA, "-o", tmp_path / "again")
    assert code == 0
    one, two = (json.loads((folder / "manifest.json").read_text())["files"] for folder in (integers, tmp_path / "again"))
    measured = ("checkpoints/measured.json",)
    assert {k: v for k, v in one.items() if k not in measured} == {k: v for k, v in two.items() if k not in measured}


def test_the_stages_can_start_from_a_checkpoint(integers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(integers, folder)
    code, text = edge("compile", MODEL, "--target", "host", "--calibration", DATA, "--from", "plan", "-o", folder)
    assert code == 0, text
    assert (folder / "model.so").read_bytes() == (integers / "model.so").read_bytes()


def test_profile_on_this_machine(integers: Path, tmp_path: Path) -> None:
    code, text = edge("profile", integers, "--device", "local", "--threads", "1", "--repeat", 5, "-o", tmp_path / "found")
    assert code == 0 and "identical bits" in text and "median" in text
    data = json.loads((tmp_path / "found" / "profile.json").read_text())
    assert data["runs"][0]["threads"] == 1 and data["runs"][0]["median_ms"] > 0
    assert data["check"]["right"] is True


def test_profile_under_the_emulator_counts_instructions(pi: Path) -> None:
    code, text = edge("profile", pi, "--device", "qemu")
    assert code == 0 and "identical bits" in text and "instructions" in text and "median" not in text


def test_estimate_is_labelled(pi: Path) -> None:
    code, text = edge("profile", pi, "--estimate", "--threads", "1,4")
    assert code == 0 and "estimate, not a measurement" in text and "1 thread " in text and "4 threads" in text


def test_code_for_another_architecture_is_interpreted(pi: Path, integers: Path) -> None:
    code, text = edge("run", pi, DATA, "--samples", 3)
    assert code == 0 and "the interpreter, which computes the same integers: the code for rpi4 does not run here" in text
    here, there = (edgewright.open(folder).run(DATA, samples=3) for folder in (integers, pi))
    assert here.by == "this machine" and np.array_equal(here["logits"], there["logits"])


@pytest.mark.parametrize("command", [["run", "--check"], ["run", "--threads", "2"], ["profile", "--device", "local"]])
def test_code_for_another_architecture_is_refused(pi: Path, command: list[str]) -> None:
    code, text = edge(command[0], pi, *command[1:])
    assert code == 2 and "error[T021]" in text and "qemu" in text


def test_cuda_code_says_that_it_was_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    code, text = edge("compile", MODEL, "--target", "jetson-orin-nano", "--precision", "fp32", "--gpu", "-o", folder)
    assert code == 0, text
    data = json.loads((folder / "cuda" / "manifest.json").read_text())
    assert data["run_here"] is False and data["arch"] == "sm_87"
    assert "__global__" in (folder / "cuda" / "model.cu").read_text()
    assert "cuda/model.cu" in json.loads((folder / "manifest.json").read_text())["files"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--target", "host", "--variant", "avx1024"], 2, "error[T023]"),
        (["--target", "zcu104", "--precision", "fp32", "--calibration", "random"], 2, "error[T003]"),
        (["--target", "host"], 2, "error[D010]"),
        (["--target", "rpi4", "--precision", "fp32", "--gpu"], 2, "error[T025]"),
        (["--target", "zcu104", "--calibration", "random", "--gpu"], 2, "error[T025]"),
        (["--target", "host", "--calibration", "nothing.npz"], 2, "error[D001]"),
        (["--target", "rpi9", "--precision", "fp32"], 2, "error[T001]"),
    ],
)
def test_bad_usage_writes_nothing(tmp_path: Path, arguments: list[object], exit_code: int, words: str) -> None:
    code, text = edge("compile", MODEL, *arguments, "-o", tmp_path / "out")
    assert code == exit_code and words in text and "Traceback" not in text
    assert not list(tmp_path.iterdir())


def test_a_tampered_artifact_does_not_run(integers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(integers, folder)
    with open(folder / "weights.bin", "r+b") as file:
        file.write(b"\x7f")
    for command in ("run", "profile"):
        code, text = edge(command, folder)
        assert code == 1 and "error[U023]" in text and "weights.bin" in text


def test_a_folder_of_the_other_kind_is_named(integers: Path, tmp_path: Path) -> None:
    code, text = edge("simulate", integers)
    assert code == 2 and "error[U022]" in text
    code, text = edge("run", tmp_path)
    assert code == 2 and "error[U022]" in text


def test_nan_is_refused_by_integers_and_passed_by_floats(integers: Path, floats: Path) -> None:
    for folder, precision in ((integers, "int8"), (floats, "fp32")):
        compiled = CpuBundle.open(folder)
        (one,) = compiled.artifact.manifest.inputs
        image: np.ndarray[Any, Any] = np.full(one.shape, np.nan, np.float32)
        if precision == "int8":
            with pytest.raises(CompileError, match="D008"):
                compiled.run({one.name: image})
        else:
            (logits,) = compiled.run({one.name: image}).outputs.values()
            assert np.isnan(logits).all()


def test_an_artifact_keeps_hostile_names_to_itself(tmp_path: Path) -> None:
    proto = onnx.load(MODEL)
    old, new = proto.graph.input[0].name, '../../evil\n$(x)"'
    proto.graph.input[0].name = new
    for node in proto.graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new
    onnx.save(proto, tmp_path / "model.onnx")
    code, text = edge("compile", tmp_path / "model.onnx", "--target", "host", "--precision", "fp32", "-o", tmp_path / "out")
    assert code == 0, text
    assert "evil\n" not in (tmp_path / "out" / "model.txt").read_text()
    assert edge("run", tmp_path / "out", "--check")[0] == 0


def test_nothing_loads_tvm_before_it_is_needed() -> None:
    script = "import sys, edgewright, edgewright.frontend.cli; assert not {'tvm', 'onnx', 'numpy'} & set(sys.modules)"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3 + 0.2, "with the start of Python itself"


def test_arrays_go_in_as_they_do_into_a_simulation(integers: Path, tmp_path: Path) -> None:
    """An array, arrays by input name, and a file are the same; what is no samples is refused."""
    compiled = CpuBundle.open(integers)
    with np.load(DATA) as data:
        images = data["images"][:3]
    np.savez(tmp_path / "images.npz", images=images)
    (name,) = (one.name for one in compiled.artifact.manifest.inputs)
    found = [compiled.run(given, check=True) for given in (images, {name: images}, tmp_path / "images.npz", images.tolist())]
    for ran in found:
        assert ran.agrees and set(ran) == set(ran.outputs) and len(ran) == len(ran.outputs)
        for output, value in ran.items():
            assert np.array_equal(value, found[0].outputs[output]) and value.shape[0] == 3
    odd: tuple[Any, ...] = (
        np.float32(1),
        images[:0],
        {},
        {name: images, "more": images},
        images[:, :, :4],
        np.full_like(images, np.nan),
    )
    for wrong in odd:
        with pytest.raises(CompileError) as caught:
            compiled.run(wrong)
        assert caught.value.diagnostics[0].code == "D008"


@pytest.mark.sim
def test_the_python_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example runs as it is printed there, on a small model."""
    text = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    (program,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "edgewright.compile(" in block)
    shutil.copy(MODEL, tmp_path / "model.onnx")
    shutil.copy(DATA, tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)
    with np.load(DATA) as data:
        known: dict[str, Any] = {"images": data["images"][:1]}
    exec(compile(program, "README.md", "exec"), known)
    assert known["report"].bit_exact and known["outputs"].agrees and len(known["outputs"])
