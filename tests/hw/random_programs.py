"""Random integer graphs of what the engine runs and of what it nearly runs: moves anywhere, joins on any axis, odd widths.

python -m tests.hw.random_programs 0 200 [rtl]     # seeds; prints what is planned, refused and wrong
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import predict_cycles, rtl_files
from edgewright.hw.plan import Plan, plan
from edgewright.hw.views import channel_axis
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.op import InferError
from edgewright.passes.ir.types import INT8, INT16, Array, Int, Level
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    Conv,
    Gather,
    LayerNormalization,
    Mul,
    Quantise,
    ReduceSum,
    Relu,
    Requantise,
    Reshape,
    Slice,
    Table,
    Transpose,
    constant,
    graph_input,
)
from edgewright.sim.network import simulate
from edgewright.sim.scoreboard import Mismatch

from tests.hw.integer_models import IDENTITY, Builder
from tests.hw.interpreted import run_compared
from tests.hw.overwritten import overwritten

CONFIG = EngineConfig(tokens=4, weight_tiles=64)
BOARD = EngineConfig()
"""The engine whose simulator all tests share."""
WIDTHS = (5, 16, 20, 32, 40, 48)


class Programs(Builder):
    """Grows a graph value by value; every method takes one or more of the values so far."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.inputs: list[Node] = []
        self.values: list[Node] = []

    def pick(self, elem: Int | None = None) -> Node | None:
        """Some value of an element type, the later the likelier."""
        found = [node for node in self.values if elem in (None, node.elem)]
        return found[min(len(found) - 1, int(len(found) * self.rng.random() ** 0.5))] if found else None

    def number(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def input(self) -> Node:
        """An int8 or int16 input of three to five axes."""
        lead = [(), (2,), (3, 2)][max(0, self.number(-3, 2))]
        shape = (1, *lead, self.number(1, 7), int(self.rng.choice(WIDTHS)))
        x = graph_input(f"x{len(self.inputs)}", shape)
        self.inputs.append(x)
        return make(Quantise(0.02, 1, INT8) if self.rng.random() < 0.7 else Quantise(0.001, 0, INT16), x, origin=x.origin)

    def sliced(self) -> Node | None:
        """Any start and step on any axis."""
        x = self.pick()
        if x is None:
            return None
        axis = self.number(0, x.type.rank - 1)
        start = self.number(0, x.shape[axis] - 1)
        stop = self.number(start + 1, x.shape[axis])
        step = int(self.rng.choice([1, 1, 1, 2, 3]))
        return make(Slice(axis, start, stop, step), x)

    def joined(self) -> Node | None:
        """Parts of the same kind along any axis: values, slices of them, constants."""
        x = self.pick()
        if x is None:
            return None
        axis = self.number(0, x.type.rank - 1)
        parts = [x]
        for _ in range(self.number(1, 2)):
            shape = list(x.shape)
            shape[axis] = self.number(1, 4) if axis < x.type.rank - 1 else int(self.rng.choice(WIDTHS))
            like = [n for n in self.values if n.elem == x.elem and n.type.rank == x.type.rank]
            like = [n for n in like if all(i == axis or a == b for i, (a, b) in enumerate(zip(n.shape, shape, strict=True)))]
            wide = x.elem == INT16
            part = self.integers(-9000 if wide else -127, 9000 if wide else 127, tuple(shape), "int16" if wide else "int8")
            parts.append(like[self.number(0, len(like) - 1)] if like and self.rng.random() < 0.7 else part)
        order = self.rng.permutation(len(parts))
        return make(Concat(axis), *(parts[i] for i in order))

    def moved(self) -> Node | None:
        """A Transpose, or a Reshape that regroups tokens, adds an axis, or flattens channels."""
        x = self.pick()
        if x is None or x.type.rank < 2:
            return None
        if self.rng.random() < 0.5:
            perm = self.rng.permutation(x.type.rank) if self.rng.random() < 0.2 else self.rng.permutation(x.type.rank - 1)
            return make(Transpose((*map(int, perm), *range(len(perm), x.type.rank))), x)
        rows, columns = x.type.size // x.shape[-1], x.shape[-1]
        shapes = [(1, rows, columns), (rows, columns), (rows, 1, columns), (1, 1, rows, columns), (1, rows * columns)]
        return make(Reshape(shapes[self.number(0, 4) if self.rng.random() < 0.3 else self.number(0, 3)]), x)

    def product(self) -> Node | None:
        """A Linear, with a LayerNorm in front of what is int16."""
        x = self.pick()
        if x is None:
            return None
        if x.elem == INT16:
            x = self.norm(x)
            if self.rng.random() < 0.3:
                return x
        return self.linear(x, int(self.rng.choice(WIDTHS)), INT8 if self.rng.random() < 0.6 else INT16)

    def looked_up(self) -> Node | None:
        """A function of one int8."""
        x = self.pick(INT8)
        if x is None:
            return None
        return make(Relu(), x) if self.rng.random() < 0.3 else make(Table(), x, self.integers(-127, 127, 256, "int8"))

    def rescaled(self) -> Node | None:
        """int8 to another scale, or times a constant row."""
        x = self.pick(INT8)
        if x is None:
            return None
        if self.rng.random() < 0.5:
            width = x.shape[-1] if self.rng.random() < 0.8 else 1
            return self.requantise(make(Mul(), x, self.integers(-127, 127, (1, width), "int8")), 1, zero_point=3)
        return make(Requantise(0, INT16), x, constant(np.array([40000], np.int32)), constant(np.array([10], np.int8)))

    def sum(self) -> Node | None:
        """A residual sum or difference, of operands that may be moved, broadcast or at other scales."""
        a = self.pick(INT16)
        like = [n for n in self.values if a is not None and n.elem == INT16 and n.shape[-1] == a.shape[-1]]
        if a is None or not like:
            return None
        b = like[self.number(0, len(like) - 1)]
        if self.rng.random() < 0.4:
            b = self.integers(-3000, 3000, (1, *a.shape[1:]) if self.rng.random() < 0.5 else a.shape[-1], "int16")
        if (x := self.pick(INT8)) is not None and self.rng.random() < 0.7:
            a = self.linear(x, b.shape[-1], INT16)
            a = make(Slice(x.type.rank - 2, 0, x.shape[-2], 2), a) if x.type.rank > 1 and self.rng.random() < 0.3 else a
        factors = IDENTITY if self.rng.random() < 0.9 else (45000, 16)
        if subtract := self.rng.random() < 0.25:
            a, b = (b, a) if self.rng.random() < 0.3 else (a, b)
        try:
            return make(AddRequantised(*factors, 40000, 16, subtract), a, b)
        except InferError:
            return None  # the shapes do not broadcast

    def attended(self) -> Node | None:
        """Attention among slices of one value, in windows, with heads of any width and a constant bias or none."""
        x = self.pick(INT8)
        if x is None or x.type.rank != 3:
            return None
        heads = 2 if self.rng.random() < 0.7 else 1
        width, values = 32, int(self.rng.choice([32, 32, 48, 20]))
        if self.rng.random() < 0.3:
            width = 2 * int(self.rng.choice([10, 12, 24]))
        qkv = self.linear(x, 2 * width + values)
        edges = (0, width, 2 * width, 2 * width + values)
        q, k, v = (make(Slice(2, *edges[part : part + 2]), qkv) for part in range(3))
        if self.rng.random() < 0.4 and x.shape[1] > 1:
            q = make(Slice(1, 0, x.shape[1], 2), q)
        operands, shift = [q, k, v], 19
        if self.rng.random() < 0.3:
            shape = tuple(n if self.rng.random() < 0.7 else 1 for n in (x.shape[0], heads, q.shape[1], k.shape[1]))
            operands.append(self.integers(-(1 << 17), 1 << 17, shape, "int32"))
            shift = 23
        return self.requantise(make(Attention(heads, 1.0, score_multiplier=50000, score_shift=shift), *operands), 1)

    def pooled(self) -> Node | None:
        """A mean over any axes, of either element type; mostly of tokens, or of pixels."""
        x = self.pick(INT8 if self.rng.random() < 0.8 else INT16)
        if x is None or x.type.rank < 2:
            return None
        axes: tuple[int, ...] = (x.type.rank - 2,)
        if x.type.rank == 4 and self.rng.random() < 0.4:
            axes = (2, 3)
        elif self.rng.random() < 0.4:
            axes = tuple(axis for axis in range(x.type.rank) if self.rng.random() < 0.4) or axes
        acc = make(ReduceSum(axes, keepdims=self.rng.random() < 0.5), x)
        if not acc.type.rank:
            return None
        return self.brought(acc, {8: 3, 16: 10}[x.elem.bits] + self.number(0, 2))

    def brought(self, acc: Node, bits: int, axis: int | None = None) -> Node:
        """Accumulators brought about ``bits`` bits down, by one factor or one for each of the channels along ``axis``."""
        shape = (1,) if axis is None else (acc.shape[axis], *(1,) * (acc.type.rank - 1 - axis % acc.type.rank))
        multiplier = self.integers(1 << 15, (1 << 16) - 1, shape, "int32")
        shift = self.integers(14 + bits, 15 + bits, shape, "int8")
        wide = self.rng.random() < 0.2
        return make(Requantise(0 if wide else self.number(-4, 4), INT16 if wide else INT8), acc, multiplier, shift)

    def narrowed(self) -> Node | None:
        """int16 to int8, by one factor or one for each channel."""
        x = self.pick(INT16)
        if x is None or not x.type.rank:
            return None
        width = x.shape[-1] if self.rng.random() < 0.5 else 1
        multiplier, shift = self.integers(1 << 15, 65535, width, "int32"), self.integers(20, 23, width, "int8")
        return make(Requantise(self.number(-4, 4)), x, multiplier, shift)

    def normed(self) -> Node | None:
        """A LayerNorm that is stored, into 8 or 16 bits, over any width."""
        x = self.pick(INT16)
        if x is None or x.type.rank < 2:
            return None
        if self.rng.random() < 0.5:
            return self.norm(x)
        width = x.shape[-1]
        op = LayerNormalization(1e-6, eps_term=12345, shift=14, elem=INT16)
        return make(op, x, self.integers(-60000, 60000, width, "int32"), self.integers(-(2**22), 2**22, width, "int64"))

    def multiplied(self) -> Node | None:
        """A product of two computed values, of which one may repeat."""
        a = self.pick(INT8)
        if a is None:
            return None
        like = [n for n in self.values if n.elem == INT8 and n.type.rank == a.type.rank]
        like = [n for n in like if all(m in (1, k) for m, k in zip(n.shape, a.shape, strict=True))]
        factors = [a, like[self.number(0, len(like) - 1)]]
        if self.rng.random() < 0.3:
            factors.reverse()
        return self.brought(make(Mul(), *factors), 7)

    def maps(self) -> Node | None:
        """Maps (n, C, H, W) of int8: a value that is one, or rows of channels moved so."""
        x = self.pick(INT8)
        if x is None:
            return None
        if x.type.rank == 3:
            height = max(n for n in (1, 2, 3) if x.shape[1] % n == 0)
            x = make(Reshape((x.shape[0], height, x.shape[1] // height, x.shape[2])), x)
            return make(Transpose((0, 3, 1, 2)), x)
        if x.type.rank != 4:
            return None
        return make(Transpose((0, 3, 1, 2)), x) if channel_axis(x) == 3 else x

    def convolved(self) -> Node | None:
        """A convolution with pads, strides, dilations and groups, depthwise ones among them."""
        x = self.maps()
        if x is None:
            return None
        _, channels, height, width = x.shape
        groups = int(self.rng.choice([n for n in (1, 1, 2, 4, channels, channels) if channels % n == 0]))
        outputs = groups * self.number(1, max(1, 32 // groups)) if groups < channels else channels
        kernel = int(self.rng.choice([1, 2, 3, 3, 5])), int(self.rng.choice([1, 2, 3, 3, 5]))
        pads = (0, 0, 0, 0)
        if self.rng.random() < 0.6:
            top, left, bottom, right = (self.number(0, kernel[axis] // 2) for axis in (0, 1, 0, 1))
            pads = top, left, bottom, right
        strides = int(self.rng.choice([1, 1, 2, 3])), int(self.rng.choice([1, 1, 2, 3]))
        dilations = (2, 1) if self.rng.random() < 0.1 else (1, 1)
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        if height + pads[0] + pads[2] < reach[0] or width + pads[1] + pads[3] < reach[1]:
            return None
        weight = self.integers(-127, 127, (outputs, channels // groups, *kernel), "int8")
        value = self.number(-9, 9) if self.rng.random() < 0.3 else 0
        acc = make(Conv(strides, pads, dilations, groups, value), x, weight, self.integers(-2000, 2000, outputs, "int32"))
        return self.brought(acc, 9, axis=1 if self.rng.random() < 0.7 else None)

    def gathered(self) -> Node | None:
        """Elements of any axis in any order."""
        x = self.pick()
        if x is None or not x.type.rank:
            return None
        axis = self.number(0, max(0, x.type.rank - 2))
        return make(Gather(axis), x, constant(self.rng.integers(0, x.shape[axis], self.number(1, 6))))

    def joined_behind(self) -> Node | None:
        """Computed values joined along the axis before that of channels, behind others."""
        x = self.pick()
        if x is None or x.type.rank < 3:
            return None
        axis = x.type.rank - 2
        parts = [make(Slice(axis, 0, self.number(1, x.shape[axis])), x), x]
        if x.elem == INT8 and self.rng.random() < 0.5:
            parts.append(self.linear(x, x.shape[-1]))
        return make(Concat(axis), *(parts[i] for i in self.rng.permutation(len(parts))))

    def program(self) -> Graph:
        """A graph of up to a dozen values and up to three outputs."""
        self.values += [self.input() for _ in range(self.number(1, 2))]
        kinds = [self.sliced, self.sliced, self.joined, self.moved, self.product, self.product, self.looked_up]
        kinds += [self.rescaled, self.sum, self.sum, self.attended, self.pooled, self.narrowed, self.normed, self.multiplied]
        kinds += [self.convolved, self.convolved, self.gathered, self.joined_behind]
        for _ in range(self.number(2, 9)):
            value = kinds[self.number(0, len(kinds) - 1)]()
            if value is not None and value.type.size < 4000:
                self.values.append(value)
        if self.rng.random() < 0.8 and (last := self.pick(INT8)) is not None:
            self.values.append(self.linear(last, 10, INT16))
        outputs = [self.values[-1]] + [n for n in (self.pick() for _ in range(self.number(0, 2))) if n is not None]
        outputs = list(dict.fromkeys(outputs))
        names = tuple(f"y{i}" for i in range(len(outputs)))
        return Graph("random", tuple(self.inputs), tuple(outputs), names, Level.QUANTISED)


def random_program(seed: int) -> tuple[Graph, dict[str, Array]]:
    """A graph and one image of its inputs."""
    builder = Programs(seed)
    graph = builder.program()
    inputs = {x.name: builder.rng.normal(size=x.shape).astype(np.float32) for x in graph.inputs}
    return graph, inputs


def planned_or_refused(graph: Graph, config: EngineConfig = CONFIG) -> Plan | CompileError:
    """The plan; or the refusal, after a look at its wording."""
    try:
        found = plan(graph, config)
    except CompileError as error:
        assert error.exit_code == 1
        for diagnostic in error.diagnostics:
            assert diagnostic.code in ("P001", "P002", "P004")
            assert diagnostic.at and diagnostic.because and diagnostic.help
        return error
    assert predict_cycles(found).total > 0
    return found


def interpreted(planned: Plan, inputs: dict[str, Array]) -> Mismatch | None:
    """The first word or output that is stored wrong. Raises ``AssertionError`` for a read of what another value
    has replaced, which the processes do not notice."""
    assert not (found := overwritten(planned)), found
    return run_compared(planned, inputs).mismatch


def main(first: int, last: int, rtl: bool) -> int:
    """Counts over seeds; stops at nothing. 1 where anything is wrong."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for seed in range(first, last):
        graph, inputs = random_program(seed)
        try:
            found = planned_or_refused(graph)
            if isinstance(found, CompileError):
                counts["refused"] += 1
                reasons.update(f"{d.message}: {d.because}"[:110] for d in found.diagnostics)
                continue
            wrong: object = interpreted(found, inputs)
            if rtl and wrong is None:
                found = plan(graph, BOARD)
                run = simulate(found, rtl_files(BOARD), inputs, stall=0.2 * (seed % 3))
                wrong = next((c.mismatch for c in run.comparisons if c.mismatch is not None), None)
        except Exception as error:
            wrong = repr(error)[:300]
        counts["exact" if wrong is None else "WRONG"] += 1
        if wrong is not None:
            print(seed, wrong, flush=True)
    print(dict(counts))
    for reason, count in reasons.most_common(40):
        print(count, reason)
    return 1 if counts["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), "rtl" in sys.argv))
