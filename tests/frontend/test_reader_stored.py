"""Weights stored in integers or short floats are read as the float32 they stand for; a quantised model is refused once."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from edgewright.passes.ir import Array
from edgewright.passes.ops import Linear
from onnx import TensorProto, helper

from tests.frontend.bad_models import codes, refusal
from tests.frontend.small_models import check_float, model_of, node, normal

X = {"x": (1, 5, 24)}
RNG = np.random.default_rng(0)
# name: (element type, zero points are given)
STORED = {"int8": np.int8, "uint8": np.uint8, "int32": np.int32, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4}


def whole(kind: str, *shape: int) -> Array:
    low, high = {"int8": (-128, 128), "uint8": (0, 256), "int32": (-5000, 5000), "int4": (-8, 8), "uint4": (0, 16)}[kind]
    return RNG.integers(low, high, shape).astype(STORED[kind])


@pytest.mark.parametrize("opset", [11, 13, 17, 19, 21, 23])
@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("scales", ["tensor", "axis 0", "axis -1", "blocks"])
def test_weights_behind_dequantize_linear(opset: int, kind: str, scales: str) -> None:
    fits = (opset >= 21 or (kind not in ("int4", "uint4") and scales != "blocks")) and (opset >= 13 or scales == "tensor")
    if not fits:
        return
    cases: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
        "tensor": ((), {}),
        "axis 0": ((24,), {"axis": 0}),
        "axis -1": ((16,), {"axis": -1}),
        "blocks": ((3, 16), {"axis": 0, "block_size": 8}),
    }
    shape, attributes = cases[scales]
    weights = {"q": whole(kind, 24, 16), "s": np.abs(normal(1, *shape)) / 100}
    zero = kind != "int32"
    if zero:
        weights["z"] = whole(kind, *shape)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", *(["z"] if zero else [])], ["d"], **attributes),
        node("Transpose", "d", "t", perm=[1, 0]),
        node("Transpose", "t", "u", perm=[1, 0]),
        node("MatMul", "x u"),
    ]
    graph = check_float(model_of(nodes, X, weights, opset))
    assert [n.op for n in graph.nodes() if n.inputs] == [Linear()]


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_weights_that_are_quantised_and_back(opset: int) -> None:
    weights = {"w": normal(2, 24, 16), "s": np.array(0.02), "z": np.array(3, np.int8)}
    nodes = [node("QuantizeLinear", "w s z", "q"), node("DequantizeLinear", "q s z", "d"), node("MatMul", "x d")]
    check_float(model_of(nodes, X, weights, opset))


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_weights_in_short_floats(kind: type) -> None:
    nodes = [node("Cast", "w", "c", to=TensorProto.FLOAT), node("MatMul", "x c")]
    check_float(model_of(nodes, X, {"w": normal(2, 24, 16).astype(kind)}))


def quantised_model(pairs: int) -> onnx.ModelProto:
    nodes, last = [], "x"
    for i in range(pairs):
        nodes += [node("QuantizeLinear", f"{last} s z", f"q{i}"), node("DequantizeLinear", f"q{i} s z", f"d{i}")]
        nodes += [node("DequantizeLinear", "w s z", f"w{i}"), node("MatMul", f"d{i} w{i}", f"y{i}")]
        last = f"y{i}"
    weights = {"w": whole("int8", 24, 24), "s": np.array(0.02), "z": np.array(3, np.int8)}
    model = model_of(nodes, X, weights, outputs=[last])
    model.producer_name = "maker"
    return model


def test_a_quantised_model_is_refused_once() -> None:
    error = refusal(quantised_model(40))
    assert codes(error) == ["N020"]
    assert error.diagnostics[0].at == "80 operators: QuantizeLinear (40), DequantizeLinear (40)"
    assert "maker" in error.diagnostics[0].message


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        *(("", kind) for kind in ("MatMulInteger", "QLinearMatMul", "DynamicQuantizeLinear")),
        *(("com.microsoft", kind) for kind in ("QGemm", "DynamicQuantizeMatMul", "QLinearAdd", "MatMulNBits")),
        *(("qonnx.custom_op.general", kind) for kind in ("Quant", "BipolarQuant", "Trunc")),
        ("finn.custom_op.general", "Quant"),
    ],
)
def test_other_forms_of_quantised_models(domain: str, kind: str) -> None:
    model = model_of([helper.make_node(kind, ["x", "w"], ["y"], domain=domain)], X, {"w": normal(0, 24, 24)})
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    assert codes(refusal(model)) == ["N020"]


def test_the_same_cause_is_shown_once_with_its_first_places() -> None:
    from edgewright.passes.diagnostics import LONGEST, grouped

    nodes = [node("NonZero", "x", f"y{i}", name=f"{i}" * 500) for i in range(2000)]
    error = refusal(model_of(nodes, X, outputs=[f"y{i}" for i in range(2000)]))
    assert len(error.diagnostics) == 2000
    (shown,) = grouped(error.diagnostics)
    assert shown.at.endswith(" and 1,997 more")
    assert len(shown.at) <= LONGEST + 20


def test_scales_that_are_computed_are_not_constants() -> None:
    nodes = [node("ReduceMean", "x", "s", keepdims=0), node("DequantizeLinear", "q s", "d"), node("MatMul", "x d")]
    model = model_of(nodes, X, {"q": whole("int8", 24, 16)})
    assert codes(refusal(model)) == ["N017"]


def test_the_text_of_an_error_stays_short() -> None:
    nodes = [node("NonZero", "x", f"y{i}", name=f"n{i}") for i in range(2000)]
    assert len(str(refusal(model_of(nodes, X, outputs=[f"y{i}" for i in range(2000)])))) < 1000
