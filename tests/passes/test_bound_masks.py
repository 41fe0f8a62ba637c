"""Masks of any size give the same integers: what they add is brought near to the scores before scales are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import INT64, Array
from edgewright.passes.ops import (
    Add,
    Attention,
    Linear,
    MatMul,
    Mul,
    Reshape,
    Softmax,
    Sub,
    Transpose,
    Where,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import quantise

from tests.passes.test_exact_fusions import Draw, graph_of

TOKENS, WIDTH = 6, 8
LEVELS = (-65504.0, -1e7, -1e9, -1e20, -1e30, -3.4e38, -np.inf)
KEPT = np.tril(np.ones((TOKENS, TOKENS), np.int64))


def number(value: float) -> Node:
    return constant(np.array(value, np.float32))


def causal(level: float) -> Node:
    return constant(np.where(KEPT > 0, 0, level).astype(np.float32))


def from_input(level: float, mask: Node) -> Node:
    return make(Where(), make(Reshape((1, 1, TOKENS)), mask), number(0.0), number(level))


def masked(scores: Node, kind: str, level: float, mask: Node) -> Node:
    if kind == "added":
        return make(Add(), scores, causal(level))
    if kind == "taken off":
        return make(Sub(), scores, constant(-causal(level).op.eval()))
    if kind == "chosen":
        return make(Where(), constant(KEPT), scores, number(level))
    if kind == "chosen before the factor":
        return make(Mul(), make(Where(), constant(KEPT), scores, number(level)), number(0.5))
    if kind == "from an input":
        return make(Add(), scores, from_input(level, mask))
    return make(Add(), make(Add(), scores, causal(level)), from_input(level, mask))


def network(kind: str, level: float) -> Graph:
    """Weights of a softmax, and what they make of x."""
    draw, x, mask = Draw(3), graph_input("x", (1, TOKENS, WIDTH)), graph_input("mask", (1, TOKENS), INT64)
    q, k, v = (draw.linear(x, WIDTH) for _ in range(3))
    scores = make(MatMul(), q, make(Transpose((0, 2, 1)), k))
    if kind == "biased":  # a bias that is computed, and a mask
        bias = make(Add(), make(Reshape((1, 1, TOKENS, TOKENS)), draw.linear(x, TOKENS)), causal(level))
        inputs, mixed, weights = [x], make(Attention(1, 0.4), q, k, v, bias), scores
    else:
        inputs = [x, mask] if "input" in kind or kind == "both" else [x]
        weights = make(Softmax(-1), masked(scores, kind, level, mask))
        mixed = make(MatMul(), weights, v)
    return graph_of(inputs, make(Linear(), mixed, draw.real(4, WIDTH), draw.real(4)), weights)


def samples() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (8, TOKENS))
    mask[:, 0] = 1
    return {"x": rng.standard_normal((8, TOKENS, WIDTH)).astype(np.float32), "mask": mask}


@pytest.mark.parametrize(
    "kind", ["added", "taken off", "chosen", "chosen before the factor", "from an input", "both", "biased"]
)
def test_the_size_of_a_mask_does_not_matter(kind: str) -> None:
    found = []
    for level in (-1e4, *LEVELS):
        graph = network(kind, level)
        x = {node.name: samples()[node.name] for node in graph.inputs}
        integer = quantise(graph, x).graph
        with np.errstate(all="ignore"):
            wanted, got = interpret(graph, x)["y0"], interpret(integer, x)["y0"]
        quant = integer.outputs[0].quant
        assert quant is not None
        real = got * quant.scale
        assert np.square(real - wanted).sum() < 10**-2.5 * np.square(wanted).sum(), (level, "25 dB")
        found.append(got)
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("level", [-1e4, -1e9, -3.4e38, -np.inf])
def test_a_row_that_masks_every_key_is_defined(level: float) -> None:
    draw, x = Draw(3), graph_input("x", (1, TOKENS, WIDTH))
    rows = np.where(np.arange(TOKENS)[:, None] == 2, level, causal(level).op.eval()).astype(np.float32)
    kept = make(Add(), draw.linear(x, TOKENS), constant(rows))
    graph = graph_of([x], make(MatMul(), make(Softmax(-1), kept), draw.linear(x, WIDTH)))
    given = {"x": samples()["x"]}
    got = interpret(quantise(graph, given).graph, given)["y0"]
    same = interpret(quantise(graph, given).graph, given)["y0"]
    assert np.array_equal(got, same) and np.any(got[:, 2])
