"""What a host writes in another form, made again from `memory/map.json` alone, element by element."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from edgewright.frontend.trial import quantised_on_random
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.emit import memory_map
from edgewright.hw.plan import Plan, plan
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Gelu, Transpose, graph_input
from edgewright.passes.pipeline import optimise, quantise
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.breadth_models import named, rows_of_map
from tests.mixed_models import Layers, samples, text_network

CONFIG = EngineConfig(tokens=6, outs=32, weight_tiles=1024, softmax_keys=8, operand_tiles=256, on_chip_words=4096)


def regions(made: Plan) -> list[dict[str, Any]]:
    """The inputs of a map that say how they are made, as a host reads them."""
    rows: list[dict[str, Any]] = json.loads(json.dumps(memory_map(made)))
    return [row for row in rows if "made" in row]


def by_name(values: dict[Node, Array], name: str) -> Array:
    """The value of a graph that a recipe names: the last one, as quantised."""
    return [value for node, value in values.items() if node.name == name][-1]


def windows(recipe: dict[str, Any], image: Array) -> Array:
    """The rows that a recipe of windows says, pixel by pixel."""
    _, channels, height, width = recipe["shape"]
    (kh, kw), (sy, sx), (dy, dx) = recipe["kernel"], recipe["strides"], recipe["dilations"]
    top, left, bottom, right = recipe["pads"]
    down = (height + top + bottom - dy * (kh - 1) - 1) // sy + 1
    across = (width + left + right - dx * (kw - 1) - 1) // sx + 1
    rows = []
    for line, pixel in itertools.product(range(down), range(across)):
        row = []
        for ky, kx, channel in itertools.product(range(kh), range(kw), range(channels)):
            y, x = line * sy - top + ky * dy, pixel * sx - left + kx * dx
            inside = 0 <= y < height and 0 <= x < width
            row.append(int(image[0, channel, y, x]) if inside else recipe["padding"])
        rows.append(row)
    return np.array(rows)


def biases(recipe: dict[str, Any], mask: Array) -> bytes:
    """The bytes that a recipe of biases says: entries of int32, whose 16-byte words lie in turn in as many parts."""
    row = mask.reshape(-1).astype(np.int64)
    queries, keys = recipe["entry"]
    full = np.zeros(-(-recipe["keys"] // keys) * keys, np.int64)
    full[: len(row)] = np.maximum(row - row.max(), recipe["least"])
    content = b"".join(entry.astype("<i4").tobytes() * queries for entry in full.reshape(-1, keys))
    words = [content[at : at + 16] for at in range(0, len(content), 16)]
    return b"".join(word for part in range(recipe["parts"]) for word in words[part :: recipe["parts"]])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99),
    channels=st.sampled_from([1, 2, 3]),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.sampled_from([1, 2, 3]),
    size=st.integers(5, 12),
)
def test_windows_of_an_image(seed: int, channels: int, kernel: int, stride: int, size: int) -> None:
    layers = Layers(seed)
    image = graph_input("image", (1, channels, size, size + 1))
    y = rows_of_map(layers.conv(image, 16, "stem", kernel, stride), "rows")
    graph = quantised_on_random(Graph("stem", (image,), (y,), ("y",)))
    made = plan(graph, CONFIG)
    values = interpret_all(graph, {"image": np.random.default_rng(seed).normal(0, 1, image.shape).astype(np.float32)})
    written = made.host_values(values)
    for region in regions(made):
        assert region["made"]["form"] == "windows"
        given_rows = windows(region["made"], by_name(values, region["made"]["of"]))
        assert np.array_equal(written[region["address"]], given_rows)
        assert given_rows.shape == (region["rows"], region["columns"])


def test_rows_in_another_order() -> None:
    layers = Layers(0)
    x = graph_input("x", (1, 24, 5))
    turned = named(Transpose((0, 2, 1)), x, name="turned")
    hidden = named(Gelu(), layers.linear(turned, 32, "up"), name="gelu")
    graph = quantised_on_random(Graph("series", (x,), (layers.linear(hidden, 12, "down"),), ("y",)))
    made = plan(graph, CONFIG)
    values = interpret_all(graph, {"x": np.random.default_rng(0).normal(0, 1, x.shape).astype(np.float32)})
    (region,) = regions(made)
    recipe = region["made"]
    value = by_name(values, recipe["of"]).reshape(recipe["shape"])
    rows = np.moveaxis(value, recipe["channels"], -1).reshape(region["rows"], region["columns"])
    assert recipe["form"] == "rows" and np.array_equal(made.host_values(values)[region["address"]], rows)


@pytest.mark.parametrize("seed", range(3))
def test_a_mask_as_biases(seed: int) -> None:
    float_graph = text_network()
    graph = quantise(optimise(float_graph)[0], samples(float_graph, 8)).graph
    made = plan(graph, CONFIG)
    values = interpret_all(graph, samples(graph, 1, seed))
    found = [region for region in regions(made) if region["made"]["form"] == "biases"]
    assert found and not any("lowest" in region or "highest" in region for region in found)
    for region in found:
        expected = made.host_values(values)[region["address"]].astype(np.int8).tobytes()
        masks = [value for node, value in values.items() if node.name == region["made"]["of"]]
        assert expected in [biases(region["made"], mask) for mask in masks if mask.size == region["made"]["keys"]]
