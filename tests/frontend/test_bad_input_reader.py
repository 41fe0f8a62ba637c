"""Every bad model gets one clear error with code, place, reason and help, and nothing else happens."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_codes import CODES
from edgewright.frontend.onnx_reader import read_model
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ops import Input
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.onnx_vit import Sizes, Spelling, vit

SMALL = Sizes(image=4, width=4, heads=2, hidden=4)


def refusal(source: onnx.ModelProto | Path, shapes: dict[str, tuple[int, ...]] | None = None) -> CompileError:
    """The error; each diagnostic is complete and its code is documented."""
    with pytest.raises(CompileError) as caught:
        read_model(source, shapes)
    for diagnostic in caught.value.diagnostics:
        assert diagnostic.message and diagnostic.at and diagnostic.because and diagnostic.help, diagnostic
        assert diagnostic.code in CODES
    return caught.value


def codes(error: CompileError) -> list[str]:
    return [diagnostic.code for diagnostic in error.diagnostics]


def chain(*nodes: onnx.NodeProto, opset: int = 17, shape: tuple[int | str, ...] = (1, 4)) -> onnx.ModelProto:
    """A model from x to y with one weight w (4, 4)."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def product(name: str = "product") -> onnx.NodeProto:
    return helper.make_node("MatMul", ["x", "w"], ["y"], name=name)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def external(model: onnx.ModelProto, location: str, offset: int = 0, length: int = 64) -> onnx.ModelProto:
    """The weight's bytes in another file."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return model


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
            assert all(d.code in CODES for d in error.diagnostics)


def test_model_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(chain(product()), tmp_path)
    monkeypatch.setattr("edgewright.frontend.onnx_checks_file.memory_budget_bytes", lambda: 100)
    assert codes(refusal(path)) == ["N004"]


# --- tensors -------------------------------------------------------------------------------------------------


def test_external_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16) + np.eye(4, dtype="<f4").tobytes())
    graph = read_model(saved(external(chain(product()), "w.bin", offset=16), tmp_path))
    assert isinstance(graph.inputs[0].op, Input)


def test_external_data_missing(tmp_path: Path) -> None:
    assert codes(refusal(saved(external(chain(product()), "w.bin"), tmp_path))) == ["N007"]
    assert codes(refusal(external(chain(product()), "w.bin"))) == ["N007"]  # a proto has no folder


@pytest.mark.parametrize(
    "location", ["../secret", "sub/../../secret", "/etc/passwd", "C:\\secret", "..\\secret", "a\0b", ""]
)
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


def _with_tensor(change: Callable[[onnx.TensorProto], object]) -> onnx.ModelProto:
    model = chain(product())
    change(model.graph.initializer[0])
    return model


def _set_dims(*dims: int) -> Callable[[onnx.TensorProto], object]:
    def change(tensor: onnx.TensorProto) -> None:
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return change


def _set_values(value: float) -> Callable[[onnx.TensorProto], object]:
    def change(tensor: onnx.TensorProto) -> None:
        array = np.eye(4, dtype=np.float32)
        array[1, 2] = value
        tensor.raw_data = array.tobytes()

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_set_dims(5, 4), "N005"),
        (_set_dims(4), "N005"),
        (_set_dims(-4, -4), "N005"),
        (_set_dims(1 << 40, 1 << 40), "N005"),
        (_set_values(np.nan), "N009"),
        (_set_values(np.inf), "N009"),
        (_set_values(-np.inf), "N009"),
        (lambda t: setattr(t, "data_type", TensorProto.STRING), "N006"),
        (lambda t: setattr(t, "data_type", TensorProto.BFLOAT16), "N006"),
        (lambda t: setattr(t, "data_type", 99), "N006"),
    ],
)
def test_tensors(change: Callable[[onnx.TensorProto], object], code: str) -> None:
    assert codes(refusal(_with_tensor(change))) == [code]


def test_huge_declared_external_tensor_is_refused_before_allocation(tmp_path: Path) -> None:
    model = external(_with_tensor(_set_dims(1 << 20, 1 << 20)), "w.bin", length=1 << 42)
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


# --- graphs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opset", "ok"), [(1, False), (10, False), (11, True), (23, True), (24, False), (999, False)])
def test_opsets(opset: int, ok: bool) -> None:
    model = chain(product(), opset=opset)
    if ok:
        read_model(model)
    else:
        assert codes(refusal(model)) == ["N010"]


def test_no_opset() -> None:
    model = chain(product())
    del model.opset_import[:]
    assert codes(refusal(model)) == ["N010"]


def test_cycle_names_its_nodes() -> None:
    a = helper.make_node("Add", ["x", "c"], ["a"], name="first")
    b = helper.make_node("Relu", ["a"], ["b"], name="second")
    c = helper.make_node("Relu", ["b"], ["c"], name="third")
    error = refusal(chain(a, b, c, helper.make_node("Relu", ["a"], ["y"], name="last")))
    assert codes(error) == ["N011"]
    assert all(name in error.diagnostics[0].at for name in ("first", "second", "third"))
    assert "last" not in error.diagnostics[0].at


def test_order_is_repaired() -> None:
    late = helper.make_node("MatMul", ["x", "w"], ["h"])
    graph = read_model(chain(helper.make_node("Relu", ["h"], ["y"]), late))
    assert [node.op.kind for node in graph.nodes()][-2:] == ["Linear", "Relu"]


@pytest.mark.parametrize(
    "nodes",
    [
        [product(), product()],
        [helper.make_node("MatMul", ["x", "nothing"], ["y"])],
        [helper.make_node("MatMul", ["x", "w"], ["z"])],
        [helper.make_node("MatMul", ["x", "w"], ["w"]), helper.make_node("Relu", ["x"], ["y"])],
        [helper.make_node("MatMul", ["x"], ["y"])],
        [helper.make_node("Relu", ["x"], ["y"], surprise=1)],
        [helper.make_node("Concat", ["x", "x"], ["y"])],  # axis is required
        [helper.make_node("Relu", ["x"], [])],
    ],
)
def test_invalid_graphs(nodes: list[onnx.NodeProto]) -> None:
    assert "N011" in codes(refusal(chain(*nodes)))


def test_no_outputs_and_no_inputs() -> None:
    model = chain(product())
    del model.graph.output[:]
    assert "N011" in codes(refusal(model))
    model = chain(helper.make_node("MatMul", ["w", "w"], ["y"]))
    del model.graph.input[:]
    assert "N011" in codes(refusal(model))


def test_duplicate_weights() -> None:
    model = chain(product())
    model.graph.initializer.append(model.graph.initializer[0])
    assert codes(refusal(model)) == ["N011"]


def test_weights_listed_as_inputs_are_weights() -> None:
    """As exporters of IR version 3 wrote them."""
    model = chain(product())
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 4]))
    assert len(read_model(model).inputs) == 1


def test_subgraphs_custom_domains_and_unknown_operators_are_all_listed() -> None:
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, None)])
    nodes = [
        helper.make_node("If", ["x"], ["a"], name="branch", then_branch=body, else_branch=body),
        helper.make_node("FusedMatMul", ["a", "w"], ["b"], name="fused", domain="com.microsoft"),
        helper.make_node("Gelu", ["b"], ["c"], name="early"),  # opset 20
        helper.make_node("Sin", ["c"], ["y"], name="wave"),
    ]
    error = refusal(chain(*nodes))
    assert sorted(codes(error)) == ["N013", "N014", "N015", "N017"]
    assert all(name in str(error) for name in ("branch", "fused", "early", "wave"))


def test_every_unsupported_operator_is_listed_with_names() -> None:
    nodes = [
        helper.make_node("TopK", ["x", "k"], ["a", "i"], name="top"),
        helper.make_node("Sin", ["a"], ["b"], name="wave"),
        helper.make_node("Softplus", ["b"], ["c"], name="soft"),
        helper.make_node("Slice", ["c", "s", "e", "ax", "st"], ["d"], name="backwards"),
        helper.make_node("Slice", ["x", "s", "e", "ax", "st"], ["f"], name="also_backwards"),
        helper.make_node("Add", ["d", "f"], ["y"]),
    ]
    model = chain(*nodes)
    for name, value in (("k", [2]), ("s", [3]), ("e", [0]), ("ax", [1]), ("st", [-1])):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.int64), name))
    error = refusal(model)
    assert codes(error) == ["N017", "N017", "N017", "N018"]
    assert all(name in str(error) for name in ("top", "wave", "soft", "also_backwards"))


def test_structure_and_tensors_are_reported_together() -> None:
    model = _with_tensor(_set_values(np.nan))
    model.opset_import[0].version = 99
    assert codes(refusal(model)) == ["N010", "N009"]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING, 77])
def test_input_types(kind: int) -> None:
    model = chain(product())
    model.graph.input[0].type.tensor_type.elem_type = kind
    assert "N006" in codes(refusal(model))


def test_contradicting_shapes() -> None:
    error = refusal(chain(product(), shape=(1, 5)))
    assert codes(error) == ["N018"] and "product" in str(error)


# --- shapes --------------------------------------------------------------------------------------------------


def test_open_dimension_names_the_option() -> None:
    error = refusal(chain(product(), shape=("batch", "tokens", 4)))
    assert codes(error) == ["N012"]
    assert "--shape x=1,N,4" in error.diagnostics[0].help and "tokens" in error.diagnostics[0].message
    graph = read_model(chain(product(), shape=("batch", "tokens", 4)), {"x": (1, 6, 4)})
    assert graph.outputs[0].shape == (1, 6, 4)


def test_input_without_shape() -> None:
    model = chain(product())
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert codes(refusal(model)) == ["N012"]
    assert read_model(model, {"x": (1, 4)}).outputs[0].shape == (1, 4)


@pytest.mark.parametrize("shapes", [{"z": (1, 4)}, {"x": (1, 5)}, {"x": (1, 2, 4)}, {"x": (0, 4)}, {"x": (-1, 4)}])
def test_shapes_against_the_model(shapes: dict[str, tuple[int, ...]]) -> None:
    error = refusal(chain(product()), shapes)
    assert (codes(error), error.exit_code) == (["N016"], 2)


# --- functions and names -------------------------------------------------------------------------------------


def test_functions_of_the_model_are_expanded() -> None:
    function = helper.make_function(
        "local", "twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = chain(helper.make_node("twice", ["x"], ["y"], domain="local"))
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    assert [node.op.kind for node in read_model(model).nodes()] == ["Input", "Add"]


@pytest.mark.parametrize("depth", [1, 30])
def test_functions_that_explode_or_recur(depth: int) -> None:
    model = chain(helper.make_node("f0", ["x"], ["y"], domain="local"))
    model.opset_import.append(helper.make_opsetid("local", 1))
    for i in range(depth):
        inner = f"f{(i + 1) % depth}" if depth == 1 or i < depth - 1 else "Relu"
        domain = "" if inner == "Relu" else "local"
        body = [
            helper.make_node(inner, ["a"], ["c"], domain=domain),
            helper.make_node(inner, ["c"], ["b"], domain=domain),
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        model.functions.append(helper.make_function("local", f"f{i}", ["a"], ["b"], body, imports))
    assert codes(refusal(model)) == ["N011"]


HOSTILE = [
    '"; rm -rf / #',
    "</script><script>",
    "../../../etc",
    "a\nb\r\0c",
    "módulo",
    "`$(id)`",
    "%s%n{0}",
    "endmodule",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_pass_as_data(name: str) -> None:
    """They stay in `origin` for reports, and break nothing."""
    model = vit(Spelling(), SMALL)
    for node in model.graph.node:
        node.name = name + node.name
        for names in (node.input, node.output):
            renamed = [n and (n if n in ("x", "logits") else name + n) for n in names]
            del names[:]
            names.extend(renamed)
    for tensor in model.graph.initializer:
        tensor.name = name + tensor.name
    model.graph.name = name
    graph = read_model(model)
    assert graph.name == name
    assert any(origin.startswith(name) for node in graph.nodes() for origin in node.origin)
