"""Windows as a product of the planner: channels of one descriptor, its weights, and the pixels that it reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgewright.hw.blocks import window as unit
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS
from edgewright.hw.fetches import requests
from edgewright.hw.memory import Storage, layout
from edgewright.hw.operations.product import Piece, Scale
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
    large = replace(MAP, height=200, width=200, output=(200, 200), channels=16)
    ((reason, _),) = product(large).exceeding(CONFIG)
    assert reason.startswith("it has 40,000 windows")
    assert not list(product(replace(large, maximum=True)).exceeding(CONFIG))


def test_fields_of_some_channels() -> None:
    made = product(MAP)
    storage = Storage({made.source.root: layout(made.source.root)}, {made.source.root: 4096})
    fields = made.fields(storage, CONFIG, Piece(0, 56 * 56, 144, 112))
    assert fields["act_address"] == 4096 + 144 and fields["stride_row"] == 256
    assert fields["act_beats"] == fields["win_words"] == fields["outs0"] == fields["const_tiles"] == 7
    assert fields["act_words"] == 56 * 56 * 7 and fields["n_jobs"] == 56 * 56
    whole = {**dict.fromkeys(FIELDS, 0), **fields, "last_tokens": 1, "act_blocks": 56 * 56}
    asked = requests(whole, np.zeros(0, np.int32), CONFIG)
    assert asked[:, 1].sum() == fields["act_words"] and asked[-1].sum() == 4096 + 144 + (56 * 56 - 1) * 256 + 7


def test_weights_of_some_channels() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (5, 5, 40))
    windows = replace(MAP, channels=40, kernel=(5, 5), padding=(2, 2))
    for outs in (16, 32):
        config = replace(CONFIG, outs=outs)
        content = product(windows, weight).weight_tiles(config, Piece(0, 56 * 56, 16, 24))
        tiles = np.frombuffer(content, np.int8).reshape(2, 3, outs, 16)
        assert not tiles[:, :, unit.TAPS :].any() and not tiles[1, :, :, 8:].any()
        (above, left) = unit.PLACES[2][3]
        assert np.array_equal(tiles[0, 2, 3], weight[4 - above, 4 - left, 16:32])


@given(width=st.integers(1, 9), height=st.integers(1, 9), channels=st.integers(1, 40), part=st.booleans())
def test_lines_are_asked_for_where_they_follow_each_other(width: int, height: int, channels: int, part: bool) -> None:
    """Each request reads a line of the map, or a pixel of it where other channels lie between."""
    windows = Windows(
        height=height, width=width, channels=channels, kernel=(3, 3), strides=(1, 1), padding=(1, 1), output=(height, width)
    )
    made = product(windows)
    columns = min(16, channels) if part else channels
    piece = Piece(0, height * width, 0, columns)
    storage = Storage({made.source.root: layout(made.source.root)}, {made.source.root: 4096})
    fields = made.fields(storage, CONFIG, piece)
    blocks = made.fetched(fields, piece, CONFIG)
    whole = -(-columns // 16) == -(-channels // 16)
    assert len(blocks) == (height if whole and width > 1 else height * width)
    assert np.array_equal(np.concatenate(blocks), np.arange(height * width))
    assert all(len(block) * -(-columns // 16) == fields["act_beats"] for block in blocks)
