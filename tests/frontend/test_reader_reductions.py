"""Reductions over any axes, vectors of unit length, repeated values, grouped-query attention: onnxruntime's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.ops import Linear, RMSNormalization
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.frontend.small_models import check_float, check_int8, model_of, node, normal
from tests.frontend.test_reader import kinds

SHAPE = (2, 3, 4, 5)
REDUCTIONS = [
    *("ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceMax", "ReduceMin"),
]


@given(st.sampled_from(REDUCTIONS), st.sets(st.integers(-4, 3)), st.booleans(), st.sampled_from([13, 17, 18]))
@settings(max_examples=40, deadline=None)
def test_reductions(kind: str, axes: set[int], keep: bool, opset: int) -> None:
    chosen = list({axis % 4: axis for axis in axes}.values())
    by_input = opset >= 18 or kind == "ReduceSum"
    attributes: dict[str, Any] = {"axes": chosen} if chosen and not by_input else {}
    names = "x axes" if chosen and by_input else "x"
    weights = {"axes": np.array(chosen, np.int64)} if chosen and by_input else {}
    model = model_of([node(kind, names, keepdims=int(keep), **attributes)], {"x": SHAPE}, weights, opset)
    check_float(model, tolerance=1e-5)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(1, 3, 7), (1, 3, 5, 6)])
def test_global_pooling(kind: str, shape: tuple[int, ...]) -> None:
    check_float(model_of([node(kind, "x")], {"x": shape}))


def unit_vectors(spelling: str, axis: int) -> list[onnx.NodeProto]:
    """x over its length, in the spellings of exporters."""
    length = node("ReduceL2", "x axis", "n", keepdims=1)
    if spelling == "torch":  # F.normalize
        return [length, node("Clip", "n floor", "c"), node("Shape", "x", "s"), node("Expand", "c s", "e"), node("Div", "x e")]
    if spelling == "operator":
        return [node("LpNormalization", "x", axis=axis, p=2)]
    if spelling == "maximum":
        return [length, node("Max", "n floor", "c"), node("Div", "x c")]
    if spelling == "reciprocal":
        return [length, node("Max", "n floor", "c"), node("Reciprocal", "c", "r"), node("Mul", "r x")]
    if spelling == "plain":
        return [length, node("Div", "x n")]
    sums = [node("Pow", "x two", "q"), node("ReduceSum", "q axis", "s", keepdims=1)]
    if spelling == "added inside":
        return [*sums, node("Add", "s floor2", "t"), node("Sqrt", "t", "n"), node("Div", "x n")]
    assert spelling == "sums"
    return [*sums, node("Pow", "s half", "n"), node("Add", "n floor", "c"), node("Div", "x c")]


SPELLINGS = ["torch", "operator", "maximum", "reciprocal", "plain", "added inside", "sums"]
NUMBERS = {"floor": np.array(1e-12), "floor2": np.array(1e-24), "two": np.array(2.0), "half": np.array(0.5)}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("axis", [-1, 1])
def test_unit_vectors(spelling: str, axis: int) -> None:
    model = model_of(unit_vectors(spelling, axis), {"x": (1, 5, 24)}, {**NUMBERS, "axis": np.array([axis])})
    graph = read_model(model)
    assert kinds(graph)["RMSNormalization"] == 1 and set(kinds(graph)) <= {"RMSNormalization", "Transpose"}
    for size in (1.0, 1e3, 1e-3, 1e-6):
        check_float(model, {"x": np.float32(size) * normal(1, 1, 5, 24)})
    if spelling != "plain":
        zero = normal(1, 1, 5, 24)
        zero[:, 2] = 0
        check_float(model, {"x": zero if axis == -1 else normal(2, 1, 5, 24)})


def test_a_floor_that_matters_stays() -> None:
    nodes = unit_vectors("maximum", -1)
    graph = check_float(model_of(nodes, {"x": (1, 5, 24)}, {**NUMBERS, "floor": np.array(3.0), "axis": np.array([-1])}))
    assert not kinds(graph)["RMSNormalization"] and kinds(graph)["Clip"] == 1


def test_unit_vectors_in_int8() -> None:
    nodes = [node("MatMul", "z w", "x"), *unit_vectors("torch", -1)]
    integer = check_int8(model_of(nodes, {"z": (1, 5, 16)}, {**NUMBERS, "axis": np.array([-1]), "w": normal(0, 16, 24)}), 30)
    assert kinds(integer)["RMSNormalization"] == 1


def test_the_mean_of_the_tokens_that_a_mask_keeps() -> None:
    """As sentence-transformers pool: sum(x * mask) / max(sum(mask), 1e-9)."""
    nodes = [
        node("Cast", "mask", "m", to=TensorProto.FLOAT),
        node("Unsqueeze", "m last", "u"),
        node("Shape", "x", "s"),
        node("Expand", "u s", "e"),
        node("Mul", "x e", "k"),
        node("ReduceSum", "k one", "sum", keepdims=0),
        node("ReduceSum", "e one", "count", keepdims=0),
        node("Clip", "count floor", "c"),
        node("Div", "sum c"),
    ]
    model = model_of(
        [node("MatMul", "z w", "x"), *nodes],
        {"z": (1, 6, 16)},
        {
            "w": normal(0, 16, 24),
            "last": np.array([-1]),
            "one": np.array([1]),
            "floor": np.array(1e-9),
        },
    )
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.INT64, (1, 6)))
    graph = read_model(model)
    assert not kinds(graph)["Div"]
    for kept in (6, 3, 0):
        mask = (np.arange(6) < kept).astype(np.int64)[None]
        check_float(model, {"z": normal(1, 1, 6, 16), "mask": mask}, 3e-6) if kept else None


@given(st.lists(st.integers(1, 3), min_size=3, max_size=3), st.booleans())
@settings(max_examples=30, deadline=None)
def test_repeating(counts: list[int], tile: bool) -> None:
    shape = (2, 3, 4) if tile else tuple(1 if count > 1 else n for count, n in zip(counts, (2, 3, 4), strict=True))
    wanted = counts if tile else [count if count > 1 else n for count, n in zip(counts, shape, strict=True)]
    nodes = [node("Tile" if tile else "Expand", "x counts", "e"), node("Relu", "e")]
    check_float(model_of(nodes, {"x": shape}, {"counts": np.array(wanted)}), tolerance=0)


def test_expanding_to_more_axes() -> None:
    check_float(model_of([node("Expand", "x shape", "e"), node("Relu", "e")], {"x": (3, 1)}, {"shape": np.array([2, 1, 1, 4])}))


@pytest.mark.parametrize("spelling", ["expand", "tile", "gather", "operator"])
def test_grouped_queries(spelling: str) -> None:
    """Six heads of queries, two of keys and values: the columns of the keys' weights are repeated."""
    width, heads, shared, dim, tokens = 24, 6, 2, 4, 7
    nodes = []
    for part, count in (("q", heads), ("k", shared), ("v", shared)):
        nodes += [node("MatMul", f"x w{part}", f"{part}0"), node("Reshape", f"{part}0 split{count}", f"{part}1")]
        nodes.append(node("Transpose", f"{part}1", f"{part}2", perm=[0, 2, 1, 3]))
        if count == heads or spelling == "operator":
            nodes.append(node("Identity", f"{part}2", part))
        elif spelling == "gather":
            nodes.append(node("Gather", f"{part}2 which", part, axis=1))
        else:
            nodes.append(node("Unsqueeze", f"{part}2 two", f"{part}3"))
            nodes.append(node(spelling.capitalize(), f"{part}3 {spelling}", f"{part}4"))
            nodes.append(node("Reshape", f"{part}4 whole", part))
    if spelling == "operator":
        nodes.append(node("Attention", "q k v", "m"))
    else:
        nodes += [node("Transpose", "k", "kt", perm=[0, 1, 3, 2]), node("MatMul", "q kt", "s"), node("Mul", "s scale", "t")]
        nodes += [node("Softmax", "t", "p", axis=-1), node("MatMul", "p v", "m")]
    nodes += [node("Transpose", "m", "n", perm=[0, 2, 1, 3]), node("Reshape", "n joined", "o"), node("MatMul", "o wo")]
    weights = {"wq": normal(1, width, width) / 4, "wk": normal(2, width, shared * dim) / 4}
    weights |= {"wv": normal(3, width, shared * dim) / 4, "wo": normal(4, width, width) / 4}
    weights |= {"scale": np.array(dim**-0.5), "two": np.array([2])}
    weights |= {f"split{n}": np.array([1, tokens, n, dim]) for n in (heads, shared)}
    weights |= {"expand": np.array([1, shared, heads // shared, tokens, dim]), "tile": np.array([1, 1, heads // shared, 1, 1])}
    weights |= {"whole": np.array([1, heads, tokens, dim]), "joined": np.array([1, tokens, width])}
    weights |= {"which": np.repeat(np.arange(shared), heads // shared)}
    model = model_of(nodes, {"x": (1, tokens, width)}, weights, opset=23 if spelling == "operator" else 18)
    graph = check_float(model)
    assert kinds(graph)["Attention"] == 1 and set(kinds(graph)) == {"Attention", "Linear"}
    assert sum(isinstance(n.op, Linear) for n in graph.nodes()) == 4
    assert not any(isinstance(n.op, RMSNormalization) for n in graph.nodes())
    check_int8(model, 25)


def test_constant_queries_are_attention() -> None:
    """A decoder's first block: what it asks for does not depend on the image, and its keys and values do."""
    tokens, heads, dim, queries = 6, 2, 8, 3
    width = heads * dim
    nodes = []
    for part, swapped in (("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [node("MatMul", f"x w{part}", f"{part}1"), node("Reshape", f"{part}1 split", f"{part}2")]
        nodes.append(node("Transpose", f"{part}2", part, perm=swapped))
    nodes += [node("MatMul", "q k", "s"), node("Softmax", "s", "p", axis=-1), node("MatMul", "p v", "m")]
    nodes += [node("Transpose", "m", "n", perm=[0, 2, 1, 3]), node("Reshape", "n joined", "o"), node("MatMul", "o wo")]
    weights = {"wk": normal(1, width, width) / 4, "wv": normal(2, width, width) / 4, "wo": normal(3, width, width) / 4}
    weights |= {"q": normal(4, 1, heads, queries, dim), "split": np.array([1, tokens, heads, dim])}
    weights |= {"joined": np.array([1, queries, width])}
    model = model_of(nodes, {"x": (1, tokens, width)}, weights, opset=18)
    assert kinds(check_float(model))["Attention"] == 1
    integer = check_int8(model, 25)
    assert kinds(integer)["Attention"] == 1
