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
from edgewright.hw.plan import pack_rows, plan, unpack_rows
from edgewright.hw.views import rows_columns
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, Node, make, rewrite
from edgewright.passes.ir.types import INT8, INT16, Array
from edgewright.passes.ops import (
    Constant,
    Conv,
    Div,
    Gather,
    Linear,
    MatMul,
    Max,
    PatchEmbed,
    ReduceSum,
    Relu,
    Reshape,
    Softmax,
    Table,
    constant,
    graph_input,
)
from edgewright.passes.ops.arith import SCORE_BIAS
from edgewright.passes.pipeline import optimise, quantise
from edgewright.targets.device import load
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.integer_models import random_vit
from tests.hw.overwritten import overwritten
from tests.hw.small_graphs import (
    BUILDER,
    IDS,
    biased,
    convolved,
    ended,
    masked,
    narrowed,
    normalised,
    product,
    read,
    single,
    stored,
    total,
    widened_norm,
)
from tests.models import images, tiny_vit

CONFIG = EngineConfig()


def wide(inputs: int) -> Graph:
    return ended(stored(read("x", 1, inputs), 8, INT16))


def chosen() -> Graph:
    """Return rows that are looked up by ids, of a value that the engine has computed."""
    return ended(make(Gather(1), stored(read("x", 1, 6, 16), 16), graph_input("ids", (3,), IDS)))


def normalised_maps() -> Graph:
    """Return a LayerNorm along the columns of maps."""
    maps = make(Conv(), read("x", 1, 16, 4, 4), BUILDER.integers(-9, 9, (16, 16, 1, 1), "int8"))
    return ended(widened_norm(narrowed(maps, elem=INT16), INT8))


def unevenly_summed() -> Graph:
    """Return a sum over two axes between which another one remains."""
    return ended(narrowed(make(ReduceSum((1, 3)), stored(read("x", 1, 3, 4, 5, 16), 16))))


def with_computed_weights() -> Graph:
    weight = make(Reshape((6, 16)), stored(read("y", 1, 6, 16), 16))
    bias = BUILDER.integers(-9, 9, 6, "int32")
    return ended(narrowed(make(Linear(), stored(read("x", 1, 6, 16), 16), weight, bias)))


def softened() -> Graph:
    """Return a softmax in the middle of a model."""
    soft = make(Softmax(2, 40000, 20), stored(read("x", 1, 4, 16), 16, INT16))
    return ended(stored(narrowed(soft, bits=1), 8))


PAD = (1, 1, 1, 1)
WIDE_PAD = (2, 2, 2, 2)
NARROW_NORM = replace(CONFIG, norm_width=32)
FEW_KEYS = replace(CONFIG, key_tiles=8)

REFUSED: dict[str, tuple[Callable[[], Graph], EngineConfig, str, str]] = {
    "a bias that the model computes": (lambda: biased(computed=True), CONFIG, "P001", "bias of its scores is computed by the"),
    "a mask that differs between queries": (lambda: masked(6), CONFIG, "P001", "differs between queries"),
    "an input of 25 bits": (single(Relu(), (1, 4, 16), elem=SCORE_BIAS), CONFIG, "P001", "stored in 25 bits"),
    "products of two computed values": (single(MatMul(), (1, 16, 16), (1, 16, 16)), CONFIG, "P001", "multiplies two computed"),
    "divisions": (single(Div(20), (1, 4, 16), (1, 4, 16)), CONFIG, "P001", "divides by a computed value"),
    "softmax at the end": (single(Softmax(2, 40000, 20), (1, 4, 16), elem=INT16), CONFIG, "P001", "this one ends the model"),
    "softmax in the middle": (softened, CONFIG, "P001", "softmax is computed inside attention only"),
    "rows by ids that the engine would need": (chosen, CONFIG, "P001", "known only at run time"),
    "the greater of two": (single(Max(), (1, 4, 16), (1, 4, 16)), CONFIG, "P001", "the greater of two values"),
    "weights that are computed": (with_computed_weights, CONFIG, "P001", "its weights are computed"),
    "a kernel that is computed": (single(Conv(), (1, 16, 4, 4), (16, 16, 1, 1)), CONFIG, "P001", "its weights are computed"),
    "padding and dilations": (convolved(Conv(pads=WIDE_PAD, dilations=(2, 2))), CONFIG, "P001", "it pads and dilates"),
    "padding and a stride of 3": (convolved(Conv(pads=PAD, strides=(3, 3))), CONFIG, "P001", "strides of 3 x 3"),
    "padding and a stride of 3 in one axis": (convolved(Conv(pads=PAD, strides=(2, 3))), CONFIG, "P001", "strides of 2 x 3"),
    "groups of an input": (convolved(Conv(pads=PAD, groups=2), of_input=True), CONFIG, "P001", "an input in 2 groups"),
    "each channel of an input": (convolved(Conv(pads=PAD, groups=16), of_input=True), CONFIG, "P001", "an input in 16 groups"),
    "a factor that repeats along channels": (lambda: product((1, 4, 16), (1, 4, 1)), CONFIG, "P001", "repeats the channels"),
    "factors that both repeat": (lambda: product((1, 4, 1), (1, 1, 16)), CONFIG, "P001", "repeats the channels"),
    "a term that repeats along channels": (lambda: total((1, 4, 16), (1, 4, 1)), CONFIG, "P001", "one of its terms"),
    "a difference from what repeats": (
        lambda: total((1, 1, 16), (1, 4, 16), subtract=True),
        CONFIG,
        "P001",
        "takes a value from one that repeats",
    ),
    "sums over channels": (single(ReduceSum((2,)), (1, 4, 16)), CONFIG, "P001", "over axes (2,)"),
    "sums over rows that are not evenly spaced": (unevenly_summed, CONFIG, "P001", "over axes (1, 3)"),
    "LayerNorm over more than 2,048": (lambda: normalised(2049), CONFIG, "P001", "its rows hold 2,049 values"),
    "LayerNorm of int8": (lambda: ended(widened_norm(read("x", 1, 4, 16), INT8)), CONFIG, "P001", "a value of 8 bits"),
    "LayerNorm of columns": (normalised_maps, CONFIG, "P001", "an axis that is not that of channels"),
    "patches wider than a word": (lambda: random_vit(image=64, patch=32), CONFIG, "P002", "patches are 32 wide"),
    "more inputs than a bank holds": (lambda: wide(4112), CONFIG, "P002", "the activation buffer holds 256"),
    "more keys than softmax keeps": (lambda: random_vit(image=24), FEW_KEYS, "P002", "145 keys exceed 128"),
    "LayerNorm wider than its parameters": (
        lambda: random_vit(width=64, heads=4),
        NARROW_NORM,
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
            size = 1 if fields["copy"] or (fields["single"] and unit != "opd") else size
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


FIRST_READ = {"source": "act_address", "key": "key_address", "value": "value_address", "residual": "res_address"}
SIZES = ({"blocks": 2, "width": 64, "heads": 4}, {"pool": True, "image": 12}, {"width": 40, "heads": 2})


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("on_chip_words", [0, 512])
def test_nothing_is_read_where_another_value_has_been_stored(sizes: dict[str, int], on_chip_words: int) -> None:
    assert not overwritten(plan(random_vit(**sizes), replace(CONFIG, on_chip_words=on_chip_words)))


@pytest.mark.parametrize("kind", FIRST_READ)
def test_a_result_in_the_place_of_a_value_that_is_still_read_is_noticed(kind: str) -> None:
    """The check above sees every kind of read."""
    planned = plan(random_vit(blocks=2, width=64, heads=4), CONFIG)
    moved = 0
    for at, step in enumerate(planned.steps):
        operation, before = step.operation, planned.steps[:at]
        residual = operation.residual
        view = residual.source if kind == "residual" and residual is not None else getattr(operation.product, kind, None)
        first = next((i for i, other in enumerate(before) if view is not None and other.operation.target is view.root), at)
        for between in range(first + 1, at):
            other = planned.steps[between]
            if view is not None and other.operation.target is not view.root:
                fields = {**other.fields, "out_address": step.fields[FIRST_READ[kind]]}
                steps = (*planned.steps[:between], replace(other, fields=fields), *planned.steps[between + 1 :])
                assert (at, view.root.name) in {(n, name) for n, _, name in overwritten(replace(planned, steps=steps))}
                moved += 1
    assert moved


def test_a_result_that_replaces_rows_which_its_own_operation_reads_later_is_noticed() -> None:
    """A result in place of its operand is right; one row further down, it is stored over the row that is read next."""
    x = make(Relu(), stored(read("x", 1, 40, 16), 32))
    planned = plan(ended(stored(make(Table(), x, BUILDER.integers(-127, 127, 256, "int8")), 8)), CONFIG)
    first, inside, last = planned.steps
    assert inside.fields["out_address"] == inside.fields["act_address"]
    assert not overwritten(planned)
    for rows, noticed in ((-1, False), (1, True)):
        fields = {**inside.fields, "out_address": inside.fields["out_address"] + rows * inside.fields["out_pitch"]}
        found = overwritten(replace(planned, steps=(first, replace(inside, fields=fields), last)))
        assert ((1, "activations", "Relu") in found) == noticed


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert plan(random_vit(5), CONFIG).image == plan(random_vit(5), CONFIG).image


def test_descriptors_refuse_what_does_not_fit_a_field() -> None:
    blank = dict.fromkeys(FIELDS, 0)
    assert len(encode(blank)) == 320
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
