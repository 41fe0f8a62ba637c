"""Programs of moves anywhere: refused with a reason, or planned and right to the last bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgewright.hw.cost import rtl_files
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import INT8, INT16, Int, Level
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    Quantise,
    Relu,
    Reshape,
    Slice,
    Table,
    Transpose,
    graph_input,
)
from edgewright.sim.network import simulate

from tests.hw.integer_models import IDENTITY, Builder
from tests.hw.random_programs import BOARD, interpreted, planned_or_refused, random_program

SEEDS = 60


def test_random_programs_are_refused_or_right() -> None:
    planned = 0
    for seed in range(SEEDS):
        graph, inputs = random_program(seed)
        found = planned_or_refused(graph)
        if not isinstance(found, CompileError):
            assert interpreted(found, inputs) is None, seed
            planned += 1
    assert planned > SEEDS // 2


WRONG = (91, 116, 159, 189, 200)
"""Seeds of programs that once went wrong: a padded LayerNorm, factors of moved channels, moved inputs with groups."""


@pytest.mark.parametrize("seed", WRONG)
def test_programs_that_went_wrong(seed: int) -> None:
    graph, inputs = random_program(seed)
    found = planned_or_refused(graph)
    assert isinstance(found, CompileError) or interpreted(found, inputs) is None


@pytest.mark.sim
def test_some_of_them_at_rtl() -> None:
    checked = 0
    for seed in range(SEEDS, SEEDS + 8):
        graph, inputs = random_program(seed)
        found = planned_or_refused(graph, BOARD)
        if not isinstance(found, CompileError):
            run = simulate(found, rtl_files(BOARD), inputs, stall=0.3 * (seed % 2))
            assert run.exact, (seed, [c.mismatch for c in run.comparisons])
            checked += 1
    assert checked > 2


class Case(Builder):
    """One move between products."""

    def __init__(self, *shape: int, elem: Int = INT8) -> None:
        super().__init__(3)
        self.x = graph_input("x", shape)
        self.quantised = make(Quantise(0.02, 1) if elem == INT8 else Quantise(0.001, 0, INT16), self.x, origin=("x",))

    def stored(self, columns: int, elem: Int = INT8) -> Node:
        """The result of a product."""
        return self.linear(self.quantised, columns, elem)

    def read(self, node: Node) -> Node:
        """A product that reads a value."""
        return self.linear(node if node.elem == INT8 else self.norm(node), 10, INT16)

    def graph(self, *outputs: Node) -> Graph:
        """The whole graph."""
        return Graph("case", (self.x,), outputs, tuple(f"y{i}" for i in range(len(outputs))), Level.QUANTISED)


def sliced(columns: int, *cuts: Slice, elem: Int = INT8) -> Graph:
    case = Case(1, 6, 32)
    z = case.stored(columns, elem)
    return case.graph(*(case.read(make(cut, z)) for cut in cuts))


def attention_of(*cuts: Slice) -> Graph:
    case = Case(1, 6, 32)
    z = case.stored(72)
    operands = [make(cut, z) for cut in cuts]
    mixed = make(Attention(1, 1.0, score_multiplier=50000, score_shift=19), *operands)
    return case.graph(case.read(case.requantise(mixed, 1)))


def summed() -> Graph:
    """Sequence first: the sum's product stands behind a slice and a move of an axis of 1; the other operand is cut at 20."""
    case = Case(1, 6, 32)
    wide = case.stored(52, INT16)
    product = make(Slice(0, 1, 6, 2), make(Transpose((1, 0, 2)), case.stored(32, INT16)))
    stream = make(Slice(0, 0, 3), make(Reshape((6, 1, 32)), make(Slice(2, 20, 52), wide)))
    return case.graph(case.read(make(AddRequantised(*IDENTITY, 40000, 16), product, stream)))


def joined(axis: int, *shapes: tuple[int, ...], moved: bool = False, elem: Int = INT8) -> Graph:
    case = Case(*shapes[0][:-1], 32)
    z = case.stored(shapes[0][-1], elem)
    low, kind = (-127, "int8") if elem == INT8 else (-9000, "int16")
    parts = [make(Relu(), z) if moved and elem == INT8 else z, *(case.integers(low, -low, shape, kind) for shape in shapes[1:])]
    parts.append(make(Slice(1, 0, shapes[0][1], 2), z) if moved else z)
    return case.graph(make(Concat(axis), *parts))


def stepped_input() -> Graph:
    case = Case(1, 4, 64, elem=INT16)
    return case.graph(case.read(make(Slice(2, 8, 40, 2), case.quantised)))


def stepped_sum() -> Graph:
    """Every second channel of a sum that an output needs whole."""
    case = Case(1, 4, 64)
    stream = make(AddRequantised(40000, 15, 45000, 16), case.stored(64, INT16), case.integers(-9000, 9000, (1, 4, 64), "int16"))
    return case.graph(case.read(make(Slice(2, 8, 40, 2), stream)), stream)


PLANNED: dict[str, Callable[[], Graph]] = {
    "channels from 8": lambda: sliced(48, Slice(2, 8, 24)),
    "channels from 15": lambda: sliced(48, Slice(2, 15, 16)),
    "two halves of 40": lambda: sliced(40, Slice(2, 0, 20), Slice(2, 20, 40)),
    "every second channel": lambda: sliced(48, Slice(2, 0, 32, 2)),
    "16-bit channels from 20": lambda: sliced(52, Slice(2, 20, 52), elem=INT16),
    "every second token": lambda: sliced(48, Slice(1, 0, 6, 2)),
    "every fifth token, from 16": lambda: sliced(48, Slice(1, 0, 6, 5)),
    "attention among parts at 0, 20, 40": lambda: attention_of(Slice(2, 0, 16), Slice(2, 20, 36), Slice(2, 40, 56)),
    "attention among every fourth channel": lambda: attention_of(*(Slice(2, i, i + 61, 4) for i in range(3))),
    "a sum whose operands are moved": summed,
    "tokens joined, 20 wide": lambda: joined(1, (1, 3, 20), (1, 2, 20)),
    "tokens of parts joined": lambda: joined(1, (1, 5, 20), (1, 2, 20), moved=True),
    "16-bit tokens of parts joined": lambda: joined(1, (1, 5, 32), (1, 2, 32), moved=True, elem=INT16),
    "channels joined at 16 and 48": lambda: joined(2, (1, 3, 16), (1, 3, 32)),
    "tokens joined after an axis of 2": lambda: joined(2, (1, 2, 3, 16), (1, 2, 4, 16)),
    "tokens joined after an axis of 256": lambda: joined(2, (1, 256, 1, 16), (1, 256, 2, 16)),
    "16-bit input, channels from 8 with a step": stepped_input,
    "one token each after an axis of 2": lambda: joined(2, (1, 2, 1, 16), (1, 2, 1, 16)),
}
REFUSED: dict[str, tuple[Callable[[], Graph], str, str]] = {
    "channels joined at 20": (lambda: joined(2, (1, 3, 20), (1, 3, 20)), "Concat", "starts at channel 20"),
    "tokens joined after an axis of 257": (lambda: joined(2, (1, 257, 3, 16), (1, 257, 4, 16)), "Concat", "after 257 others"),
    "16-bit sum, channels from 8 with a step": (stepped_sum, "AddRequantised", "a 16-bit value that is not a product"),
}


@pytest.mark.parametrize("case", PLANNED)
def test_a_move_is_right(case: str) -> None:
    graph = PLANNED[case]()
    found = planned_or_refused(graph)
    assert not isinstance(found, CompileError), found
    rng = np.random.default_rng(5)
    assert interpreted(found, {"x": rng.normal(size=graph.inputs[0].shape).astype(np.float32)}) is None


@pytest.mark.parametrize("case", REFUSED)
def test_a_move_is_refused_at_its_own_name(case: str) -> None:
    build, kind, because = REFUSED[case]
    found = planned_or_refused(build())
    assert isinstance(found, CompileError)
    (one,) = found.diagnostics
    assert kind in one.message and because in one.because


def test_a_table_of_a_stored_value_needs_no_product_of_the_model() -> None:
    case = Case(1, 5, 20)
    graph = case.graph(make(Table(), case.quantised, case.integers(-127, 127, 256, "int8")))
    found = planned_or_refused(graph)
    assert not isinstance(found, CompileError)
    assert found.macs == 0
    assert interpreted(found, {"x": np.random.default_rng(5).normal(size=(1, 5, 20)).astype(np.float32)}) is None
