"""Compiled graphs in memory, run step by step beside the interpreter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.graph import Graph, Node, make, topological
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import F32, Array, Elem, Int
from edgewright.passes.ops import Constant, Input, constant, graph_input
from edgewright.targets.cpu.artifact import ENTRY
from edgewright.targets.cpu.build import Built, build
from edgewright.targets.cpu.lower import CpuProgram, lower
from edgewright.targets.cpu.variants import VARIANTS, Variant, best, host_arch, host_features
from edgewright.targets.lowering.memory import lives, place
from edgewright.targets.lowering.view import ITEM_BYTES, Space, StridedView, TensorStorage

HOST = best(host_arch(), host_features())
HOST_VARIANTS = [one for one in VARIANTS if one.arch == host_arch() and set(one.features) <= host_features()]

# How far a float may be from the interpreter's, relative to the largest magnitude of its tensor or to 1. Each step is
# compared with the interpreter on the operands which that step found in memory, so nothing accumulates: what remains
# are sums of at most some 300 float32 products in another order (300 * 2^-24 = 1.8e-5 at worst, a tenth of it in
# practice), and the micro-kernels' polynomials (4e-7).
FLOAT_TOLERANCE = 5e-6
GUARD = 4096  # bytes around each block of memory that nobody may touch
FRESH, FENCE = 0xA5, 0x5C  # what memory holds before a run: as float32 -2.9e-16, as int8 -91


@dataclass
class Memory:
    """Bytes with a fence on either side, seen by TVM without a copy."""

    size: int
    whole: Array = field(init=False)
    begin: int = field(init=False)

    def __post_init__(self) -> None:
        self.whole = np.full(self.size + 2 * GUARD + 64, FENCE, np.uint8)
        self.begin = GUARD + (-(self.whole.ctypes.data + GUARD)) % 64
        self.bytes[:] = FRESH

    @property
    def bytes(self) -> Array:
        found: Array = self.whole[self.begin : self.begin + self.size]
        return found

    def check_fences(self) -> None:
        assert (self.whole[: self.begin] == FENCE).all() and (self.whole[self.begin + self.size :] == FENCE).all(), (
            "written beside a block of memory"
        )

    def tensor(self, shape: tuple[int, ...], dtype: str) -> Any:
        return tvm_ffi.from_dlpack(self.bytes[: int(np.prod(shape)) * ITEM_BYTES[dtype]].view(dtype).reshape(shape))


class Compiled:
    """A graph for one variant of this machine's, loaded."""

    def __init__(self, graph: Graph, variant: Variant = HOST) -> None:
        self.program: CpuProgram = lower(graph, variant)
        self.graph = self.program.graph
        self.built: Built = build(self.program)
        self.offsets, _ = place(lives(self.program.steps))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.so"
            path.write_bytes(self.built.library)
            self.entry = tvm.runtime.load_module(str(path))[ENTRY]
        self.weights = self._memory(len(self.built.weights))
        self.weights.bytes[: len(self.built.weights)] = np.frombuffer(self.built.weights, np.uint8)
        self.workspace = self._memory(self.built.workspace_bytes)
        self.inputs = [self._memory(view.storage.size_bytes) for view in self.program.inputs]
        self.outputs = [self._memory(view.storage.size_bytes) for view in self.program.outputs]
        pairs = [*zip(self.inputs, self.program.inputs, strict=True), *zip(self.outputs, self.program.outputs, strict=True)]
        blocks = [memory.tensor((memory.size,), "uint8") for memory in (self.weights, self.workspace)]
        self.arguments = [*blocks, *(memory.tensor(view.shape, view.dtype) for memory, view in pairs)]

    @staticmethod
    def _memory(size: int) -> Memory:
        return Memory(max(size, 1))

    def _place(self, storage: TensorStorage) -> tuple[Memory, int]:
        """(memory, first byte) of a storage that is not a weight."""
        if storage.space is Space.WORK:
            return self.workspace, self.offsets[storage]
        return (self.inputs if storage.space is Space.INPUT else self.outputs)[storage.index], 0

    def read(self, view: StridedView) -> Array:
        """A copy of what lies in memory under a view."""
        memory, begin = self._place(view.storage)
        flat = memory.bytes[begin : begin + view.storage.size_bytes].view(view.dtype)
        strides = [s * ITEM_BYTES[view.dtype] for s in view.strides]
        return np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, strides).copy()

    def set_inputs(self, values: Mapping[str, Array]) -> None:
        """Copies values in, as the model's types; everything else holds rubbish afterwards."""
        for memory, node, view in zip(self.inputs, self.graph.inputs, self.program.inputs, strict=True):
            assert isinstance(node.op, Input)
            memory.bytes[:] = np.frombuffer(np.ascontiguousarray(values[node.op.name], view.dtype).tobytes(), np.uint8)
        for memory in (self.workspace, *self.outputs):
            memory.bytes[:] = FRESH

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """All steps in one call; outputs by name."""
        self.set_inputs(values)
        self.entry(0, len(self.program.steps), *self.arguments)
        self.check_fences()
        return dict(zip(self.graph.output_names, map(self.read, self.program.outputs), strict=True))

    @staticmethod
    def set_threads(count: int) -> None:
        """How many threads parallel loops have from now on, in this process."""
        tvm.get_global_func("runtime.config_threadpool")(1, count)

    def check_fences(self) -> None:
        for memory in (self.weights, self.workspace, *self.inputs, *self.outputs):
            memory.check_fences()
        assert self.weights.bytes[: len(self.built.weights)].tobytes() == self.built.weights, "a step wrote to the weights"

    def check(self, values: Mapping[str, Array]) -> None:
        """Runs step by step. AssertionError unless every stored value and output is the interpreter's, and each step
        leaves alone what it does not name; then all at once has to give the same outputs."""
        self.set_inputs(values)
        exact = interpret_all(self.graph, values)
        found: dict[Node, Array] = {node: exact[node] for node in self.graph.inputs}
        problems: list[str] = []
        for i, step in enumerate(self.program.steps):
            before = [memory.whole.copy() for memory in (self.workspace, *self.inputs, *self.outputs)]
            self.entry(i, i + 1, *self.arguments)
            for memory, old in zip((self.workspace, *self.inputs, *self.outputs), before, strict=True):
                for view in step.views:
                    if view.storage.space is Space.WEIGHTS or view.storage.space is Space.INPUT:
                        continue
                    where, begin = self._place(view.storage)
                    if where is memory:
                        span = slice(memory.begin + begin, memory.begin + begin + view.storage.size_bytes)
                        old[span] = memory.whole[span]
                assert np.array_equal(old, memory.whole), f"step {i} ({step.kind} {step.name}) writes beside its views"
            for node, view in step.stored:
                got = self.read(view)
                problems += self._compare(node, got, exact, found)
            for node, view in step.stored:
                found[node] = self.read(view).astype(exact[node].dtype)
        outputs = [self.read(view) for view in self.program.outputs]
        for name, node, got in zip(self.graph.output_names, self.graph.outputs, outputs, strict=True):
            problems += [f"output {name}: {text}" for text in self._compare(node, got, exact, found, output=True)]
        assert not problems, "\n".join(problems)
        again = self.run(values)
        for name, first in zip(self.graph.output_names, outputs, strict=True):
            assert np.array_equal(first, again[name], equal_nan=first.dtype.kind == "f"), f"{name} differs when run at once"

    def _compare(
        self, node: Node, got: Array, exact: Mapping[Node, Array], found: Mapping[Node, Array], output: bool = False
    ) -> list[str]:
        whole = isinstance(node.elem, Int)
        wanted = exact[node] if whole and _only_integers(node) else _value(node, found, exact, known=output)
        if same(got, wanted):
            return []
        with np.errstate(invalid="ignore"):
            distance = np.abs(got.astype(np.float64) - wanted) if got.shape == wanted.shape else np.zeros(())
        place = np.unravel_index(np.nan_to_num(distance, nan=np.inf).argmax(), distance.shape)
        count = np.count_nonzero(distance)
        return [f"{node!r}: {count} of {got.size} differ, most at {place}: {got[place]}, expected {wanted[place]}"]


def _only_integers(node: Node) -> bool:
    return all(isinstance(one.elem, Int) or isinstance(one.op, Input) for one in topological((node,)))


def _value(node: Node, found: Mapping[Node, Array], exact: Mapping[Node, Array], known: bool) -> Array:
    """What the interpreter makes of the values in memory; `known`: the node's own value may be taken from there."""
    stop = {n for n in found if known or n is not node}
    made: dict[Node, Array] = {}

    def visit(one: Node) -> Array:
        if one in stop:
            return found[one]
        if isinstance(one.op, Constant):
            return exact[one]
        if one not in made:
            made[one] = one.op.eval(*(visit(operand) for operand in one.inputs))
        return made[one]

    return visit(node)


def same(got: Array, wanted: Array) -> bool:
    """Integers: equal. Floats: within the tolerance above; what is not finite is equal."""
    if got.shape != wanted.shape:
        return False
    if got.dtype.kind in "iu":
        return bool(np.array_equal(got, wanted))
    finite = np.isfinite(wanted)
    if not np.array_equal(got[~finite], wanted[~finite], equal_nan=True):
        return False
    wanted = np.where(finite, wanted, 0)
    largest = max(1.0, float(np.abs(wanted).max(initial=0)))
    return bool((np.abs(np.where(finite, got, 0) - wanted) <= FLOAT_TOLERANCE * largest).all())


class Draw:
    """Makes the graph of one or several cases: inputs of fresh names, random constants, nodes that carry the case's name."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs: list[Node] = []
        self.outputs: list[Node] = []
        self.case = "case"
        self._pool: dict[tuple[object, ...], list[Node]] = {}
        self._taken: dict[tuple[object, ...], int] = {}

    def __call__(self, op: Op, *inputs: Node) -> Node:
        return make(op, *inputs, origin=(self.case,))

    def input(self, *shape: int, elem: Elem = F32, kind: str = "x") -> Node:
        """A graph input that this case has not yet; `kind` "positive": at least 1/4."""
        key = (shape, elem, kind)
        known = self._pool.setdefault(key, [])
        taken = self._taken.get(key, 0)
        self._taken[key] = taken + 1
        if taken == len(known):
            known.append(graph_input(f"{kind}_{len(self.inputs)}", shape, elem))
            self.inputs.append(known[-1])
        return known[taken]

    def real(self, *shape: int, scale: float = 1.0) -> Node:
        """A float constant."""
        return constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def integers(self, *shape: int, low: int = -127, high: int = 127, dtype: str = "int8") -> Node:
        """An integer constant."""
        return constant(self.rng.integers(low, high + 1, shape).astype(dtype))

    def add(self, name: str, make_case: Callable[[Draw], Node | tuple[Node, ...]]) -> None:
        """Joins a case. Cases share inputs: each tensor that a library takes costs compile time."""
        self.case = name
        self._taken.clear()
        made = make_case(self)
        self.outputs += made if isinstance(made, tuple) else (made,)

    def graph(self) -> Graph:
        names = tuple(f"y_{i}" for i in range(len(self.outputs)))
        return Graph("cases", tuple(self.inputs), tuple(self.outputs), names)


LIMITS = {8: 127, 16: 32767, 32: (1 << 26) - 1, 64: (1 << 26) - 1}


def values_for(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Normal floats (positive where the input's name says so), integers in their symmetric or allowed range."""
    rng = np.random.default_rng(seed)
    ranges = input_ranges(graph)
    found: dict[str, Array] = {}
    for node in graph.inputs:
        assert isinstance(node.op, Input)
        name = node.op.name
        if not isinstance(node.elem, Int):
            value = rng.standard_normal(node.shape).astype(np.float32)
            found[name] = np.abs(value) + np.float32(0.25) if name.startswith("positive") else value
            continue
        low, high = ranges[name]
        top = LIMITS[node.elem.bits]
        found[name] = rng.integers(max(low, -top), min(high, top) + 1, node.shape)
    return found
