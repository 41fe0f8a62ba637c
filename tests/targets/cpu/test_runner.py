"""edgewright-run and what it is made of: right bits with any number of threads, and one clear line for bad input."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from edgewright.targets.cpu import qemu
from edgewright.targets.cpu.artifact import Artifact, identifier
from edgewright.targets.cpu.compile_c import clang
from edgewright.targets.cpu.devices import runner_process
from edgewright.targets.cpu.devices.qemu import ROOTS
from edgewright.targets.cpu.runner_files import PROGRAM, program, runner_files, sources
from edgewright.targets.cpu.variants import VARIANTS, host_arch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.targets.cpu.made_artifacts import artifact, copied, expected, sample

pytestmark = pytest.mark.tvm
HERE = Path(__file__).parent
MODEL, USAGE = 1, 2


def run(of: Artifact, inputs: Path, *more: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = [str(program(host_arch())), str(folder or of.directory)]  # type: ignore[arg-type]
    for one in of.manifest.inputs:
        name = identifier(one)
        words += ["--input", f"{name}={inputs}/{name}.npy"]
    return subprocess.run([*words, *more], capture_output=True, text=True, timeout=120)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    for name, content in runner_process.input_files(artifact(), sample(artifact())).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def input_path(of: Artifact, folder: Path) -> Path:
    return folder / f"{identifier(of.manifest.inputs[0])}.npy"


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
def test_bits_do_not_depend_on_threads(inputs: Path, threads: int) -> None:
    of = artifact()
    done = run(of, inputs, "--threads", str(threads), "--repeat", "30", "--output", str(inputs / "out"), "--profile", "-")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [one["threads"] for one in answer["runs"]] == [threads] and len(answer["runs"][0]["times_ns"]) == 30
    for one in of.manifest.outputs:
        found = np.load(inputs / "out" / f"{identifier(one)}.npy")
        assert str(found.dtype) == one.dtype and np.array_equal(found, expected(of)[one.name])


def test_steps_one_by_one_are_the_whole(inputs: Path) -> None:
    of = artifact()
    done = run(
        of, inputs, "--warmup", "0", "--steps", "3", "--output", str(inputs / "out"), "--profile", str(inputs / "p.json")
    )
    assert done.returncode == 0, done.stderr
    steps = json.loads((inputs / "p.json").read_text())["runs"][0]["steps"]
    assert len(steps) == len(of.manifest.steps) and all(0 <= one["min_ns"] <= one["median_ns"] for one in steps)
    one = of.manifest.outputs[0]
    assert np.array_equal(np.load(inputs / "out" / f"{identifier(one)}.npy"), expected(of)[one.name])


def test_time_ends_the_runs(inputs: Path) -> None:
    done = run(artifact(), inputs, "--repeat", "10000000", "--seconds", "0.2", "--profile", "-")
    assert done.returncode == 0 and 1 <= len(json.loads(done.stdout)["runs"][0]["times_ns"]) < 10_000_000


def refused(done: subprocess.CompletedProcess[str], code: int, kind: str, text: str) -> None:
    assert done.returncode == code, done
    assert done.stderr.startswith(f"edgewright-run: {kind}: ") and text in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: x.astype(np.float64), "<f8, the model takes <f4"),
        (lambda x: x[0], "the model takes (1,"),
        (lambda x: np.asfortranarray(np.broadcast_to(x, (2, *x.shape[1:]))), "Fortran order"),
        (lambda x: np.full_like(x, np.nan), "nan or infinity"),
        (lambda x: np.where(np.arange(x.size).reshape(x.shape) == 5, -np.inf, x).astype(np.float32), "nan or infinity"),
    ],
)
def test_inputs_that_do_not_fit(inputs: Path, change: object, text: str) -> None:
    path = input_path(artifact(), inputs)
    np.save(path, change(np.load(path)))  # type: ignore[operator]
    refused(run(artifact(), inputs, "--output", str(inputs / "out")), MODEL, "input", text)
    assert not (inputs / "out").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "no .npy"), (b"\x93NUMPY\x01\x00\x76\x00{'descr'", "cut off"), (b"\x93NUMPY\x03\x00\x10\x00\x00\x00", "version 3")],
)
def test_files_that_are_no_arrays(inputs: Path, content: bytes, text: str) -> None:
    input_path(artifact(), inputs).write_bytes(content)
    refused(run(artifact(), inputs), MODEL, "input", text)


def test_cut_off_and_too_long_arrays(inputs: Path) -> None:
    path = input_path(artifact(), inputs)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    refused(run(artifact(), inputs), MODEL, "input", "cut off")
    path.write_bytes(whole + b"x")
    refused(run(artifact(), inputs), MODEL, "input", "longer")


def test_version_two_of_the_format(inputs: Path) -> None:
    path = input_path(artifact(), inputs)
    value = np.load(path)
    with path.open("wb") as file:
        np.lib.format.write_array(file, value, version=(2, 0))
    assert run(artifact(), inputs).returncode == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=6) | st.permutations((1, 1, 8, 8)))
def test_only_the_models_shape_is_taken(shape: Sequence[int]) -> None:
    of = artifact()
    folder = of.directory / "tried"
    folder.mkdir(exist_ok=True)
    np.save(input_path(of, folder), np.zeros(shape, np.float32))
    done = run(of, folder)
    assert (done.returncode == 0) == (tuple(shape) == of.manifest.inputs[0].shape)
    assert done.returncode == 0 or f"the model takes {of.manifest.inputs[0].shape}" in done.stderr


def test_missing_and_unknown_inputs(inputs: Path) -> None:
    of = artifact()
    missing = subprocess.run([str(program(host_arch())), str(of.directory)], capture_output=True, text=True)  # type: ignore[arg-type]
    refused(missing, MODEL, "input", "is missing")
    refused(run(of, inputs, "--input", f"other={input_path(of, inputs)}"), MODEL, "input", "no input 'other'")


@pytest.mark.parametrize(
    "words", [("--threads", "0.x"), ("--threads", "1000"), ("--repeat", "-1"), ("--what", "1"), ("--repeat",)]
)
def test_bad_options(inputs: Path, words: tuple[str, ...]) -> None:
    refused(run(artifact(), inputs, *words), USAGE, "usage", "")


def test_nan_goes_through_a_float_model(tmp_path: Path) -> None:
    of = artifact(precision="fp32")
    one = of.manifest.inputs[0]
    np.save(input_path(of, tmp_path), np.full(one.shape, np.nan, np.float32))
    assert run(of, tmp_path).returncode == 0


def sealed(body: bytes) -> bytes:
    """model.txt of these lines, with the size and SHA-256 that belong to them."""
    return f"edgewright-model 2 {len(body)} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def body_of(of: Artifact) -> str:
    return (of.directory / "model.txt").read_text().split("\n", 1)[1]


@pytest.mark.parametrize(
    ("pattern", "replacement", "code", "kind", "text"),
    [
        (r"arch \w+", "arch riscv64", USAGE, "cpu", "the model is for riscv64"),
        (r"features.*", "features quantum", USAGE, "cpu", "does not know the processor feature 'quantum'"),
        (r"features.*\n", "", MODEL, "artifact", "not complete"),
        (r"arch \w+\n", "", MODEL, "artifact", "line of 'features'"),
        (r"weights \d+", "weights 3", MODEL, "artifact", "not 3"),
        (r"weights (\d+) \w+", r"weights \1", MODEL, "artifact", "line of 'weights'"),
        (r"weights (\d+) \w", r"weights \1 x", MODEL, "artifact", "line of 'weights'"),
        (r"library (\d+) ..", r"library \1 00", MODEL, "artifact", "model.so is damaged"),
        (r"workspace \d+", "workspace 9" + "0" * 11, MODEL, "artifact", "not of the same model"),
        (r"workspace \d+", "workspace 9" + "0" * 30, MODEL, "artifact", "line of 'workspace'"),
        (r"workspace \d+", "workspace -1", MODEL, "artifact", "line of 'workspace'"),
        (r"workspace \d+", "workspace 64x", MODEL, "artifact", "line of 'workspace'"),
        (r"workspace \d+", "workspace 64 64", MODEL, "artifact", "line of 'workspace'"),
        (r"(workspace \d+\n)", r"\1\1", MODEL, "artifact", "two lines of 'workspace'"),
        (r"counts 1 1 \d+", "counts 1 1 2000000000", MODEL, "artifact", "line of 'counts'"),
        (r"counts 1 1 \d+", "counts 1 1 1000", MODEL, "artifact", "not complete"),
        (r"counts 1 1 \d+", "counts 2 1 1", MODEL, "artifact", "more steps than it counts"),
        (r"counts 1 1", "counts 2 1", MODEL, "artifact", "not complete"),
        (r"counts 1 1", "counts 0 1", MODEL, "artifact", "more inputs than it counts"),
        (r"counts.*\n", "", MODEL, "artifact", "more inputs than it counts"),
        (r"(?s)(counts 1 1.*)(output [^\n]*\n)", r"\1\2\2", MODEL, "artifact", "more outputs than it counts"),
        (r"(?s)counts 1 1(.*)(input [^\n]*\n)", r"counts 2 1\1\2\2", MODEL, "artifact", "two inputs"),
        (r"(?s)(input [^\n]*\n)(output [^\n]*\n)", r"\2\1", MODEL, "artifact", "in another order"),
        (r"input \S+", "input ../x", MODEL, "artifact", "line of 'input'"),
        (r"input \S+", f"input {'x' * 90}", MODEL, "artifact", "line of 'input'"),
        (r"output \S+", "output a/b", MODEL, "artifact", "line of 'output'"),
        (r"(input .*)", r"\1 0 3", MODEL, "artifact", "line of 'input'"),
        (r"(output \S+) int16", r"\1 int32", MODEL, "artifact", "not of the same model"),
        (r"(output \S+ int16 2 1) 10", r"\1 11", MODEL, "artifact", "not of the same model"),
        (r"(output \S+ int16 2 1) 10", r"\1 0", MODEL, "artifact", "shape"),
        (r"(output \S+ int16) 2 1 10", r"\1 1 10", MODEL, "artifact", "not of the same model"),
        (r"(output \S+ int16 2 1) 10", rf"\1 {2**62}", MODEL, "artifact", "shape"),
        (r"(output \S+ int16 2 1 10 )\S+", r"\1nan", MODEL, "artifact", "line of 'output'"),
        (r"(output \S+ int16 2 1 10 \S+ )\S+", r"\1x", MODEL, "artifact", "line of 'output'"),
        (r"step 0", "step -1", MODEL, "artifact", "step 0 is cut off"),
        (r"step", "stop", MODEL, "artifact", "a line of 'stop' is not known"),
        (r"step", "\nstep", MODEL, "artifact", "empty line"),
        (r"step", "\0step", MODEL, "artifact", "whole lines"),
        (r"(?s).*", "", MODEL, "artifact", "whole lines"),
        (r"(input \S+ )float32", r"\1complex64", MODEL, "artifact", "complex64"),
        (r"(input \S+ float32 )\d+", r"\g<1>99", MODEL, "artifact", "rank 99"),
        (r"(?s)step.*", "step 1\n", MODEL, "artifact", "cut off"),
        (r"(?s)step.*", "step 1 1 Line", MODEL, "artifact", "whole lines"),
        (r"(?s)output.*", "", MODEL, "artifact", "not complete"),
    ],
)
def test_descriptions_that_are_wrong_with_the_right_digest(
    inputs: Path, tmp_path: Path, pattern: str, replacement: str, code: int, kind: str, text: str
) -> None:
    of = copied(artifact(), tmp_path / "copy")
    changed = re.sub(pattern, replacement, body_of(of), count=1)
    assert changed != body_of(of)
    (of.directory / "model.txt").write_bytes(sealed(changed.encode()))
    refused(run(of, inputs), code, kind, text)


@pytest.mark.parametrize(
    ("pattern", "replacement", "text"),
    [
        (r"edgewright-model \d+", "edgewright-model 99", "has format 99, this runner reads 2: take the runner"),
        (r"edgewright-model \d+.*", "edgewright-model 1", "has format 1, this runner reads 2: compile the model again"),
        (r"edgewright-model \d+", "edgewright-model x", "line of 'edgewright-model'"),
        (r"edgewright-model 2.*", "edgewright-model 2", "line of 'edgewright-model'"),
        (r"(edgewright-model 2.*)", r"\1 x", "line of 'edgewright-model'"),
        (r"^edgewright", "other", "is not a model"),
        (r"(?s).*", "", "is not a model"),
        (r"(?s)\n.*", "", "cut off"),
        (r"int16", "int17", "is damaged"),
        (r"\n$", "", "bytes after its first line"),
        (r"$", "step 0 0 Add\n", "bytes after its first line"),
    ],
)
def test_damaged_descriptions(inputs: Path, tmp_path: Path, pattern: str, replacement: str, text: str) -> None:
    of = copied(artifact(), tmp_path / "copy")
    path = of.directory / "model.txt"
    changed = re.sub(pattern, replacement, path.read_text(), count=1)
    assert changed != path.read_text()
    path.write_text(changed)
    refused(run(of, inputs), MODEL, "artifact", text)


def test_a_description_cut_off_after_any_line(inputs: Path, tmp_path: Path) -> None:
    of = copied(artifact(), tmp_path / "copy")
    lines = (of.directory / "model.txt").read_bytes().splitlines(keepends=True)
    for n in range(len(lines)):
        (of.directory / "model.txt").write_bytes(b"".join(lines[:n]))
        refused(run(of, inputs), MODEL, "artifact", "model.txt")


@pytest.mark.parametrize("name", ["weights.bin", "model.so"])
def test_a_changed_byte_anywhere(inputs: Path, tmp_path: Path, name: str) -> None:
    of = copied(artifact(), tmp_path / "copy")
    whole = (of.directory / name).read_bytes()
    for position in (0, 1, 63, *range(100, len(whole), len(whole) // 7), len(whole) - 1):
        content = bytearray(whole)
        content[position] ^= 1 << position % 8
        (of.directory / name).write_bytes(content)
        refused(run(of, inputs), MODEL, "artifact", f"{name} is damaged: its SHA-256 is not the one in model.txt")


def test_files_of_another_model(inputs: Path, tmp_path: Path) -> None:
    of, other = copied(artifact(), tmp_path / "copy"), artifact(precision="fp32")
    for name in ("model.so", "weights.bin"):
        shutil.copyfile(other.directory / name, of.directory / name)
        refused(run(of, inputs), MODEL, "artifact", f"{name} has ")
        shutil.copyfile(artifact().directory / name, of.directory / name)
    shutil.copyfile(other.directory / "model.txt", of.directory / "model.txt")
    refused(run(of, inputs), MODEL, "artifact", "has ")


@pytest.mark.parametrize("name", ["weights.bin", "model.so", "model.txt"])
def test_what_is_no_file(inputs: Path, tmp_path: Path, name: str) -> None:
    of = copied(artifact(), tmp_path / "copy")
    (of.directory / name).unlink()
    os.mkfifo(of.directory / name)  # nobody ever writes to it
    refused(run(of, inputs), MODEL, "artifact", "is not a file")
    (of.directory / name).unlink()
    (of.directory / name).mkdir()
    refused(run(of, inputs), MODEL, "artifact", name)


LENGTHS = [*range(130), 1000, 4096, 100_000]


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_sha256(tmp_path: Path, arch: str) -> None:
    """With the processor's instructions and without, for every length of the last block."""
    data = np.random.default_rng(0).integers(0, 256, max(LENGTHS), np.uint8).tobytes()
    (tmp_path / "data").write_bytes(data)
    for name in ("sha256.c", "sha256.h"):
        (tmp_path / name).write_text(sources()[name])
    binary = tmp_path / "sha256_test"
    flags = ["-O2", "-Wall", "-Werror", f"-I{tmp_path}", str(HERE / "sha256_test.c"), str(tmp_path / "sha256.c")]
    clang(arch, [*flags, "-o", str(binary)])
    words = [str(tmp_path / "data"), *map(str, LENGTHS)]
    if arch == host_arch():
        said = subprocess.run([str(binary), *words], capture_output=True, text=True, check=True).stdout
    else:
        if qemu.missing() or not any((Path(root) / "lib/ld-linux-aarch64.so.1").exists() for root in ROOTS):
            pytest.skip("needs qemu-user and libc6-arm64-cross")
        root = next(Path(root) for root in ROOTS if (Path(root) / "lib/ld-linux-aarch64.so.1").exists())
        done = qemu.run(binary, words, "cortex-a76", 60, library_root=root)
        assert done.exit_code == 0, done.stderr
        said = done.stdout
    expected_lines = [f"{(digest := hashlib.sha256(data[:n]).hexdigest())} {digest}" for n in LENGTHS]
    assert said.splitlines() == expected_lines


@pytest.mark.parametrize("name", ["model.txt", "weights.bin", "model.so"])
def test_missing_and_cut_off_files(inputs: Path, tmp_path: Path, name: str) -> None:
    of = copied(artifact(), tmp_path / "copy")
    content = (of.directory / name).read_bytes()
    (of.directory / name).write_bytes(content[: len(content) // 2 + 1])
    assert run(of, inputs).returncode == MODEL
    (of.directory / name).unlink()
    refused(run(of, inputs), MODEL, "artifact", name)


def test_sources_build_with_the_systems_compilers(inputs: Path, tmp_path: Path) -> None:
    if not all(map(shutil.which, ("make", "gcc", "g++"))):
        pytest.skip("needs make, gcc and g++")
    folder = tmp_path / "source"
    folder.mkdir()
    for name, text in sources().items():
        (folder / name).write_text(text)
    done = subprocess.run(
        [
            "make",
            "-s",
            "-C",
            str(folder),
            "CC=gcc",
            "CXX=g++",
            "CFLAGS=-O2 -Wall -Wextra -Werror",
            "CXXFLAGS=-O2 -Wall -Wextra -Werror",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    words = [
        str(folder / PROGRAM),
        str(artifact().directory),
        "--input",
        f"{input_path(artifact(), inputs).stem}={input_path(artifact(), inputs)}",
    ]
    assert subprocess.run(words, capture_output=True).returncode == 0


EMBEDDED = """
#include <edgewright.h>
#include <stdio.h>
int main(int count, char **words)
{
    ew_model *model = count == 2 ? ew_open(words[1], 1) : NULL;
    printf("%d inputs, %d outputs, %s\\n", model ? ew_input_count(model) : 0, model ? ew_output_count(model) : 0, ew_error());
    ew_close(model);
    return !model;
}
"""


def test_the_readmes_files_are_enough_for_a_program_of_ones_own(tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    for name, text in sources().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "own.c").write_text(EMBEDDED)
    listed = re.findall(r"`(\w+\.c)`", sources()["README.md"])
    words = ["gcc", "-std=gnu11", "-Wall", "-Werror", "-I.", "-rdynamic", "own.c", *listed, "-ldl", "-lpthread", "-o", "own"]
    built = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "own", artifact().directory], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1 inputs, 1 outputs, \n")


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_threads(tmp_path: Path, sanitizer: str) -> None:
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    for name in ("threads.c", "threads.h"):
        (tmp_path / name).write_text(sources()[name])
    binary = tmp_path / "threads_test"
    flags = ["-std=gnu11", "-O1", "-g", f"-fsanitize={sanitizer}", f"-I{tmp_path}"]
    words = ["gcc", *flags, str(HERE / "threads_test.c"), str(tmp_path / "threads.c"), "-o", str(binary), "-lpthread"]
    built = subprocess.run(words, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    fixed = ["setarch", os.uname().machine, "-R", str(binary)] if shutil.which("setarch") else [str(binary)]
    done = subprocess.run(fixed, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_the_prebuilt_program_needs_old_glibc_only(arch: str) -> None:
    files = runner_files(arch)  # type: ignore[arg-type]
    binary = files[f"runner/{PROGRAM}"]
    assert binary[:4] == b"\x7fELF" and int.from_bytes(binary[18:20], "little") == {"x86_64": 62, "aarch64": 183}[arch]
    versions = {tuple(map(int, one.split(b"."))) for one in re.findall(rb"GLIBC_(\d+\.\d+)", binary)}
    assert versions and max(versions) <= (2, 28)
    needed = set(re.findall(rb"\b(?:lib|ld-)[\w+-]+\.so\.\d+", binary))
    assert needed <= {
        b"libc.so.6",
        b"libdl.so.2",
        b"libpthread.so.0",
        b"libm.so.6",
        b"ld-linux-x86-64.so.2",
        b"ld-linux-aarch64.so.1",
    }
    assert {"runner/edgewright.h", "runner/main.cpp", "runner/Makefile", "runner/README.md", "runner/run.py"} <= set(files)


def test_every_feature_of_the_variants_is_known() -> None:
    known = sources()["features.c"]
    for one in VARIANTS:
        assert all(f'{{"{feature}",' in known for feature in one.features), one.name


def test_features_are_checked_before_code_is_loaded(inputs: Path) -> None:
    if qemu.missing() or not any((Path(root) / "lib/ld-linux-aarch64.so.1").exists() for root in ROOTS):
        pytest.skip("needs qemu-user and libc6-arm64-cross")
    of = artifact("rpi5")
    root = next(Path(root) for root in ROOTS if (Path(root) / "lib/ld-linux-aarch64.so.1").exists())
    done = qemu.run(program("aarch64"), [str(of.directory)], "cortex-a72", 60, library_root=root)
    assert done.exit_code == USAGE and done.stderr == "edgewright-run: cpu: this processor lacks asimddp\n"


def test_the_python_runner(inputs: Path, tmp_path: Path) -> None:
    of = copied(artifact(), tmp_path / "copy")
    script = tmp_path / "run.py"
    script.write_text(sources()["run.py"])
    one, out = of.manifest.inputs[0], of.manifest.outputs[0]
    words = [sys.executable, str(script), str(of.directory), "--output", str(tmp_path / "out"), "--threads", "2"]
    given_input = ["--input", f"{one.name}={input_path(of, inputs)}"]
    done = subprocess.run([*words, *given_input], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "out").iterdir()
    assert np.array_equal(np.load(found), expected(of)[out.name])
    assert "is missing" in subprocess.run(words, capture_output=True, text=True, timeout=300).stderr
    weights = bytearray(of.weights.read_bytes())
    weights[0] ^= 1
    of.weights.write_bytes(weights)
    done = subprocess.run([*words, *given_input], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and done.stderr == "error: not as the compiler wrote it: weights.bin\n"
