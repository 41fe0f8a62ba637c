"""CPU artifacts: what is refused and how it is said, the same bytes from every build, constants that live once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import INT8, Array, Quant
from edgewright.passes.ops import Add, Linear, Neg, Quantise, Relu, constant, graph_input
from edgewright.passes.pipeline import optimise, quantise

pytest.importorskip("tvm")

from edgewright.targets.cpu import artifact as artifact_module
from edgewright.targets.cpu.artifact import Artifact, identifier
from edgewright.targets.cpu.build import build
from edgewright.targets.cpu.lower import lower
from edgewright.targets.cpu.package import package
from edgewright.targets.cpu.runner_files import program
from edgewright.targets.cpu.runtime import checked_inputs, real
from edgewright.targets.cpu.variants import variant

from tests.mixed_models import samples, text_network
from tests.models import tiny_vit
from tests.targets.cpu.lowered import HOST, Draw

pytestmark = pytest.mark.tvm


def small_graph(whole: bool) -> Graph:
    """Text with ids and a mask if `whole` (integers), else one product."""
    if whole:
        graph = optimise(text_network())[0]
        return quantise(graph, samples(graph, 4)).graph
    d = Draw()
    x = graph_input("x", (1, 3, 5))
    y = d(Relu(), d(Linear(), x, d.real(4, 5), d.real(4)))
    return Graph("small", (x,), (y,), ("y",))


def written(graph: Graph, folder: Path, which: str = HOST.name) -> Artifact:
    files, *_ = package(graph, variant(which), model="test", target="host", version="0")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return Artifact.open(folder)


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return written(small_graph(True), tmp_path_factory.mktemp("integers"))


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return written(small_graph(False), tmp_path_factory.mktemp("floats"))


@pytest.fixture
def copy(integers: Artifact, tmp_path: Path) -> Path:
    return Path(shutil.copytree(integers.directory, tmp_path / "copy"))


EXITS = {"U022": Exit.USAGE, "U023": Exit.MODEL, "T021": Exit.USAGE, "D008": Exit.MODEL}


def refused(act: Callable[[], object], code: str) -> list[Diagnostic]:
    """What `act` is refused with: complete messages of one line, all of this code."""
    with pytest.raises(CompileError) as caught:
        act()
    assert caught.value.exit_code == EXITS[code]
    found = list(caught.value.diagnostics)
    assert found and {one.code for one in found} == {code}
    for one in found:
        assert one.message and one.because and one.help
        assert "\n" not in one.message + one.because + one.help
    return found


# A folder that is not what the compiler wrote


@pytest.mark.parametrize("name", ["model.so", "weights.bin", "model.txt", "runner/edgewright-run"])
def test_a_changed_cut_off_or_missing_file_is_named(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    for broken in (content[:-1], content + b"\0", bytes([content[0] ^ 1]) + content[1:], b""):
        (copy / name).write_bytes(broken)
        (one,) = refused(lambda: Artifact.open(copy), "U023")
        assert (one.at, one.because) == (name, "its hash differs from the manifest's")
        assert one.help.startswith("compile the model again")
    (copy / name).unlink()
    (one,) = refused(lambda: Artifact.open(copy), "U023")
    assert (one.at, one.because) == (name, "it is missing")


def test_all_changed_files_are_named_at_once(copy: Path) -> None:
    (copy / "model.so").unlink()
    (copy / "weights.bin").write_bytes(b"")
    found = refused(lambda: Artifact.open(copy), "U023")
    assert {(one.at, one.because) for one in found} == {
        ("model.so", "it is missing"),
        ("weights.bin", "its hash differs from the manifest's"),
    }


def changed_manifest(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **fields}))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"format": 99}, "format 99"),
        ({"kind": "fpga"}, "kind 'fpga'"),
        ({"variant": "mmx"}, "no kernels called 'mmx'"),
        ({"inputs": 3}, "inputs"),
        ({"extra": 1}, "extra"),
        ({"workspace_bytes": "many"}, "workspace_bytes"),
        ({"files": {}}, "model.so"),
        ({"entry": "main"}, "entry function 'main'"),
    ],
)
def test_a_manifest_of_another_kind(copy: Path, fields: dict[str, object], reason: str) -> None:
    changed_manifest(copy, **fields)
    (one,) = refused(lambda: Artifact.open(copy), "U022")
    assert one.because.startswith("manifest.json: ") and reason in one.because
    assert one.at == str(copy) and "compile" in one.help


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m | {"workspace_bytes": m["workspace_bytes"] + 64},
        lambda m: m | {"weights_bytes": 0},
        lambda m: m | {"steps": m["steps"][:-1]},
        lambda m: m | {"features": ["sse2"]},
        lambda m: m | {"inputs": [m["inputs"][0] | {"range": None}, *m["inputs"][1:]]},
        lambda m: m | {"inputs": m["inputs"][::-1]},
        lambda m: m | {"outputs": [m["outputs"][0] | {"dtype": "int32"}]},
        lambda m: m | {"outputs": [m["outputs"][0] | {"shape": [1 << 40, 1 << 40]}]},
        lambda m: m | {"outputs": [m["outputs"][0] | {"name": "other"}]},
    ],
)
def test_a_manifest_that_describes_another_model(copy: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    changed_manifest(copy, **change(json.loads((copy / "manifest.json").read_text())))
    (one,) = refused(lambda: Artifact.open(copy), "U023")
    assert (one.at, one.because) == ("manifest.json", "it describes another model than model.txt")


def test_an_older_format(copy: Path) -> None:
    text = (copy / "model.txt").read_bytes().replace(b"edgewright-model 2", b"edgewright-model 1")
    (copy / "model.txt").write_bytes(text)
    manifest = json.loads((copy / "manifest.json").read_text())
    changed_manifest(copy, files=manifest["files"] | {"model.txt": hashlib.sha256(text).hexdigest()})
    (one,) = refused(lambda: Artifact.open(copy), "U022")
    assert one.because == "model.txt has format 1, this version reads 2" and one.help == "compile the model again"


def test_names_that_are_no_paths(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    changed_manifest(copy, files=manifest["files"] | {"a\0b": "0"})
    refused(lambda: Artifact.open(copy), "U022")


def test_a_folder_without_a_manifest_and_a_cut_off_one(copy: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        (one,) = refused(lambda folder=folder: Artifact.open(folder), "U022")  # type: ignore[misc]
        assert "No such file" in one.because
    text = (copy / "manifest.json").read_bytes()
    for broken in (text[: len(text) // 2], b"", b"[]", b"\xff\xfe", b'{"options": {"a": ' + b"[" * 100_000):
        (copy / "manifest.json").write_bytes(broken)
        refused(lambda: Artifact.open(copy), "U022")


# Another machine


def test_another_architecture(integers: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_module, "host_arch", lambda: "riscv64")
    (one,) = refused(integers.runner, "T021")
    assert HOST.arch in one.message and "riscv64" in one.message
    assert "--target host" in one.because and "--device qemu" in one.help


def test_missing_features(integers: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    if not HOST.features:
        pytest.skip("this machine's variant needs no features")  # an old x86
    lacking = HOST.features[-1]
    monkeypatch.setattr(artifact_module, "host_features", lambda: frozenset(HOST.features) - {lacking})
    (one,) = refused(integers.runner, "T021")
    assert one.message == f"this processor lacks {lacking}"
    assert HOST.name in one.because and "--target host" in one.help


# Inputs


def ids(**changes: Array) -> dict[str, Array]:
    given = {"ids": np.full((1, 9), 3), "mask": np.ones((1, 9), np.int64)}
    return {**given, **changes}


def reasons(artifact: Artifact, inputs: Mapping[str, Array]) -> dict[str, str]:
    """Reason and help by input."""
    found = refused(lambda: checked_inputs(artifact, inputs), "D008")
    return {one.at: f"{one.because}; {one.help}" for one in found}


def test_inputs_by_name(integers: Artifact) -> None:
    found = reasons(integers, {"ids": ids()["ids"], "words": np.zeros(3)})
    assert found == {
        "words": "the model has no such input; its inputs are ids, mask",
        "mask": "it is missing; give an array of shape (1, 9) and type int64",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((9,), np.int64), "its shape is (9,); the model takes (1, 9)"),
        (np.zeros((2, 9), np.int64), "its shape is (2, 9); the model takes (1, 9)"),
        (np.zeros((1, 9), np.float32), "its type is float32; the model takes int64"),
        (np.zeros((1, 9), np.str_), "its type is <U1; the model takes int64"),
        (np.zeros((1, 9), np.complex64), "its type is complex64; the model takes int64"),
        (np.full((1, 9), 29), "its values go from 29 to 29; the model takes 0 to 28"),
        (np.full((1, 9), -1), "its values go from -1 to -1; the model takes 0 to 28"),
        (np.full((1, 9), np.iinfo(np.uint64).max, np.uint64), f"to {2**64 - 1}; the model takes 0 to 28"),
    ],
)
def test_ids_that_do_not_fit(integers: Artifact, value: Array, text: str) -> None:
    assert text in reasons(integers, ids(ids=value))["ids"]


def test_a_mask_is_0_or_1(integers: Artifact) -> None:
    assert "the model takes 0 to 1" in reasons(integers, ids(mask=np.full((1, 9), 2)))["mask"]
    narrow = checked_inputs(integers, ids(mask=np.ones((1, 9), np.uint8), ids=np.full((1, 9), 28, np.int16)))
    assert [one.dtype for one in narrow.values()] == [np.int64, np.int64]
    assert checked_inputs(integers, ids(mask=np.ones((1, 9), bool)))["mask"].sum() == 9


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("ids", 29, "holds 29, the model takes 0 to 28"), ("ids", -1, "holds -1"), ("ids", 2**62, "holds"), ("mask", 2, "0 to 1")],
)
def test_the_native_runner_looks_at_ids_too(integers: Artifact, tmp_path: Path, name: str, value: int, text: str) -> None:
    """Compiled code indexes without looking."""
    words = [str(program(HOST.arch)), str(integers.directory)]
    for one in integers.manifest.inputs:
        array = ids()[one.name].astype(np.int64)
        array[0, 4] = value if one.name == name else array[0, 4]
        np.save(tmp_path / f"{one.name}.npy", array)
        words += ["--input", f"{identifier(one)}={tmp_path / one.name}.npy"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith(f"edgewright-run: input: input 'tensor_{name}' holds ")
    assert text in done.stderr and done.stderr.count("\n") == 1


def test_floats(floats: Artifact) -> None:
    shape = (1, 3, 5)
    assert "its type is int64" in reasons(floats, {"x": np.zeros(shape, np.int64)})["x"]
    assert "its type is object" in reasons(floats, {"x": np.zeros(shape, object)})["x"]
    given = np.asfortranarray(np.ones(shape))  # float64 and of another layout is welcome
    found = checked_inputs(floats, {"x": given})["x"]
    assert found.dtype == np.float32 and found.flags.c_contiguous
    strange = np.full(shape, np.nan, np.float32)
    assert np.isnan(checked_inputs(floats, {"x": strange})["x"]).all()  # a float model computes with it


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_integer_model_takes_numbers_only(tmp_path: Path, value: float) -> None:
    x = graph_input("x", (1, 4))
    w, b = constant(np.ones((2, 4), np.int8)), constant(np.zeros(2, np.int32))
    y = make(Linear(), make(Quantise(0.1), x), w, b)
    artifact = written(Graph("q", (x,), (y,), ("y",)), tmp_path)
    given = np.zeros((1, 4), np.float32)
    given[0, 2] = value
    assert "nan or infinity" in reasons(artifact, {"x": given})["x"]


# Runs


def test_runs_give_the_interpreters_bits(integers: Artifact, floats: Artifact) -> None:
    graph = small_graph(True)
    runner = integers.runner(2)
    for seed in (1, 2):
        x = samples(graph, 1, seed)
        wanted, found = interpret(graph, x), runner(x)
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    (output,), (node,) = integers.manifest.outputs, graph.outputs
    assert node.quant is not None
    assert np.array_equal(real(output, found["states"]), node.quant.real(wanted["states"]).astype(np.float32))
    x = {"x": np.random.default_rng(0).standard_normal((1, 3, 5)).astype(np.float32)}
    got = floats.runner()(x)["y"]
    assert np.allclose(got, interpret(small_graph(False), x)["y"], atol=1e-5)
    assert real(floats.manifest.outputs[0], got) is got


def test_a_second_model_in_the_same_folder_is_the_one_that_runs(tmp_path: Path) -> None:
    """Also while the first is loaded: the loader knows libraries by their path."""
    x = {"x": np.random.default_rng(0).standard_normal((1, 3, 5)).astype(np.float32)}
    folder = tmp_path / "model"
    runners = []
    for op in (Relu(), Neg(), Relu()):
        node = graph_input("x", (1, 3, 5))
        y = make(op, node)
        shutil.rmtree(folder, ignore_errors=True)
        runners.append(written(Graph("one", (node,), (y,), ("y",)), folder).runner())
        assert np.array_equal(runners[-1](x)["y"], np.maximum(x["x"], 0) if isinstance(op, Relu) else -x["x"])
    assert np.array_equal(runners[0](x)["y"], np.maximum(x["x"], 0)) and np.array_equal(runners[1](x)["y"], -x["x"])


def test_integers_without_a_meaning_stay_as_they_are(tmp_path: Path) -> None:
    x = graph_input("x", (2, 3), INT8)
    per_axis = make(Relu(), x, quant=Quant((0.1, 0.2, 0.3)))
    artifact = written(Graph("q", (x,), (per_axis, make(Relu(), x, quant=Quant(0.5, 4))), ("a", "b")), tmp_path)
    given = np.arange(6, dtype=np.int8).reshape(2, 3)
    found = artifact.runner()({"x": given})
    a, b = (real(one, found[one.name]) for one in artifact.manifest.outputs)
    assert np.array_equal(a, given) and a.dtype == np.int8
    assert np.array_equal(b, (given - 4.0) * 0.5)


# Bytes

DIGESTS = """
import hashlib
from edgewright.targets.cpu.package import package
from edgewright.targets.cpu.variants import variant
from tests.targets.cpu.test_artifact import small_graph
for which in ("{host}", "neon"):
    files, *_ = package(small_graph(True), variant(which), model="m", target="t", version="0")
    for name, content in sorted(files.items()):
        print(which, name, hashlib.sha256(content).hexdigest())
"""


def test_two_builds_have_the_same_bytes() -> None:
    """In a process that hashes strings differently, and in this one after other builds."""
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-c", DIGESTS.format(host=HOST.name)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300, check=True)
    here = []
    for which in (HOST.name, "neon"):
        files, *_ = package(small_graph(True), variant(which), model="m", target="t", version="0")
        here += [f"{which} {name} {hashlib.sha256(content).hexdigest()}" for name, content in sorted(files.items())]
    assert done.stdout.splitlines() == here
    assert any(line.startswith("neon model.so ") for line in here)


def test_equal_constants_are_stored_once() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((7, 5)), rng.standard_normal(7)
    x = graph_input("x", (1, 5))

    def graph(same: bool) -> Graph:
        parts = [
            make(Linear(), x, constant(weight if same else weight + i), constant(bias if same else bias + i)) for i in range(4)
        ]
        y = make(Add(), make(Add(), parts[0], parts[1]), make(Add(), parts[2], parts[3]))
        return Graph("shared", (x,), (y,), ("y",))

    once, four = build(lower(graph(True), HOST)), build(lower(graph(False), HOST))
    assert len(four.weights) == 4 * len(once.weights)


def test_constants_that_differ_in_their_last_element_are_two(tmp_path: Path) -> None:
    x = graph_input("x", (3, 40))
    values = np.zeros((2, 40), np.float32)
    values[1, -1] = 7
    y = tuple(make(Add(), x, constant(value)) for value in values)
    artifact = written(Graph("two", (x,), y, ("a", "b")), tmp_path)
    found = artifact.runner()({"x": np.zeros((3, 40), np.float32)})
    assert np.array_equal(found["b"] - found["a"], np.broadcast_to(values[1], (3, 40)))


def test_equal_steps_share_one_function() -> None:
    two, six = (build(lower(optimise(tiny_vit(blocks=n))[0], HOST)) for n in (2, 6))
    assert len(six.steps) > 2 * len(two.steps)
    assert six.functions == two.functions
    assert len(six.library) < 1.3 * len(two.library)
