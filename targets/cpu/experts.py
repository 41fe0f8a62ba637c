"""Mixtures of experts, expert by expert: tokens are queued for the experts they choose, rows of a queue pass that expert's
two products together, and each token sums the results of its experts. Experts that no token chooses cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import MoE, array_of
from edgewright.passes.ops.activations import ACTIVATIONS
from edgewright.passes.ops.arith import SHIFT_MAX
from edgewright.targets.cpu.elementwise import copied
from edgewright.targets.cpu.geometry import Geometry, geometry
from edgewright.targets.cpu.product import Rows, strided_rows
from edgewright.targets.cpu.step import PARALLEL_ELEMENTS, PARALLEL_MACS, Context
from edgewright.targets.cpu.tail import Tail
from edgewright.targets.cpu.tir import address, loop, run, scratch
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.tir import Expr, T, i32, i64
from edgewright.targets.lowering.view import StridedView

TILES = 4  # of rows in one task: they share a panel of weights while it is in the first cache
PARTS = 16  # parts of the work for the threads: more than any board has cores
BLOCK = 8  # tokens whose sums are finished together


@dataclass(frozen=True, slots=True)
class Queues:
    """The memory of a layer's queues: see ew_route_f32."""

    tasks: StridedView
    token: StridedView
    place: StridedView
    gate: StridedView


def experts(context: Context, group: Group) -> None:
    """Add the steps of a MoE: the queues, the experts, and the sums with the tail."""
    _Experts(context, group).add()


class _Experts:
    def __init__(self, context: Context, group: Group) -> None:
        anchor = group.head
        assert isinstance(anchor.op, MoE)
        self.context, self.group, self.anchor, self.op = context, group, anchor, anchor.op
        self.weights = [array_of(node) for node in anchor.inputs[2:]]
        self.experts, self.h, self.d = self.weights[0].shape
        self.o = self.weights[2].shape[1]
        self.k = self.op.top_k
        self.integer = not anchor.type.is_float
        self.shape = geometry(context.variant, "int8" if self.integer else "float32")
        self.x, self.logits = (self._rows(node) for node in anchor.inputs[:2])
        self.tokens = self.x.count
        self.places = self.tokens * self.k
        self.most = TILES * self.shape.mr
        self.macs = self.places * (self.d * self.h + self.h * self.o)
        self.wide = self.macs >= PARALLEL_MACS
        self.tasks = self.places // self.most + min(self.experts, self.places)
        self.parts = min(PARTS, self.tasks) if self.wide else 1
        self.hidden_width, self.ldout = (self.shape.panels(n) * self.shape.nr for n in (self.h, self.o))

    def _rows(self, node: Node) -> Rows:
        """Return a value's tokens, evenly spaced."""
        source = self.context.values[node]
        rows = strided_rows(source)
        if rows is None or rows.sizes != (1,):
            dense = self.context.dense(source.shape, source.dtype)
            copied(self.context, source, dense, f"{node.name} (rows)")
            rows = strided_rows(dense)
            assert rows is not None
        return rows

    def add(self) -> None:
        queues = self._route()
        values = self._products(queues)
        self._combine(queues, values)

    def _route(self) -> Queues:
        """Add the step in which one thread fills the queues: little work, in which each token depends on those before."""
        new, places = self.context.temporary, self.places
        gate = new(places, "int16" if self.integer else "float32")
        queues = Queues(new(1 + 3 * self.tasks, "int32"), new(places, "int32"), new(places, "int32"), gate)
        work = new(3 * self.experts, "int32")
        source = self.logits.views[0]
        views = [queues.tasks, work, queues.token, queues.place, queues.gate]
        factors = [i32(self.op.gate_multiplier), i32(self.op.gate_shift)] if self.integer else []

        def body(buffers: Mapping[StridedView, Any]) -> None:
            run(
                f"ew_route_{'s16' if self.integer else 'f32'}",
                address(buffers[source], 0),
                i64(self.logits.step),
                i64(self.tokens),
                i32(self.experts),
                i32(self.k),
                i32(int(not self.op.over_chosen)),
                i32(self.most),
                *factors,
                *(address(buffers[view], 0) for view in views),
            )

        self.context.add(self.group, [source, *views], body, kind="Route")
        return queues

    def _products(self, queues: Queues) -> StridedView:
        """Add the step of the experts and return their results, one row for each place in the queues."""
        values = self.context.temporary(self.places * self.ldout, "int16" if self.integer else "float32")
        source = self.x.views[0]
        constants = self._integer_constants() if self.integer else self._float_constants()
        elements = self._integer_work() if self.integer else self.most * (self.d + self.hidden_width)

        def body(buffers: Mapping[StridedView, Any]) -> None:
            with loop(self.parts, parallel=self.parts > 1) as part:
                work = scratch(elements, self.shape.dtype)
                run(
                    f"ew_experts_{'s8' if self.integer else 'f32'}",
                    address(buffers[queues.tasks], 0),
                    part,
                    address(buffers[source], 0),
                    i64(self.x.step),
                    address(buffers[queues.token], 0),
                    *(address(buffers[view], 0) for view in constants),
                    address(work, 0),
                    address(buffers[values], 0),
                )

        views = [source, queues.tasks, queues.token, *constants, values]
        self.context.add(self.group, views, body, kind="Experts", macs=self.macs)
        return values

    def _float_constants(self) -> list[StridedView]:
        w1, b1, w2, b2 = self.weights
        activation = 1 + list(ACTIVATIONS).index(self.op.activation)  # as the enum of ew_kernels.h numbers them
        sizes = np.array([self.d, self.h, self.o, activation, self.parts, self.most], np.int64)
        first = packed(w1, self.shape), widened(b1.astype(np.float32), self.hidden_width)
        second = packed(w2, self.shape), widened(b2.astype(np.float32), self.ldout)
        return [self.context.keep(array) for array in (sizes, *first, *second)]

    def _integer_constants(self) -> list[StridedView]:
        w1, b1, w2, b2, m1, s1, table, m2, s2 = self.weights
        panels = [_whole(self.shape.a_panel(k)) for k in (self.d, self.h)]
        sizes = np.array([self.d, self.h, self.o, 0, self.parts, self.most, self.op.zero_point, *panels], np.int64)
        first = packed(w1, self.shape), self._factors(w1, b1, m1, s1, self.hidden_width)
        second = packed(w2, self.shape), self._factors(w2, b2, m2, s2, self.ldout)
        return [self.context.keep(array) for array in (sizes, *first, *second, table.astype(np.int8))]

    def _factors(self, weight: Array, bias: Array, multiplier: Array, shift: Array, width: int) -> Array:
        """Return bias, multiplier and shift (experts, 3, width), such that columns after the last give 0."""
        whole = bias.astype(np.int64) - self.context.variant.s8_offset * weight.astype(np.int64).sum(axis=2)
        rows = widened(whole, width), widened(multiplier, width, 1 << 15), widened(shift, width, SHIFT_MAX)
        return np.stack(rows, axis=1).astype(np.int32)

    def _integer_work(self) -> int:
        """Return the bytes of working memory that ew_experts_s8 needs."""
        acc, gathered = 4 * self.shape.mr * self.shape.nr, self.shape.mr * self.d
        panel = max(_whole(self.shape.a_panel(k)) for k in (self.d, self.h))
        return _whole(acc) + TILES * panel + _whole(gathered) + _whole(self.most * self.hidden_width)

    def _combine(self, queues: Queues, values: StridedView) -> None:
        tail = self.context.tail(self.group, tiles=True)
        blocks = -(-self.tokens // BLOCK)
        wide = self.tokens * self.o * self.k >= PARALLEL_ELEMENTS
        bias = no_bias(self.context, tail, self.o)

        def body(buffers: Mapping[StridedView, Any]) -> None:
            with loop(blocks, parallel=wide and blocks > 1) as block:
                first = block * BLOCK
                many = BLOCK if self.tokens % BLOCK == 0 else T.min(BLOCK, self.tokens - first)
                sums = scratch(BLOCK * self.o, self.shape.accumulator)
                with loop(many) as r:
                    at = (first + r) * self.k
                    run(
                        f"ew_combine_{'s16' if self.integer else 'f32'}",
                        address(buffers[values], 0),
                        i64(self.ldout),
                        address(buffers[queues.place], at),
                        address(buffers[queues.gate], at),
                        i32(self.k),
                        i64(self.o),
                        address(sums, r * self.o),
                    )

                def anchor(row: Expr) -> Any:
                    return lambda lane: sums[row * self.o + lane]

                none = address(buffers[bias[0]], 0) if bias else None
                tail.emit_tile(buffers, sums, self.o, none, (first, many), 0, self.o, anchor)

        self.context.add(self.group, [values, queues.place, queues.gate, *bias, *tail.views], body)


def no_bias(context: Context, tail: Tail, width: int) -> list[StridedView]:
    """Return zeros as the bias of a tile's requantisation; nothing if the tail has no such requantisation."""
    return [context.keep(np.zeros(width, np.int32))] if tail.leaders else []


def packed(weight: Array, shape: Geometry) -> Array:
    """Return the panels of each expert's weight; weight (experts, N, K)."""
    return np.stack([shape.pack(matrix) for matrix in weight])


def widened(values: Array, width: int, fill: int = 0) -> Array:
    """Return values (experts, N) padded to (experts, width)."""
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=fill)


def _whole(size_bytes: int) -> int:
    """Round up to a multiple of 64 bytes."""
    return -(-size_bytes // 64) * 64
