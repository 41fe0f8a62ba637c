"""Networks of every architecture on the engine's processes, interpreted: every stored word is the integer graph's value."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from edgewright.frontend.trial import quantised_on_random
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.board_memory import parse_memory
from edgewright.hw.cost import predict_cycles, rtl_files
from edgewright.hw.plan import plan
from edgewright.passes.ir.graph import Graph
from edgewright.passes.pipeline import optimise, quantise
from edgewright.sim.network import simulate
from edgewright.targets.device import load
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.breadth_models import NETWORKS, convnext, odd_heads, pyramid, swin
from tests.hw.interpreted import random_inputs, run_compared
from tests.mixed_models import samples, text_network

BOARD = EngineConfig(tokens=6, outs=32, weight_tiles=1024, softmax_keys=8, operand_tiles=256, on_chip_words=4096)
CONFIGS = {
    "6 x 32 x 16": BOARD,
    "12 x 16 x 16, nothing on chip": EngineConfig(),
    "hardly anything on chip": replace(BOARD, on_chip_words=256),
    "no unit for windows": replace(BOARD, window_words=0),
    "biases that are not kept": replace(BOARD, bias_entries=16),
}


@cache
def quantised(name: str) -> Graph:
    return quantised_on_random(NETWORKS[name]())


@pytest.mark.parametrize(
    "config", [pytest.param(c, id=n, marks=() if c is BOARD else pytest.mark.long) for n, c in CONFIGS.items()]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_word_of_a_network(name: str, config: EngineConfig) -> None:
    graph = quantised(name)
    comparison = run_compared(plan(graph, config), random_inputs(graph, 1))
    assert comparison.exact, str(comparison.mismatch)


@pytest.mark.long
@pytest.mark.parametrize("arithmetic_mask", [False, True])
def test_token_ids_and_masks(arithmetic_mask: bool) -> None:
    """The host looks ids up and writes a mask as biases."""
    float_graph = text_network(arithmetic_mask=arithmetic_mask)
    graph = quantise(optimise(float_graph)[0], samples(float_graph, 8)).graph
    for seed in range(3):
        comparison = run_compared(plan(graph, BOARD), samples(graph, 1, seed))
        assert comparison.exact, str(comparison.mismatch)


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 999),
    width=st.sampled_from([16, 24, 32, 48]),
    heads=st.sampled_from([1, 2, 4]),
    side=st.sampled_from([2, 4]),
    size=st.sampled_from([4, 8]),
)
def test_any_windows(seed: int, width: int, heads: int, side: int, size: int) -> None:
    graph = quantised_on_random(swin(seed, width, heads, side, size))
    comparison = run_compared(plan(graph, BOARD), random_inputs(graph, seed))
    assert comparison.exact, str(comparison.mismatch)


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 999),
    heads=st.sampled_from([1, 2, 3, 5]),
    width=st.sampled_from([6, 10, 16, 20]),
    tokens=st.integers(5, 40),
)
def test_any_heads(seed: int, heads: int, width: int, tokens: int) -> None:
    graph = quantised_on_random(odd_heads(seed, heads * width, heads, tokens))
    comparison = run_compared(plan(graph, BOARD), random_inputs(graph, seed))
    assert comparison.exact, str(comparison.mismatch)


@pytest.mark.long
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 999), width=st.sampled_from([16, 24, 40]), size=st.sampled_from([4, 6, 10]))
def test_any_map(seed: int, width: int, size: int) -> None:
    for network in (pyramid(seed, width, 1, size), convnext(seed, width, size)):
        graph = quantised_on_random(network)
        comparison = run_compared(plan(graph, BOARD), random_inputs(graph, seed))
        assert comparison.exact, str(comparison.mismatch)


@pytest.mark.sim
@pytest.mark.parametrize("name", NETWORKS)
def test_at_rtl(name: str) -> None:
    """Bit for bit, in as many cycles as were predicted, within one in a hundred."""
    board = load("zcu104")
    config, memory = EngineConfig.of_board(board), parse_memory("board", board)
    graph = quantised(name)
    planned = plan(graph, config)
    run = simulate(planned, rtl_files(config), random_inputs(graph, 2), memory=memory)
    assert run.exact, [str(comparison.mismatch) for comparison in run.comparisons]
    assert abs(run.cycles[0] - predict_cycles(planned, memory).total) <= 30 + run.cycles[0] // 100
