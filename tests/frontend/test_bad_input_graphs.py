"""Every bad graph gets clear errors, all at once; hostile names are data."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.bad_models import SMALL, chain, codes, product, refusal, set_values, with_tensor
from tests.frontend.onnx_vit import Spelling, vit

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
        helper.make_node("Sinh", ["c"], ["y"], name="wave"),
    ]
    error = refusal(chain(*nodes))
    assert sorted(codes(error)) == ["N013", "N014", "N015", "N017"]
    assert all(name in str(error) for name in ("branch", "fused", "early", "wave"))


def test_every_unsupported_operator_is_listed_with_names() -> None:
    nodes = [
        helper.make_node("TopK", ["x", "k"], ["a", "i"], name="top"),
        helper.make_node("Sinh", ["a"], ["b"], name="wave"),
        helper.make_node("Hardmax", ["b"], ["c"], name="soft"),
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
    model = with_tensor(set_values(np.nan))
    model.opset_import[0].version = 99
    assert codes(refusal(model)) == ["N010", "N009"]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT16, TensorProto.STRING, 77])
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


def test_types_that_the_reference_implementation_refuses() -> None:
    """A float minus an integer mask: no operator of ONNX, found where masks are followed."""
    model = chain(helper.make_node("Sub", ["w", "m"], ["k"]), helper.make_node("Add", ["x", "k"], ["y"]))
    model.graph.input.append(helper.make_tensor_value_info("m", TensorProto.INT64, (1, 1)))
    assert codes(refusal(model)) == ["N018"]


@pytest.mark.parametrize("to", [None, TensorProto.STRING, TensorProto.COMPLEX64])
def test_constants_that_are_no_numbers(to: int | None) -> None:
    text = helper.make_node("Constant", [], ["t"], value_string="text")
    number = helper.make_node("Constant", [], ["t"], value_float=1.0)
    cast = helper.make_node("Cast", ["t"], ["c"], to=to or TensorProto.FLOAT)
    model = chain(text if to is None else number, cast, helper.make_node("Add", ["x", "c"], ["y"]))
    assert codes(refusal(model))[0] in ("N006", "N011", "N018", "N017")


def test_an_output_without_a_shape_that_is_the_input() -> None:
    model = chain(product())
    model.graph.output.append(onnx.ValueInfoProto(name="x"))
    graph = read_model(model)
    assert graph.outputs[1] is graph.inputs[0] and graph.inputs[0].shape == (1, 4)


@pytest.mark.parametrize("name", ["a\0b", "n" * 70_000])
def test_names_that_no_data_file_can_hold(name: str) -> None:
    model = chain(product())
    model.graph.output[0].name = model.graph.node[0].output[0] = name
    assert codes(refusal(model)) == ["N023"]
    model = chain(helper.make_node("MatMul", [name, "w"], ["y"]))
    model.graph.input[0].name = name
    assert codes(refusal(model)) == ["N023"]
