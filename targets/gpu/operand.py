"""One side of a product, and how a block of threads copies a tile of it from global to shared memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgewright.targets.gpu.tir import Argument, Buffers, both, copied, let, loaded, quotient, remainder, unrolled, when
from edgewright.targets.lowering.tir import Expr, T, cast, constant, i32, put
from edgewright.targets.lowering.view import StridedView

At = Callable[[Expr, Expr], Expr]


@dataclass(frozen=True, slots=True)
class TileOperand:
    """`extent` rows (of the left side; columns of the right) of `depth` values; value (m, k) is at `at(m, k)`.

    quad: which index has four aligned neighbours in memory: "k", "m", or "" for neither. guard: where memory has a value;
    elsewhere it is `fill`, and a guard holds for all four neighbours or none when quad is "k".
    packed: weights from `pack_floats` (read four columns at a time) or `pack_words`, padded to whole tiles.
    """

    view: StridedView
    extent: int
    depth: int
    at: At
    quad: str = ""
    guard: At | None = None
    fill: int = 0
    packed: bool = False

    @property
    def argument(self) -> Argument:
        integer = self.view.dtype == "int8"
        return Argument(self.view, integer and (self.packed or self.quad == "k"))

    def inside(self, m: Expr, k: Expr, whole_m: int, whole_k: int) -> Expr | None:
        """Return whether (m, k) exists, for tiles of whole_m x whole_k values; None if it always does."""
        if self.packed:
            return None
        in_m = None if self.extent % whole_m == 0 else m < self.extent
        return both(in_m, None if self.depth % whole_k == 0 else k < self.depth)


@dataclass(frozen=True, slots=True)
class StagedTile:
    """A tile in shared memory: value (m, k) at [k * pitch + m]. words: four int8 values in one int32 (k counts
    words); else floats, which int8 values become on the way where exact is set."""

    memory: Any
    pitch: int
    rows: int
    steps: int  # along k: floats or words
    words: bool
    exact: bool

    def fetch(self, source: TileOperand, buffers: Buffers, first_m: Expr, first_step: Expr, threads: int, thread: Expr) -> None:
        """Emit the copy of a tile, by all threads of the block."""
        across = 4 if source.packed or source.quad == "m" else 1
        along = 4 if not (self.words or self.exact) and source.quad == "k" else 1
        per_row, rows = self.steps // along, self.rows // across
        k_first = not source.packed and (source.quad == "k" or _stride(source) == 1)
        units = per_row * rows
        with unrolled(-(-units // threads)) as turn:
            unit = let(thread + turn * threads)
            if k_first:
                m, step = quotient(unit, per_row), remainder(unit, per_row)
            else:
                m, step = remainder(unit, rows), quotient(unit, rows)
            m, step = let(m) * across, let(step) * along  # as products: TVM sees the alignment
            if units % threads:
                with when(unit < units):
                    self._unit(source, buffers, first_m, first_step, m, step)
            else:
                self._unit(source, buffers, first_m, first_step, m, step)

    def _unit(self, source: TileOperand, buffers: Buffers, first_m: Expr, first_step: Expr, m: Expr, step: Expr) -> None:
        if self.words or self.exact:
            self._words(source, buffers, first_m + m, first_step + step, m, step)
        else:
            self._floats(source, buffers, first_m + m, first_step + step, m, step)

    def _floats(self, source: TileOperand, buffers: Buffers, row: Expr, k: Expr, m: Expr, step: Expr) -> None:
        memory = buffers[source.view]
        where = source.inside(row, k, self.rows, self.steps)
        exists = source.guard(row, k) if source.guard is not None else None
        target = step * self.pitch + m
        if source.packed or source.quad == "m":
            self._guarded(where, target, 1, lambda: copied(self.memory, target, memory, source.at(row, k), 4))
        elif source.quad == "k":
            four = T.alloc_buffer((4,), "float32", scope="local")

            def scatter() -> None:
                copied(four, 0, memory, source.at(row, k), 4)
                for i in range(4):
                    put(self.memory, target + i * self.pitch, four[i])

            self._guarded(both(where, exists), target, self.pitch, scatter)
        else:
            put(self.memory, target, loaded(memory, source.at(row, k), both(where, exists)))

    def _guarded(self, where: Expr | None, target: Expr, apart: int, store: Callable[[], None]) -> None:
        """Run `store` where the condition holds, and put four zeros elsewhere."""
        if where is None:
            store()
            return
        with T.If(where):
            with T.Then():
                store()
            with T.Else():
                for i in range(4):
                    put(self.memory, target + i * apart, constant(0, "float32"))

    def _words(self, source: TileOperand, buffers: Buffers, row: Expr, word: Expr, m: Expr, step: Expr) -> None:
        if source.packed:
            four = T.alloc_buffer((4,), "int32", scope="local")
            copied(four, 0, buffers.words(source.view), source.at(row, word), 4)
            for i in range(4):
                self._keep(four[i], m + i, step)
            return
        k = word * 4
        span = self.steps * 4
        if source.quad == "k":
            where = source.inside(row, k, self.rows, span)
            if source.guard is not None:
                where = both(where, source.guard(row, k))
            blank = (source.fill & 0xFF) * 0x01010101
            signed = blank - (1 << 32 if blank >> 31 else 0)
            value = loaded(buffers.words(source.view), quotient(source.at(row, k), 4), where, signed)
            self._keep(let(value), m, step)
            return
        total: Expr = i32(0)
        for i in range(4):
            where = source.inside(row, k + i, self.rows, span)
            exists = source.guard(row, k + i) if source.guard is not None else None
            byte = cast(loaded(buffers[source.view], source.at(row, k + i), both(where, exists), source.fill), "int32")
            total = T.bitwise_or(total, T.shift_left(T.bitwise_and(byte, i32(255)), i32(8 * i)))
        self._keep(let(total), m, step)

    def _keep(self, word: Expr, m: Expr, step: Expr) -> None:
        if self.words:
            put(self.memory, step * self.pitch + m, word)
            return
        for i in range(4):
            byte = T.shift_right(T.shift_left(word, i32(24 - 8 * i)), i32(24))
            put(self.memory, (step * 4 + i) * self.pitch + m, cast(byte, "float32"))


def _stride(source: TileOperand) -> int:
    """Return the distance of neighbours along k in the first row, if it is a plain number, else 0."""
    value = source.at(0, 1)
    start = source.at(0, 0)
    return value - start if isinstance(value, int) and isinstance(start, int) else 0
