"""Each float operator against onnxruntime, and the types it infers against what it computes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from edgewright.passes import ops
from edgewright.passes.ir.graph import make
from edgewright.passes.ir.op import InferError, Op
from edgewright.passes.ir.types import F32, INT8, INT16, INT32, Array, Shape, TensorType
from edgewright.passes.ops.elementwise import FUNCTIONS
from edgewright.passes.ops.numeric import erf
from onnx import TensorProto, helper

# Largest difference allowed, relative to the largest value of the result, with the reason.
TOLERANCES = {
    "exact": (0.0, "moves, and single float operations both round correctly"),
    "round": (3e-7, "a few float32 roundings; ours go through float64"),
    "sum": (3e-6, "float32 sums of up to 300 products in another order"),
    "approximation": (2e-6, "onnxruntime's erf, tanh and exp are float32 polynomials"),
}


@dataclass(frozen=True)
class Case:
    """Our op, the ONNX node that means the same, operand shapes, and the row of tolerances."""

    op: Op
    onnx_type: str
    shapes: tuple[Shape, ...]
    tolerance: str
    attributes: dict[str, Any] = field(default_factory=dict)
    extra: tuple[Array, ...] = ()  # further ONNX inputs that are attributes of ours
    positive: bool = False

    def __str__(self) -> str:
        return f"{self.op}"


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


IMAGE, TOKENS = (1, 6, 9, 10), (1, 7, 24)
CASES = [
    *(
        Case(op, name, (TOKENS,), "approximation")
        for op, name in [
            (ops.Sigmoid(), "Sigmoid"),
            (ops.Tanh(), "Tanh"),
            (ops.Erf(), "Erf"),
            (ops.Exp(), "Exp"),
            (ops.Gelu(), "Gelu"),
            (ops.Softmax(-1), "Softmax"),
        ]
    ),
    Case(ops.Gelu("tanh"), "Gelu", (TOKENS,), "approximation", {"approximate": "tanh"}),
    Case(ops.Softmax(1), "Softmax", (TOKENS,), "approximation", {"axis": 1}),
    Case(ops.Relu(), "Relu", (TOKENS,), "exact"),
    *(
        Case(ops.Clip(low, high), "Clip", (TOKENS,), "exact", extra=tuple(np.array(b, np.float32) for b in (low, high)))
        for low, high in [
            *((-0.5, 1.5), (0.0, 6.0), (1.0, -1.0), (-math.inf, 0.25), (-65504.0, 0.0), (-1e8, 1e8), (0.5, math.inf)),
            *((-3.4e38, 1.0), (-math.inf, math.inf), (2.0, 2.0)),
        ]
    ),
    *(
        Case(
            ops.Elementwise(name, tuple(np.float32(1.5 * v + 0.1).item() for v in function.parameters.values())),
            name,
            (TOKENS,),
            "approximation",
            {key: 1.5 * value + 0.1 for key, value in function.parameters.items()},
            positive=name == "Log",
        )
        for name, function in FUNCTIONS.items()
    ),
    Case(ops.Elementwise("LeakyRelu", (-0.5,)), "LeakyRelu", (TOKENS,), "exact", {"alpha": -0.5}),
    Case(ops.Max(), "Max", (TOKENS, (24,)), "exact"),
    Case(ops.Min(), "Min", ((7, 1), TOKENS), "exact"),
    Case(ops.Neg(), "Neg", (TOKENS,), "exact"),
    Case(ops.Sign(), "Sign", (TOKENS,), "exact"),
    Case(ops.HardSwish(), "HardSwish", (TOKENS,), "round"),
    Case(ops.Sqrt(), "Sqrt", (TOKENS,), "round", positive=True),
    Case(ops.Reciprocal(), "Reciprocal", (TOKENS,), "round", positive=True),
    Case(ops.Add(), "Add", (TOKENS, (24,)), "exact"),
    Case(ops.Sub(), "Sub", ((1, 1, 24), (7, 1)), "exact"),
    Case(ops.Mul(), "Mul", (TOKENS, (1, 7, 1)), "exact"),
    Case(ops.Div(), "Div", (TOKENS, (24,)), "exact", positive=True),
    Case(ops.Pow(), "Pow", (TOKENS, ()), "round", positive=True),
    Case(ops.MatMul(), "MatMul", ((1, 3, 7, 40), (1, 3, 40, 9)), "sum"),
    Case(ops.MatMul(), "MatMul", ((1, 3, 7, 40), (40, 9)), "sum"),
    Case(ops.Transpose((0, 2, 3, 1)), "Transpose", (IMAGE,), "exact", {"perm": [0, 2, 3, 1]}),
    Case(ops.Reshape((1, 14, 12)), "Reshape", (TOKENS,), "exact", extra=(ints(1, 14, 12),)),
    Case(ops.Concat(1), "Concat", (TOKENS, (1, 2, 24)), "exact", {"axis": 1}),
    Case(ops.Slice(1, 1, 6, 2), "Slice", (TOKENS,), "exact", extra=(ints(1), ints(6), ints(1), ints(2))),
    Case(ops.ReduceMean((1, 2)), "ReduceMean", (TOKENS,), "sum", extra=(ints(1, 2),)),
    Case(ops.ReduceMean((-1,), False), "ReduceMean", (TOKENS,), "sum", {"keepdims": 0}, (ints(-1),)),
    Case(ops.Conv(), "Conv", (IMAGE, (5, 6, 3, 3)), "sum"),
    Case(
        ops.Conv((2, 1), (1, 2, 0, 1), (1, 2), 3),
        "Conv",
        (IMAGE, (9, 2, 3, 2), (9,)),
        "sum",
        {"strides": [2, 1], "pads": [1, 2, 0, 1], "dilations": [1, 2], "group": 3},
    ),
    Case(
        ops.Conv((1, 1), (1, 1, 1, 1), (1, 1), 6),
        "Conv",
        (IMAGE, (6, 1, 3, 3), (6,)),
        "sum",
        {"pads": [1, 1, 1, 1], "group": 6},
    ),
    Case(
        ops.BatchNormalization(1e-3),
        "BatchNormalization",
        (IMAGE, (6,), (6,), (6,), (6,)),
        "round",
        {"epsilon": 1e-3},
        positive=True,
    ),
    Case(ops.LayerNormalization(1e-6), "LayerNormalization", (TOKENS, (24,), (24,)), "sum", {"epsilon": 1e-6}),
    Case(ops.RMSNormalization(1e-2), "SimplifiedLayerNormalization", (TOKENS, (24,)), "sum", {"epsilon": 1e-2}),
]


def by_onnxruntime(case: Case, operands: list[Array]) -> Array:
    names = [f"x{i}" for i in range(len(operands) + len(case.extra))]
    node = helper.make_node(case.onnx_type, names, ["y"], **case.attributes)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in zip(names, operands, strict=False)]
    constants = [
        onnx.numpy_helper.from_array(value, name) for name, value in zip(names[len(operands) :], case.extra, strict=True)
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: Array = session.run(None, dict(zip(names, operands, strict=False)))[0]
    return result


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_onnxruntime(case: Case) -> None:
    rng = np.random.default_rng(len(str(case)))
    operands = [np.asarray(2 * rng.standard_normal(shape), np.float32) for shape in case.shapes]
    if case.positive:
        operands = [np.asarray(np.abs(x) + 0.1, np.float32) for x in operands]
    wanted = by_onnxruntime(case, operands)
    found = case.op.eval(*operands)
    inferred = case.op.infer(*(TensorType(shape) for shape in case.shapes))
    assert (inferred.shape, inferred.elem) == (found.shape, F32)
    assert found.dtype == np.float32
    tolerance, reason = TOLERANCES[case.tolerance]
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max(), reason


def test_silu_linear_patch_embed_attention_gather_from_smaller_parts() -> None:
    """Operators without one ONNX counterpart at this opset, against compositions of tested ones."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((1, 7, 24), (10, 24), (10,)))
    assert np.allclose(ops.Silu().eval(x), x * ops.Sigmoid().eval(x), rtol=3e-7)
    assert np.allclose(ops.Linear().eval(x, w, b), x @ w.T + b, atol=1e-5)
    image, kernel = (rng.standard_normal(s).astype(np.float32) for s in ((1, 3, 8, 12), (10, 3, 4, 4)))
    by_conv = ops.Conv((4, 4)).eval(image, kernel, b).reshape(1, 10, -1).swapaxes(1, 2)
    patches = ops.PatchEmbed(4).eval(image, kernel.reshape(10, -1), b)
    assert np.allclose(patches, by_conv, atol=1e-4)
    q, k, v = (rng.standard_normal((1, 7, 24)).astype(np.float32) for _ in range(3))
    found = ops.Attention(3, 0.3).eval(q[:, :2], k, v)
    for h in range(3):
        part = slice(8 * h, 8 * h + 8)
        weights = ops.Softmax(-1).eval(0.3 * q[0, :2, part] @ k[0, :, part].T)
        assert np.allclose(found[0, :, part], weights @ v[0, :, part], atol=1e-5)
    q, k, v = (rng.standard_normal((2, n, 3 * d)).astype(np.float32) for n, d in ((2, 8), (7, 8), (7, 5)))
    for bias in (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 2, 7), (3, 1, 7), (7,))):
        found = ops.Attention(3, 0.3).eval(q, k, v, bias)
        whole = np.broadcast_to(bias, (2, 3, 2, 7))
        for window, h in np.ndindex(2, 3):
            scores = 0.3 * q[window, :, 8 * h : 8 * h + 8] @ k[window, :, 8 * h : 8 * h + 8].T + whole[window, h]
            wanted = ops.Softmax(-1).eval(scores) @ v[window, :, 5 * h : 5 * h + 5]
            assert np.allclose(found[window, :, 5 * h : 5 * h + 5], wanted, atol=1e-5)
    assert ops.Attention(3).macs(*(TensorType(x.shape) for x in (q, k, v))) == 2 * 2 * 7 * (24 + 15)
    assert np.array_equal(ops.Gather(1).eval(x, np.array([[0, -1]])), x[:, [[0, -1]]])
    with pytest.raises(IndexError):
        ops.Gather(1).eval(x, np.array([7]))


def test_erf_is_exact_to_float32_everywhere() -> None:
    import math

    points = np.concatenate([np.linspace(-7, 7, 4001), [0.0, 1e-30, 40.0, -np.inf, np.inf]])
    wanted = np.array([math.erf(p) for p in points])
    assert np.abs(erf(points) - wanted).max() < 1e-12


F, B = TensorType((1, 4, 8)), TensorType((8,))
WRONG: list[tuple[Op, tuple[TensorType, ...]]] = [
    (ops.Linear(), (F, TensorType((5, 7)), TensorType((5,)))),
    (ops.Linear(), (F, TensorType((5, 8)), TensorType((4,)))),
    (ops.Linear(), (TensorType((1, 4, 8), INT8), TensorType((5, 8)), TensorType((5,)))),
    (ops.Reshape((1, 33)), (F,)),
    (ops.Transpose((0, 1)), (F,)),
    (ops.Slice(1, 2, 2), (F,)),
    (ops.Slice(3, 0, 1), (F,)),
    (ops.Concat(1), (F, TensorType((1, 4, 9)))),
    (ops.Attention(3), (F, F, F)),
    (ops.Attention(2), tuple(TensorType((1, 4, 8), INT8) for _ in range(3))),
    (ops.Attention(2), (F, F, TensorType((1, 4, 9)))),
    (ops.Attention(2), (F, TensorType((2, 4, 8)), TensorType((2, 4, 8)))),
    (ops.Attention(2), (F, F, F, TensorType((1, 3, 4, 4)))),
    (ops.Attention(2), (F, F, F, TensorType((4, 4), INT8))),
    (ops.LayerNormalization(), (F, B, TensorType((4,)))),
    (ops.RMSNormalization(), (F, TensorType((4,)))),
    (ops.RMSNormalization(), (F,)),
    (ops.RMSNormalization(eps_term=1, shift=9), (TensorType((1, 4, 8), INT16), TensorType((8,), INT32))),
    (ops.RMSNormalization(eps_term=1), (TensorType((1, 4, 8), INT16), TensorType((8,), INT32), TensorType((8,), INT32))),
    (ops.PatchEmbed(3), (TensorType((1, 1, 8, 8)), TensorType((5, 9)), TensorType((5,)))),
    (ops.Conv(), (TensorType((1, 1, 2, 2)), TensorType((1, 1, 3, 3)))),
    (ops.Gelu("fast"), (F,)),
    (ops.Sigmoid(), (TensorType((1, 4), INT8),)),
    (ops.Softmax(), (TensorType((1, 4), INT8),)),
    (ops.Softmax(), (TensorType((1, 4), INT16),)),
    (ops.MatMul(), (F, TensorType((8, 4), INT8))),
    (ops.Mul(), (TensorType((1, 4), INT16), TensorType((1, 4), INT16))),
    (ops.Conv(pad_value=1), (TensorType((1, 1, 4, 4)), TensorType((1, 1, 3, 3)))),
    (ops.Conv(), (TensorType((1, 1, 4, 4), INT8), TensorType((1, 1, 3, 3), INT8), TensorType((1,), INT16))),
    (ops.ReduceSum((1, -2)), (TensorType((1, 4, 8), INT8),)),
    (ops.Requantise(), (TensorType((1, 4, 8), INT32), TensorType((4, 8), INT32), TensorType((4, 8), INT8))),
    (ops.Requantise(), (TensorType((1, 4, 8), INT32), TensorType((4,), INT32), TensorType((4,), INT8))),
    (ops.Requantise(), (TensorType((1, 8), INT32), TensorType((1, 1, 8), INT32), TensorType((1, 1, 8), INT8))),
    (ops.Add(), (F,)),
    (ops.Add(), (F, TensorType((3,)))),
    (ops.Table(), (TensorType((1, 4), INT8), TensorType((255,), INT8))),
    (ops.AddRequantised(1, 1, 1 << 15, 15), (F, F)),
]


@pytest.mark.parametrize(("op", "types"), WRONG, ids=lambda value: str(value)[:60])
def test_operands_that_do_not_fit_are_refused(op: Op, types: tuple[TensorType, ...]) -> None:
    nodes = [ops.graph_input(f"x{i}", t.shape, t.elem) for i, t in enumerate(types)]
    with pytest.raises(InferError, match=op.kind):
        make(op, *nodes)
