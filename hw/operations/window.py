"""Windows over a stored feature map: what the engine's window unit is told, what it multiplies by, and what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from edgewright.hw.blocks import window as unit
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.product import Excess, Fields, Integers, Piece, Product, largest, row_fields, tiles
from edgewright.hw.views import StoredView
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows of ``kernel`` (rows, columns) over a map of ``height x width`` pixels of ``channels``, ``strides`` (down, across)
    apart, from ``padding`` (above, left) outside of it on. ``output``: (rows, columns) of windows, of which each must touch the
    map; what they read below and right of it is padding too. ``pad_value``: int8, what padding counts as, where it counts.
    ``maximum``: of the pixels, rather than a sum of products; padding is none of them."""

    height: int
    width: int
    channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int]
    output: tuple[int, int]
    maximum: bool = False
    pad_value: int = 0

    @property
    def fits(self) -> bool:
        """Whether the unit of any board that has one can work on them, a few channels at a time."""
        return not list(replace(self, channels=min(self.channels, 2 * WORD_BYTES)).exceeding(EngineConfig()))

    @property
    def words(self) -> int:
        """Memory words of a pixel."""
        return tiles(self.channels, WORD_BYTES)

    @property
    def pitch(self) -> int:
        """Pixels from one to the one below, as the unit counts them: a line is as long as its windows and its delay need."""
        across = (self.output[1] - 1) * self.strides[1]
        return max(self.width, across // self.strides[0] + 1, tiles(unit.LEAST_LINE, self.words))

    @property
    def line(self) -> int:
        """Words from a pixel to the one below."""
        return self.pitch * self.words

    @property
    def phases(self) -> int:
        """Cycles that a word of output takes, if not its pixels take longer."""
        return unit.phases_of(self.kernel)

    @property
    def newest(self) -> tuple[int, int]:
        """The last pixel of the first window, (line, column)."""
        return self.kernel[0] - 1 - self.padding[0], self.kernel[1] - 1 - self.padding[1]

    @property
    def cycles(self) -> int:
        """Cycles from the first word to the last result, if nothing else holds it up."""
        windows = self.output[0] * self.output[1] * self.words
        return self.last + windows * (self.phases - 1)

    @property
    def last(self) -> int:
        """Words up to the last one of the last window, as the unit counts lines."""
        row, column = (first + (n - 1) * s for first, n, s in zip(self.newest, self.output, self.strides, strict=True))
        return row * self.line + (column + 1) * self.words

    def fields(self) -> Fields:
        """Return the fields of the unit's commands."""
        (down, across), pitch = self.newest, self.pitch
        row, rest = divmod(self.last - 1, self.line)
        return {
            "win_height": self.height,
            "win_width": self.width,
            "win_words": self.words,
            "win_lines": max(self.height, row + 1),
            "win_line": self.line,
            "win_row": self.width * self.words,
            "win_last": row,
            "win_end": rest + 1,
            "win_rows": self.output[0],
            "win_cols": self.output[1],
            "win_lead": down * pitch + across + 1,
            "win_turn": self.strides[0] * pitch - self.strides[1] * (self.output[1] - 1),
            "win_stride_rows": self.strides[0],
            "win_stride_cols": self.strides[1],
            "win_kernel_rows": self.kernel[0],
            "win_kernel_cols": self.kernel[1],
            "win_down": down,
            "win_across": across,
            "win_phases": self.phases,
            "win_maximum": int(self.maximum),
            "win_missing": (-128 if self.maximum else self.pad_value) & 0xFF,
        }

    def weights(self, weight: Integers) -> NDArray[np.int8]:
        """Return ``weight``, int8 (rows, columns, channels) of the kernel, as the unit reads it: (words of a pixel, phases,
        taps, channels of a word). Those of a sum of the pixels are ones."""
        rows, columns = self.kernel
        padded = np.zeros((unit.SIDE, unit.SIDE, self.words * WORD_BYTES), dtype=np.int8)
        padded[:rows, :columns, : self.channels] = weight[::-1, ::-1]  # by lines above, and pixels left of, the newest
        found = np.zeros((self.words, self.phases, unit.TAPS, WORD_BYTES), dtype=np.int8)
        for phase, taps in enumerate(unit.PLACES[: self.phases]):
            for tap, (above, left) in enumerate(taps):
                found[:, phase, tap] = padded[above, left].reshape(self.words, WORD_BYTES)
        return found

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        """Yield the sizes that exceed the unit's, in the model's terms."""
        if not config.window_words:
            yield "it works on windows, channel by channel", "this board's engine has no unit for that: compile for another"
            return
        (rows, columns), (above, left) = self.kernel, self.padding
        if max(self.kernel) > unit.SIDE:
            yield f"its windows are {rows} x {columns}, the engine's at most {unit.SIDE} x {unit.SIDE}", "use smaller windows"
        elif not self.maximum and (count := self.words * self.phases) > config.weight_window:
            yield f"its weights take {count:,} tiles, the engine holds {config.weight_window:,}", "use fewer channels"
        if max(self.strides) > unit.MOST_STRIDE:
            yield f"its windows are {max(self.strides)} apart, the engine's at most {unit.MOST_STRIDE}", "use a smaller stride"
        ends = [(n - 1) * s - pad for n, s, pad in zip(self.output, self.strides, self.padding, strict=True)]
        if above >= rows or left >= columns or ends[0] >= self.height or ends[1] >= self.width:
            yield "some of its windows lie in the padding", "use less padding"
        most = unit.FIELDS["win_height"].high
        if max(self.height, self.width, *self.output) > most:
            yield f"its map is {self.height} x {self.width}, the engine's at most {most} x {most}", "use a smaller map"
        if self.channels > (channels := unit.MOST_WORDS * WORD_BYTES):
            yield f"its map has {self.channels:,} channels, the window unit holds {channels:,}", "use fewer channels"
        elif self.line > config.window_words:
            yield (
                f"a line of its map takes {self.line:,} words of {WORD_BYTES} bytes, a line of the window unit holds "
                f"{config.window_words:,}",
                "use a smaller map or fewer channels",
            )

    def widest(self, config: EngineConfig) -> int:
        """Return the most channels that the unit takes of such a map, whole words: channels do not mix, so that others can
        follow on their own. At least a word."""
        words = min(unit.MOST_WORDS, config.window_words // replace(self, channels=WORD_BYTES * unit.LEAST_LINE).pitch)
        return max(1, words if self.maximum else min(words, config.weight_window // self.phases)) * WORD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowProduct(Product):
    """Windows over a map whose pixels are the rows of ``source``, in raster order. ``weight``: int8 (rows, columns, channels)
    of the kernel, none for a maximum; ``bias``: (channels,)."""

    kind: ClassVar[str] = "window"
    passes: ClassVar[bool] = True
    windows: Windows
    weight: Integers | None
    bias: Integers
    images: int = 1

    @property
    def read_in_order(self) -> tuple[StoredView, ...]:
        """The map itself, if the unit has read a pixel before it gives the same pixel of the result."""
        windows = self.windows
        ahead = windows.strides == (1, 1) and windows.newest[0] >= 0 and windows.newest[1] >= 0
        return (self.source,) if ahead and windows.output == (windows.height, windows.width) else ()

    @property
    def depth(self) -> int:
        """Pixels that one output adds up."""
        return self.windows.kernel[0] * self.windows.kernel[1]

    def widest(self, config: EngineConfig) -> int:
        parameters = config.param_window * config.lanes
        return max(config.outs, min(self.windows.widest(config), parameters) // config.outs * config.outs)

    def part(self, columns: int) -> Windows:
        """Return the windows over some of the channels."""
        return replace(self.windows, channels=columns)

    def pieces(self, shape: tuple[int, int], config: EngineConfig) -> Iterator[Piece]:
        pixels = self.windows.output[0] * self.windows.output[1]
        for image in range(self.images):
            for piece in super(WindowProduct, self).pieces((pixels, shape[1]), config):
                yield replace(piece, row=image * pixels)

    def map_of(self, piece: Piece) -> StoredView:
        """Return the map that a piece reads."""
        pixels = self.windows.height * self.windows.width
        image = piece.row // (self.windows.output[0] * self.windows.output[1])
        view = self.source.part(image * pixels, pixels)
        return replace(view, column=view.column + piece.column, columns=piece.columns)

    def lines(self, storage: Storage, view: StoredView) -> bool:
        """Return whether a line of a map is one run of words."""
        words = tiles(view.columns, WORD_BYTES)
        whole = storage.layouts[view.root].pitch_bytes == words * WORD_BYTES and view.row_step == 1
        return whole and self.windows.width * words <= largest("act_beats")

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        """See ``Product``; ``window`` says where the weights go, one of each word's tiles to each pixel of output. Requests are
        lines, or pixels where other channels lie between them."""
        view, part = self.map_of(piece), self.part(piece.columns)
        rows = row_fields(storage, view) | {"direct": 1, "single": 1, "act_packed": 1}
        if self.lines(storage, view):
            rows |= {"stride_row": self.windows.width * storage.pitch(view), "act_beats": self.windows.width * part.words}
        rows["act_last"] = rows["act_beats"]
        weights: Fields = {}
        if self.weight is not None:
            weights = {
                "const_tiles": part.words * part.phases,
                "n_jobs": part.output[0] * part.output[1],
                "outs0": part.words,
                "depth0": part.phases,
            }
        return rows | part.fields() | weights | {"window": 1}

    def weight_tiles(self, config: EngineConfig, piece: Piece) -> bytes:
        """Return a tile for each word and phase, of which the first ``TAPS`` rows are used."""
        if self.weight is None:
            return b""
        first, columns, part = piece.column, piece.columns, self.part(piece.columns)
        found = np.zeros((part.words * part.phases, config.outs, config.ins), dtype=np.int8)
        found[:, : unit.TAPS] = part.weights(self.weight[..., first : first + columns]).reshape(-1, unit.TAPS, config.ins)
        return found.tobytes()

    def bias_of(self, first: int, columns: int) -> Integers:
        return self.bias[first : first + columns]

    def fetched(self, fields: Mapping[str, int], piece: Piece, config: EngineConfig) -> list[Integers]:
        """Return the rows of each request: lines, or pixels."""
        rows = self.map_of(piece).row_numbers
        lines = fields["act_beats"] > self.part(piece.columns).words
        return np.split(rows, self.windows.height if lines else len(rows))

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        yield from self.part(min(self.windows.channels, self.widest(config))).exceeding(config)
        pixels = self.windows.output[0] * self.windows.output[1]
        if self.weight is not None and pixels > (most := largest("n_jobs")):
            yield f"it has {pixels:,} windows, the engine reads the weights for up to {most:,}", "use a smaller map"
