"""Plans: what does not fit is refused with what overflows; the same graph gives the same bytes; waits never starve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
from edgewright.frontend.fpga.target import check_fit
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS, LOAD_UNITS, OPERAND_UNITS, RUN_UNITS, Operation, encode
from edgewright.hw.blocks.sequencer import GATE_FRACTION
from edgewright.hw.kernel.tokens import unpack
from edgewright.hw.kernel.types import leaves
from edgewright.hw.operations.operation import operands
from edgewright.hw.plan import Plan, pack_rows, plan, unpack_rows
from edgewright.hw.views import rows_columns
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, Node, make, rewrite
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import INT8, INT16, Array, Int, Level
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Constant,
    Conv,
    LayerNormalization,
    MatMul,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Requantise,
    Softmax,
    Transpose,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import optimise, quantise
from edgewright.targets.device import load
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.integer_models import Builder, random_vit
from tests.models import images, tiny_vit

CONFIG = EngineConfig()


def transposed() -> Graph:
    image = graph_input("x", (1, 4, 16))
    moved = make(Transpose((0, 2, 1)), make(Quantise(0.1), image))
    return Graph("t", (image,), (Builder(0).linear(moved, 8, INT16),), ("y",), Level.QUANTISED)


def wide(inputs: int) -> Graph:
    image = graph_input("x", (1, inputs))
    return Graph("w", (image,), (Builder(0).linear(make(Quantise(0.1), image), 8, INT16),), ("y",), Level.QUANTISED)


def attended(batch: int = 1, values: int = 16, bias: bool = False) -> Graph:
    """Attention straight on inputs, as the engine has it but for the arguments."""
    shapes = [(batch, 4, 16), (batch, 4, 16), (batch, 4, values), (1, 1, 1, 4)][: 4 if bias else 3]
    inputs = [graph_input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    operands = [make(Quantise(0.1, 0, Int(25) if i == 3 else INT8), x) for i, x in enumerate(inputs)]
    mixed = make(Attention(1, score_multiplier=40000, score_shift=20), *operands)
    factors = constant(np.array([40000], np.int32)), constant(np.array([20], np.int8))
    return Graph("a", tuple(inputs), (make(Requantise(0), mixed, *factors),), ("y",), Level.QUANTISED)


def single(op: Op, *shapes: tuple[int, ...], elem: Int = INT8) -> Callable[[], Graph]:
    """One operator between Quantise and Requantise."""

    def build() -> Graph:
        inputs = [graph_input(f"x{i}", shape) for i, shape in enumerate(shapes)]
        operands = [make(Quantise(0.1, 0, elem), x) for x in inputs]
        if isinstance(op, LayerNormalization):
            operands += [constant(np.ones(shapes[0][-1], np.int32)), constant(np.zeros(shapes[0][-1], np.int64))]
        node = make(op, *operands)
        if node.elem == Int(32):
            node = make(Requantise(0), node, constant(np.array([40000], np.int32)), constant(np.array([20], np.int8)))
        return Graph("s", tuple(inputs), (node,), ("y",), Level.QUANTISED)

    return build


REFUSED: dict[str, tuple[Callable[[], Graph], EngineConfig, str, str]] = {
    "an operator the engine lacks": (transposed, CONFIG, "P001", "Transpose"),
    "heads that are no multiple of 16": (lambda: random_vit(width=48, heads=2), CONFIG, "P001", "24 wide"),
    "attention with a bias": (lambda: attended(bias=True), CONFIG, "P001", "adds a bias or a mask"),
    "attention in windows": (lambda: attended(batch=4), CONFIG, "P001", "within 4 windows"),
    "values wider than keys": (lambda: attended(values=32), CONFIG, "P001", "values are 32 wide, its keys 16"),
    "products of activations": (single(MatMul(), (1, 16, 16), (1, 16, 16)), CONFIG, "P001", "MatMul"),
    "a convolution": (single(Conv(), (1, 16, 4, 4), (16, 16, 1, 1)), CONFIG, "P001", "Conv"),
    "softmax alone": (single(Softmax(2, 40000, 20), (1, 4, 16), elem=INT16), CONFIG, "P001", "Softmax"),
    "differences": (
        single(AddRequantised(40000, 15, 40000, 15, True), (1, 4, 16), (1, 4, 16), elem=INT16),
        CONFIG,
        "P001",
        "a difference",
    ),
    "sums over channels": (single(ReduceSum((2,)), (1, 4, 16)), CONFIG, "P001", "over axes (2,)"),
    "sums of 16 bits": (single(ReduceSum((1,)), (1, 4, 16), elem=INT16), CONFIG, "P001", "it sums i16[1,4,16] over"),
    "LayerNorm into a sum": (
        single(LayerNormalization(eps_term=1, shift=9, elem=INT16), (1, 4, 16), elem=INT16),
        CONFIG,
        "P001",
        "in 16 bits",
    ),
    "patches wider than a word": (lambda: random_vit(image=64, patch=32), CONFIG, "P002", "patches are 32 wide"),
    "more inputs than a bank holds": (lambda: wide(4112), CONFIG, "P002", "the activation buffer holds 256"),
    "more keys than softmax keeps": (lambda: random_vit(image=24), replace(CONFIG, key_tiles=8), "P002", "145 keys exceed 128"),
    "LayerNorm wider than its parameters": (
        lambda: random_vit(width=64, heads=4),
        replace(CONFIG, norm_width=32),
        "P002",
        "LayerNorm over 64 channels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_its_reason(case: str) -> None:
    graph, config, code, words = REFUSED[case]
    with pytest.raises(CompileError) as caught:
        plan(graph(), config)
    assert {d.code for d in caught.value.diagnostics} == {code}
    text = "\n".join(map(str, caught.value.diagnostics))
    assert words in text
    assert all(d.at and d.because and d.help for d in caught.value.diagnostics)


def test_a_model_larger_than_the_board_s_memory_is_refused() -> None:
    planned = replace(plan(random_vit(), CONFIG), memory_bytes=3 << 30)
    with pytest.raises(CompileError) as caught:
        check_fit(planned, load("zcu104"))
    assert "3072 MiB" in str(caught.value) and "2048 MiB" in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    blocks=st.integers(1, 3),
    heads=st.integers(1, 3),
    pool=st.booleans(),
    image=st.sampled_from([4, 12, 20]),
    completions=st.sampled_from([26, 100, 2048]),
)
def test_every_completion_is_taken_once_and_never_before_it_can_be(
    seed: int, blocks: int, heads: int, pool: bool, image: int, completions: int
) -> None:
    """Each unit waits for earlier operations alone, for all that its rows need, and in the end has taken every completion."""
    config = replace(CONFIG, completions=completions)
    planned = plan(random_vit(seed, blocks=blocks, width=16 * heads, heads=heads, pool=pool, image=image), config)
    given_before = [0, *accumulate(step.fields["marks"] for step in planned.steps)]
    written: dict[Node, Array] = {}  # completions before each row is in memory
    taken = dict.fromkeys(("con", "act", "opd", "res"), 0)
    for position, step in enumerate(planned.steps):
        fields, operation = step.fields, step.operation
        views = {"act": operation.product.streamed, "opd": operation.loaded if fields["leads"] else ()}
        views["res"] = () if operation.residual is None else (operation.residual.source,)
        for unit in taken:
            seen = views.get(unit, ())
            count, size = fields[f"{unit}_blocks"], config.ins if unit == "opd" else config.tokens
            size = 1 if fields["copy"] or (unit != "opd" and fields["single"]) else size
            expected = {"con": not fields["copy"], "opd": bool(fields["copy"] or fields["leads"])}
            assert bool(count) == expected.get(unit, bool(seen))
            line = np.arange(max(1, count)) * fields[f"{unit}_slope"] + fields[f"{unit}_phase"]
            more = np.minimum(line >> GATE_FRACTION, fields[f"{unit}_steps"])
            before = taken[unit] + fields[f"{unit}_first"] + more
            assert more[0] == 0 and more[-1] == fields[f"{unit}_steps"]
            last = position == len(planned.steps) - 1
            assert last or before[-1] <= given_before[position]
            for view in seen:
                rows = np.zeros(view.rows, np.int64)
                if view.root in written:
                    rows = written[view.root][view.row_numbers]
                for block in range(count):
                    part = rows[block * size : (block + 1) * size]
                    if fields["patch"] and unit == "act":
                        part = written.get(view.root, rows)[operation.product.block_rows(block * size, (block + 1) * size)]
                    assert part.max(initial=0) <= before[block]
            taken[unit] = int(before[-1]) + fields[f"{unit}_drain"]
            assert last or not fields[f"{unit}_drain"]
        place, height = operation.place, operation.shape[0]
        assert fields["marks"] == (fields["n_blocks"] if fields["progress"] else 1)
        row = np.arange(height)
        stored = written.setdefault(place.target, np.zeros(rows_columns(place.target)[0], np.int64))
        each = row // (1 if fields["single"] else config.tokens) if fields["progress"] else 0 * row
        if fields["copy"] and fields["progress"]:
            each = operation.product.row_tokens(height)
        stored[place.first_row + place.row_step * row] = given_before[position] + each + 1
    assert set(taken.values()) == {given_before[-1]}


def overlapping(planned: Plan) -> list[tuple[int, str, str]]:
    """(step, what it writes, what it writes over): a value that is read later, or an output, in the way of a result."""
    steps = [step.operation for step in planned.steps]
    until = {view.root: at for at, operation in enumerate(steps) for view in operands(operation)}
    until |= {view.root: len(steps) for view in planned.outputs}
    written = {operation.target: at for at, operation in reversed(list(enumerate(steps)))}
    last_write = {operation.target: at for at, operation in enumerate(steps)}
    found = []
    for at, operation in enumerate(steps):
        begin = planned.addresses[operation.target]
        end = begin + planned.layouts[operation.target].size_bytes
        for other, last in until.items():
            since = written.get(other, -1)
            if other is operation.target or not since < at <= last:
                continue
            if other is operation.replaces(until, last_write) and planned.addresses[other] == begin:
                continue  # row by row, each after it was read
            start = planned.addresses[other]
            if begin < start + planned.layouts[other].size_bytes and start < end:
                found.append((at, operation.name, other.name))
    return found


def test_values_that_live_together_do_not_overlap() -> None:
    assert not overlapping(plan(random_vit(blocks=2, width=64, heads=4), CONFIG))


@pytest.mark.parametrize("kind", ["source", "key", "value", "residual"])
def test_a_result_in_the_place_of_a_value_that_is_still_read_is_noticed(kind: str) -> None:
    """The check above sees every kind of read."""
    planned = plan(random_vit(blocks=2, width=64, heads=4), CONFIG)
    steps = [step.operation for step in planned.steps]
    moved = 0
    for at, operation in enumerate(steps):
        residual = operation.residual
        view = residual.source if kind == "residual" and residual is not None else getattr(operation.product, kind, None)
        if view is None or view.root not in {before.target for before in steps[:at]}:
            continue
        first = next(i for i, before in enumerate(steps) if before.target is view.root)
        for between in steps[first + 1 : at]:
            if between.target is not view.root:
                addresses = {**planned.addresses, between.target: planned.addresses[view.root]}
                assert overlapping(replace(planned, addresses=addresses))
                moved += 1
    assert moved


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert plan(random_vit(5), CONFIG).image == plan(random_vit(5), CONFIG).image


def test_descriptors_refuse_what_does_not_fit_a_field() -> None:
    blank = dict.fromkeys(FIELDS, 0)
    assert len(encode(blank)) == 256
    with pytest.raises(ValueError, match="n_keys = 4096"):
        encode({**blank, "n_keys": 4096})
    with pytest.raises(ValueError, match="fields differ"):
        encode({"n_keys": 1})


def test_a_descriptor_holds_a_command_for_each_unit() -> None:
    """Read as the engine reads it, each unit's command has the quantities that it needs, and no quantity is in none."""
    rng = np.random.default_rng(0)
    fields = {name: int(rng.integers(0, 1 << min(kind.bits, 62))) for name, kind in FIELDS.items()}
    rows = unpack(Operation, [int.from_bytes(encode(fields), "little")])
    read = {path: int(row[0]) for (path, _, _), row in zip(leaves(Operation), rows, strict=True)}
    assert read == {path: fields[path[-1]] for path in read}
    assert {path[-1] for path in read} == set(FIELDS)
    units = {path[:2] for path in read}
    assert len(units) == len(LOAD_UNITS) + len(OPERAND_UNITS) + len(RUN_UNITS)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 5), heads=st.integers(1, 5))
def test_rows_survive_memory(rows: int, heads: int) -> None:
    planned = plan(random_vit(width=16 * heads, heads=heads), CONFIG)
    for where in planned.layouts.values():
        limit = 1 << (8 * where.element_bytes - 1)
        values = np.random.default_rng(rows).integers(-limit, limit, (rows, where.columns))
        assert np.array_equal(unpack_rows(pack_rows(values, where), where, rows), values)


def with_rms_norms(centred: bool) -> Graph:
    """A float ViT whose norms take no mean off, its stream with or without one."""
    found, _ = optimise(tiny_vit(pooling="avg"), rms_norm=True)
    if centred:
        return found

    def shifted(node: Node) -> Node | None:
        if not isinstance(node.op, PatchEmbed):
            return None
        x, weight, bias = node.inputs
        assert isinstance(bias.op, Constant)
        return make(node.op, x, weight, constant(bias.op.value + 1), origin=node.origin)

    return rewrite(found, shifted)


def test_rms_norms_run_as_layer_norms_where_the_mean_is_0_and_are_refused_elsewhere() -> None:
    for centred in (True, False):
        graph, _ = optimise(with_rms_norms(centred))
        integer = quantise(graph, {"image": images(graph, 8)}).graph
        if centred:
            steps = plan(integer, CONFIG).steps
            assert sum(step.operation.product.norm is not None for step in steps) == 3
            continue
        with pytest.raises(CompileError) as caught:
            plan(integer, CONFIG)
        assert {(d.code, d.because) for d in caught.value.diagnostics} == {
            ("P001", "the mean of what it normalises may not be 0")
        }
