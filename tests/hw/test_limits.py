"""At a limit a plan is made and its cycles are predicted; one beyond is P002 with the limit and the value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgewright.hw.blocks.activations import RECIPROCAL_BITS
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS
from edgewright.hw.cost import predict_cycles
from edgewright.hw.limits import too_wide
from edgewright.hw.operations.patches import exact_tokens
from edgewright.hw.operations.product import reciprocal
from edgewright.hw.plan import plan
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import INT16, Level
from edgewright.passes.ops import Attention, PatchEmbed, Quantise, ReduceSum, Slice, graph_input
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.integer_models import Builder

CONFIG = EngineConfig()
B = Builder(0)


def graph(shape: tuple[int, ...], build: Callable[[Node], Node]) -> Graph:
    x = graph_input("x", shape)
    return Graph("g", (x,), (build(make(Quantise(0.02, 0), x)),), ("y",), Level.QUANTISED)


def linear(tokens: int, width: int = 16) -> Graph:
    return graph((1, tokens, width), lambda x: B.linear(x, 16, INT16))


def pooled(tokens: int, width: int = 16) -> Graph:
    return graph((1, tokens, width), lambda x: B.requantise(make(ReduceSum((1,)), x), 1))


def patches(channels: int, rows: int, columns: int, patch: int) -> Graph:
    def build(x: Node) -> Node:
        weight = B.integers(-9, 9, (16, channels * patch * patch), "int8")
        return B.requantise(make(PatchEmbed(patch), x, weight, B.integers(0, 9, 16, "int32")), 16)

    return graph((1, channels, rows * patch, columns * patch), build)


def attention(keys: int, width: int) -> Graph:
    def build(x: Node) -> Node:
        q, k, v = (make(Slice(2, i * width, (i + 1) * width), x) for i in range(3))
        mixed = make(Attention(1, 1.0, score_multiplier=50000, score_shift=22), make(Slice(1, 0, 1), q), k, v)
        return B.requantise(mixed, 1)

    return graph((1, keys, 3 * width), build)


# fits, does not, what the refusal says
LIMITS: dict[str, tuple[Callable[[], Graph], Callable[[], Graph], str]] = {
    "tokens": (lambda: linear(49140), lambda: linear(49141), "49,141 tokens, the engine counts up to 49,140"),
    "tokens of 17 bits": (lambda: linear(1), lambda: linear(65536), "65,536 tokens"),
    "inputs": (lambda: linear(1, 4096), lambda: linear(1, 4097), "take 257 tiles of 16 channels"),
    "a mean's tokens": (lambda: pooled(4095), lambda: pooled(4096), "sums 4,096 tokens, the engine up to 4,095"),
    "a mean's channels": (lambda: pooled(3, 5000), lambda: pooled(4096), "4,096 tokens"),
    "a square grid": (lambda: patches(1, 107, 107, 2), lambda: patches(1, 108, 108, 2), "108 x 108 patches"),
    "a wide grid": (lambda: patches(1, 1, 2048, 1), lambda: patches(1, 1, 5000, 1), "5,000 patches in a row"),
    "planes": (lambda: patches(255, 2, 2, 1), lambda: patches(256, 2, 2, 1), "256 planes"),
    "lines of a patch": (lambda: patches(16, 2, 2, 16), lambda: patches(17, 2, 2, 16), "take 272 tiles"),
    "keys": (lambda: attention(1024, 16), lambda: attention(1025, 16), "1,025 keys exceed 1,024"),
    "a head's tiles": (lambda: attention(700, 176), lambda: attention(1024, 144), "a bank of operands holds 1,024"),
}


@pytest.mark.parametrize("case", LIMITS)
def test_a_limit_is_where_it_says(case: str) -> None:
    fits, exceeds, words = LIMITS[case]
    assert predict_cycles(plan(fits(), CONFIG)).total > 0
    with pytest.raises(CompileError) as caught:
        plan(exceeds(), CONFIG)
    (found,) = caught.value.diagnostics
    assert found.code == "P002" and words in found.because and found.at and found.help


@given(st.integers(1, 4095))
def test_a_grid_s_tokens_find_their_row_up_to_the_limit_and_not_beyond(grid: int) -> None:
    exact = exact_tokens(grid)
    token = np.arange(min(exact, 1 << 16))
    assert np.array_equal((token * reciprocal(grid)) >> RECIPROCAL_BITS, token // grid)
    if exact < 1 << 16:
        assert (exact * reciprocal(grid)) >> RECIPROCAL_BITS != exact // grid


def test_every_field_has_its_width_checked() -> None:
    for name, kind in FIELDS.items():
        assert not list(too_wide({name: (1 << kind.bits) - 1}))
        ((because, help_text),) = too_wide({name: 1 << kind.bits})
        assert name in because and f"{1 << kind.bits:,}" in because and help_text
