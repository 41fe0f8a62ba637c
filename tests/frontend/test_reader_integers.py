"""Integer inputs that are no plain masks: ids with arithmetic before they index, columns of categories, pixels, numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.text import to_text
from edgewright.passes.ops import graph_input
from edgewright.passes.pipeline import optimise, quantise
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.bad_models import codes, refusal
from tests.graph_text import parse

ROWS, WIDTH, TOKENS = 44, 6, 5
TABLE = np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32)
LINEAR = np.random.default_rng(2).standard_normal((WIDTH, 3)).astype(np.float32)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def model(
    nodes: list[onnx.NodeProto], constants: dict[str, Any], dtype: int = TensorProto.INT64, shape: tuple[int, ...] = (1, TOKENS)
) -> onnx.ModelProto:
    """From ids to a product of the rows that they pick; the last of `nodes` gives `rows`."""
    held = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in {"table": TABLE, "linear": LINEAR, **constants}.items()
    ]
    graph = helper.make_graph(
        [*nodes, node("MatMul", "rows linear", "y")],
        "g",
        [helper.make_tensor_value_info("ids", dtype, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def onnx_runs(proto: onnx.ModelProto, ids: Array) -> Array:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"ids": ids})[0])


PICK = node("Gather", "table index", "rows")
LONG = np.int64
CHAINS: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], tuple[int, int]]] = {
    "less an offset": ([node("Sub", "ids c", "index"), PICK], {"c": LONG(3)}, (3, ROWS + 2)),
    "plus an offset": ([node("Add", "c ids", "index"), PICK], {"c": np.array([2], LONG)}, (-2, ROWS - 3)),
    "a constant less ids": ([node("Sub", "c ids", "index"), PICK], {"c": LONG(60)}, (17, 60)),
    "clamped": ([node("Clip", "ids a b", "index"), PICK], {"a": LONG(0), "b": LONG(ROWS - 1)}, (-65536, 65535)),
    "at least": ([node("Max", "ids a", "index"), PICK], {"a": LONG(1)}, (-65536, ROWS - 1)),
    "remainder": ([node("Mod", "ids m", "index"), PICK], {"m": LONG(ROWS)}, (-65536, 65535)),
    "halved": ([node("Div", "ids m", "index"), PICK], {"m": LONG(2)}, (-1, 2 * ROWS - 1)),
    "doubled and clamped": (
        [node("Mul", "ids m", "d"), node("Clip", "d a b", "index"), PICK],
        {"m": LONG(2), "a": LONG(0), "b": LONG(20)},
        (-65536, 65535),
    ),
    "padding replaced": (
        [node("Equal", "ids p", "is"), node("Where", "is nought ids", "index"), PICK],
        {"p": LONG(-1), "nought": LONG(0)},
        (-1, ROWS - 1),
    ),
    "through moves and casts": (
        [
            node("Cast", "ids", "a", to=TensorProto.INT32),
            node("Unsqueeze", "a two", "b"),
            node("Sub", "b c", "d"),
            node("Squeeze", "d two", "e"),
            node("Slice", "e one five one", "f"),
            node("Cast", "f", "index", to=TensorProto.INT64),
            PICK,
        ],
        {"two": np.array([2]), "c": np.int32(3), "one": np.array([1]), "five": np.array([5])},
        (3, ROWS + 2),
    ),
    "two uses": (
        [
            node("Add", "ids c", "i"),
            node("Gather", "table i", "r"),
            node("Gather", "table ids", "s"),
            node("Add", "r s", "rows"),
        ],
        {"c": LONG(4)},
        (0, ROWS - 5),
    ),
    "an offset for each column": ([node("Add", "ids c", "index"), PICK], {"c": np.array([0, 10, 15, 20, 40])}, (0, ROWS - 1)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_arithmetic_before_a_table(name: str) -> None:
    nodes, constants, allowed = CHAINS[name]
    proto = model(nodes, constants)
    graph = read_model(proto)
    assert input_ranges(graph) == {"ids": allowed}
    first, last = (allowed[0], 3) if "column" in name else allowed
    rng = np.random.default_rng(5)
    for low, high in ((first, last), (max(first, -9), min(last, 60))):
        ids = rng.integers(low, high, (4, TOKENS), endpoint=True)
        ids[0, :2] = low, high
        wanted = np.concatenate([onnx_runs(proto, ids[i : i + 1]) for i in range(4)])
        for one in (graph, optimise(graph, rms_norm=True)[0]):
            np.testing.assert_allclose(interpret(one, {"ids": ids})["y"], wanted, atol=1e-5)
        integer = quantise(optimise(graph)[0], {"ids": ids}).graph
        assert input_ranges(integer) == {"ids": allowed}
        (output,) = integer.outputs
        assert output.quant is not None
        found = output.quant.real(interpret(integer, {"ids": ids})["y"])
        assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_ids_compared_with_padding_make_a_mask() -> None:
    nodes = [
        node("Equal", "ids p", "is"),
        node("Cast", "is", "f", to=1),
        node("Mul", "f never", "n"),
        node("Unsqueeze", "n two", "b"),
        node("Gather", "table ids", "r"),
        node("Add", "r b", "s"),
        node("Softmax", "s", "rows", axis=1),
    ]
    proto = model(nodes, {"p": LONG(1), "never": np.float32(-10000), "two": np.array([2])})
    graph = read_model(proto)
    ids = np.array([[3, 1, 1, 7, 43]])
    np.testing.assert_allclose(interpret(graph, {"ids": ids})["y"], onnx_runs(proto, ids), atol=1e-6)
    assert input_ranges(graph) == {"ids": (0, ROWS - 1)}


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64])
@pytest.mark.parametrize("before", [True, False])
def test_numbers(dtype: int, before: bool) -> None:
    """Pixels: scaled as floats, or moved as integers first. Nothing is a mask."""
    cast = node("Cast", "ids", "f", to=1)
    if before:
        wide = node("Cast", "ids", "w", to=TensorProto.INT32)
        nodes = [wide, node("Sub", "w hundred", "d"), node("Cast", "d", "f", to=1), node("Div", "f s", "rows")]
    else:
        nodes = [cast, node("Div", "f s", "g"), node("Sub", "g mean", "rows")]
    constants = {"hundred": np.int32(100), "s": np.float32(255), "mean": np.linspace(0, 1, WIDTH, dtype=np.float32)}
    proto = model(nodes, constants, dtype, (1, WIDTH))
    graph = read_model(proto)
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    info = np.iinfo(np.int16 if kind.itemsize > 2 else kind)
    pixels = np.random.default_rng(0).integers(info.min, info.max, (3, WIDTH), endpoint=True).astype(kind)
    wanted = np.concatenate([onnx_runs(proto, pixels[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(interpret(graph, {"ids": pixels})["y"], wanted, rtol=1e-5, atol=1e-5)
    (low, high) = input_ranges(graph)["ids"]
    assert low <= info.min and high >= info.max
    quantise(optimise(graph)[0], {"ids": pixels})


def test_ids_that_pick_nothing() -> None:
    nodes = [node("Add", "ids c", "index"), PICK]
    assert codes(refusal(model(nodes, {"c": LONG(10_000_000)}))) == ["N018"]


def test_what_an_input_may_hold_is_part_of_its_text() -> None:
    graph = read_model(model(CHAINS["less an offset"][0], CHAINS["less an offset"][1]))
    text = to_text(graph)
    assert "Input['ids', allowed=(3, 46)]" in text
    x = graph_input("x", (1, 4), unbatched=True)
    text = to_text(Graph("g", (x,), (x,), ("x",)))
    assert "Input['x', unbatched=True]" in text and to_text(parse(text)) == text
