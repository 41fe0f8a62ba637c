"""map.json leads a host to every output under its own name; a plan that reaches elsewhere is an error of ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.emit import memory_map
from edgewright.hw.plan import Plan, plan
from edgewright.hw.reach import PlanError, check_reach
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import INT16, Array, Level
from edgewright.passes.ops import Quantise, Reshape, Slice, graph_input
from edgewright.sim.network import input_writes
from edgewright.sim.scoreboard import WriteLog, compare_outputs
from hypothesis import given, settings, strategies
from hypothesis.extra.numpy import arrays

from tests.hw.integer_models import Builder, random_vit
from tests.hw.random_programs import interpreted

CONFIG = EngineConfig(tokens=4, weight_tiles=64)


def parts() -> tuple[Plan, dict[str, Array]]:
    """A stored value, parts of it, the input and a constant, all of them outputs."""
    b = Builder(2)
    x = graph_input("x", (1, 6, 32))
    start = make(Quantise(0.02, 1), x, origin=("x",))
    z = b.linear(start, 48, INT16)
    outputs = {
        "y": make(Slice(2, 8, 24), z),
        "every second": make(Slice(1, 1, 6, 2), z),
        "z": z,
        "again": make(Reshape((6, 48)), z),
        "x out": start,
        "constant": b.integers(-9, 9, (1, 5), "int8"),
        "odd": make(Slice(2, 1, 48, 3), z),
    }
    graph = Graph("g", (x,), tuple(outputs.values()), tuple(outputs), Level.QUANTISED)
    return plan(graph, CONFIG), {"x": np.random.default_rng(0).normal(size=(1, 6, 32)).astype(np.float32)}


def test_each_output_is_listed_by_its_name_and_lies_where_the_map_says() -> None:
    planned, inputs = parts()
    assert interpreted(planned, inputs) is None
    rows = memory_map(planned)
    by_name = {row["name"]: row for row in rows}
    assert set(planned.graph.output_names) <= set(by_name)
    regions = {row["name"]: row for row in rows if "region" not in row}
    assert by_name["z"]["kind"] == "output" and by_name["x"]["kind"] == "input"
    for row in rows:
        if "region" in row:
            whole = regions[row["region"]]
            assert row["offset_bytes"] == row["address"] - whole["address"]
            assert whole["address"] <= row["address"] and row["address"] + row["bytes"] <= whole["address"] + whole["bytes"]
    y = by_name["y"]
    assert (y["offset_bytes"], y["rows"], y["columns"], y["element_bytes"], y["pitch_bytes"]) == (16, 6, 16, 2, 96)
    second = by_name["every second"]
    assert (second["offset_bytes"], second["rows"], second["pitch_bytes"]) == (96, 3, 192)
    assert (by_name["again"]["address"], by_name["again"]["rows"]) == (by_name["z"]["address"], 6)
    assert "region" not in by_name["odd"]  # a step of channels cannot be read in words: a value of its own


@given(
    reals=arrays(np.float32, (1, 6, 32), elements=strategies.floats(-(2.0**99), 2.0**99, width=32)),
    scale=strategies.floats(1e-3, 10),
    zero_point=strategies.integers(-20, 20),
)
@settings(max_examples=30, deadline=None)
def test_a_host_writes_inputs_within_the_range_of_the_map(reals: Array, scale: float, zero_point: int) -> None:
    """What a simulation writes for an input is what the map says: never -128, which the array would multiply wrongly."""
    b = Builder(2)
    x = graph_input("x", (1, 6, 32))
    graph = Graph("g", (x,), (b.linear(make(Quantise(scale, zero_point), x, origin=("x",)), 16),), ("y",), Level.QUANTISED)
    planned = plan(graph, CONFIG)
    (row,) = (row for row in memory_map(planned) if row["kind"] == "input")
    assert (row["lowest"], row["highest"], row["element_bytes"]) == (-127, 127, 1)
    written = input_writes(planned, interpret_all(graph, {"x": reals}))[row["address"]]
    stored = np.frombuffer(written, np.int8).reshape(row["rows"], row["pitch_bytes"])[:, : row["columns"]]
    integers = np.floor(reals[0].astype(np.float64) / row["scale"] + 0.5) + row["zero_point"]
    assert np.array_equal(stored, np.clip(integers, row["lowest"], row["highest"]).astype(np.int64))


def test_simulation_notices_an_output_that_is_not_where_the_map_says() -> None:
    planned, inputs = parts()
    values = interpret_all(planned.graph, inputs)
    moved = replace(planned.outputs[0], column=9)
    wrong = replace(planned, outputs=(moved, *planned.outputs[1:]))
    assert interpreted(wrong, inputs) is not None
    empty = WriteLog(np.zeros(0, np.uint32), np.zeros(0, np.uint64), np.zeros((0, 16), np.uint8))
    found = compare_outputs(planned, values, empty, planned.image, input_writes(planned, values))
    assert found is not None and found.tensor == "y"


@pytest.mark.parametrize("field", ["act_address", "out_address", "res_address", "key_address", "value_address", "out_pitch"])
@pytest.mark.parametrize("by", [8, 1 << 20])
def test_an_address_beside_its_value_is_an_error_of_ours(field: str, by: int) -> None:
    planned = plan(random_vit(blocks=1), CONFIG)
    at = next(i for i, step in enumerate(planned.steps) if step.fields[field] and step.rows > 1 and not step.fields["patch"])
    step = planned.steps[at]
    changed = replace(step, fields={**step.fields, field: step.fields[field] + by})
    with pytest.raises(PlanError):
        check_reach((*planned.steps[:at], changed, *planned.steps[at + 1 :]), planned.storage)
