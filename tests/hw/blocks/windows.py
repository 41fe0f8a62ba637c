"""The window unit on its own, with the ring that its weights come from, and windows by definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from edgewright.hw.blocks import operation as op
from edgewright.hw.blocks import window as unit
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.weights import add_feed_weights
from edgewright.hw.kernel import Block, ProcessTrace, Struct, Value, i, ir, u
from edgewright.hw.operations.window import Windows
from numpy.typing import NDArray

Integers = NDArray[np.int64]
CONFIG = replace(EngineConfig(), window_words=96, weight_tiles=64)
Feed = Struct("Feed", n_jobs=u(20), outs0=u(12), depth0=u(9), window=u(1))
COMMANDS = {"lines_cmd": op.WindowLines, "window_cmd": op.Window, "feed_cmd": Feed}


def block(cfg: EngineConfig = CONFIG) -> Block:
    """The unit between streams: commands, the words of maps, tiles of weights; rows of accumulators."""
    b = Block("windows")
    commands = {name: b.input(name, kind) for name, kind in COMMANDS.items()}
    tile = i(8)[cfg.outs, cfg.ins]
    words, source, rows = b.input("words", u(128)), b.input("tiles", tile), b.output("rows", unit.rows_type(cfg))
    ring = b.ring("weight_tiles", tile, depth=cfg.weight_tiles, window=cfg.weight_window)
    taps, others = b.channel("taps", unit.taps_type(cfg)), b.output("others", tile)

    @b.process()
    def fill(p: ProcessTrace, k: Value) -> None:
        p.append(ring, p.read(source))

    add_feed_weights(b, commands["feed_cmd"], ring, others, taps)
    unit.add_window(b, cfg, [commands["lines_cmd"], commands["window_cmd"]], words, taps, rows)
    return b


def program(cfg: EngineConfig = CONFIG) -> ir.Program:
    return block(cfg).check()


def pixels_of(windows: Windows, rng: np.random.Generator) -> Integers:
    """A random map, (height, width, channels of whole words): zero where there is no channel."""
    pixels = rng.integers(-128, 128, (windows.height, windows.width, windows.words * 16))
    pixels[..., windows.channels :] = 0
    return pixels


def weights_of(windows: Windows, rng: np.random.Generator) -> Integers:
    return rng.integers(-128, 128, (*windows.kernel, windows.channels))


def expected(windows: Windows, pixels: Integers, weight: Integers) -> Integers:
    """The accumulators by definition, (output pixels * words, 16)."""
    (rows, columns), (above, left), (down, across) = windows.kernel, windows.padding, windows.strides
    padded = np.zeros((*windows.kernel, pixels.shape[2]), dtype=np.int64)
    padded[..., : windows.channels] = weight
    around = np.full((windows.height + 40, windows.width + 40, pixels.shape[2]), windows.pad_value)
    around[above : above + windows.height, left : left + windows.width] = pixels
    found = np.zeros((*windows.output, pixels.shape[2]), dtype=np.int64)
    for y in range(windows.output[0]):
        for x in range(windows.output[1]):
            top, begin = y * down, x * across
            if not windows.maximum:
                found[y, x] = (around[top : top + rows, begin : begin + columns] * padded).sum((0, 1))
                continue
            lines = slice(max(0, top - above), top - above + rows)
            found[y, x] = pixels[lines, max(0, begin - left) : begin - left + columns].max((0, 1))
    return found.reshape(-1, 16)


def streams(
    jobs: Sequence[Windows], maps: Sequence[Integers], weights: Sequence[Integers], cfg: EngineConfig = CONFIG
) -> dict[str, Any]:
    """The tokens of the block's inputs for some operations in a row."""
    fields = [job.fields() for job in jobs]
    kept = [n for n, job in enumerate(jobs) if not job.maximum]
    feeds: list[Mapping[str, int]] = [
        {"n_jobs": jobs[n].output[0] * jobs[n].output[1], "outs0": jobs[n].words, "depth0": jobs[n].phases, "window": 1}
        for n in kept
    ]
    tiles = [np.zeros((0, cfg.outs, cfg.ins), dtype=np.int64)]
    for n in kept:
        packed = jobs[n].weights(weights[n]).reshape(-1, unit.TAPS, 16)
        tiles.append(np.pad(packed, ((0, 0), (0, cfg.outs - unit.TAPS), (0, 0))).astype(np.int64))
    words = np.concatenate([pixels.reshape(-1, 16) for pixels in maps]).astype(np.int8)
    return {
        "lines_cmd": columns(op.WindowLines, fields),
        "window_cmd": columns(op.Window, fields),
        "feed_cmd": columns(Feed, feeds),
        "words": [int.from_bytes(word.tobytes(), "little") for word in words],
        "tiles": np.concatenate(tiles),
    }


def columns(kind: Struct, rows: Sequence[Mapping[str, int]]) -> dict[str, list[int]]:
    return {name: [row[name] for row in rows] for name, _ in kind.fields}
