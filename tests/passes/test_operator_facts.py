"""What operators say of themselves holds of what they compute, and every rule that reads it knows every operator."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgewright.frontend.canonical.activation import FuseActivations
from edgewright.frontend.canonical.channels import PUSH
from edgewright.frontend.canonical.linear import MoveReshapesDown
from edgewright.passes import ops
from edgewright.passes.exact.sink_reshapes import SinkReshapes
from edgewright.passes.exact.slice_early import SliceEarly
from edgewright.passes.ir.facts import Facts
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import INT64, Array, Level
from edgewright.passes.ops import constant, graph_input, groups
from edgewright.passes.ops.unary import Unary
from edgewright.passes.quantisation.function import Function
from edgewright.passes.structure.channel_labels import label_channels
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.learn.operands import CASES, Sizes

EVERY = [*groups.OPERATORS, Function]
FLOAT_UNARY: dict[type[Op], Op] = {
    op: ops.Elementwise("Elu", (1.0,)) if op is ops.Elementwise else op()
    for op in groups.UNARY
    if op in groups.FLOAT_LEVEL and op is not ops.Cast
}


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.__name__)
def test_every_operator_declares_every_fact_itself(op: type[Op]) -> None:
    assert isinstance(vars(op)["facts"], Facts), "inherited facts are somebody else's"


def test_an_operator_without_facts_is_refused_where_it_is_defined() -> None:
    with pytest.raises(TypeError, match="Bare declares no facts"):
        type("Bare", (ops.Relu,), {"__slots__": ()})


def test_no_fact_has_a_default() -> None:
    missing = dataclasses.MISSING
    assert all(f.default is missing and f.default_factory is missing for f in dataclasses.fields(Facts))


def test_the_list_of_operators_is_the_language() -> None:
    classes = [vars(importlib.import_module(f"{ops.__name__}.{path.stem}")) for path in Path(ops.__path__[0]).glob("[a-z]*.py")]
    defined = {value for names in classes for value in names.values() if isinstance(value, type) and issubclass(value, Op)}
    assert set(groups.OPERATORS) == {op for op in defined if not inspect.isabstract(op)}, "passes/ops/__init__.py"
    assert set(groups.FLOAT_LEVEL) | set(groups.ONLY_QUANTISED) == set(groups.OPERATORS)
    assert set(groups.UNARY) >= {op for op in groups.OPERATORS if issubclass(op, Unary)}
    assert set(groups.TABLES) <= set(groups.UNARY) and set(groups.WINDOWS) <= set(groups.CHOOSING)


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_facts_hold_of_the_values(kind: type[Op], data: st.DataObject) -> None:
    op, operands = CASES[kind](Sizes(data.draw))
    facts = op.facts
    result = op.eval(*operands)
    if facts.elementwise:
        flat = (x.reshape(-1) for x in np.broadcast_arrays(*operands))
        np.testing.assert_array_equal(op.eval(*flat), result.reshape(-1))
    if facts.unary:
        assert len(operands) == 1
    if facts.chooses:
        assert np.isin(result, np.concatenate([x.reshape(-1).astype(result.dtype) for x in operands])).all()
    if facts.per_token and operands[0].size:
        x, *parameters = operands
        rows = np.concatenate([op.eval(row[None], *parameters) for row in x.reshape(-1, x.shape[-1])])
        np.testing.assert_allclose(rows.reshape(result.shape), result, rtol=1e-5, atol=1e-5)
    if facts.affine:
        for i in range(1 if kind is ops.Div else len(operands)):
            ends = [[x if j != i else x + shift for j, x in enumerate(operands)] for shift in (-2, 2)]
            middle = sum(np.float64(op.eval(*end)) for end in ends) / 2
            np.testing.assert_allclose(middle, result, rtol=1e-4, atol=1e-4)
    assert Level.FLOAT in facts.levels


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_what_works_element_by_element_on_one_value_says_so(kind: type[Op]) -> None:
    """The other way round: an operator of one operand that gives each place what it gives it alone is unary."""
    found = []
    for seed in range(8):
        drawn = np.random.default_rng(seed)
        op, operands = CASES[kind](Sizes(lambda strategy, drawn=drawn: int(drawn.integers(2, 4))))  # type: ignore[misc]
        if len(operands) != 1 or op.eval(*operands).shape != operands[0].shape:
            return
        x = operands[0].reshape(-1)
        try:
            alone = np.concatenate([op.eval(value.reshape((1,) * operands[0].ndim)).reshape(-1) for value in x])
        except (ValueError, IndexError):
            return
        found.append(np.array_equal(alone, op.eval(*operands).reshape(-1)) and not op.facts.chooses)
    assert all(found) == op.facts.unary


def _result(graph: Graph) -> list[Array]:
    rng = np.random.default_rng(0)
    values = {n.op.name: rng.uniform(0.5, 2, n.shape).astype(np.float32) for n in graph.inputs if isinstance(n.op, ops.Input)}
    return list(interpret(graph, values).values())


def _same(before: Graph, after: Graph) -> None:
    for a, b in zip(_result(before), _result(after), strict=True):
        np.testing.assert_array_equal(a, b)


def _graph(x: Node, y: Node) -> Graph:
    return Graph("one", (x,), (y,), ("y",))


@pytest.mark.parametrize("op", FLOAT_UNARY.values(), ids=lambda op: op.kind)
def test_rules_move_across_every_function_of_one_value(op: Op) -> None:
    """They lacked Erf, Exp, Neg, Reciprocal, Sign and Sqrt, each rule some of them."""
    x = graph_input("x", (1, 4, 6))
    graph = _graph(x, make(ops.Slice(1, 0, 1), make(op, x)))
    after, _ = SliceEarly()(graph)
    assert after.outputs[0].op == op, "the slice comes first"
    _same(graph, after)
    graph = _graph(x, make(op, make(ops.Reshape((4, 1, 6)), x)))
    for moved in (MoveReshapesDown()(graph)[0], SinkReshapes()(graph)[0]):
        assert isinstance(moved.outputs[0].op, ops.Reshape)
        _same(graph, moved)
    pixels = graph_input("x", (1, 2, 3, 5))
    graph = _graph(pixels, make(op, make(ops.Transpose((0, 3, 1, 2)), pixels)))
    moved = PUSH(graph)[0]
    assert isinstance(moved.outputs[0].op, ops.Transpose)
    _same(graph, moved)
    weight, bias = constant(np.ones((6, 6), np.float32)), constant(np.zeros(6, np.float32))
    product = make(ops.Linear(), x, weight, bias)
    labels = label_channels(_graph(x, make(op, product)))
    assert np.array_equal(labels.of[labels.graph.outputs[0]], labels.of[product])  # type: ignore[arg-type]


PAIRS: tuple[Op, ...] = (ops.Add(), ops.Sub(), ops.Mul(), ops.Div(), ops.Pow(), ops.Max(), ops.Min())


@pytest.mark.parametrize("op", PAIRS, ids=lambda op: op.kind)
def test_rules_move_across_every_operator_that_broadcasts(op: Op) -> None:
    """Slices of tokens lacked Max, Min and Pow, moves of channels Pow."""
    rng = np.random.default_rng(0)
    x = graph_input("x", (1, 4, 6))
    graph = _graph(x, make(ops.Slice(1, 0, 1), make(op, x, constant(rng.uniform(0.5, 2, (1, 4, 6)).astype(np.float32)))))
    after, _ = SliceEarly()(graph)
    assert after.outputs[0].op == op
    _same(graph, after)
    pixels = graph_input("x", (1, 2, 3, 5))
    image = make(ops.Transpose((0, 3, 1, 2)), pixels)
    graph = _graph(pixels, make(op, image, constant(rng.uniform(0.5, 2, (1, 5, 1, 1)).astype(np.float32))))
    moved = PUSH(graph)[0]
    assert isinstance(moved.outputs[0].op, ops.Transpose)
    _same(graph, moved)


def _hard_swish(x: Node, scalar: Callable[[float], Node]) -> Node:
    gate = make(ops.Min(), make(ops.Max(), make(ops.Add(), x, scalar(3)), scalar(0)), scalar(6))
    return make(ops.Div(), make(ops.Mul(), x, gate), scalar(6))


def test_an_activation_is_recognised_through_max_and_min() -> None:
    x = graph_input("x", (1, 4, 6))
    graph = _graph(x, _hard_swish(x, lambda value: constant(np.array(value, np.float32))))
    assert FuseActivations()(graph)[0].outputs[0].op == ops.HardSwish()


def test_what_is_computed_from_integers_is_no_activation_of_them() -> None:
    ids = graph_input("ids", (1, 4), INT64)
    x = make(ops.Cast(), ids)
    graph = _graph(ids, make(ops.Mul(), x, make(ops.Sigmoid(), x)))
    fused = FuseActivations()(graph)[0].outputs[0]
    assert fused.op == ops.Silu() and fused.inputs[0].op == ops.Cast()
