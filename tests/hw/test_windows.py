"""Windows as a product of the planner: channels of one descriptor, its weights, and the pixels that it reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgewright.hw.blocks import window as unit
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import Storage, layout
from edgewright.hw.operations.product import Scale
from edgewright.hw.operations.window import WindowProduct, Windows
from edgewright.hw.views import StoredView
from edgewright.passes.ir.graph import Node, make
from edgewright.passes.ir.types import INT8, TensorType
from edgewright.passes.ops import Input
from hypothesis import given
from hypothesis import strategies as st

CONFIG = EngineConfig()
MAP = Windows(height=56, width=56, channels=256, kernel=(3, 3), strides=(1, 1), padding=(1, 1), output=(56, 56))


def product(windows: Windows, weight: np.ndarray | None = None) -> WindowProduct:
    """Windows over a stored value of as many rows as the map has pixels."""
    node: Node = make(Input("x", TensorType((1, windows.height * windows.width, windows.channels), INT8)))
    source = StoredView(node, 0, 0, windows.height * windows.width, windows.channels)
    if weight is None and not windows.maximum:
        weight = np.ones((*windows.kernel, windows.channels), dtype=np.int64)
    bias = np.zeros(windows.channels, dtype=np.int64)
    return WindowProduct(
        node=node, source=source, scale=Scale.one(node, windows.channels), windows=windows, weight=weight, bias=bias
    )


@pytest.mark.parametrize(("words", "widest"), [(512, 144), (1024, 288), (2047, 512)])
def test_channels_of_a_descriptor(words: int, widest: int) -> None:
    config = replace(CONFIG, window_words=words)
    assert product(MAP).widest(config) == widest
    assert not list(product(MAP).exceeding(config))


def test_a_line_that_is_too_long_for_any_channel() -> None:
    ((reason, _),) = product(replace(MAP, height=9, width=600, output=(9, 600), channels=16)).exceeding(CONFIG)
    assert reason.startswith("a line of its map takes 600 words")


def test_more_windows_than_the_weights_are_read_for() -> None:
    large = replace(MAP, height=112, width=112, output=(112, 112), channels=16)
    ((reason, _),) = product(large).exceeding(CONFIG)
    assert reason.startswith("it has 12,544 windows")
    assert not list(product(replace(large, maximum=True)).exceeding(CONFIG))


def test_fields_of_some_channels() -> None:
    made = product(MAP)
    storage = Storage({made.source.root: layout(made.source.root)}, {made.source.root: 4096})
    fields = made.fields(storage, CONFIG, 144, 112)
    assert fields["act_address"] == 4096 + 144 and fields["stride_row"] == 256
    assert fields["act_beats"] == fields["win_words"] == fields["outs0"] == fields["const_tiles"] == 7
    assert fields["act_words"] == 56 * 56 * 7 and fields["n_jobs"] == 56 * 56
    (access,) = made.accesses(fields)
    assert access.words == fields["act_words"] and access.end == 4096 + 56 * 56 * 256


def test_weights_of_some_channels() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (5, 5, 40))
    windows = replace(MAP, channels=40, kernel=(5, 5), padding=(2, 2))
    for outs in (16, 32):
        config = replace(CONFIG, outs=outs)
        content = product(windows, weight).weight_tiles(config, 16, 24)
        tiles = np.frombuffer(content, np.int8).reshape(2, 3, outs, 16)
        assert not tiles[:, :, unit.TAPS :].any() and not tiles[1, :, :, 8:].any()
        (above, left) = unit.PLACES[2][3]
        assert np.array_equal(tiles[0, 2, 3], weight[4 - above, 4 - left, 16:32])


@given(
    first=st.integers(0, 15),
    count=st.integers(1, 16),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    pad=st.integers(0, 6),
)
def test_pixels_that_some_windows_read(first: int, count: int, kernel: int, stride: int, pad: int) -> None:
    pad = min(pad, kernel - 1)
    windows = Windows(
        height=13, width=4, channels=16, kernel=(kernel, 1), strides=(stride, 1), padding=(pad, 0), output=(4, 4), pad_value=3
    )
    lines = {
        line
        for y in range(first // 4, min(first + count - 1, 15) // 4 + 1)
        for line in range(y * stride - pad, y * stride - pad + kernel)
        if 0 <= line < 13
    }
    found = product(windows).block_rows(first, first + count)
    assert set(found.tolist()) >= {line * 4 + x for line in lines for x in range(4)}
    assert {row // 4 for row in found.tolist()} <= set(range(min(lines), max(lines) + 1)) if lines else True
