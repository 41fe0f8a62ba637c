"""Normalisations, softmax, sums over axes, look-ups: small graphs of odd shapes."""

from __future__ import annotations

import itertools

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import INT8, INT16, INT64
from edgewright.passes.ops import (
    Add,
    AddRequantised,
    Conv,
    Gather,
    LayerNormalization,
    Mul,
    ReduceMean,
    ReduceSum,
    Reshape,
    RMSNormalization,
    Sigmoid,
    Silu,
    Slice,
    Softmax,
    Sub,
    Table,
    Transpose,
    constant,
)
from edgewright.passes.ops.scaling import IDENTITY

from tests.targets.cpu.case_layers import Cases, integer_norm, linear, requantise
from tests.targets.cpu.lowered import Draw

CASES = Cases()
case = CASES.case


# Rows
@case("rows", "layer norm")
def _(d: Draw) -> tuple[Node, ...]:
    found = []
    for shape in ((7,), (1, 5, 33), (2, 3, 4, 16), (1, 3, 1)):
        found.append(d(LayerNormalization(1e-5), d.input(*shape), d.real(shape[-1]), d.real(shape[-1])))
    x = d(Transpose((0, 2, 1)), d.input(1, 9, 4))
    y = d(LayerNormalization(1e-2), x, d.real(9), d.real(9))
    return *found, d(Silu(), y), linear(d, y, 4)


@case("rows", "integer layer norm")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 5, 33, elem=INT16)
    turned = d(Transpose((0, 2, 1)), d.input(1, 9, 4, elem=INT16))
    y, many = integer_norm(d, d.input(1, 6, 64, elem=INT16)), integer_norm(d, d.input(2, 11, 9, elem=INT16))
    tables = (d(Table(), one, d.integers(256)) for one in (many, y))
    return many, *tables, integer_norm(d, x), integer_norm(d, turned), linear(d, y, 6)


@case("rows", "integer layer norm to 16 bits")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 5, 33, elem=INT16)
    y = integer_norm(d, d.input(3, 70, elem=INT16), INT16)
    return integer_norm(d, x, INT16), d(AddRequantised(*IDENTITY, 40000, 16), y, d.input(3, 70, elem=INT16))


@case("rows", "integer norms of wide rows")
def _(d: Draw) -> tuple[Node, ...]:
    """A factor for each column or for all, in a layout of rows or not, with and without a table behind."""
    x, many = d.input(1, 2, 1030, elem=INT16), d.input(1, 1, 70_000, elem=INT16)
    turned = d(Transpose((0, 2, 1)), d.input(1, 1100, 3, elem=INT16))
    one = d.integers(1, low=-60000, high=60000, dtype="int32"), d.integers(1, low=-(1 << 24), high=1 << 24, dtype="int64")
    kinds = LayerNormalization, RMSNormalization
    for_all = (d(op(1e-6, eps_term=12345, shift=22), many, *one) for op in kinds)
    by_column = (integer_norm(d, source, elem, op) for op in kinds for source in (x, turned) for elem in (INT8, INT16))
    table = d(Table(), integer_norm(d, x), d.integers(256, low=-127, high=128))
    return *for_all, *by_column, table


@case("rows", "RMS norm")
def _(d: Draw) -> tuple[Node, ...]:
    found = []
    for shape in ((7,), (1, 5, 33), (2, 3, 4, 16), (1, 3, 1)):
        found.append(d(RMSNormalization(1e-5), d.input(*shape), d.real(shape[-1])))
    x = d(Transpose((0, 2, 1)), d.input(1, 9, 4))
    y = d(RMSNormalization(1e-2), x, d.real(9))
    return *found, d(Silu(), y), linear(d, y, 4)


@case("rows", "integer RMS norm")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 5, 33, elem=INT16)
    turned = d(Transpose((0, 2, 1)), d.input(1, 9, 4, elem=INT16))
    y, many = (integer_norm(d, d.input(*shape, elem=INT16), op=RMSNormalization) for shape in ((1, 6, 64), (2, 11, 9)))
    tables = (d(Table(), one, d.integers(256)) for one in (many, y))
    wide = (integer_norm(d, one, INT16, RMSNormalization) for one in (x, turned))
    plain = (integer_norm(d, one, op=RMSNormalization) for one in (x, turned))
    return many, *tables, *wide, *plain, linear(d, y, 6)


for shape, axis in (((3, 5, 7), -1), ((3, 5, 7), 1), ((3, 5, 7), 0), ((9,), 0), ((2, 3, 4, 33), 2), ((1, 1, 6), 1)):

    @case("rows", f"softmax of {shape} over {axis}")
    def _(d: Draw, shape: tuple[int, ...] = shape, axis: int = axis) -> tuple[Node, ...]:
        y = d(Softmax(axis), d.input(*shape))
        z = d(Softmax(axis), d.input(*shape))
        return y, d(Mul(), z, constant(np.array(3, np.float32)))

    @case("rows", f"integer softmax of {shape} over {axis}")
    def _(d: Draw, shape: tuple[int, ...] = shape, axis: int = axis) -> tuple[Node, ...]:
        y = d(Softmax(axis, 33000, 17), d.input(*shape, elem=INT16))
        z = d(Softmax(axis, 65000, 19), d.input(*shape, elem=INT16))
        return y, requantise(d, z, (1,), zero_point=-127)


REDUCED: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((3, 5, 7), (1,)),
    ((3, 5, 7), (-1,)),
    ((3, 5, 7), (0,)),
    ((3, 5, 7), (0, 2)),
    ((3, 5, 7), (0, 1, 2)),
    ((6,), (0,)),
    ((2, 3, 4, 35), (1, 2)),
    ((2, 3, 4, 35), (3,)),
    ((1, 1, 4), (1,)),
    ((1, 7, 3, 3), (2, 3)),
    ((1, 40, 3, 3), (1,)),
)
for reduced, axes in REDUCED:
    for keepdims in (False, True):

        @case("rows", f"mean and sum of {reduced} over {axes} {'kept' if keepdims else ''}")
        def _(
            d: Draw, shape: tuple[int, ...] = reduced, axes: tuple[int, ...] = axes, keepdims: bool = keepdims
        ) -> tuple[Node, ...]:
            found = [d(ReduceMean(axes, keepdims), d.input(*shape))]
            for elem in (INT8, INT16):
                found.append(d(ReduceSum(axes, keepdims), d.input(*shape, elem=elem)))
            if found[0].shape:
                total = d(ReduceSum(axes, keepdims), d.input(*shape, elem=INT8))
                found.append(requantise(d, total, (1,), zero_point=1))
                found.append(d(Sigmoid(), d(ReduceMean(axes, keepdims), d.input(*shape))))
            return tuple(found)


@case("rows", "means of views")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 4, 6, 5)
    turned = d(Transpose((0, 3, 1, 2)), d(Slice(2, 0, 6, 2), x))
    y = d(Conv(), x, d.real(7, 4, 1, 1))
    means = [d(ReduceMean(axes), turned) for axes in ((1,), (2, 3), (0, 1, 2, 3))]
    difference = d(Sub(), x, d(ReduceMean((1,)), x))
    return *means, d(ReduceMean((2, 3), False), y), difference, d(ReduceMean((1,), False), y)


# Look-ups
@case("gather", "rows of a table by ids")
def _(d: Draw) -> tuple[Node, ...]:
    ids = d.input(1, 6, elem=INT64)
    words = d(Gather(0), d.real(11, 5), ids)
    whole = d(Gather(0), d.integers(11, 40), ids)
    return words, d(Add(), d(Gather(0), d.real(11, 5), ids), d.real(1, 6, 5)), whole, d(Table(), whole, d.integers(256))


@case("gather", "axes of activations by constants, negative ones too")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(4, 5, 6)
    found = []
    for axis, index in itertools.product((0, 1, -2), (np.array([3, -1, 0]), np.array(2), np.array([[1, -4], [0, 3]]))):
        found.append(d(Gather(axis), x, constant(index)))
    found.append(d(Gather(0), d(Transpose((2, 1, 0)), x), constant(np.array([5, 5, -6], np.int32))))
    return tuple(found)


@case("gather", "the last axis")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(4, 5, 6)
    index, one = constant(np.array([[3, -1, 0]])), constant(np.array(-2))
    return d(Gather(2), x, index), d(Gather(-1), x, one), d(Gather(0), d.input(7), d.input(3, elem=INT64))


@case("gather", "by indices that are views, of values that are views")
def _(d: Draw) -> tuple[Node, ...]:
    ids = d.input(2, 6, elem=INT64)
    part = d(Slice(1, 1, 6, 2), ids)
    turned = d(Transpose((1, 0)), part)
    x = d.input(1, 9, 4)
    return d(Gather(0), d.real(9, 4), turned), d(Gather(1), d(Slice(2, 1, 3), x), d(Reshape((6,)), part))
