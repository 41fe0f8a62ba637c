"""What is computed from masks of zeros and ones, and what of that is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir import Array
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Attention, Constant, Input, Where
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.bad_models import codes, refusal
from tests.frontend.float_tolerances import assert_close
from tests.frontend.test_reader import check, kinds, session

Nodes = list[onnx.NodeProto]
node = helper.make_node


def masked(nodes: Nodes, opset: int = 18, kind: int = TensorProto.INT64, **weights: Array) -> onnx.ModelProto:
    """From x (1, 4, 6), mask (1, 6) and weights to y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 6)),
            helper.make_tensor_value_info("mask", kind, (1, 6)),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=11 if opset >= 23 else 9)


def integers(*values: int) -> Array:
    return np.asarray(values, np.int64)


ZERO, ONE, LOW = np.zeros((), np.float32), np.ones((), np.float32), np.float32(-50) * np.ones((), np.float32)
ORDER = integers(5, 3, 1, 0, 2, 4)

SPELLINGS: dict[str, Callable[[], onnx.ModelProto]] = {
    "not": lambda: masked(
        [
            node("Cast", ["mask"], ["b"], to=TensorProto.BOOL),
            node("Not", ["b"], ["n"]),
            node("Where", ["n", "low", "zero"], ["c"]),
            node("Add", ["x", "c"], ["y"]),
        ],
        low=LOW,
        zero=ZERO,
    ),
    "product of two": lambda: masked(
        [
            node("Unsqueeze", ["mask", "one"], ["a"]),
            node("Cast", ["a"], ["f"], to=1),
            node("Cast", ["mask"], ["g"], to=1),
            node("Mul", ["g", "half"], ["h"]),
            node("Add", ["x", "h"], ["y"]),
        ],
        one=integers(1),
        half=np.float32(0.5) * ONE,
    ),
    "in another order": lambda: masked(
        [
            node("Gather", ["mask", "order"], ["p"], axis=1),
            node("Equal", ["p", "zero"], ["e"]),
            node("Cast", ["e"], ["f"], to=1),
            node("Sub", ["x", "f"], ["y"]),
        ],
        order=ORDER,
        zero=integers(0),
    ),
    "partly constant": lambda: masked(
        [
            node("Cast", ["mask"], ["b"], to=TensorProto.BOOL),
            node("And", ["b", "some"], ["s"]),
            node("Where", ["s", "zero", "low"], ["c"]),
            node("Add", ["c", "x"], ["y"]),
        ],
        some=np.tri(4, 6, dtype=np.bool_)[None],
        zero=ZERO,
        low=LOW,
    ),
    "choice between values": lambda: masked(
        [
            node("Equal", ["mask", "zero"], ["e"]),
            node("Neg", ["x"], ["n"]),
            node("Where", ["e", "n", "x"], ["y"]),
        ],
        zero=integers(0),
    ),
    "mean over tokens": lambda: masked(
        [
            node("Cast", ["mask"], ["f"], to=1),
            node("Mul", ["x", "f"], ["m"]),
            node("ReduceSum", ["m", "last"], ["s"], keepdims=1),
            node("ReduceSum", ["f", "last"], ["t"], keepdims=1),
            node("Clip", ["t", "tiny"], ["c"]),
            node("Div", ["s", "c"], ["y"]),
        ],
        last=integers(-1),
        tiny=np.float32(1e-9) * ONE,
    ),
    "booleans": lambda: masked([node("Where", ["mask", "x", "zero"], ["y"])], kind=TensorProto.BOOL, zero=ZERO),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_mask_gives_onnxruntimes_values(name: str) -> None:
    model = SPELLINGS[name]()
    graph = read_model(model)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((1, 4, 6)).astype(np.float32)
    for bits in ([1, 0, 1, 1, 0, 0], [0, 1, 0, 0, 1, 1], [1] * 6, [0] * 5 + [1]):
        mask = np.asarray([bits], np.bool_ if name == "booleans" else np.int64)
        (wanted,) = session(model).run(None, {"x": x, "mask": mask})
        assert_close(interpret(graph, {"x": x, "mask": mask})["y"], wanted, "one block")
    check(model, "one block") if name != "booleans" else None  # the written model takes int64


def test_a_choice_by_a_comparison_is_one_node() -> None:
    graph = read_model(SPELLINGS["choice between values"]())
    assert kinds(graph) == {"Neg": 1, "Where": 1, "Reshape": 1} or kinds(graph) == {"Neg": 1, "Where": 1}


def attention23(mask: Array | None, **attributes: Any) -> onnx.ModelProto:
    """Opset 23's operator on x, its mask computed from `mask` (1, 6), or a constant."""
    nodes, name = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1])], ""
    weights: dict[str, Array] = {}
    if mask is not None:
        weights["m"], name = mask, "m"
    elif not attributes.pop("none", 0):
        nodes += [
            node("Unsqueeze", ["mask", "axes"], ["u"]),
            node("Cast", ["u"], ["b"], to=TensorProto.BOOL),
            node("Expand", ["b", "shape"], ["e"]),
        ]
        weights |= {"axes": integers(1, 2), "shape": integers(1, 1, 6, 6)}
        name = "e"
    nodes.append(node("Attention", ["t", "t", "t", name], ["y"], q_num_heads=2, kv_num_heads=2, **attributes))
    return masked(nodes, 23, TensorProto.INT64, **weights)


TRIANGLE = np.tri(6, dtype=np.bool_)


@pytest.mark.parametrize(
    "model",
    [
        attention23(None),
        attention23(TRIANGLE),
        attention23(np.random.default_rng(0).standard_normal((2, 6, 6)).astype(np.float32)),
        attention23(None, none=1, is_causal=1),
        attention23(None, is_causal=1),
    ],
    ids=["computed", "booleans", "numbers", "causal", "both"],
)
def test_masks_of_the_attention_operator(model: onnx.ModelProto) -> None:
    graph = read_model(model)
    (attention,) = (n for n in graph.nodes() if isinstance(n.op, Attention))
    assert len(attention.inputs) == 4 and not {"MatMul", "Softmax"} & set(kinds(graph))
    x = np.random.default_rng(1).standard_normal((1, 4, 6)).astype(np.float32)
    feeds = {"x": x, "mask": np.array([[1, 1, 1, 0, 1, 0]])}
    known = {i.name for i in session(model).get_inputs()}
    (wanted,) = session(model).run(None, {name: value for name, value in feeds.items() if name in known})
    assert_close(interpret(graph, feeds)["y"], wanted, "one block")


def test_ids_compared_with_padding() -> None:
    """A mask made of token ids is worked out for every id."""
    nodes = [
        node("Gather", ["table", "mask"], ["e"]),
        node("Equal", ["mask", "pad"], ["p"]),
        node("Cast", ["p"], ["f"], to=1),
        node("Unsqueeze", ["f", "last"], ["g"]),
        node("Mul", ["e", "g"], ["m"]),
        node("ReduceMean", ["m", "last"], ["r"], keepdims=0),
        node("Add", ["r", "x"], ["y"]),
    ]
    table = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    proto = masked(nodes, table=table, pad=integers(1), last=integers(-1))
    graph = read_model(proto)
    (ids,) = (node for node in graph.inputs if not node.type.is_float)
    feeds: dict[str, Array] = {node.name: np.ones(node.shape, np.float32) for node in graph.inputs}
    feeds[ids.name] = np.arange(ids.type.size).reshape(ids.shape) % 9
    assert_close(interpret(graph, feeds)["y"], session(proto).run(None, feeds)[0], "one block")


def test_a_table_of_two_rows_takes_a_mask() -> None:
    nodes = [
        node("Gather", ["table", "mask"], ["e"]),
        node("Cast", ["mask"], ["f"], to=1),
        node("Mul", ["f", "low"], ["g"]),
        node("Add", ["x", "g"], ["h"]),
        node("Add", ["h", "e"], ["y"]),
    ]
    table = np.array([3.0, 4.0], np.float32)
    check(masked(nodes, table=table, low=LOW), "one block")


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Gather", ["w", "mask"], ["e"], axis=1), node("Add", ["e", "x"], ["y"])],
        [node("CumSum", ["mask", "axis"], ["c"]), node("Gather", ["w", "c"], ["e"]), node("Add", ["e", "x"], ["y"])],
        [node("Cast", ["mask"], ["c"], to=10), node("Cast", ["c"], ["d"], to=1), node("Add", ["d", "x"], ["y"])],
        [node("Relu", ["mask"], ["c"]), node("Cast", ["c"], ["d"], to=1), node("Add", ["d", "x"], ["y"])],
    ],
    ids=["columns", "running sum", "half precision", "activation"],
)
def test_other_integer_arithmetic(nodes: Nodes) -> None:
    """Refused by name, or computed rightly: never anything else."""
    model = masked(nodes, w=np.eye(6, dtype=np.float32), axis=np.asarray(1, np.int64))
    try:
        graph = read_model(model)
    except CompileError:
        assert set(codes(refusal(model))) <= {"N017", "N018"}
        return
    x, mask = np.ones((1, 4, 6), np.float32), np.array([[1, 0, 0, 1, 1, 0]])
    (wanted,) = session(model).run(None, {"x": x, "mask": mask})
    assert_close(interpret(graph, {"x": x, "mask": mask})["y"], wanted, "one block")


def test_minus_infinity_is_a_mask_and_no_weight() -> None:
    never = np.where(np.tri(4, 6, 2, dtype=np.bool_), np.float32(0), np.float32(-np.inf))
    keep = node("Cast", ["mask"], ["f"], to=1)
    nodes = [keep, node("Add", ["x", "m"], ["a"]), node("Softmax", ["a"], ["p"]), node("Mul", ["p", "f"], ["y"])]
    check(masked(nodes, m=never), "one block")
    weight = np.full((4, 6), -np.inf, np.float32)
    weight[0, 0] = 1
    assert codes(refusal(masked([node("Add", ["x", "w"], ["y"])], w=weight))) == ["N009"]


def test_sinusoidal_positions_are_a_constant() -> None:
    """Operators that the graph lacks, on constants."""
    nodes = [
        node("Range", ["a", "b", "c"], ["r"]),
        node("Unsqueeze", ["r", "one"], ["u"]),
        node("Einsum", ["u", "f"], ["e"], equation="td,dc->tc"),
        node("Sin", ["e"], ["s"]),
        node("Add", ["x", "s"], ["y"]),
    ]
    scalars: dict[str, Array] = {n: np.asarray(v, np.float32) for n, v in (("a", 0), ("b", 4), ("c", 1))}
    scalars |= {"one": integers(1), "f": np.linspace(0, 1, 6, dtype=np.float32)[None]}
    graph = read_model(masked(nodes, 18, TensorProto.INT64, **scalars))
    assert kinds(graph) == {"Add": 1}
    assert [type(n.op) for n in graph.nodes() if not n.inputs] == [Input, Input, Constant]


def test_constants_that_cost_too_much_are_not_computed() -> None:
    """An innocent file that asks for 2^40 products."""
    nodes = [
        node("Expand", ["o", "s"], ["a"]),
        node("Einsum", ["a", "a"], ["e"], equation="ij,kl->ijkl"),
        node("ReduceMean", ["e"], ["m"]),
        node("Add", ["x", "m"], ["y"]),
    ]
    error = refusal(masked(nodes, o=np.ones((1, 1), np.float32), s=integers(1024, 1024)))
    assert "Einsum" in str(error)


def test_where_is_known_before_it_is_written() -> None:
    graph = read_model(SPELLINGS["not"]())
    (choice,) = (n for n in graph.nodes() if isinstance(n.op, Where))
    assert choice.shape == (1, 6) and isinstance(choice.inputs[0].op, Input)


def attended(mask: Nodes, guard: bool = False, keep: bool = False, **weights: Array) -> onnx.ModelProto:
    """Attention over q, k, v (1, 2, 5, 4): `mask` makes m of the scores s; keep: the weights are an output too."""
    nodes = [
        node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "t"], ["s"]),
        *mask,
        node("Softmax", ["m"], ["p"], axis=-1),
        *([node("IsNaN", ["p"], ["n"]), node("Where", ["n", "none", "p"], ["w"])] if guard else []),
        node("MatMul", ["w" if guard else "p", "v"], ["y"]),
    ]
    names = ["y", "p"] if keep else ["y"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2, 5, 4)) for name in "qkv"],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in {**weights, "none": ZERO}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


LOWER = np.tril(np.ones((5, 5), np.bool_))
STRICTLY = np.tril(LOWER, -1)  # the first query has no key
ADDED = [node("Add", ["s", "f"], ["m"])]
CHOSEN = [node("Where", ["c", "s", "f"], ["m"])]
DROPPED = [node("Where", ["c", "f", "s"], ["m"])]
FACTOR = [node("Where", ["c", "s", "f"], ["x"]), node("Div", ["x", "d"], ["m"])]


def added(rows: Array, level: float) -> Array:
    return np.where(rows, 0, level).astype(np.float32)


@pytest.mark.parametrize("level", [-1e4, -65504.0, -1e7, -1e9, -1e20, -3.4e38, -np.inf])
@pytest.mark.parametrize("keep", [False, True])
def test_masks_of_any_size(level: float, keep: bool) -> None:
    """A chosen number is only fused where no score that counts can lie below it: its weights are then those of a sum."""
    number = np.float32(level) * ONE
    for position, model in enumerate(
        (
            attended(ADDED, keep=keep, f=added(LOWER, level)),
            attended(CHOSEN, keep=keep, c=LOWER, f=number),
            attended(CHOSEN, keep=keep, c=LOWER, f=np.full((5, 5), number)),
            attended(DROPPED, keep=keep, c=~LOWER, f=number),
            attended(FACTOR, keep=keep, c=LOWER, f=number, d=np.float32(0.7) * ONE),
        )
    ):
        graph = check(model, "one block")
        assert kinds(graph)["Attention"] == (not keep and (position == 0 or level < -1e30))


@pytest.mark.parametrize("level", [-1e4, -1e9, -1e30, -3.4e38, -np.inf])
def test_rows_that_mask_every_key_give_onnxruntimes_values(level: float) -> None:
    """Of a sum with -1e4 the weights of the scores, of larger masks equal ones, of minus infinity nan, or 0 if guarded."""
    number = np.float32(level) * ONE
    for guard in (False, True):
        for model in (
            attended(ADDED, guard, f=added(STRICTLY, level)),
            attended(CHOSEN, guard, c=STRICTLY, f=number),
            attended(DROPPED, guard, c=~STRICTLY, f=number),
        ):
            graph = read_model(model)
            rng = np.random.default_rng(0)
            x = {name: rng.standard_normal((1, 2, 5, 4)).astype(np.float32) for name in "qkv"}
            wanted = session(model).run(None, x)[0]
            assert np.isnan(wanted[:, :, 0]).all() == (not guard and level == -np.inf)
            with np.errstate(all="ignore"):
                found = interpret(graph, x)["y"]
            assert np.allclose(found, wanted, rtol=0, atol=1e-5, equal_nan=True), (guard, model.graph.node[2].op_type)
