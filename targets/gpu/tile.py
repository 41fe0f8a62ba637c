"""Products of a block of threads: tiles staged in shared memory, sums in registers.

int8 with dp4a sums in int32. Without (sm_53) bytes become floats: a sum of at most 1024 products of magnitude at most
2^14 stays within 2^24, so each float32 partial sum is that integer; then it moves to int32 (`EXACT_STEPS`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgewright.targets.gpu.operand import StagedTile, TileOperand
from edgewright.targets.gpu.tir import Buffers, barrier, copied, counted, let, quotient, registers, remainder, shared, unrolled
from edgewright.targets.lowering.tir import Expr, T, cast, constant, i32, put

PAD = 4  # shared rows are padded by this, so that columns fall into different banks
ONES = 0x01010101  # dp4a with it sums four bytes


@dataclass(frozen=True, slots=True)
class MatrixTile:
    """A block's bm x bn results, tm x tn of them in each thread (1, 2 or 4)."""

    bm: int
    bn: int
    tm: int
    tn: int

    @property
    def threads(self) -> int:
        return (self.bm // self.tm) * (self.bn // self.tn)


LARGE = MatrixTile(64, 64, 4, 4)
MEDIUM = MatrixTile(32, 32, 2, 4)
FLAT = MatrixTile(8, 64, 1, 4)
COLUMNS = 64  # weights are padded to whole tiles of any kind
BLOCKS = 16  # with fewer large tiles, smaller ones use more of the GPU


def tile_for(rows: int, columns: int, batch: int = 1) -> MatrixTile:
    if rows <= FLAT.bm:
        return FLAT
    blocks = -(-rows // LARGE.bm) * -(-columns // LARGE.bn) * batch
    return LARGE if blocks >= BLOCKS else MEDIUM


FLOAT, DOT, EXACT = "float", "dp4a", "exact"
STEPS = {FLOAT: 16, DOT: 8, EXACT: 8}  # of k per tile: floats, or words of four bytes
EXACT_VALUES = {False: 1024, True: 512}  # values of k whose products sum exactly: |a| <= 128; a <= 255


def arithmetic(dtype: str, has_dp4a: bool) -> str:
    """Return how products of float32 or int8 operands are computed."""
    if dtype == "float32":
        return FLOAT
    return DOT if has_dp4a else EXACT


@dataclass(frozen=True, slots=True)
class Resident:
    """A left side in shared memory: value (row, step) at [row * pitch + step].

    bits: floats stored as the int32 of the same bits.
    """

    memory: Any
    pitch: int
    bits: bool = False

    def value(self, row: Expr, step: Expr) -> Expr:
        held = self.memory[row * self.pitch + step]
        return T.reinterpret("float32", held) if self.bits else held


class Multiplier:
    """The registers and staging tiles of one block, for any number of products in turn."""

    def __init__(self, tile: MatrixTile, kind: str, thread: Expr) -> None:
        self.tile, self.kind, self.thread = tile, kind, thread
        self.steps = STEPS[kind]
        across = tile.bn // tile.tn
        self.column = let(remainder(thread, across)) * tile.tn
        self.row = let(quotient(thread, across)) * tile.tm
        self.staged = "int32" if kind == DOT else "float32"
        self.unit = 4 if kind == EXACT else 1  # staged values per step
        self.left = self._staging(tile.bm)
        self.right = self._staging(tile.bn)
        self.dtype = "float32" if kind == FLOAT else "int32"
        self.acc = registers(tile.tm * tile.tn, self.dtype)
        self.partial = registers(tile.tm * tile.tn, "float32") if kind == EXACT else None
        self.sums = registers(tile.tn, "int32")

    def _staging(self, rows: int) -> StagedTile:
        pitch = rows + PAD
        memory = shared(self.steps * self.unit * pitch, self.staged)
        return StagedTile(memory, pitch, rows, self.steps, self.kind == DOT, self.kind == EXACT)

    def values(self, depth: int) -> int:
        """Return k with the padding of whole tiles."""
        whole = self.steps * (1 if self.kind == FLOAT else 4)
        return -(-depth // whole) * whole

    def run(
        self,
        buffers: Buffers,
        left: TileOperand | Resident,
        first_row: Expr,
        right: TileOperand,
        first_column: Expr,
        wide: bool = False,
        columns: bool = False,
    ) -> None:
        """Emit acc = left x right. wide: left values are in [0, 255] instead of [-128, 127]; columns: also the sums over k of
        the right side's columns (only with dp4a)."""
        tile = self.tile
        with unrolled(tile.tm * tile.tn) as i:
            put(self.acc, i, constant(0, self.dtype))
        if columns:
            with unrolled(tile.tn) as j:
                put(self.sums, j, i32(0))
        per_stage = self.steps * (1 if self.kind == FLOAT else 4)
        stages = -(-right.depth // per_stage)

        def stage(number: Expr) -> None:
            first = number * self.steps
            barrier()
            if isinstance(left, TileOperand):
                self.left.fetch(left, buffers, first_row, first, tile.threads, self.thread)
            self.right.fetch(right, buffers, first_column, first, tile.threads, self.thread)
            barrier()
            self._multiply(left, first, columns)

        if self.partial is None:
            with counted(stages) as number:
                stage(number)
            return
        chunk = EXACT_VALUES[wide] // per_stage
        with counted(-(-stages // chunk)) as part:
            with unrolled(tile.tm * tile.tn) as i:
                put(self.partial, i, constant(0, "float32"))
            with counted(chunk if stages % chunk == 0 else T.min(i32(chunk), stages - part * chunk)) as number:
                stage(part * chunk + number)
            with unrolled(tile.tm * tile.tn) as i:
                put(self.acc, i, self.acc[i] + cast(self.partial[i], "int32"))

    def _multiply(self, left: TileOperand | Resident, first: Expr, columns: bool) -> None:
        tile = self.tile
        a, b = registers(tile.tm, self.staged), registers(tile.tn, self.staged)
        target = self.acc if self.partial is None else self.partial
        with unrolled(self.steps * self.unit) as step:
            if isinstance(left, Resident):
                with unrolled(tile.tm) as i:
                    put(a, i, left.value(self.row + i, first * self.unit + step))
            else:
                copied(a, 0, self.left.memory, step * self.left.pitch + self.row, tile.tm)
            copied(b, 0, self.right.memory, step * self.right.pitch + self.column, tile.tn)
            with unrolled(tile.tm) as i, unrolled(tile.tn) as j:
                at = i * tile.tn + j
                put(target, at, _dot(a[i], b[j], target[at]) if self.kind == DOT else target[at] + a[i] * b[j])
            if columns:
                with unrolled(tile.tn) as j:
                    put(self.sums, j, _dot(i32(ONES), b[j], self.sums[j]))

    def each(self, body: Callable[[Expr, Expr, Expr, Expr], None]) -> None:
        """Run `body(row in the tile, column in the tile, value, sum of the column)` for the thread's results."""
        tile = self.tile
        with unrolled(tile.tm) as i, unrolled(tile.tn) as j:
            body(self.row + i, self.column + j, self.acc[i * tile.tn + j], self.sums[j])


def _dot(a: Expr, b: Expr, c: Expr) -> Expr:
    return T.call_extern("int32", "__dp4a", a, b, c)
