"""Sizes and clock of one engine: fixed when a bitstream is made, and therefore shared by every model on a board."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from edgewright.hw.kernel.types import WORD_BYTES
from edgewright.targets.device import Device

LEAST_AHEAD = 64
"""Entries of a ring that are loaded for the next operation while one holds as many as it may."""


def address_bits(depth: int) -> int:
    """Return the bits of an address into ``depth`` elements."""
    return max(1, (depth - 1).bit_length())


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One engine configuration. The array does ``tokens * outs * ins`` products per cycle.

    ``*_tiles`` are depths: of the rings of weights and of channel parameters, of one bank of everything else. A tile of weights
    or of a computed operand is ``outs x ins`` int8, an activation tile ``tokens x ins``. ``scores_ahead``: blocks of tokens by
    which scores are ahead of values, so that their softmax is done in time. ``completions``: how many of them each reader of
    memory keeps that it has not needed yet. ``residual_rows``, ``result_rows``: rows of ``lanes`` int16 that are read ahead of
    the sums, and that wait to be stored, because two words a row pass memory in twice the cycles that the array may take for
    it. ``on_chip_words``: memory words at the start of the address space that are on chip; 0: none. ``bias_entries``: of score
    biases, each for two tokens and ``outs`` keys; an operation keeps most of them. ``list_entries``: rows of lists that wait.
    ``read_ahead``: words that each read port asks for before they are taken, which have to cover the memory's latency.
    ``turned_rows``: rows of ``lanes`` int16 of a block of tokens that wait to be stored as one run. ``window_words``: memory
    words of a line that a depthwise window may have above it; 0: the engine has no unit for windows.
    ``clock_mhz``: the clock whose period the stages of the pipelines are made for."""

    tokens: int = 12
    outs: int = 16
    ins: int = 16
    weight_tiles: int = 4096
    table_banks: int = 2
    norm_banks: int = 4
    operand_tiles: int = 1024
    operand_banks: int = 2
    activation_tiles: int = 256
    activation_banks: int = 4
    key_tiles: int = 64
    param_tiles: int = 1024
    norm_width: int = 2048
    softmax_keys: int = 2
    scores_ahead: int = 3
    bias_entries: int = 512
    list_entries: int = 4096
    on_chip_words: int = 0
    on_chip_banks: int = 8
    read_ahead: int = 64
    completions: int = 2048
    residual_rows: int = 2048
    result_rows: int = 4096
    turned_rows: int = 256
    window_words: int = 512
    clock_mhz: int = 300

    def __post_init__(self) -> None:
        if self.ins != self.word_bytes:
            raise ValueError(f"the {8 * self.word_bytes}-bit memory words fix ins to {self.word_bytes}")
        if self.outs < self.ins or self.outs & (self.outs - 1):
            raise ValueError(f"outs must be {self.ins}, or that times a power of two")
        if self.tokens < 2 or self.tokens % 2:
            raise ValueError("tokens must be even: two tokens share a DSP")
        if self.scores_ahead % 2 == 0 or not 0 < self.scores_ahead < 16:
            raise ValueError("scores_ahead must be odd and below 16")
        if self.ins % self.softmax_keys:
            raise ValueError(f"softmax_keys must divide {self.ins}")
        if self.window_words and not 64 < self.window_words <= 2047:
            raise ValueError("window_words must be 65 to 2,047, or 0")
        if self.key_tiles * self.outs > self.activation_tiles * self.ins:
            raise ValueError("a row of attention weights must fit an activation bank")

    @property
    def macs_per_cycle(self) -> int:
        """Products per cycle of the array."""
        return self.tokens * self.outs * self.ins

    @property
    def word_bytes(self) -> int:
        """Bytes of a memory word: a row of ``ins`` int8 channels, or of ``lanes`` int8 results."""
        return WORD_BYTES

    @property
    def lanes(self) -> int:
        """Results per cycle of the epilogue: those of a memory word, so a row of the array's takes ``outs // lanes`` cycles."""
        return self.word_bytes

    @property
    def value_sums(self) -> int:
        """Sums of ``ins`` values each, for ``lanes`` channels, that belong to a bank of operands."""
        return self.operand_tiles * self.outs // self.lanes

    @property
    def on_chip_bytes(self) -> int:
        """Bytes of on-chip memory: external memory starts behind them in the address space."""
        return self.on_chip_words * self.word_bytes

    @property
    def weight_window(self) -> int:
        """The most weight tiles of one descriptor: those of others are loaded behind them."""
        return min(self.weight_tiles // 2, 2048)

    @property
    def param_window(self) -> int:
        """The most entries of channel parameters, for ``lanes`` outputs each, of one descriptor."""
        return max(1, self.param_tiles // 4, self.param_tiles - LEAST_AHEAD)

    @property
    def bias_window(self) -> int:
        """The most entries of score biases that an operation keeps."""
        return max(self.bias_entries // 2, self.bias_entries - LEAST_AHEAD)

    @property
    def tile_words(self) -> int:
        """Memory words of a weight tile."""
        return self.outs * self.ins // self.word_bytes

    @property
    def norm_lanes(self) -> int:
        """Channels that LayerNorm reads per cycle: the int16 values of a word."""
        return self.word_bytes // 2

    @property
    def period_ns(self) -> float:
        """The time of a cycle."""
        return 1000 / self.clock_mhz

    @classmethod
    def of_board(cls, device: Device) -> EngineConfig:
        """Build from a board file: its ``[engine]`` table and its clock. ValueError: unknown keys."""
        assert device.clock_mhz is not None
        return replace(cls.from_table(dict(device.engine)), clock_mhz=round(device.clock_mhz))

    @classmethod
    def from_table(cls, table: dict[str, int]) -> EngineConfig:
        """Build from a board file's ``[engine]`` table. ValueError: unknown keys."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(table) - known)
        if unknown:
            raise ValueError(f"unknown engine keys {unknown}; known: {sorted(known)}")
        return cls(**table)
