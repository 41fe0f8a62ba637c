"""The words that CUDA kernels are written in: launches, memories, barriers, sums over a warp."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgewright.targets.lowering.tir import Expr, IRBuilder, T, cast, constant, i32, put, tirx
from edgewright.targets.lowering.view import StridedView

WARP = 32
WARP_HALVES = (16, 8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class Argument:
    """A kernel's pointer to the first element of a view. `words`: read as int32, four bytes at a time."""

    view: StridedView
    words: bool = False

    @property
    def dtype(self) -> str:
        return "int32" if self.words else self.view.dtype

    @property
    def elements(self) -> int:
        return -(-self.view.span // 4) if self.words else self.view.span


class Buffers:
    """Flat buffers of a kernel's views."""

    def __init__(self, arguments: Sequence[Argument], buffers: Sequence[Any]) -> None:
        self._buffers = dict(zip(arguments, buffers, strict=True))

    def __getitem__(self, view: StridedView) -> Any:
        return self._buffers[Argument(view)]

    def words(self, view: StridedView) -> Any:
        return self._buffers[Argument(view, True)]


@dataclass(frozen=True, slots=True)
class Launch:
    """Blocks in a row, and threads of a block in a row."""

    blocks: int
    threads: int


Body = Callable[[Buffers, Expr, Expr], None]  # (buffers, block, thread)


def kernel_function(arguments: Sequence[Argument], launch: Launch, body: Body) -> Any:
    """Return a device function of one pointer per argument."""
    with IRBuilder() as ib, T.prim_func():
        T.func_name("step")
        pointers = [T.arg(f"p{i}", T.ptr(argument.dtype)) for i, argument in enumerate(arguments)]
        buffers = [
            T.decl_buffer((argument.elements,), argument.dtype, data=pointer)
            for argument, pointer in zip(arguments, pointers, strict=True)
        ]
        with (
            T.launch_thread("blockIdx.x", launch.blocks) as block,
            T.launch_thread("threadIdx.x", launch.threads) as thread,
        ):
            body(Buffers(arguments, buffers), block, thread)
    return ib.get()


def shared(elements: int, dtype: str) -> Any:
    """Allocate memory of the block."""
    return T.alloc_buffer((elements,), dtype, scope="shared")


def registers(elements: int, dtype: str) -> Any:
    """Allocate memory of the thread, which is in registers if every index is known after unrolling."""
    return T.alloc_buffer((elements,), dtype, scope="local")


def barrier() -> None:
    """Emit a barrier: all threads of the block arrive before any continues."""
    T.evaluate(T.tvm_storage_sync("shared"))


@contextmanager
def when(condition: Expr | None) -> Iterator[None]:
    """Run the statements in threads where the condition holds; None always holds."""
    if condition is None:
        yield
        return
    with T.If(condition), T.Then():
        yield


def let(value: Expr) -> Expr:
    """Compute `value` once, here; a number stays a number."""
    if isinstance(value, (int, float)):
        return value
    return T.bind(value)


@contextmanager
def unrolled(extent: int) -> Iterator[Expr]:
    with T.unroll(0, extent) as i:
        yield i


@contextmanager
def counted(extent: Expr) -> Iterator[Expr]:
    with T.serial(0, extent) as i:
        yield i


def quotient(value: Expr, by: int) -> Expr:
    """Return value / by for value >= 0."""
    if by == 1 or isinstance(value, int):
        return value if by == 1 else value // by
    return T.truncdiv(value, i32(by))


def remainder(value: Expr, by: int) -> Expr:
    """Return value % by for value >= 0."""
    if by == 1 or isinstance(value, int):
        return 0 if by == 1 else value % by
    return T.truncmod(value, i32(by))


def both(a: Expr | None, b: Expr | None) -> Expr | None:
    """Return whether both hold; None always holds."""
    if a is None or b is None:
        return b if a is None else a
    return tirx.all(a, b)


def loaded(buffer: Any, index: Expr, where: Expr | None, otherwise: float = 0) -> Expr:
    """Return buffer[index] where the condition holds (memory is not read elsewhere)."""
    value = buffer[index]
    return value if where is None else T.if_then_else(where, value, constant(otherwise, str(buffer.dtype)))


def copied(target: Any, to: Expr, source: Any, frm: Expr, count: int) -> None:
    """Copy 1, 2 or 4 neighbours at once; both offsets are multiples of the count."""
    if count == 1:
        put(target, to, source[frm])
        return
    with T.vectorized(0, count) as lane:
        put(target, to + lane, source[frm + lane])


def over_warp(value: Expr, dtype: str, combine: Callable[[Expr, Expr], Expr]) -> Expr:
    """Return the combination over the 32 lanes of a warp, in every lane. All lanes take part."""
    held = registers(1, dtype)
    put(held, 0, value)
    for distance in WARP_HALVES:
        put(held, 0, combine(held[0], shuffled(held[0], dtype, distance)))
    return held[0]


def shuffled(value: Expr, dtype: str, distance: int) -> Expr:
    """Return the value of the lane whose number differs in one bit."""
    return T.call_extern(dtype, "__shfl_xor_sync", tirx.IntImm("uint32", 0xFFFFFFFF), value, i32(distance))


def total_of(value: Expr, dtype: str) -> Expr:
    return over_warp(value, dtype, lambda a, b: a + b)


def largest_of(value: Expr, dtype: str) -> Expr:
    return over_warp(value, dtype, lambda a, b: T.max(a, b))


def shift_right(value: Expr, bits: Expr) -> Expr:
    """Return the arithmetic shift of an int64."""
    return T.shift_right(value, bits if not isinstance(bits, int) else constant(bits, "int64"))


def bit_length(value: Expr) -> Expr:
    """Return the bits of an int64 > 0, as int64."""
    return constant(64, "int64") - cast(T.call_extern("int32", "__clzll", value), "int64")
