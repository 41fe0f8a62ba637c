"""A normalisation with stored statistics is spelled as a product and a sum."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.exact.expand_batch_norm import ExpandBatchNorm
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import BatchNormalization, constant, graph_input


def normalised(*sizes: int, constants: bool = True) -> Graph:
    """BatchNormalization of x (1, 3, *sizes) with random statistics; its scale an input if they are not all constants."""
    rng = np.random.default_rng(0)
    x = graph_input("x", (1, 3, *sizes))
    scale, bias, mean = (constant(rng.standard_normal(3).astype(np.float32)) for _ in range(3))
    variance = constant(rng.random(3).astype(np.float32))
    first = scale if constants else graph_input("scale", (3,))
    node = make(BatchNormalization(1e-3), x, first, bias, mean, variance)
    return Graph("bn", (x,) if constants else (x, first), (node,), ("y",))


@pytest.mark.parametrize("sizes", [(), (5,), (4, 5)])
def test_it_becomes_a_product_and_a_sum(sizes: tuple[int, ...]) -> None:
    graph = normalised(*sizes)
    after, statistics = ExpandBatchNorm()(graph)
    assert [node.op.kind for node in after.nodes() if node.inputs] == ["Mul", "Add"]
    assert statistics.counts == (("expanded", 1),)
    x = {"x": np.random.default_rng(1).standard_normal((1, 3, *sizes)).astype(np.float32)}
    np.testing.assert_allclose(interpret(after, x)["y"], interpret(graph, x)["y"], rtol=2e-6, atol=2e-6)


def test_computed_statistics_stay() -> None:
    graph = normalised(4, constants=False)
    after, statistics = ExpandBatchNorm()(graph)
    assert after.outputs[0].op.kind == "BatchNormalization" and statistics.counts == ()
