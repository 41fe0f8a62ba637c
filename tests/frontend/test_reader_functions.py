"""Clip with any bounds, and every function of one value, as onnxruntime computes them; in int8 they are one step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.ir import Graph
from edgewright.passes.ops import Clip, Elementwise, HardSwish, Relu, Requantise, Table
from edgewright.passes.ops.elementwise import FUNCTIONS
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.frontend.small_models import check_float, check_int8, model_of, node, normal
from tests.frontend.test_reader import kinds

X = {"x": (1, 5, 24)}
BOUNDS = (-math.inf, -3.4e38, -1e8, -65504.0, -1.0, -1e-30, 0.0, 1e-30, 0.5, 6.0, 65504.0, 1e8, 3.4e38, math.inf)


def operators(graph: Graph) -> list[object]:
    return [n.op for n in graph.nodes() if type(n.op) in (Clip, Relu, Elementwise, HardSwish, Table)]


@given(st.sampled_from(BOUNDS[:-1]), st.sampled_from(BOUNDS[1:]), st.sampled_from([11, 13, 18]))
@settings(max_examples=60, deadline=None)
def test_clip_with_any_bounds(low: float, high: float, opset: int) -> None:
    """In front of a division, where what is left of x counts relative to itself."""
    x = np.concatenate([normal(1, 60), 1e-4 * normal(2, 30), 1e-20 * normal(3, 30)]).reshape(1, 5, 24)
    x = np.asarray(x + np.float32(max(0.0, low) if low < 100 else 0), np.float32)
    bounds = {"low": low, "high": high}
    names = [name if math.isfinite(value) else "-" for name, value in bounds.items()]
    weights = {name: np.array(value) for name, value in bounds.items() if math.isfinite(value)}
    check_float(model_of([node("Clip", " ".join(["x", *names]))], X, weights, opset), {"x": x}, tolerance=0)


def test_bounds_that_are_computed() -> None:
    model = model_of([node("Clip", "x low high")], {**X, "low": (), "high": ()}, opset=13)
    bounds = {"low": np.full((), -0.5, np.float32), "high": np.full((), 0.25, np.float32)}
    check_float(model, {"x": normal(0, 1, 5, 24), **bounds}, 0)


def test_what_a_clip_is_part_of() -> None:
    three, six = np.array(3.0), np.array(6.0)
    inner = [node("Add", "x three", "a"), node("Clip", "a zero six", "c")]
    swish = [*inner, node("Mul", "x c", "m"), node("Div", "m six")]
    weights = {"three": three, "six": six, "zero": np.array(0.0)}
    assert operators(check_float(model_of(swish, X, weights))) == [HardSwish()]
    assert operators(read_model(model_of([node("Clip", "x zero")], X, weights))) == [Relu()]
    assert operators(read_model(model_of([node("Max", "zero x")], X, weights))) == [Relu()]
    assert operators(read_model(model_of([node("Min", "x six")], X, weights))) == [Clip(high=6.0)]


@pytest.mark.parametrize("tiny", [1e-5, 1e-7, 1e-12])
def test_little_that_is_added_to_an_activation_stays(tiny: float) -> None:
    """Dividing by relu(x) + 1e-5 is not dividing by relu(x)."""
    nodes = [node("Relu", "x", "a"), node("Add", "a tiny", "b"), node("Div", "x b")]
    check_float(model_of(nodes, X, {"tiny": np.array(tiny)}))
    nodes = [node("Sigmoid", "x", "a"), node("Add", "a tiny", "b"), node("Log", "b")]
    assert kinds(read_model(model_of(nodes, X, {"tiny": np.array(tiny)})))["Add"] == 1


def test_a_clip_far_from_zero_is_no_activation() -> None:
    nodes = [node("Clip", "x - high", "c"), node("Relu", "c", "r"), node("Mul", "r two", "m"), node("Div", "m two")]
    model = model_of(nodes, X, {"high": np.array(20.0), "two": np.array(2.0)})
    check_float(model, {"x": 30 * normal(0, 1, 5, 24)}, 0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    opset = {"Mish": 18, "Celu": 12}.get(name, 11)
    attributes: dict[str, Any] = {key: 1.25 * value for key, value in FUNCTIONS[name].parameters.items()}
    nodes = [node("Abs", "x", "a"), node(name, "a", **attributes)] if name == "Log" else [node(name, "x", **attributes)]
    found = operators(check_float(model_of(nodes, X, opset=opset), {"x": 3 * normal(4, 1, 5, 24)}))
    assert [op.function for op in found if isinstance(op, Elementwise)][-1] == name
    if name != "Log":
        check_float(model_of([node(name, "x")], X, opset=opset))


def test_prelu() -> None:
    slopes = {"slope": normal(3, 4, 1, 1), "one": np.array([0.3])}
    image = {"x": (1, 4, 5, 6)}
    check_float(model_of([node("PRelu", "x slope")], image, slopes))
    (one,) = operators(check_float(model_of([node("PRelu", "x one")], image, slopes)))
    assert one == Elementwise("LeakyRelu", (np.float32(0.3).item(),))


@given(st.integers(1, 4), st.booleans(), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_largest_and_smallest_of_several(count: int, largest: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [(1, 3, 4, 5), (4, 5), (1, 3, 1, 1), (1, 1, 4, 1), ()]
    names = [f"x{i}" for i in range(count)]
    inputs = {name: shapes[rng.integers(len(shapes))] for name in names}
    inputs["x0"] = shapes[0]
    constants = {"w": rng.standard_normal(shapes[rng.integers(len(shapes))])}
    model = model_of([node("Max" if largest else "Min", " ".join([*names, "w"]))], inputs, constants)
    check_float(model, tolerance=0)


CONV = {"w": normal(5, 8, 4, 3, 3) / 6, "b": normal(6, 8), "low": np.array(-0.5), "high": np.array(1.0)}
LINEAR = {"w": normal(5, 24, 16) / 5, "bias": normal(6, 16), "low": np.array(-0.5), "high": np.array(1.0)}


@pytest.mark.parametrize("bounds", ["low high", "- high", "low"])
def test_a_clip_in_int8_is_part_of_the_product_before_it(bounds: str) -> None:
    nodes = [node("Conv", "x w b", "c", pads=[1] * 4), node("Clip", f"c {bounds}", "k"), node("Conv", "k v")]
    weights = {**CONV, "v": normal(7, 4, 8, 1, 1)}
    integer = check_int8(model_of(nodes, {"x": (1, 4, 8, 8)}, weights), 30)
    assert not kinds(integer)["Table"]
    nodes = [node("MatMul", "x w", "m"), node("Add", "m bias", "c"), node("Clip", f"c {bounds}", "k"), node("MatMul", "k v")]
    integer = check_int8(model_of(nodes, X, {**LINEAR, "v": normal(7, 16, 4)}), 28)
    assert kinds(integer)["Table"] + kinds(integer)["Clip"] <= 1


def test_a_clip_that_a_sum_reads_keeps_16_bits() -> None:
    nodes = [node("MatMul", "x w", "m"), node("Clip", "m low high", "k"), node("Add", "k m", "s"), node("MatMul", "s v")]
    integer = check_int8(model_of(nodes, X, {**LINEAR, "v": normal(7, 16, 4)}), 30)
    assert any(isinstance(n.op, Clip) and str(n.elem) == "i16" for n in integer.nodes())
    assert any(isinstance(n.op, Requantise) for n in integer.nodes())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_in_int8_is_a_table(name: str) -> None:
    attributes: dict[str, Any] = dict(FUNCTIONS[name].parameters)
    front = [node("MatMul", "x w", "m"), node("Clip", "m bottom", "n")] if name == "Log" else [node("MatMul", "x w", "n")]
    nodes = [*front, node(name, "n", "f", **attributes), node("MatMul", "f v")]
    jumps = name in ("Ceil", "Floor", "Round", "ThresholdedRelu")
    weights = {**LINEAR, "w": (4 if jumps else 1) * LINEAR["w"], "v": normal(7, 16, 4), "bottom": np.array(0.2)}
    integer = check_int8(model_of(nodes, X, weights), 14 if jumps else 26)
    assert kinds(integer)["Table"] == 1  # a bound and the function behind it are one


def test_extremes_in_int8() -> None:
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "x u", "b"), node("Max", "a b", "c"), node("Min", "c high", "d")]
    nodes += [node("MatMul", "d v")]
    check_int8(model_of(nodes, X, {**LINEAR, "u": normal(8, 24, 16) / 5, "v": normal(7, 16, 4)}), 28)
