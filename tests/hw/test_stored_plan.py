"""A plan that was stored is the one that was planned, and anything else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from edgewright.hw import plan as planning
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import Cycles, predict_cycles
from edgewright.hw.plan import Plan, plan
from edgewright.hw.stored_plan import restore, store
from edgewright.passes.diagnostics import CompileError

from tests.frontend.damage import bytes_changed, json_changed
from tests.hw.integer_models import random_vit

CONFIG = EngineConfig()
SEEDS = 40


@pytest.fixture(scope="module")
def planned() -> tuple[Plan, Cycles]:
    made = plan(random_vit(blocks=1), CONFIG)
    return made, predict_cycles(made)


@pytest.mark.parametrize("sizes", [{}, {"blocks": 2, "heads": 2, "width": 32}, {"pool": True, "classes": 3}])
def test_what_is_restored_is_what_was_planned(sizes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(random_vit(**sizes), CONFIG)
    cycles = predict_cycles(made)
    content = store(made, cycles)
    monkeypatch.setattr(planning, "Planner", lambda *_: pytest.fail("it was planned again"))
    again, same = restore(content, made.graph, CONFIG, made.image)
    assert same == cycles and store(again, same) == content
    for name in ("graph", "config", "regions", "image", "program_address", "memory_bytes"):
        assert getattr(again, name) == getattr(made, name), name
    assert [(n.name, a) for n, a in again.addresses.items()] == [(n.name, a) for n, a in made.addresses.items()]
    assert list(again.layouts.values()) == [made.layouts[node] for node in made.addresses]
    assert [(v.root.name, v.row, v.rows) for v in again.outputs] == [(v.root.name, v.row, v.rows) for v in made.outputs]
    for one, other in zip(again.steps, made.steps, strict=True):
        assert (one.fields, one.blob, one.first_column, one.columns, one.macs, one.operation.name) == (
            other.fields,
            other.blob,
            other.first_column,
            other.columns,
            other.macs,
            other.operation.name,
        )


def test_damage_is_refused_or_changes_no_address(planned: tuple[Plan, Cycles]) -> None:
    made, cycles = planned
    content = store(made, cycles)
    for seed in range(SEEDS):
        for change in (bytes_changed, json_changed):
            try:
                again, _ = restore(change(content, seed), made.graph, CONFIG, made.image)
            except CompileError as error:
                assert error.diagnostics[0].code == "U023" and error.diagnostics[0].at == "checkpoints/plan.json"
            else:
                assert [step.fields for step in again.steps] == [step.fields for step in made.steps], seed


def changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update(fields)


def drop_step(data: dict[str, Any]) -> None:
    data["steps"].pop()


def move_value(data: dict[str, Any]) -> None:
    data["addresses"][-1][1] += 64


def change_field(data: dict[str, Any]) -> None:
    data["steps"][0]["fields"]["n_tokens"] += 1


CHANGES = {
    "format": changed(format=1),
    "memory": changed(memory_bytes=1),
    "program": changed(program_address=64),
    "no values": changed(addresses=[]),
    "no such value": changed(addresses=[[10**9, 0]]),
    "a key more": changed(more=1),
    "a step less": drop_step,
    "a value elsewhere": move_value,
    "another field": change_field,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_not_the_plan_of_the_graph(change: Callable[[Any], None], planned: tuple[Plan, Cycles]) -> None:
    made, cycles = planned
    data = json.loads(store(made, cycles))
    change(data)
    with pytest.raises(CompileError) as caught:
        restore(json.dumps(data).encode(), made.graph, CONFIG, made.image)
    assert caught.value.diagnostics[0].code == "U023"


def test_another_graph_engine_or_image_is_refused(planned: tuple[Plan, Cycles]) -> None:
    made, cycles = planned
    content = store(made, cycles)
    cases = (
        (random_vit(blocks=2), CONFIG, made.image),
        (made.graph, EngineConfig(weight_tiles=2, activation_tiles=64), made.image),
        (made.graph, CONFIG, made.image[:-16]),
        (made.graph, CONFIG, bytes(len(made.image))),
    )
    for graph, config, image in cases:
        with pytest.raises(CompileError) as caught:
            restore(content, graph, config, image)
        assert caught.value.diagnostics[0].code == "U023"
