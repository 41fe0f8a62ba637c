"""At a limit a plan is made and its cycles are predicted; one beyond is refused with the limit and the value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgewright.hw.blocks.activations import RECIPROCAL_BITS
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS
from edgewright.hw.cost import predict_cycles
from edgewright.hw.legal import MOST_ROWS
from edgewright.hw.limits import too_wide
from edgewright.hw.operations.patches import exact_tokens
from edgewright.hw.operations.product import reciprocal
from edgewright.hw.plan import plan
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import INT16, Level
from edgewright.passes.ops import (
    Attention,
    Concat,
    Conv,
    Gather,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Relu,
    Slice,
    Table,
    constant,
    graph_input,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.integer_models import Builder
from tests.hw.small_graphs import convolved, ended, narrowed, normalised, read, stored

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


def wide_pooled(tokens: int) -> Graph:
    """Return a mean of int16 tokens."""
    return ended(narrowed(make(ReduceSum((1,)), read("x", 1, tokens, 16, elem=INT16))))


def direct(tokens: int) -> Graph:
    """Return a function of an input, whose rows go past the array."""
    return graph((1, tokens, 16), lambda x: make(Table(), x, B.integers(-127, 127, 256, "int8")))


def listed(tokens: int) -> Graph:
    """Return a product that reads a stored value in an order that only a list can say."""
    x = make(Relu(), stored(read("x", 1, tokens, 16), 16))
    order = np.random.default_rng(0).permutation(tokens)
    return ended(stored(make(Gather(1), x, constant(order)), 16))


def joined(leading: int) -> Graph:
    """Return a join of tokens behind an axis, after each of whose elements the parts alternate."""
    return ended(make(Concat(1), stored(read("x", leading, 2, 16), 16), stored(read("y", leading, 3, 16), 16)))


def score_biases(queries: int, keys: int) -> Graph:
    """Return attention to other tokens, with a bias for each query and key."""
    q, other = stored(read("x", 1, queries, 16), 16), read("y", 1, keys, 16)
    bias = B.integers(-1000, 1000, (1, 1, queries, keys), "int32")
    op = Attention(1, score_multiplier=50000, score_shift=22)
    return ended(narrowed(make(op, q, stored(other, 16), stored(other, 16), bias)))


def narrow(
    pads: tuple[int, int, int, int], kernel: tuple[int, int], *size: int, strides: tuple[int, int] = (1, 1)
) -> Callable[[], Graph]:
    """Return what builds a convolution of a stored map of 16 channels."""
    return convolved(Conv(strides, pads), kernel, size=(size[0], size[1]))


SIDES, ENDS = (0, 1, 0, 1), (1, 0, 1, 0)

# fits, does not, code and words of the refusal
LIMITS: dict[str, tuple[Callable[[], Graph], Callable[[], Graph], str, str]] = {
    "tokens": (lambda: linear(65535), lambda: linear(65536), "P002", "65,536 tokens, the engine counts up to 65,535"),
    "tokens past the array": (
        lambda: direct(32767),
        lambda: direct(32768),
        "P002",
        "32,768 tokens, the engine counts up to 32,767",
    ),
    "inputs": (lambda: linear(1, 4096), lambda: linear(1, 4097), "P002", "take 257 tiles of 16 channels"),
    "tokens of a list": (lambda: listed(32760), lambda: listed(32761), "P002", "row_entries would be 4,096"),
    "a mean's tokens": (lambda: pooled(16383), lambda: pooled(16384), "P002", "sums 16,384 rows, the engine up to 16,383"),
    "a mean's tokens, beyond what is counted": (lambda: pooled(16383), lambda: pooled(16385), "P001", "it sums i8[1,16385,16]"),
    "a mean's tokens of int16": (lambda: wide_pooled(1024), lambda: wide_pooled(1025), "P001", "it sums i16[1,1025,16]"),
    "a mean's channels": (lambda: pooled(3, 5000), lambda: pooled(16384, 5000), "P002", "16,384 rows"),
    "a square grid": (lambda: patches(1, 107, 107, 2), lambda: patches(1, 108, 108, 2), "P002", "108 x 108 patches"),
    "a wide grid": (lambda: patches(1, 1, 2048, 1), lambda: patches(1, 1, 5000, 1), "P002", "5,000 patches in a row"),
    "planes": (lambda: patches(256, 2, 2, 1), lambda: patches(257, 2, 2, 1), "P002", "take 257 tiles"),
    "lines of a patch": (lambda: patches(16, 2, 2, 16), lambda: patches(17, 2, 2, 16), "P002", "take 272 tiles"),
    "keys": (lambda: attention(1024, 16), lambda: attention(1025, 16), "P002", "1,025 keys exceed 1,024"),
    "a head's tiles": (
        lambda: attention(700, 176),
        lambda: attention(1024, 144),
        "P002",
        "a bank of operands holds 1,024",
    ),
    "score biases": (
        lambda: score_biases(504, 256),
        lambda: score_biases(505, 256),
        "P002",
        "entries, the engine counts up to 4,095",
    ),
    "parts that alternate": (lambda: joined(256), lambda: joined(257), "P001", "after 257 others"),
    "LayerNorm in whole words": (lambda: normalised(2032), lambda: normalised(2049), "P001", "2,049 values"),
    "padding": (narrow((15,) * 4, (31, 1), 20, 20), narrow((16,) * 4, (31, 1), 20, 20), "P002", "pads by 16 pixels"),
    "strides with padding": (
        narrow((1,) * 4, (3, 3), 300, 2, strides=(128, 1)),
        narrow((1,) * 4, (3, 3), 300, 2, strides=(256, 1)),
        "P002",
        "step_y would be 8",
    ),
    "pixels under a kernel": (narrow((0,) * 4, (256, 1), 257, 1), narrow((0,) * 4, (257, 1), 257, 1), "P002", "take 257 tiles"),
    "a map's lines": (narrow(ENDS, (3, 1), 16383, 1), narrow(ENDS, (3, 1), 16384, 1), "P002", "in_height would be 16,384"),
    "a wide map": (narrow(SIDES, (1, 3), 1, 2048), narrow(SIDES, (1, 3), 1, 4096), "P002", "is 4,096 pixels wide"),
    "pixels of a wide map": (narrow(SIDES, (1, 3), 1, 2048), narrow(SIDES, (1, 3), 1, 4095), "P002", "locates the first 4,081"),
}


SLOW = ("tokens of a list", "tokens past the array", "score biases", "parts that alternate", "a mean's channels", "tokens")


@pytest.mark.parametrize("case", [pytest.param(case, marks=pytest.mark.long) if case in SLOW else case for case in LIMITS])
def test_a_limit_is_where_it_says(case: str) -> None:
    fits, exceeds, code, words = LIMITS[case]
    assert predict_cycles(plan(fits(), CONFIG)).total > 0
    with pytest.raises(CompileError) as caught:
        plan(exceeds(), CONFIG)
    (found,) = caught.value.diagnostics
    assert found.code == code and words in found.because and found.at and found.help


@pytest.mark.xfail(strict=True, raises=CompileError, reason="fields of 8 bits hold the words of 2,032 values")
@pytest.mark.parametrize("width", [2033, 2048])
def test_layer_norm_is_as_wide_as_it_is_said_to_be(width: int) -> None:
    assert plan(normalised(width), CONFIG).steps


@pytest.mark.xfail(strict=True, raises=CompileError, reason="16,384 rows are one more than the engine counts")
def test_a_mean_is_over_as_many_tokens_as_it_is_said_to_be() -> None:
    assert plan(pooled(MOST_ROWS), CONFIG).steps


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
