"""Functions of one value, however they are spelled: one table in integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import (
    Add,
    Div,
    Exp,
    Gelu,
    Linear,
    Mul,
    Pow,
    Reciprocal,
    Relu,
    Sigmoid,
    Sqrt,
    Sub,
    Table,
    Tanh,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import Quantised, optimise, quantise
from edgewright.passes.quantisation.compose_functions import ComposeFunctions
from edgewright.passes.quantisation.function import Function
from edgewright.passes.quantisation.sqnr import decibels

from tests.frontend.test_writer_integer import assert_same_bits
from tests.mixed_models import Layers, samples, scalar


def quick_gelu(x: Node) -> Node:
    gate = make(Sigmoid(), make(Mul(), x, scalar(1.702), origin=("scaled",)), origin=("gate",))
    return make(Mul(), x, gate, origin=("f",))


def squared_relu(x: Node) -> Node:
    return make(Pow(), make(Relu(), x, origin=("relu",)), scalar(2.0), origin=("f",))


def softplus_like(x: Node) -> Node:
    one = make(Add(), make(Exp(), x, origin=("e",)), scalar(1.0), origin=("e1",))
    return make(Mul(), x, make(Tanh(), make(Sqrt(), one, origin=("r",)), origin=("t",)), origin=("f",))


def rational(x: Node) -> Node:
    square = make(Mul(), x, x, origin=("xx",))
    return make(Div(), x, make(Add(), square, scalar(1.0), origin=("xx1",)), origin=("f",))


def inverse(x: Node) -> Node:
    return make(Reciprocal(), make(Add(), make(Mul(), x, x), scalar(0.5), origin=("p",)), origin=("f",))


FUNCTIONS: dict[str, tuple[Callable[[Node], Node], float]] = {
    "quick gelu": (quick_gelu, 31),
    "squared relu": (squared_relu, 25),
    "squared": (lambda x: make(Pow(), x, scalar(2.0), origin=("f",)), 24),
    "multiplied by itself": (lambda x: make(Mul(), x, x, origin=("f",)), 24),
    "cubed": (lambda x: make(Pow(), x, scalar(3.0), origin=("f",)), 15),
    "exp, sqrt, tanh": (softplus_like, 30),
    "rational": (rational, 30),
    "reciprocal": (inverse, 30),
    "affine around": (lambda x: make(Sub(), scalar(1.0), make(Gelu("none"), x, origin=("g",)), origin=("f",)), 32),
}


def network(function: Callable[[Node], Node]) -> Graph:
    layers, x = Layers(0), graph_input("x", (1, 6, 16))
    return Graph("net", (x,), (layers.linear(function(layers.linear(x, 16, "before")), 8, "after"),), ("y",))


def quantised(graph: Graph) -> Quantised:
    return quantise(optimise(graph)[0], samples(graph, 32))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_one_value_is_one_table(name: str) -> None:
    function, least_db = FUNCTIONS[name]
    graph = network(function)
    done = quantised(graph)
    tables = [node for node in done.graph if isinstance(node.op, Table)]
    assert [node.name for node in tables] == ["f"]
    assert {node.op.kind for node in done.graph} <= {"Input", "Quantise", "Linear", "Requantise", "Table", "Constant"}
    x = samples(graph, 32, seed=1)
    (output,) = done.graph.outputs
    assert output.quant is not None
    db = decibels(interpret(graph, x)["y"], output.quant.real(interpret(done.graph, x)["y"]))
    assert db is not None and db > least_db
    assert_same_bits(done.graph.outputs, samples(graph, 1, seed=2))


def composed(graph: Graph) -> list[Function]:
    return [node.op for node in ComposeFunctions()(graph)[0] if isinstance(node.op, Function)]


def test_a_composed_function_gives_the_same_values() -> None:
    for function, _ in FUNCTIONS.values():
        graph = network(function)
        x = samples(graph, 3)
        assert np.array_equal(interpret(graph, x)["y"], interpret(ComposeFunctions()(graph)[0], x)["y"])


def test_what_is_no_function_of_one_value_stays() -> None:
    vector = constant(np.linspace(0.5, 2, 16, dtype=np.float32))
    assert not composed(network(lambda x: make(Mul(), make(Gelu("none"), x), vector)))
    assert not composed(network(lambda x: make(Gelu("none"), x)))
    assert not composed(network(lambda x: make(Mul(), make(Relu(), x), scalar(0.5)))), "free, in 16 bits"
    layers = Layers(1)
    assert not composed(network(lambda x: make(Mul(), x, layers.linear(x, 16, "other"))))


def test_a_value_that_others_read_is_where_a_function_starts() -> None:
    layers, x = Layers(0), graph_input("x", (1, 6, 16))
    shared = make(Tanh(), layers.linear(x, 16, "a"), origin=("shared",))
    f = make(Exp(), make(Mul(), shared, scalar(2.0), origin=("two",)), origin=("f",))
    graph = Graph("g", (x,), (layers.linear(f, 4, "b"), layers.linear(shared, 4, "c")), ("y", "z"))
    (function,) = composed(graph)
    assert [type(op) for op, _ in function.steps] == [Mul, Exp]
    assert {node.name for node in quantised(graph).graph if isinstance(node.op, Table)} == {"shared", "f"}
    assert any(isinstance(node.op, Linear) for node in graph)


def test_what_is_not_defined_is_0_and_what_has_no_end_saturates() -> None:
    root = Function(((Sqrt(), (0,)), (Reciprocal(), (1,))))
    assert root.eval(np.array([-1.0, 0.0, 4.0])).tolist() == [0.0, np.inf, 0.5]
