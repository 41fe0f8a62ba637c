"""Graphs: order, rewriting, checks, text, interpretation of batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.passes.ir.graph import Graph, Node, make, rewrite
from edgewright.passes.ir.interp import batchable, interpret, interpret_all
from edgewright.passes.ir.text import digest, to_text
from edgewright.passes.ir.types import INT8, Level, TensorType
from edgewright.passes.ir.verify import verify
from edgewright.passes.ops import (
    Add,
    Attention,
    Concat,
    Linear,
    Quantise,
    Relu,
    Requantise,
    Reshape,
    Tanh,
    Transpose,
    constant,
    graph_input,
)

from tests.models import images, tiny_vit


def chain(length: int) -> Graph:
    x = node = graph_input("x", (1, 4))
    for i in range(length):
        node = make(Relu(), node, origin=(f"n{i}",))
    return Graph("chain", (x,), (node,), ("y",))


def test_a_long_chain_needs_no_recursion() -> None:
    graph = chain(5000)
    assert len(graph.nodes()) == 5001
    rewritten = rewrite(graph, lambda n: make(Tanh(), *n.inputs, origin=n.origin) if isinstance(n.op, Relu) else None)
    assert len(rewritten.nodes()) == 5001
    assert not any(isinstance(n.op, Relu) for n in rewritten)


def test_operands_come_before_users_and_shared_nodes_once() -> None:
    graph = tiny_vit(blocks=2)
    nodes = graph.nodes()
    assert len(set(nodes)) == len(nodes)
    seen: set[Node] = set()
    for node in nodes:
        assert seen.issuperset(node.inputs)
        seen.add(node)


def test_rewrite_keeps_what_does_not_change() -> None:
    graph = tiny_vit()
    assert rewrite(graph, lambda node: None).outputs == graph.outputs


def test_text_and_digest_depend_on_constants_and_attributes() -> None:
    assert to_text(tiny_vit(1)) == to_text(tiny_vit(1))
    assert digest(tiny_vit(1)) != digest(tiny_vit(2))
    assert digest(tiny_vit(activation="gelu")) != digest(tiny_vit(activation="gelu_tanh"))
    assert "%4 = Linear(%3, " in to_text(tiny_vit(pooling="avg"))
    assert "Gelu[approximate='tanh'](" in to_text(tiny_vit(activation="gelu_tanh"))


def test_constants_are_read_only_copies() -> None:
    given = np.zeros(3)
    node = constant(given)
    given[0] = 1
    value = node.op.eval()
    assert value.dtype == np.float32
    assert not value.any()
    with pytest.raises(ValueError, match="read-only"):
        value[0] = 1


@pytest.mark.parametrize("pooling", ["cls", "avg"])
def test_a_batch_gives_what_single_samples_give(pooling: str) -> None:
    graph = tiny_vit(pooling=pooling, blocks=2)
    assert batchable(graph)
    x = images(graph, 7)
    together = interpret(graph, {"image": x})["logits"]
    one_by_one = np.concatenate([interpret(graph, {"image": x[i : i + 1]})["logits"] for i in range(7)])
    assert np.abs(together - one_by_one).max() < 1e-5
    assert np.array_equal(interpret_all(graph, {"image": x})[graph.outputs[0]].shape, together.shape)


@pytest.mark.parametrize(("shape", "together"), [((1, 1, 1, 3), True), ((1, 1, 3), False), ((1, 3), False)])
def test_a_mask_keeps_its_sample(shape: tuple[int, ...], together: bool) -> None:
    x, mask = graph_input("x", (1, 3, 4)), graph_input("mask", shape)
    graph = Graph("masked", (x, mask), (make(Attention(2), x, x, x, mask),), ("y",))
    assert batchable(graph) is together
    rng = np.random.default_rng(0)
    given = {"x": rng.standard_normal((5, 3, 4)), "mask": rng.standard_normal((5, *shape[1:]))}
    one_by_one = [interpret(graph, {name: value[i : i + 1] for name, value in given.items()})["y"] for i in range(5)]
    assert np.allclose(interpret(graph, given)["y"], np.concatenate(one_by_one), atol=1e-6)


def test_a_graph_that_moves_the_batch_runs_sample_by_sample() -> None:
    x = graph_input("x", (1, 3, 4))
    moved = make(Transpose((1, 0, 2)), x)
    graph = Graph("moves", (x,), (make(Reshape((1, 12)), moved),), ("y",))
    assert not batchable(graph)
    samples = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(interpret(graph, {"x": samples})["y"], samples.reshape(2, 12))
    with pytest.raises(ValueError, match="one sample at a time"):
        interpret_all(graph, {"x": samples})


@pytest.mark.parametrize("given", [{}, {"y": np.zeros((1, 4))}, {"x": np.zeros((1, 5))}, {"x": np.zeros(4)}])
def test_wrong_inputs_are_refused(given: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"takes"):
        interpret(chain(1), given)


def codes_of(graph: Graph) -> list[str]:
    with pytest.raises(CompileError) as caught:
        verify(graph, after="Test")
    assert all("(after Test)" in d.at for d in caught.value.diagnostics)
    return [d.code for d in caught.value.diagnostics]


def test_verify_accepts_what_is_built_by_make() -> None:
    verify(tiny_vit(blocks=2))
    verify(chain(3))


def test_verify_finds_a_wrong_type() -> None:
    x = graph_input("x", (1, 4))
    wrong = Node(Relu(), (x,), TensorType((1, 5)), ("relu",))
    assert codes_of(Graph("g", (x,), (wrong,), ("y",))) == ["G003"]


def test_verify_finds_a_cycle() -> None:
    x = graph_input("x", (1, 4))
    first = make(Relu(), x)
    second = make(Add(), first, x)
    object.__setattr__(first, "inputs", (second,))
    assert codes_of(Graph("g", (x,), (second,), ("y",))) == ["G001"]


def test_verify_finds_interfaces_that_do_not_match() -> None:
    graph = chain(1)
    assert codes_of(dataclasses.replace(graph, output_names=("y", "y"))) == ["G002"]
    assert codes_of(dataclasses.replace(graph, inputs=())) == ["G002"]
    joined = make(Concat(1), graph.outputs[0], graph_input("x", (1, 2)))
    assert codes_of(dataclasses.replace(graph, outputs=(joined,))) == ["G002"]


def test_verify_finds_ops_at_the_wrong_level() -> None:
    graph = chain(1)
    assert codes_of(dataclasses.replace(graph, level=Level.QUANTISED)) == ["G004"]
    quantised = make(Quantise(0.1), graph.inputs[0])
    assert codes_of(dataclasses.replace(graph, outputs=(quantised,))) == ["G004"]


def integer_linear(weight: np.ndarray, bias: int, multiplier: int = 1 << 15) -> Graph:
    x = graph_input("x", (1, weight.shape[1]))
    acc = make(
        Linear(),
        make(Quantise(0.1), x),
        constant(weight),
        constant(np.full(len(weight), bias, np.int32)),
        origin=("layer",),
    )
    factor = constant(np.array([multiplier], np.int32)), constant(np.array([15], np.int8))
    return Graph("g", (x,), (make(Requantise(), acc, *factor),), ("y",), Level.QUANTISED)


def test_verify_bounds_accumulators_by_the_actual_weights() -> None:
    full = np.full((2, 2048), 127, np.int8)
    verify(integer_linear(full, 0))
    assert codes_of(integer_linear(full, 1 << 26)) == ["Q003"]
    wide = np.full((2, 8192), 127, np.int8)
    assert codes_of(integer_linear(wide, 0)) == ["Q003"]
    verify(integer_linear(wide // 16, 0))
    with pytest.raises(CompileError) as caught:
        verify(integer_linear(wide, 0))
    assert caught.value.exit_code == Exit.MODEL
    assert "132128768" in caught.value.diagnostics[0].message


def test_verify_finds_constants_outside_the_arithmetic() -> None:
    assert codes_of(integer_linear(np.full((2, 4), -128, np.int8), 0)) == ["G005"]
    assert codes_of(integer_linear(np.ones((2, 4), np.int8), 0, multiplier=100)) == ["G005"]


def test_interpretation_catches_what_does_not_fit_its_type() -> None:
    x = graph_input("x", (1, 2), INT8)
    graph = Graph("g", (x,), (make(Reshape((2,)), x),), ("y",), Level.QUANTISED)
    with pytest.raises(OverflowError, match="does not fit i8"):
        interpret(graph, {"x": np.array([[1, 200]])})
