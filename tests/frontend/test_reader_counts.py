"""Integer inputs that hold counts: every count gives onnxruntime's values, and what else they may be is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.pipeline import optimise, quantise
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.test_reader import session

node = helper.make_node
Nodes = list[onnx.NodeProto]
STEPS = np.arange(6, dtype=np.int64)


def counted(nodes: Nodes, shape: tuple[int, ...] = (1, 1), batch: int = 1, kind: int = TensorProto.INT64) -> onnx.ModelProto:
    """From x (batch, 6, 4) and counts n to y."""
    weights = {
        **{"steps": STEPS[None], "column": STEPS[:, None], "one": np.array([1]), "two": np.array(2), "last": np.array([-1])},
        **{"zero": np.zeros((), np.float32), "low": np.float32(-1e4) * np.ones((), np.float32)},
        **{"half": np.float32(0.5) * np.ones((), np.float32)},
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, 6, 4)),
            helper.make_tensor_value_info("n", kind, shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def scaled(*keep: onnx.NodeProto) -> Nodes:
    """x times what `keep` makes: k (.., 6) of booleans."""
    return [
        *keep,
        node("Cast", ["k"], ["f"], to=1),
        node("Unsqueeze", ["f", "last"], ["u"]),
        node("Mul", ["x", "u"], ["y"]),
    ]


SPELLINGS: dict[str, Callable[[], onnx.ModelProto]] = {
    "less": lambda: counted(scaled(node("Less", ["steps", "n"], ["k"]))),
    "greater": lambda: counted(scaled(node("Greater", ["n", "steps"], ["k"]))),
    "at most": lambda: counted(scaled(node("LessOrEqual", ["steps", "n"], ["k"]))),
    "not beyond": lambda: counted(scaled(node("GreaterOrEqual", ["steps", "n"], ["g"]), node("Not", ["g"], ["k"]))),
    "equal": lambda: counted(scaled(node("Equal", ["steps", "n"], ["k"]))),
    "one less": lambda: counted(scaled(node("Sub", ["n", "two"], ["m"]), node("Less", ["steps", "m"], ["k"]))),
    "halved steps": lambda: counted(scaled(node("Mul", ["n", "two"], ["m"]), node("Less", ["steps", "m"], ["k"]))),
    "beside another": lambda: counted(
        scaled(
            node("Less", ["steps", "n"], ["a"]),
            node("Greater", ["n", "two"], ["b"]),
            node("And", ["a", "b"], ["k"]),
        )
    ),
    "a vector": lambda: counted(
        scaled(node("Unsqueeze", ["n", "one"], ["m"]), node("Less", ["steps", "m"], ["k"])), shape=(1,)
    ),
    "int32 in float": lambda: counted(
        [
            node("Cast", ["n"], ["f"], to=1),
            node("Cast", ["steps"], ["s"], to=1),
            node("Less", ["s", "f"], ["k"]),
            node("Unsqueeze", ["k", "last"], ["u"]),
            node("Where", ["u", "x", "low"], ["w"]),
            node("Softmax", ["w"], ["y"], axis=1),
        ],
        kind=TensorProto.INT32,
    ),
    "a length and a mean": lambda: counted(
        [
            *scaled(node("Less", ["steps", "n"], ["k"]))[:-1],
            node("Mul", ["x", "u"], ["kept"]),
            node("Cast", ["n"], ["count"], to=1),
            node("Unsqueeze", ["count", "last"], ["number"]),
            node("Mul", ["number", "half"], ["part"]),
            node("Mul", ["kept", "part"], ["y"]),
        ]
    ),
    "of a batch": lambda: counted(scaled(node("Less", ["steps", "n"], ["k"])), (3, 1), 3),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_count_gives_onnxruntimes_values(name: str) -> None:
    model = SPELLINGS[name]()
    graph, run = read_model(model), session(model)
    low, high = input_ranges(graph)["n"]
    assert low == 0 and high >= 3
    rng = np.random.default_rng(0)
    shapes = [tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in model.graph.input]
    dtype = helper.tensor_dtype_to_np_dtype(model.graph.input[1].type.tensor_type.elem_type)
    for count in range(high + 1):
        counts = (count + np.arange(int(np.prod(shapes[1])))).reshape(shapes[1]) % (high + 1)
        feeds = {"x": rng.standard_normal(shapes[0]).astype(np.float32), "n": counts.astype(dtype)}
        (wanted,) = run.run(None, feeds)
        for one in (graph, optimise(graph)[0]):
            given = {node.name: feeds[node.name].reshape(node.shape) for node in one.inputs}
            found = interpret(one, given)["y"].reshape(wanted.shape)
            assert np.allclose(found, wanted, rtol=0, atol=1e-6), count


def test_counts_in_integers() -> None:
    graph = optimise(read_model(SPELLINGS["less"]()))[0]
    rng = np.random.default_rng(0)
    samples: dict[str, Array] = {"x": rng.standard_normal((8, 6, 4)).astype(np.float32), "n": rng.integers(1, 7, (8, 1))}
    integer = quantise(graph, samples).graph
    assert input_ranges(integer)["n"] == (0, 6)
    quant = integer.outputs[0].quant
    assert quant is not None
    wanted, found = interpret(graph, samples)["y"], interpret(integer, samples)["y"] * quant.scale
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
    assert not np.any(found[wanted == 0])


def test_ids_that_are_compared_stay_ids() -> None:
    rows = numpy_helper.from_array(np.arange(200, dtype=np.float32).reshape(50, 4), "rows")
    model = counted(
        [
            node("Equal", ["n", "two"], ["pad"]),
            node("Cast", ["pad"], ["f"], to=1),
            node("Unsqueeze", ["f", "last"], ["u"]),
            node("Gather", ["rows", "n"], ["e"]),
            node("Mul", ["e", "u"], ["m"]),
            node("Add", ["x", "m"], ["y"]),
        ],
        shape=(1, 6),
    )
    model.graph.initializer.append(rows)
    graph = read_model(model)
    assert input_ranges(graph)["n"] == (0, 49)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 6, 4)).astype(np.float32), "n": np.array([[0, 2, 49, 1, 2, 3]])}
    (wanted,) = session(model).run(None, feeds)
    assert np.allclose(interpret(graph, feeds)["y"], wanted, rtol=0, atol=1e-6)
