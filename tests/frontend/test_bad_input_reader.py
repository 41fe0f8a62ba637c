"""Every bad file and tensor gets one clear error with code, place, reason and help, and nothing else happens."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes import error_texts
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ops import Input
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.bad_models import SMALL, chain, codes, external, product, refusal, saved, set_values, with_tensor
from tests.frontend.onnx_vit import Spelling, vit

# --- files ---------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    error = refusal(tmp_path / "absent.onnx")
    assert (codes(error), error.exit_code) == (["N001"], 2)


def test_folder_and_pipe(tmp_path: Path) -> None:
    assert codes(refusal(tmp_path)) == ["N001"]
    os.mkfifo(tmp_path / "pipe.onnx")
    assert codes(refusal(tmp_path / "pipe.onnx")) == ["N001"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(60), "zip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "lfs"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"<html></html>", "HTML"),
        (bytes(range(256)), "protobuf"),
        (b"\x08\x09", "graph"),
    ],
)
def test_not_onnx(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    error = refusal(path)
    assert (codes(error), error.exit_code) == (["N002"], 1)
    assert word.lower() in error.diagnostics[0].because.lower()


def test_truncated_everywhere(tmp_path: Path) -> None:
    """A model cut anywhere is refused, or the cut part was not needed; never anything but a CompileError."""
    whole = vit(Spelling(), SMALL).SerializeToString()
    path = tmp_path / "model.onnx"
    for end in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:end])
        with pytest.raises(CompileError):
            read_model(path)


@pytest.mark.long
def test_damaged_bytes_never_escape_as_other_errors(tmp_path: Path) -> None:
    wholes = [vit(Spelling(batch="b", scale="shape"), SMALL), vit(Spelling(opset=11, norm="div"), SMALL)]
    texts = [model.SerializeToString() for model in wholes]
    draw, path = random.Random(5), tmp_path / "model.onnx"
    for _ in range(300):
        damaged = bytearray(draw.choice(texts))
        for _ in range(draw.choice((1, 2, 4))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_model(path)
        except CompileError as error:
            assert all(d.code in error_texts.codes() and d.code[0] in "NED" for d in error.diagnostics)


def test_model_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(chain(product()), tmp_path)
    monkeypatch.setattr("edgewright.frontend.onnx_reading.checks_file.memory_budget_bytes", lambda: 100)
    assert codes(refusal(path)) == ["N004"]


# --- tensors -------------------------------------------------------------------------------------------------


def test_external_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16) + np.eye(4, dtype="<f4").tobytes())
    graph = read_model(saved(external(chain(product()), "w.bin", offset=16), tmp_path))
    assert isinstance(graph.inputs[0].op, Input)


def test_external_data_missing(tmp_path: Path) -> None:
    assert codes(refusal(saved(external(chain(product()), "w.bin"), tmp_path))) == ["N007"]
    assert codes(refusal(external(chain(product()), "w.bin"))) == ["N007"]  # a proto has no folder


@pytest.mark.parametrize("location", ["../secret", "sub/../../secret", "/etc/passwd", "C:\\secret", "..\\secret", "a\0b", ""])
def test_external_data_outside_is_refused_before_it_is_opened(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    path = saved(external(chain(product()), location), folder)

    def no_open(*_: object) -> int:
        raise AssertionError("opened")

    monkeypatch.setattr(os, "open", no_open)
    assert codes(refusal(path)) == ["N008"]


def test_external_data_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").symlink_to(tmp_path / "secret")
    (folder / "sub").symlink_to(tmp_path, target_is_directory=True)
    assert codes(refusal(saved(external(chain(product()), "w.bin"), folder))) == ["N008"]
    assert codes(refusal(saved(external(chain(product()), "sub/secret"), folder))) == ["N008"]


def test_link_inside_the_folder_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(np.eye(4, dtype="<f4").tobytes())
    (tmp_path / "w.bin").symlink_to(tmp_path / "real.bin")
    read_model(saved(external(chain(product()), "w.bin"), tmp_path))


@pytest.mark.parametrize(("offset", "length"), [(0, 60), (4, 64), (-4, 64), (1 << 60, 64), (0, 1 << 60)])
def test_external_extent(offset: int, length: int, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(64))
    assert codes(refusal(saved(external(chain(product()), "w.bin", offset, length), tmp_path))) == ["N005"]


def test_external_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.bin")
    assert codes(refusal(saved(external(chain(product()), "w.bin"), tmp_path))) == ["N005"]


def _set_dims(*dims: int) -> Callable[[onnx.TensorProto], object]:
    def change(tensor: onnx.TensorProto) -> None:
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_set_dims(5, 4), "N005"),
        (_set_dims(4), "N005"),
        (_set_dims(-4, -4), "N005"),
        (_set_dims(1 << 40, 1 << 40), "N005"),
        (set_values(np.nan), "N009"),
        (set_values(np.inf), "N009"),
        (set_values(-np.inf), "N009"),
        (lambda t: setattr(t, "data_type", TensorProto.STRING), "N006"),
        (lambda t: setattr(t, "data_type", TensorProto.FLOAT8E5M2), "N006"),
        (lambda t: setattr(t, "data_type", 99), "N006"),
    ],
)
def test_tensors(change: Callable[[onnx.TensorProto], object], code: str) -> None:
    assert codes(refusal(with_tensor(change))) == [code]


def test_huge_declared_external_tensor_is_refused_before_allocation(tmp_path: Path) -> None:
    model = external(with_tensor(_set_dims(1 << 20, 1 << 20)), "w.bin", length=1 << 42)
    (tmp_path / "w.bin").write_bytes(b"")
    os.truncate(tmp_path / "w.bin", 1 << 42)  # sparse: the size is real, the bytes are not
    assert codes(refusal(saved(model, tmp_path))) == ["N004"]


@pytest.mark.parametrize("op_type", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_constants_that_grow_are_not_computed(op_type: str) -> None:
    """A few bytes that ask for terabytes."""
    huge = numpy_helper.from_array(np.asarray([1 << 20, 1 << 20], np.int64), "huge")
    ones = numpy_helper.from_array(np.ones((1, 1), np.float32), "ones")
    one = numpy_helper.from_array(np.asarray(1, np.int64), "one")
    top = numpy_helper.from_array(np.asarray(1 << 42, np.int64), "top")
    inputs = {"ConstantOfShape": ["huge"], "Range": ["one", "top", "one"]}.get(op_type, ["ones", "huge"])
    nodes = [helper.make_node(op_type, inputs, ["c"], name="grow")]
    nodes.append(helper.make_node("Cast", ["c"], ["d"], to=1))
    nodes.append(helper.make_node("Add", ["x", "d"], ["y"]))
    model = chain(*nodes)
    model.graph.initializer.extend([huge, ones, one, top])
    assert "grow" in str(refusal(model))
