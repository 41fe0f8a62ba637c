"""Mixtures of experts in every spelling become MoE, and agree with onnxruntime; what is none is refused by code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import interface_names, write_float
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir import Array, Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import MoE, value_of
from onnx import TensorProto, helper, numpy_helper

from tests.moe_models import moe_network

TOKENS, WIDTH, HIDDEN, EXPERTS = 7, 6, 10, 4


def mixtures(graph: Graph) -> list[MoE]:
    return [node.op for node in graph.nodes() if isinstance(node.op, MoE)]


def agrees(model: onnx.ModelProto | Path, graph: Graph, seed: int = 0) -> None:
    """The graph's outputs are onnxruntime's, on a few inputs."""
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    for _ in range(3):
        feeds = {i.name: rng.normal(size=i.shape).astype(np.float32) for i in session.get_inputs()}
        given = dict(zip((node.name for node in graph.inputs), feeds.values(), strict=True))
        results = interpret(graph, given)
        for name, wanted in zip(results, session.run(None, feeds), strict=True):
            np.testing.assert_allclose(results[name], wanted, rtol=1e-4, atol=1e-5)


def weights(seed: int = 0, experts: int = EXPERTS) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    shapes = {
        "router": (WIDTH, EXPERTS),
        "w1": (experts, HIDDEN, WIDTH),
        "b1": (experts, HIDDEN),
        "w2": (experts, WIDTH, HIDDEN),
        "b2": (experts, WIDTH),
    }
    return {name: (rng.normal(size=shape) / 2).astype(np.float32) for name, shape in shapes.items()}


def model_of(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, Array], opset: int = 18, shape: Sequence[int] = (1, TOKENS, WIDTH)
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y"))
    graph = helper.make_graph(list(nodes), "experts", [x], [y], initializer=tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def node(op_type: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), output.split(), name=output.split()[0], **attributes)  # type: ignore[arg-type]


def masked(top_k: int = 2, experts: int = EXPERTS, activation: str = "Relu") -> onnx.ModelProto:
    """Every expert computed and masked by a scatter of the gates, as exporters leave a loop over experts."""
    w = weights(experts=experts)
    constants: dict[str, Array] = {"router": w["router"], "k": np.array([top_k]), "flat": np.array([-1, WIDTH])}
    constants |= {"shape": np.array([1, TOKENS, WIDTH]), "zeros": np.zeros((TOKENS, EXPERTS), np.float32)}
    constants |= {"none": np.zeros((TOKENS, WIDTH), np.float32), "last": np.array([1])}
    nodes = [
        node("Reshape", "x flat", "rows"),
        node("MatMul", "rows router", "logits"),
        node("Softmax", "logits", "p", axis=-1),
        node("TopK", "p k", "gates chosen"),
        node("ScatterElements", "zeros chosen gates", "mask", axis=-1),
    ]
    total = "none"
    for e in range(experts):
        constants |= {f"w1_{e}": w["w1"][e], f"b1_{e}": w["b1"][e], f"w2_{e}": w["w2"][e], f"b2_{e}": w["b2"][e]}
        constants |= {f"from_{e}": np.array([e]), f"to_{e}": np.array([e + 1])}
        nodes += [
            node("Gemm", f"rows w1_{e} b1_{e}", f"in_{e}", transB=1),
            node(activation, f"in_{e}", f"act_{e}"),
            node("Gemm", f"act_{e} w2_{e} b2_{e}", f"out_{e}", transB=1),
            node("Slice", f"mask from_{e} to_{e} last", f"gate_{e}"),
            node("Mul", f"gate_{e} out_{e}", f"term_{e}"),
            node("Add", f"{total} term_{e}", f"sum_{e}"),
        ]
        total = f"sum_{e}"
    return model_of([*nodes, node("Reshape", f"{total} shape", "y")], constants)


def runtime(new_layout: bool = True, biases: bool = True, experts: int = EXPERTS, **attributes: object) -> onnx.ModelProto:
    """A com.microsoft::MoE behind its router."""
    w = weights(experts=experts)
    settings = {"k": 2, "activation_type": "gelu"} | attributes
    constants = {"router": w["router"], "flat": np.array([-1, WIDTH])}
    constants |= {n: w[n] if new_layout else w[n].transpose(0, 2, 1) for n in ("w1", "w2")}
    constants |= {n: w[n] for n in ("b1", "b2")} if biases else {}
    operands = ["x", "logits", "w1", "b1" if biases else "", "w2", "b2" if biases else ""]
    operator = helper.make_node("MoE", operands, ["y"], name="experts", domain="com.microsoft", **settings)  # type: ignore[arg-type]
    return model_of([node("Reshape", "x flat", "rows"), node("MatMul", "rows router", "logits"), operator], constants)


def test_experts_computed_and_masked() -> None:
    model = masked()
    graph = read_model(model)
    assert mixtures(graph) == [MoE(2, "before", False, "Relu")]
    found = next(n for n in graph.nodes() if isinstance(n.op, MoE))
    for operand, name in zip(found.inputs[2:], ("w1", "b1", "w2", "b2"), strict=True):
        value = value_of(operand)
        assert value is not None
        if name in ("b1", "b2"):
            assert np.array_equal(value, weights()[name])
        else:  # units may come in another order
            np.testing.assert_allclose(np.sort(value.ravel()), np.sort(weights()[name].ravel()), rtol=1e-6)
    agrees(model, graph)


@pytest.mark.long
@pytest.mark.parametrize(
    "op",
    [MoE(2), MoE(2, "before", True), MoE(3, "after"), MoE(6), MoE(1, activation="Silu"), MoE(2, activation="GeluTanh")],
)
@pytest.mark.parametrize("tokens", [5, 1, 6])  # one alone, and as many as experts
def test_what_we_write_we_read(op: MoE, tokens: int) -> None:
    graph = moe_network(op, layers=1, tokens=tokens)
    model = write_float(graph)
    again = read_model(model)
    assert mixtures(again) == mixtures(graph) == [op, op]
    assert len({n.inputs[2] for n in again.nodes() if isinstance(n.op, MoE)}) == 1  # two tasks share their experts
    agrees(model, again)
    x = np.random.default_rng(1).normal(size=(1, tokens, 16)).astype(np.float32)
    before, after = interpret(graph, {"x": x}), interpret(again, {interface_names(graph)[0][0]: x})
    for a, b in zip(before.values(), after.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize("normalised", [0, 1])
def test_onnxruntimes_own_operator(activation: str, normalised: int) -> None:
    model = runtime(activation_type=activation, normalize_routing_weights=normalised)
    graph = read_model(model)
    name = {"relu": "Relu", "gelu": "GeluTanh", "silu": "Silu"}[activation]
    assert mixtures(graph) == [MoE(2, "before", bool(normalised), name)]
    agrees(model, graph)


def test_onnxruntimes_own_operator_without_biases() -> None:
    model = runtime(biases=False)
    agrees(model, read_model(model))


def test_weights_as_they_lay_before() -> None:
    new, old = read_model(runtime()), read_model(runtime(new_layout=False))
    x = np.random.default_rng(0).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)
    assert np.array_equal(interpret(new, {"x": x})["y"], interpret(old, {"x": x})["y"])


def test_a_task_that_is_a_constant_becomes_a_bias_of_the_router() -> None:
    """The router reads tokens beside the embedding of one task (one-hot, through its weight)."""
    w, rng = weights(), np.random.default_rng(3)
    constants = {
        "router": rng.normal(size=(WIDTH + 3, EXPERTS)).astype(np.float32),
        "task": np.eye(2, dtype=np.float32)[1:],
        "embedding": rng.normal(size=(2, 3)).astype(np.float32),
        "flat": np.array([-1, WIDTH]),
        "rows_3": np.array([TOKENS, 3]),
        **{n: w[n] for n in ("w1", "b1", "w2", "b2")},
    }
    operands = ["x", "logits", "w1", "b1", "w2", "b2"]
    nodes = [
        node("Reshape", "x flat", "rows"),
        node("MatMul", "task embedding", "one"),
        node("Expand", "one rows_3", "each"),
        node("Concat", "rows each", "both", axis=1),
        node("MatMul", "both router", "logits"),
        helper.make_node("MoE", operands, ["y"], name="e", domain="com.microsoft", k=2, activation_type="relu"),
    ]
    model = model_of(nodes, constants)
    graph = read_model(model)
    assert len(mixtures(graph)) == 1
    kinds = [n.op.kind for n in graph.nodes()]
    assert "Concat" not in kinds and kinds.count("Linear") == 1
    agrees(model, graph)


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        (lambda: runtime(experts=EXPERTS - 1), "E001", "4 outputs, and there are 3 experts"),
        (lambda: masked(experts=EXPERTS - 1), "E001", "there is no expert for 3"),
        (lambda: runtime(k=EXPERTS + 1), "E002", "k is 5, and there are 4 experts"),
        (lambda: runtime(k=0), "E002", "k is 0"),
        (lambda: masked(top_k=EXPERTS + 1), "E002", "5"),
        (lambda: runtime(activation_type="swiglu"), "E004", "swiglu"),
        (lambda: runtime(use_sparse_mixer=1), "E004", "sparse mixer"),
    ],
)
def test_refusals(model: Callable[[], onnx.ModelProto], code: str, words: str) -> None:
    with pytest.raises(CompileError) as caught:
        read_model(model())
    codes = [d.code for d in caught.value.diagnostics]
    assert codes == [code], caught.value
    diagnostic = caught.value.diagnostics[0]
    assert words in diagnostic.because + diagnostic.message and diagnostic.help


def test_experts_with_other_gates_are_refused() -> None:
    """Gates that are no softmax: squares of the published ones."""
    model = masked()
    extra = node("Mul", "gates gates", "squares")
    scatter = next(i for i, n in enumerate(model.graph.node) if n.op_type == "ScatterElements")
    model.graph.node[scatter].input[2] = "squares"
    model.graph.node.insert(scatter, extra)
    with pytest.raises(CompileError) as caught:
        read_model(model)
    assert [d.code for d in caught.value.diagnostics] == ["E004"]
    assert "not a softmax" in caught.value.diagnostics[0].because


def test_a_choice_without_experts_is_an_operator_we_lack() -> None:
    constants = {"k": np.array([2]), "two": np.array([1, TOKENS, 2])}
    model = model_of([node("TopK", "x k", "best which"), node("Relu", "best", "y")], constants)
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 2
    with pytest.raises(CompileError) as caught:
        read_model(model)
    assert [d.code for d in caught.value.diagnostics] == ["N017"]
