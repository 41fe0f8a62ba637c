"""Bad input through the command line: one clear error, the right exit code, no traceback, nothing half-written."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgewright.frontend import cli
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = EXAMPLES / "models" / "vit_digits.dynamo18.onnx"
DATA = EXAMPLES / "data" / "digits.npz"
PROTO = onnx.load(MODEL)

Break = Callable[[Path], None]
BAD_MODELS: dict[str, tuple[int, str, str, Break]] = {}


def bad_model(code: str, words: str, exit_code: int = 1) -> Callable[[Break], Break]:
    """Register a function that writes a bad model to the path it is given."""

    def register(function: Break) -> Break:
        BAD_MODELS[function.__name__] = (exit_code, code, words, function)
        return function

    return register


def changed(path: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    proto = copy.deepcopy(PROTO)
    change(proto)
    path.write_bytes(proto.SerializeToString())


def weight(proto: onnx.ModelProto) -> onnx.TensorProto:
    """The largest float weight."""
    floats = [t for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT]
    largest: onnx.TensorProto = max(floats, key=lambda tensor: tensor.ByteSize())
    return largest


def external(proto: onnx.ModelProto, location: str) -> None:
    tensor = weight(proto)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


def replaced(proto: onnx.ModelProto, value: float) -> None:
    tensor = weight(proto)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[7] = value
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


@bad_model("N001", "model file not found", 2)
def absent(path: Path) -> None:
    pass


@bad_model("N001", "it is a folder", 2)
def folder(path: Path) -> None:
    path.mkdir()


@bad_model("N002", "the file is empty")
def empty(path: Path) -> None:
    path.touch()


@bad_model("N002", "a zip archive")
def not_onnx(path: Path) -> None:
    path.write_bytes(DATA.read_bytes())


@bad_model("N002", "truncated")
def truncated(path: Path) -> None:
    path.write_bytes(MODEL.read_bytes()[:-1000])


@bad_model("N002", "not a")
def noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


@bad_model("N007", "weights.bin")
def missing_external_data(path: Path) -> None:
    changed(path, lambda proto: external(proto, "weights.bin"))


@bad_model("N008", "outside")
def external_data_above(path: Path) -> None:
    changed(path, lambda proto: external(proto, "../../../etc/passwd"))


@bad_model("N008", "outside")
def external_data_absolute(path: Path) -> None:
    changed(path, lambda proto: external(proto, "/etc/passwd"))


@bad_model("N008", "outside")
def external_data_by_link(path: Path) -> None:
    (path.parent / "link.bin").symlink_to("/etc/passwd")
    changed(path, lambda proto: external(proto, "link.bin"))


@bad_model("N011", "nowhere")
def undefined_name(path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.node[3].input[0] = "nowhere"

    changed(path, change)


@bad_model("N011", "")
def cyclic(path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.node[0].input[0] = proto.graph.node[5].output[0]

    changed(path, change)


@bad_model("N017", "Hardmax")
def unsupported_operator(path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        old = proto.graph.output[0].name
        proto.graph.node.append(helper.make_node("Hardmax", [old], ["late"], name="the_culprit"))
        proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("late", TensorProto.FLOAT, [1, 10]))

    changed(path, change)


@bad_model("N013", "com.acme")
def custom_domain(path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.node[5].domain = "com.acme"
        proto.opset_import.append(helper.make_opsetid("com.acme", 1))

    changed(path, change)


@bad_model("N006", "bfloat16")
def element_type(path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16

    changed(path, change)


@bad_model("N010", "opset 7")
def old_opset(path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        proto.opset_import[0].version = 7

    changed(path, change)


@bad_model("N012", "--shape")
def open_dimension(path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"

    changed(path, change)


@bad_model("N009", "")
def nan_weight(path: Path) -> None:
    changed(path, lambda proto: replaced(proto, float("nan")))


@bad_model("N009", "")
def infinite_weight(path: Path) -> None:
    changed(path, lambda proto: replaced(proto, float("inf")))


@bad_model("N005", "bytes")
def size_against_bytes(path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        weight(proto).raw_data = b"\0" * 12

    changed(path, change)


@bad_model("N004", "")
def size_against_memory(path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        tensor = weight(proto)
        external(proto, "weights.bin")
        del tensor.dims[:]
        tensor.dims.extend([1 << 24, 1 << 20])

    path.parent.joinpath("weights.bin").write_bytes(b"\0" * 64)
    changed(path, change)


def refused(arguments: list[str], exit_code: int, code: str, words: str, where: Path) -> str:
    """Run a command that has to fail cleanly; gives what it said on stderr."""
    before = sorted(where.rglob("*"))
    result = CliRunner().invoke(cli.app, arguments)
    text = result.stderr
    assert "Traceback" not in text
    assert f"error[{code}]: " in text, text
    assert result.exit_code == exit_code, text
    assert result.stdout == ""
    assert words in text, text
    assert re.search(r"^  (because|help) ", text, flags=re.MULTILINE), "a reason or a way out is missing"
    assert sorted(where.rglob("*")) == before, "something was left behind"
    return text


@pytest.mark.parametrize("command", ["inspect", "compile"])
@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_models(name: str, command: str, tmp_path: Path) -> None:
    exit_code, code, words, write = BAD_MODELS[name]
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "model.onnx"
    write(path)
    more = ["--target", "zcu104", "--calibration", "random", "-o", str(tmp_path / "out")]
    refused([command, str(path), *(more if command == "compile" else [])], exit_code, code, words, tmp_path)


def _images(**arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)  # type: ignore[arg-type]


def _bytes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


GOOD = np.random.default_rng(0).standard_normal((8, 1, 8, 8)).astype(np.float32)
BAD_DATA: dict[str, tuple[int, str, str, Break]] = {
    "absent": (2, "D001", "data file not found", lambda path: None),
    "no npz": (1, "D002", "", _bytes(b"hello")),
    "truncated": (1, "D002", "", _bytes(DATA.read_bytes()[:3000])),
    "pickled": (1, "D003", "", _images(images=np.array([{"a": 1}] * 3, dtype=object))),
    "no array for the input": (1, "D004", "", _images(pictures=GOOD)),
    "shape": (1, "D005", "", _images(images=GOOD[:, :, :5])),
    "dtype": (1, "D005", "", _images(images=GOOD.astype(complex))),
    "not finite": (1, "D006", "", _images(images=np.where(GOOD > 2, np.nan, GOOD))),
    "constant": (1, "D006", "", _images(images=np.zeros_like(GOOD))),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_calibration_data(name: str, tmp_path: Path) -> None:
    exit_code, code, words, write = BAD_DATA[name]
    path = tmp_path / "data.npz"
    write(path)
    arguments = ["compile", str(MODEL), "--target", "zcu104", "--calibration", str(path), "-o", str(tmp_path / "out")]
    refused(arguments, exit_code, code, words, tmp_path)


def test_no_calibration_data_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    arguments = ["compile", str(MODEL), "--target", "zcu104", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 2
    assert "--calibration" in result.stderr
    assert "random" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("target", "code"), [("zcu014", "T001"), ("pynq-z2", "T002")])
def test_targets_that_cannot_be(target: str, code: str, tmp_path: Path) -> None:
    arguments = ["compile", str(MODEL), "--target", target, "--calibration", str(DATA), "-o", str(tmp_path / "out")]
    refused(arguments, 2, code, target, tmp_path)


def test_a_shape_that_does_not_fit(tmp_path: Path) -> None:
    arguments = ["compile", str(MODEL), "--target", "zcu104", "--calibration", "random", "-o", str(tmp_path / "out")]
    refused([*arguments, "--shape", "y=1,1,8,8"], 2, "N016", "y", tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ["compile", str(MODEL), "--target", "zcu104", "--calibration", str(DATA)]
    refused([*arguments, "-o", str(tmp_path / "file" / "out")], 2, "U020", "file/out", tmp_path)


def test_a_folder_of_someone_else_s_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    arguments = ["compile", str(MODEL), "--target", "zcu104", "--calibration", str(DATA), "-o", str(tmp_path)]
    refused(arguments, 2, "U020", "not a bundle", tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "important"


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"schema": 1}'])
def test_simulate_wants_a_bundle(content: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    if content is not None:
        folder.mkdir()
        (folder / "manifest.json").write_text(content)
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(cli.app, ["simulate", str(folder)])
    assert result.exit_code in (1, 2), result.stderr
    assert result.stderr.startswith("error[")
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == before
