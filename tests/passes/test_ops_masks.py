"""Choices by integers, casts, and transposed convolutions, against onnxruntime; what integer inputs may hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
from edgewright.passes import ops
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph, InferError, Op, TensorType, make
from edgewright.passes.ir.types import F32, INT32, INT64, Int
from edgewright.passes.ir.verify import problems
from onnx import TensorProto, helper


def by_onnxruntime(kind: str, operands: list[Array], **attributes: Any) -> Array:
    names = [f"x{i}" for i in range(len(operands))]
    types = [helper.np_dtype_to_tensor_dtype(x.dtype) for x in operands]
    inputs = [helper.make_tensor_value_info(n, t, x.shape) for n, t, x in zip(names, types, operands, strict=True)]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(kind, names, ["y"], **attributes)], "one", inputs, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: Array = session.run(None, dict(zip(names, operands, strict=True)))[0]
    return found


def test_where() -> None:
    rng = np.random.default_rng(0)
    condition = rng.integers(0, 2, (1, 1, 5))
    a, b = rng.standard_normal((3, 1)).astype(np.float32), rng.standard_normal((2, 3, 5)).astype(np.float32)
    wanted = by_onnxruntime("Where", [condition.astype(np.bool_), a, b])
    assert np.array_equal(ops.Where().eval(condition, a, b), wanted)
    assert np.array_equal(ops.Where().eval(7 * condition, a, b), wanted)
    types = TensorType((1, 1, 5), INT64), TensorType((3, 1)), TensorType((2, 3, 5))
    assert ops.Where().infer(*types) == TensorType((2, 3, 5))


def test_cast_rounds_to_nearest() -> None:
    values = np.array([0, -1, (1 << 24) + 1, (1 << 24) + 3, -(1 << 40) - 1, (1 << 62) + 12345])
    assert np.array_equal(ops.Cast().eval(values), by_onnxruntime("Cast", [values], to=1))
    assert ops.Cast().infer(TensorType((6,), INT64)) == TensorType((6,), F32)


@pytest.mark.parametrize("groups", [1, 3])
def test_transposed_convolution(groups: int) -> None:
    rng = np.random.default_rng(1)
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((2, 6, 4, 5), (6, 2, 3, 4), (2 * groups,)))
    op = ops.ConvTranspose((8, 14), (2, 3), (1, 2), groups)
    places = {"strides": [2, 3], "pads": [1, 2, 1, 2], "output_padding": [1, 2], "group": groups}
    wanted = by_onnxruntime("ConvTranspose", [x, w, b], **places)
    assert np.allclose(op.eval(x, w, b), wanted, atol=1e-5)
    assert op.infer(*(TensorType(n.shape) for n in (x, w, b))).shape == wanted.shape
    assert op.macs(*(TensorType(n.shape) for n in (x, w, b))) == 2 * 6 * 4 * 5 * 2 * 3 * 4


WRONG: list[tuple[Op, tuple[TensorType, ...]]] = [
    (ops.Where(), (TensorType((4,)), TensorType((4,)), TensorType((4,)))),
    (ops.Where(), (TensorType((4,), INT64), TensorType((4,)), TensorType((4,), INT32))),
    (ops.Where(), (TensorType((4,), INT64), TensorType((4,)))),
    (ops.Where(), (TensorType((3,), INT64), TensorType((4,)), TensorType((4,)))),
    (ops.Cast(), (TensorType((4,)),)),
    (ops.ConvTranspose((4, 4)), (TensorType((1, 3, 4, 4)), TensorType((2, 3, 1, 1)))),
    (ops.ConvTranspose((4, 0)), (TensorType((1, 2, 4, 4)), TensorType((2, 3, 1, 1)))),
    (ops.ConvTranspose((4, 4)), (TensorType((1, 2, 4, 4)), TensorType((2, 3, 1, 1)), TensorType((2,)))),
]


@pytest.mark.parametrize(("op", "types"), WRONG, ids=lambda value: str(value)[:60])
def test_operands_that_do_not_fit_are_refused(op: Op, types: tuple[TensorType, ...]) -> None:
    nodes = [ops.graph_input(f"x{i}", t.shape, t.elem) for i, t in enumerate(types)]
    with pytest.raises(InferError, match=op.kind):
        make(op, *nodes)


def test_ranges_of_integer_inputs() -> None:
    """The narrowest of all uses, through moves; without a use, all that the type holds."""
    ids, mask, free = (ops.graph_input(n, (1, 4), e) for n, e in (("ids", INT64), ("mask", INT64), ("free", Int(8))))
    wide, narrow = (ops.constant(np.zeros((rows, 3), np.float32)) for rows in (9, 5))
    part = make(ops.Reshape((2,)), make(ops.Slice(1, 0, 2), ids))
    picked = make(ops.Gather(0), narrow, part), make(ops.Gather(0), wide, ids)
    choice = make(ops.Where(), make(ops.Reshape((4, 1)), mask), picked[1], ops.constant(np.zeros((), np.float32)))
    graph = Graph("g", (ids, mask, free), (picked[0], choice, make(ops.Cast(), free)), ("a", "b", "c"))
    assert input_ranges(graph) == {"ids": (0, 4), "mask": (0, 1), "free": (-128, 127)}
    assert not list(problems(graph))


def test_integers_in_a_float_graph_only_pick_and_choose() -> None:
    ids = ops.graph_input("ids", (1, 4), Int(8))
    squared = Graph("g", (ids,), (make(ops.Mul(), ids, ids),), ("y",))
    assert [d.code for d in problems(squared)] == ["G004"]
