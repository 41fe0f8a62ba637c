"""Windows on storage against numpy's strided arrays."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from edgewright.passes.ir.types import Array, Int
from edgewright.targets.lowering.view import Space, StridedView, TensorStorage, collapse, contiguous, dtype_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), max_size=4).map(tuple)


def seen(view: StridedView) -> Array:
    """What a view shows of a storage that holds its own indices; IndexError beside the storage."""
    flat = np.arange(view.storage.elements)
    index = np.full(view.shape, view.offset)
    for axis, stride in enumerate(view.strides):
        index = index + np.arange(view.shape[axis]).reshape(-1, *[1] * (len(view.shape) - axis - 1)) * stride
    assert index.size == 0 or index.min() >= 0
    found: Array = flat[index]
    return found


def dense(shape: tuple[int, ...]) -> tuple[StridedView, Array]:
    view = contiguous(TensorStorage(Space.WORK, "int32", math.prod(shape)), shape)
    return view, np.arange(math.prod(shape)).reshape(shape)


@st.composite
def windows(draw: st.DrawFn) -> tuple[StridedView, Array]:
    """A view after some transposes, slices and broadcasts, and the array that numpy makes of the same."""
    view, array = dense(draw(SHAPES))
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["transpose", "slice", "broadcast"]))
        if kind == "broadcast":
            shape = tuple(3 if n == 1 and draw(st.booleans()) else n for n in array.shape)
            shape = (2, *shape) if draw(st.booleans()) and len(shape) < 4 else shape
            view, array = view.broadcast_to(shape), np.broadcast_to(array, shape)
        elif not array.shape:
            continue
        elif kind == "transpose":
            order = draw(st.permutations(range(array.ndim)))
            view, array = view.transpose(order), array.transpose(order)
        else:
            axis = draw(st.integers(-array.ndim, array.ndim - 1))
            start = draw(st.integers(0, array.shape[axis] - 1))
            stop = draw(st.integers(start + 1, array.shape[axis]))
            step = draw(st.integers(1, 3))
            index = [slice(None)] * array.ndim
            index[axis] = slice(start, stop, step)
            view, array = view.slice(axis, start, stop, step), array[tuple(index)]
    return view, array


@given(windows())
def test_windows_show_what_numpy_shows(pair: tuple[StridedView, Array]) -> None:
    view, array = pair
    assert view.shape == array.shape
    assert np.array_equal(seen(view), array)
    assert view.span == 1 + int(seen(view).max()) - int(seen(view).min())
    assert int(seen(view).min()) == view.offset


@settings(max_examples=500)
@given(windows(), st.data())
def test_reshape_is_none_only_where_numpy_copies(pair: tuple[StridedView, Array], data: st.DataObject) -> None:
    view, array = pair
    factors = [p for p in (2, 3) for _ in range(_power(array.size, p))]
    wanted = [1] * data.draw(st.integers(1, 5))
    for factor in factors:
        wanted[data.draw(st.integers(0, len(wanted) - 1))] *= factor
    shape = tuple(wanted)
    assume(math.prod(shape) == array.size)
    reshaped = view.reshape(shape)
    copied = not np.shares_memory(array.reshape(shape), array)
    assert (reshaped is None) == copied
    if reshaped is not None:
        assert reshaped.shape == shape
        assert np.array_equal(seen(reshaped), array.reshape(shape))


def _power(n: int, p: int) -> int:
    count = 0
    while n % p == 0:
        n, count = n // p, count + 1
    return count


@pytest.mark.parametrize("wanted", [(2, 3), (3, 2), (6,), (1, 6), (3, 1, 2)])
def test_reshape_across_axes_that_do_not_follow_each_other(wanted: tuple[int, ...]) -> None:
    view, array = dense((2, 3))
    assert (view.transpose((1, 0)).reshape(wanted) is None) == (not np.shares_memory(array.T.reshape(wanted), array))


def test_reshape_refuses_another_size() -> None:
    with pytest.raises(ValueError, match="does not reshape"):
        dense((2, 3))[0].reshape((4, 2))


@given(SHAPES.filter(bool), st.data())
def test_collapse_walks_the_same_way_over_fewer_axes(shape: tuple[int, ...], data: st.DataObject) -> None:
    views = []
    for _ in range(data.draw(st.integers(1, 3))):
        order = data.draw(st.permutations(range(len(shape)))) if data.draw(st.booleans()) else range(len(shape))
        broadcast = tuple(1 if data.draw(st.integers(0, 4)) == 0 else n for n in shape)
        view, _ = dense(tuple(broadcast[i] for i in order))
        views.append(view.transpose(np.argsort(list(order)).tolist()).broadcast_to(shape))
    sizes, strides = collapse(shape, [view.strides for view in views])
    assert math.prod(sizes) == math.prod(shape)
    for view, own in zip(views, strides, strict=True):
        assert np.array_equal(seen(StridedView(view.storage, sizes, own, view.offset)).ravel(), seen(view).ravel())
    for i in range(len(sizes) - 1):  # nothing more would merge
        assert any(own[i] != own[i + 1] * sizes[i + 1] for own in strides)
    assert sizes == (1,) or 1 not in sizes


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_contiguous_lays_axes_out_in_order(order: tuple[int, ...]) -> None:
    shape = (2, 3, 4)
    view = contiguous(TensorStorage(Space.WORK, "int8", 24), shape, order)
    inner_last = np.arange(24).reshape([shape[i] for i in order])
    assert np.array_equal(seen(view).transpose(order), inner_last)


def test_types_in_c() -> None:
    assert [dtype_of(Int(bits, signed)) for bits in (1, 8, 9, 16, 25, 32, 64) for signed in (True, False)] == [
        "int8",
        "uint8",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int32",
        "uint32",
        "int64",
        "uint64",
    ]
