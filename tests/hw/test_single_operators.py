"""One operator at a time on the interpreted engine: every word that it stores, and every output, is the integer graph's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.plan import plan
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import INT16, Int
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    Conv,
    Gather,
    LayerNormalization,
    Mul,
    ReduceSum,
    Relu,
    Reshape,
    Slice,
    Table,
    Transpose,
    constant,
)

from tests.hw.integer_models import IDENTITY, random_vit
from tests.hw.interpreted import run_compared
from tests.hw.overwritten import overwritten
from tests.hw.small_graphs import (
    BUILDER,
    attended,
    biased,
    convolved,
    ended,
    given,
    largest,
    mapped,
    masked,
    narrowed,
    normalised,
    product,
    read,
    single,
    stored,
    total,
    widened_norm,
)
from tests.hw.small_models import odd_norm, rotary, stem

PAD = (1, 1, 1, 1)
UNEVEN = (1, 0, 2, 3)


def transposed(*, of_input: bool) -> Graph:
    x = read("x", 1, 6, 16)
    return ended(stored(make(Transpose((0, 2, 1)), x if of_input else stored(x, 20)), 8, INT16))


def narrowed_stream() -> Graph:
    """Return a sum of 16 bits that a product reads in 8."""
    position = BUILDER.integers(-9000, 9000, (1, 4, 24), "int16")
    stream = make(AddRequantised(40000, 15, 45000, 16), stored(read("x", 1, 4, 16), 24, INT16), position)
    return ended(stored(narrowed(stream), 10, INT16))


def summed(axes: tuple[int, ...], *shape: int, keepdims: bool = False) -> Graph:
    return ended(narrowed(make(ReduceSum(axes, keepdims), stored(read("x", *shape[:-1], 16), shape[-1])), bits=3))


def summed_maps() -> Graph:
    maps = mapped(read("x", 1, 16, 4, 5), Conv(), 24, (1, 1))
    return ended(narrowed(make(ReduceSum((2, 3), True), maps), bits=4))


def looked_up() -> Graph:
    return ended(make(Gather(1), stored(read("x", 1, 6, 16), 16), constant(np.array([3, 0, 3, 5, -1]))))


def joined() -> Graph:
    """Return a join of tokens behind a leading axis, so that the parts alternate in memory."""
    parts = (stored(read(f"x{i}", 2, 3, rows, 16), 16) for i, rows in enumerate((3, 5)))
    return ended(make(Concat(2), *parts))


def windows_of_maps() -> Graph:
    """Return a map of windows of its pixels: rows in another order than they are stored in."""
    split = make(Reshape((1, 2, 3, 2, 2, 16)), stored(read("x", 1, 24, 16), 16))
    turned = make(Transpose((0, 1, 3, 2, 4, 5)), split)
    return ended(stored(make(Relu(), make(Reshape((4, 6, 16)), turned)), 8, INT16))


def turned_heads(x: Node, heads: int) -> Node:
    """Return tokens (1, n, heads * d) with each head transposed: (1, d, heads * n)."""
    _, n, channels = x.shape
    split = make(Reshape((1, n, heads, channels // heads)), x)
    return make(Reshape((1, channels // heads, heads * n)), make(Transpose((0, 3, 2, 1)), split))


def channel_attention(tokens: int, heads: int = 3) -> Graph:
    """Return attention between the channels of each head, over tokens."""
    x = read("x", 1, tokens, 32)
    q, k, v = (turned_heads(stored(x, 16 * heads), heads) for _ in range(3))
    return ended(narrowed(make(Attention(heads, score_multiplier=50000, score_shift=22), q, k, v)))


def heads_as_rows() -> Graph:
    """Return the heads of a value one after the other, as rows."""
    split = make(Reshape((1, 6, 3, 16)), stored(read("x", 1, 6, 16), 48))
    return ended(stored(make(Relu(), make(Reshape((1, 18, 16)), make(Transpose((0, 2, 1, 3)), split))), 8, INT16))


def shuffled(height: int, width: int, factor: int, channels: int) -> Graph:
    """Return a map whose channels become pixels, then a convolution of it, as a transposed convolution is read."""
    x = mapped(read("x", 1, 16, height, width), Conv(), factor**2 * channels, (1, 1))
    last = make(Transpose((0, 2, 3, 1)), x)
    split = make(Reshape((1, height, width, factor, factor, channels)), last)
    turned = make(Transpose((0, 1, 3, 2, 4, 5)), split)
    larger = make(Reshape((1, factor * height, factor * width, channels)), turned)
    return ended(mapped(make(Transpose((0, 3, 1, 2)), larger), Conv(pads=PAD), 16, (3, 3)))


def lines_of_pixels() -> Graph:
    """Return a product that reads the pixels of each line of a map of one channel as its channels."""
    x = stored(read("x", 1, 96, 16), 1)
    return ended(stored(make(Reshape((1, 6, 16)), x), 20, INT16))


def odd_channels_of_sums() -> Graph:
    """Return sums of channels that begin within a word."""
    parts = (make(Slice(2, first, first + 24), stored(read(f"x{first}", 1, 5, 16), 48)) for first in (0, 20))
    return ended(narrowed(make(ReduceSum((1,)), make(Relu(), next(parts))), bits=2), make(Relu(), next(parts)))


CASES: dict[str, Callable[[], Graph]] = {
    "channels that become tokens, of an input": lambda: transposed(of_input=True),
    "channels that become tokens": lambda: transposed(of_input=False),
    "heads that are no multiple of 16": lambda: random_vit(width=48, heads=2),
    "attention with a constant bias": lambda: biased(computed=False),
    "attention with one mask for all queries": lambda: masked(1),
    "attention in windows": lambda: attended(batch=4),
    "values wider than keys": lambda: attended(values=32),
    "values of another odd width than keys": lambda: attended(values=40),
    "a convolution": convolved(Conv()),
    "a convolution of 1 x 1": convolved(Conv(), kernel=(1, 1), channels=24, outputs=40),
    "a padded convolution": convolved(Conv(pads=PAD)),
    "a convolution padded by another value": convolved(Conv(pads=UNEVEN, pad_value=-7)),
    "a convolution with strides of 3": convolved(Conv(strides=(3, 3))),
    "a padded convolution with strides of 2 and 1": convolved(Conv(pads=PAD, strides=(2, 1))),
    "a dilated convolution": convolved(Conv(dilations=(2, 1))),
    "a convolution in groups of 4": convolved(Conv(pads=PAD, groups=4)),
    "a convolution in groups of 12": convolved(Conv(pads=PAD, groups=2), channels=24, outputs=36),
    "a depthwise convolution": convolved(Conv(pads=PAD, groups=16)),
    "a depthwise convolution padded by another value": convolved(Conv(pads=UNEVEN, pad_value=-7, groups=16)),
    "a depthwise convolution with strides of 2 and 3": convolved(Conv(strides=(2, 3), groups=16)),
    "a depthwise convolution that dilates": convolved(Conv(dilations=(2, 2), groups=16)),
    "a depthwise convolution of 9 x 3": convolved(Conv(pads=(4, 1, 4, 1), groups=16), kernel=(9, 3)),
    "a convolution of a moved input": lambda: moved_input(groups=1),
    "a convolution of an input": convolved(Conv(pads=PAD), channels=3, of_input=True),
    "a convolution of an input that pads and dilates": convolved(Conv(pads=UNEVEN, dilations=(2, 2)), of_input=True),
    "a convolution of an input with strides of 3": convolved(Conv(pads=PAD, strides=(3, 3)), of_input=True),
    "max pooling": largest((2, 2), (2, 2)),
    "max pooling of overlapping windows, padded": largest((3, 3), (2, 2), (1, 1, 1, 1), channels=24),
    "max pooling of uneven windows": largest((3, 1), (1, 3), (2, 0, 1, 0), channels=40),
    "max pooling of a whole map": largest((6, 7), (1, 1)),
    "LayerNorm alone": lambda: normalised(32),
    "LayerNorm over what is no multiple of 16": lambda: normalised(25),
    "LayerNorm into 16 bits": single(LayerNormalization(eps_term=1, shift=9, elem=INT16), (1, 4, 16), elem=INT16),
    "LayerNorm into 16 bits over what is no multiple of 16": lambda: normalised(25, INT16),
    "a wide LayerNorm": lambda: normalised(2032),
    "a product of two computed values": lambda: product((1, 4, 24), (1, 4, 24)),
    "a product with one row": lambda: product((1, 4, 16), (1, 1, 16)),
    "a sum of two computed values": lambda: total((1, 4, 24), (1, 4, 24)),
    "a sum with one row": lambda: total((1, 4, 16), (1, 1, 16)),
    "a difference": lambda: total((1, 4, 16), (1, 4, 16), subtract=True),
    "a difference with one row": lambda: total((1, 4, 16), (1, 1, 16), subtract=True),
    "a difference of inputs": single(AddRequantised(40000, 15, 40000, 15, True), (1, 4, 16), (1, 4, 16), elem=INT16),
    "a sum of 16 bits read in 8": narrowed_stream,
    "what is above 0 of 16 bits": lambda: ended(make(Relu(), stored(read("x", 1, 4, 16), 24, INT16))),
    "a sum of rows of 16 bits": single(ReduceSum((1,)), (1, 4, 16), elem=INT16),
    "a sum of rows": lambda: summed((1,), 1, 5, 24),
    "a sum of rows of each of three": lambda: summed((2,), 1, 3, 4, 24),
    "a sum of rows that lie apart": lambda: summed((1,), 1, 3, 4, 24, keepdims=True),
    "a sum of pixels": summed_maps,
    "rows by a constant list": looked_up,
    "parts that alternate in memory": joined,
    "a stem of convolutions, moved to tokens": stem,
    "a product of LayerNorm over what is no multiple of 16": odd_norm,
    "windows of a map": windows_of_maps,
    "attention between channels": lambda: channel_attention(16),
    "attention between channels over what is no multiple of 16": lambda: channel_attention(9),
    "heads that become rows": heads_as_rows,
    "channels that become pixels": lambda: shuffled(3, 5, 2, 16),
    "channels that become pixels of many lines": lambda: shuffled(9, 2, 2, 32),
    "pixels of a line that become channels": lines_of_pixels,
    "channels that begin within a word": odd_channels_of_sums,
}


@pytest.mark.parametrize("tokens", [4, 12])
@pytest.mark.parametrize("case", CASES)
def test_an_operator_is_right_to_the_last_bit(case: str, tokens: int) -> None:
    graph = CASES[case]()
    found = run_compared(plan(graph, EngineConfig(tokens=tokens)), given(graph))
    assert found.exact, found.mismatch


def replaced(axis: int) -> Graph:
    """Return a join of two functions of the same half of a stored value, the first of which takes that half's place."""
    x = make(Relu(), stored(read("x", 1, 4, 32), 32))
    half = (make(Slice(axis, 0, x.shape[axis] // 2), x) for _ in range(2))
    tables = (make(Table(), part, BUILDER.integers(-127, 127, 256, "int8")) for part in half)
    return ended(stored(make(Concat(axis), *tables), 8, INT16))


@pytest.mark.parametrize("axis", [1, 2])
def test_a_part_of_a_join_does_not_replace_what_the_next_part_reads(axis: int) -> None:
    assert not overwritten(plan(replaced(axis), EngineConfig()))


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_read_where_another_value_has_been_stored(case: str) -> None:
    assert not overwritten(plan(CASES[case](), EngineConfig()))


def moved_factor(*cuts: tuple[int, ...]) -> Graph:
    """Return the product of some channels of a stored value, side by side, with a constant."""
    x = stored(read("x", 1, 6, 32), 32)
    parts = [make(Slice(2, *cut), x) for cut in cuts]
    moved = make(Concat(2), *parts) if len(parts) > 1 else parts[0]
    return ended(narrowed(make(Mul(), moved, BUILDER.integers(-9, 9, (1, 6, moved.shape[-1]), "int8")), bits=3))


def gated_heads() -> Graph:
    """Return attention of two heads of 24 channels, whose queries are an elementwise product."""
    x = read("x", 1, 6, 32)
    q, k, v = (stored(x, 48) for _ in range(3))
    gated = narrowed(make(Mul(), q, BUILDER.integers(-9, 9, (1, 6, 48), "int8")), bits=3)
    return ended(narrowed(make(Attention(2, score_multiplier=50000, score_shift=22), gated, k, v)))


MOVED_FACTORS: dict[str, Callable[[], Graph]] = {
    "a product of halves that change places": lambda: moved_factor((16, 32), (0, 16)),
    "a product of channels that begin within a word": lambda: moved_factor((3, 19)),
    "a product of every second channel": lambda: moved_factor((0, 32, 2)),
    "a product whose heads are padded": gated_heads,
    "queries and keys that angles turn": lambda: rotary(heads=1),
    "queries and keys of heads that angles turn": lambda: rotary(heads=2),
}


@pytest.mark.parametrize("case", MOVED_FACTORS)
def test_an_elementwise_product_of_moved_channels_is_right(case: str) -> None:
    graph = MOVED_FACTORS[case]()
    assert run_compared(plan(graph, EngineConfig()), given(graph)).exact


def moved_input(groups: int, images: int = 1) -> Graph:
    """Return a convolution of pixels by rows of channels, which the host writes."""
    maps = make(Transpose((0, 3, 1, 2)), read("x", images, 4, 5, 16))
    return ended(mapped(maps, Conv(pads=PAD, groups=groups), 16, (3, 3)))


@pytest.mark.parametrize(("groups", "images"), [(2, 1), (16, 1), (1, 2)])
def test_a_convolution_of_a_moved_input_is_right_or_refused(groups: int, images: int) -> None:
    graph = moved_input(groups, images)
    try:
        planned = plan(graph, EngineConfig())
    except CompileError:
        return
    assert run_compared(planned, given(graph)).exact


@pytest.mark.parametrize("width", [24, 25])
def test_a_layer_norm_of_rows_that_hardly_vary_is_right(width: int) -> None:
    """All of a row is near 12,000."""
    near = AddRequantised(1 << 15, 30, *IDENTITY)
    x = make(near, stored(read("x", 1, 3, 16), width, INT16), constant(np.full((1, 3, width), 12000, np.int16)))
    graph = ended(widened_norm(x, Int(8)))
    assert run_compared(plan(graph, EngineConfig()), given(graph)).exact


def test_a_second_factor_whose_rows_repeat_unevenly_is_refused_for_that() -> None:
    """Each of two rows of the second factor meets three rows: int8, all channels from 0 on."""
    with pytest.raises(CompileError) as caught:
        plan(product((1, 2, 3, 16), (1, 2, 1, 16)), EngineConfig())
    (found,) = caught.value.diagnostics
    assert "16-bit" not in found.because and "rows" in found.because


def test_a_convolution_of_two_inputs_side_by_side_is_refused_for_that() -> None:
    with pytest.raises(CompileError) as caught:
        plan(ended(mapped(read("x", 2, 16, 6, 7), Conv(), 16, (3, 3))), EngineConfig())
    (found,) = caught.value.diagnostics
    assert "groups" not in found.because
