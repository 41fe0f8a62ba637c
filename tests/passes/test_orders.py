"""Every pass after every other: allowed orders run and the result quantises; refused ones say why."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from edgewright.passes import error_texts, orders
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Level
from edgewright.passes.pipeline import optimise

from tests.passes.order_models import APPLY, after, experts, plain, samples

PAIRS = tuple(product(orders.PASSES, orders.PASSES))
ALLOWED = [pair for pair in PAIRS if orders.refused(*pair) is None]
REFUSED = {pair: refusal.code for pair in PAIRS if (refusal := orders.refused(*pair)) is not None}

pytestmark = pytest.mark.train


def has_experts(*names: str) -> bool:
    return "SelectExperts" in names


def compiled(graph: Graph) -> Graph:
    """The model in integers, as a compilation makes it."""
    return graph if graph.level is Level.QUANTISED else APPLY["QuantiseGraph"](optimise(graph)[0])


def test_every_pass_is_walked() -> None:
    assert set(APPLY) == set(orders.PASSES)
    explained = {code for code in error_texts.codes() if code.startswith("A")}
    assert explained == {refusal.code for refusal in orders.REFUSED.values()}


def test_the_refused_orders() -> None:
    """The list itself, so that nobody refuses or allows an order in passing."""
    after_quantisation = {("QuantiseGraph", name): "A001" for name in orders.PASSES}
    assert (
        after_quantisation
        | {
            ("HashAttentionLayers", "FuseBlocks"): "A002",
            ("HashAttentionLayers", "SplitClasses"): "A003",
            ("SplitClasses", "SplitClasses"): "A004",
            ("SelectExperts", "FuseBlocks"): "A005",
            ("FuseBlocks", "SelectExperts"): "A005",
            ("SelectExperts", "SplitClasses"): "A006",
            ("SplitClasses", "SelectExperts"): "A006",
        }
        == REFUSED
    )


@pytest.mark.parametrize(("first", "second"), ALLOWED, ids=[" then ".join(pair) for pair in ALLOWED])
def test_an_allowed_order_runs_and_compiles(first: str, second: str) -> None:
    result = APPLY[second](after(first, has_experts(first, second)))
    integer = compiled(result)
    assert integer.level is Level.QUANTISED
    given = samples(integer)
    said = interpret(integer, {name: value[:2] for name, value in given.items()})
    assert set(said) == set(result.output_names)
    assert all(len(value) == 2 and np.unique(value).size > 1 for value in said.values())


@pytest.mark.parametrize(("first", "second"), REFUSED, ids=[" then ".join(pair) for pair in REFUSED])
def test_a_refused_order_says_why(first: str, second: str) -> None:
    with pytest.raises(CompileError) as caught:
        APPLY[second](after(first, has_experts(first, second)))
    refusal = orders.refused(first, second)
    assert refusal is not None
    (diagnostic,) = [one for one in caught.value.diagnostics if one.code == refusal.code]
    assert (diagnostic.because, diagnostic.help) == (refusal.because, refusal.help)
    assert caught.value.exit_code == 1


def test_marks_are_read_off_the_graph() -> None:
    assert orders.marks(plain()) == frozenset()
    assert orders.marks(experts()) == {orders.Mark.EXPERTS}
    for name, mark in orders.LEAVES.items():
        assert mark in orders.marks(after(name, has_experts(name)))
