"""The words that the steps of a CPU program are written in. A step is a private function on raw pointers; the entry
function calls the steps in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import tvm
from edgewright.targets.lowering.tir import Expr, IRBuilder, T, i32, i64, tirx
from edgewright.targets.lowering.view import StridedView

LANES = 32  # elements in one vectorised loop: two registers of float32 on AVX-512, eight on NEON


def address(buffer: Any, flat: Expr) -> Expr:
    """Return the address of one element of a flat buffer."""
    return tirx.address_of(buffer[flat])


def head_offset(view: StridedView, head: Expr, heads: int) -> Expr:
    """Return the offset of the first element of a head in (windows, tokens, heads * width), heads numbered over windows."""
    width = view.shape[2] // heads * view.strides[2]
    if view.shape[0] == 1:
        return head * width
    return (head // heads) * view.strides[0] + (head % heads) * width


def call(name: str, *arguments: Expr, result: str = "int32") -> Expr:
    """Return a call of a micro-kernel; a statement when `evaluate`d."""
    return T.call_extern(result, name, *arguments)


def run(name: str, *arguments: Expr) -> None:
    T.evaluate(call(name, *arguments))


def null() -> Expr:
    """Return C's NULL."""
    return T.reinterpret("handle", i64(0))


def copy(target: Expr, source: Expr, size_bytes: int) -> None:
    """Emit C's memcpy."""
    T.evaluate(T.call_extern("handle", "memcpy", target, source, i64(size_bytes)))


def prefetch(buffer: Any, first: Expr, elements: int, item_bytes: int) -> None:
    """Prefetch elements that will be read soon, a cache line at a time."""
    line = 64 // item_bytes
    with T.serial(0, -(-elements // line)) as i:
        where = address(buffer, first + i * line)
        T.evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch.p0", where, i32(0), i32(3), i32(1)))


def scratch(elements: int, dtype: str) -> Any:
    """Allocate memory of this iteration alone, on the stack or from the thread's pool."""
    return T.alloc_buffer((max(elements, 1),), dtype, scope="global")


@contextmanager
def loop(extent: Expr, parallel: bool = False) -> Iterator[Expr]:
    """Emit `for i in range(extent)`, spread over threads if `parallel`."""
    with (T.parallel if parallel else T.serial)(0, extent) as i:
        yield i


def lanes(extent: int, body: Callable[[Expr], None], width: int = LANES) -> None:
    """Emit `body(j)` for 0 <= j < extent in vectors of `width`, and one shorter vector for the rest."""
    whole = extent // width
    if whole > 1:
        with T.serial(0, whole) as chunk, T.vectorized(0, width) as lane:
            body(chunk * width + lane)
    elif whole == 1:
        with T.vectorized(0, width) as lane:
            body(lane)
    rest = extent - whole * width
    if rest == 1:
        body(whole * width)  # TVM has no vector of one lane
    elif rest:
        with T.vectorized(0, rest) as lane:
            body(whole * width + lane if whole else lane)


def step_function(views: Sequence[StridedView], body: Callable[[Mapping[StridedView, Any]], None]) -> Any:
    """Return a function of one pointer per view (to the view's first element) whose statements `body` emits, given a flat
    buffer for each view."""
    with IRBuilder() as ib, T.prim_func(private=True):
        T.func_name("step")
        T.func_ret(tvm.ir.PrimType("int32"))  # void would not verify: a parallel loop returns its error code
        pointers = [T.arg(f"p{i}", T.ptr(view.dtype)) for i, view in enumerate(views)]
        buffers = {
            view: T.decl_buffer((view.span,), view.dtype, data=pointer) for view, pointer in zip(views, pointers, strict=True)
        }
        # memory from the thread's pool needs a device, which only public functions have by default
        with T.attr(i64(0), "device_type", i32(1)), T.attr(i64(0), "device_id", i32(0)):
            body(buffers)
        T.Return(i32(0))
    return ib.get()
