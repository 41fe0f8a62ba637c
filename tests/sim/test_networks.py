"""Trained networks, whole, at RTL: every stored word is the interpreter's; a changed weight is noticed; cycles as predicted."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.board_memory import parse_memory
from edgewright.hw.cost import predict_cycles, resources_of, rtl_files, timing_of
from edgewright.hw.kernel.memory_timing import IDEAL
from edgewright.hw.operations.operation import Step
from edgewright.hw.operations.rows import WeightProduct
from edgewright.hw.plan import Plan, plan
from edgewright.hw.views import rows_columns
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import constant
from edgewright.passes.pipeline import optimise, quantise
from edgewright.sim.build import Build
from edgewright.sim.engine import Job, build_engine, run_engine
from edgewright.sim.network import SHARED_MEMORY_BYTES, input_writes, simulate
from edgewright.sim.scoreboard import compare
from edgewright.targets.device import load

pytestmark = pytest.mark.sim
EXAMPLES = Path(__file__).parents[2] / "examples"
VARIANTS = ("ts17", "dynamo18", "dynamo23")
WORD = 16


@cache
def config() -> EngineConfig:
    return EngineConfig.of_board(load("zcu104"))


@cache
def engine() -> Build:
    return build_engine(rtl_files(config()), memory_bytes=SHARED_MEMORY_BYTES)


@cache
def compiled(name: str, variant: str) -> Plan:
    graph, _ = optimise(read_model(EXAMPLES / "models" / f"vit_{name}.{variant}.onnx"))
    with np.load(EXAMPLES / "data" / f"{name}.npz") as data:
        return plan(quantise(graph, {"x": data["calib"][:16]}).graph, config())


def images(name: str, count: int) -> dict[str, Array]:
    with np.load(EXAMPLES / "data" / f"{name}.npz") as data:
        return {"x": data["images"][:count]}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_trained_networks_are_bit_exact(name: str, variant: str) -> None:
    planned = compiled(name, variant)
    run = simulate(planned, rtl_files(config()), images(name, 1))
    assert [str(c.mismatch) for c in run.comparisons if not c.exact] == []
    assert all(c.integers > 10_000 and c.tensors == len(planned.steps) for c in run.comparisons)


@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_cycles_are_within_two_percent_of_the_prediction(name: str) -> None:
    planned = compiled(name, "dynamo18")
    run = simulate(planned, rtl_files(config()), images(name, 2))
    predicted = predict_cycles(planned).total
    assert run.cycles[0] == run.cycles[1]
    assert abs(run.cycles[0] / predicted - 1) < 0.02


@pytest.mark.parametrize("memory", ["ideal", "board"])
@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_every_word_is_stored_about_when_it_was_predicted(name: str, memory: str) -> None:
    """What a report shows over time: no word is further from its cycle than a pipeline is long."""
    planned, timing = compiled(name, "dynamo18"), parse_memory(memory, load("zcu104"))
    run = simulate(planned, rtl_files(config()), images(name, 1), memory=timing)
    moves = timing_of(planned, timing).moves["results"][:, 2:].tolist()
    predicted = np.concatenate([np.arange(first, last + 1) for first, last in moves])
    assert len(run.stored_cycles) == len(predicted)
    assert np.abs(np.sort(run.stored_cycles) - np.sort(predicted)).max() <= 32


def test_bits_do_not_depend_on_the_clock() -> None:
    fast = compiled("digits", "dynamo18")
    slow = replace(fast, config=replace(config(), clock_mhz=150))
    run = simulate(slow, rtl_files(slow.config), images("digits", 1))
    assert run.exact
    assert abs(run.cycles[0] / predict_cycles(slow).total - 1) < 0.02
    assert predict_cycles(slow).total < predict_cycles(fast).total


def test_bits_do_not_depend_on_the_memory() -> None:
    planned = compiled("digits", "dynamo18")
    late = replace(IDEAL, read_latency=90, write_latency=90)
    slow = simulate(planned, rtl_files(config()), images("digits", 1), memory=late, stall=0.3)
    assert slow.exact
    assert slow.cycles[0] > predict_cycles(planned).total


def test_two_models_run_on_one_simulator() -> None:
    plans = [compiled(name, "dynamo18") for name in ("digits", "fashion")]
    for name, planned in zip(("digits", "fashion"), plans, strict=True):
        values = interpret_all(planned.graph, images(name, 1))
        job = Job(planned.program_address, len(planned.steps), input_writes(planned, values))
        run = run_engine(engine(), {0: planned.image}, [job])
        assert compare(planned, values, run.logs[0]).exact


def test_the_same_program_again_gives_the_same_bits() -> None:
    planned = compiled("digits", "dynamo18")
    values = interpret_all(planned.graph, images("digits", 1))
    job = Job(planned.program_address, len(planned.steps), input_writes(planned, values))
    first, second = run_engine(engine(), {0: planned.image}, [job, job]).logs
    assert np.array_equal(first.words, second.words)


@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_a_flipped_bit_of_every_operation_is_noticed(name: str) -> None:
    """One program run per operation, each with one bit flipped: of its weights, for attention of its multiplier, of what a copy
    copies."""
    planned = compiled(name, "dynamo18")
    image = images(name, 1)
    values = interpret_all(planned.graph, image)
    flips = [flip for step in planned.steps if (flip := effective_flip(planned, step, values, image)) is not None]
    assert len(flips) == len(planned.steps)
    inputs = input_writes(planned, values)
    memory = bytearray(planned.image)
    for address, content in inputs.items():
        memory[address : address + len(content)] = content
    jobs: list[Job] = []
    words = [address // WORD * WORD for address in flips]
    for address, *changed in zip(flips, words, [words[0], *words], strict=False):
        flipped = bytearray(memory)
        flipped[address] ^= 0x80
        writes = {at: bytes(flipped[at : at + len(content)]) for at, content in inputs.items()}
        outside = [at for at in changed if not any(begin <= at < begin + len(content) for begin, content in inputs.items())]
        writes |= {at: bytes(flipped[at : at + WORD]) for at in outside}
        jobs.append(Job(planned.program_address, len(planned.steps), writes))
    run = run_engine(engine(), {0: planned.image}, jobs)
    for step, log in zip(planned.steps, run.logs, strict=True):
        found = compare(planned, values, log).mismatch
        assert found is not None, step.operation.name
        assert (found.operation, found.tensor) == (step.operation.name, step.operation.result.name)


def effective_flip(planned: Plan, step: Step, values: dict[Node, Array], image: dict[str, Array]) -> int | None:
    """Address of a byte whose sign bit, flipped, changes what the operation stores, as the interpreter says."""
    operation = step.operation
    if operation.product.copies:
        return step.fields["value_address"]

    def place(byte: int) -> int:  # of the blob, whose words lie in turn in two parts
        part, word = byte // WORD % 2, byte // WORD // 2
        return int(step.fields["blob_address"] + (part * step.fields["blob_beats"] + word) * WORD + byte % WORD)

    product, norm_node = operation.product.node, operation.product.norm
    if not isinstance(operation.product, WeightProduct) or norm_node is product:
        # no weights of its own: bit 15 of the first channel's multiplier, LayerNorm's or the requantisation's
        norm = norm_node is product
        changed = operation.product.scale.node.inputs[1]
        array = np.array(changed.op.value)  # type: ignore[attr-defined]
        array[0] ^= 0x8000
        address = 1 if norm else 128 * step.fields["norm_entries"] + 65
        return place(address) if differs(planned.graph, step, values, image, changed, array, columns=1) else None
    weights = np.array(product.inputs[1].op.value)  # type: ignore[attr-defined]
    part = weights[step.first_column : step.first_column + step.columns]
    order: Array = np.argsort(-np.abs(part.astype(int)), axis=None)
    for flat in order[:20].tolist():
        row, column = divmod(int(flat), int(part.shape[1]))
        array = weights.copy()
        array[step.first_column + row, column] ^= np.int8(-128)
        if differs(planned.graph, step, values, image, product.inputs[1], array):
            depth: int = step.fields["depth0"]
            if operation.kind == "patch":
                patch: int = product.op.patch  # type: ignore[attr-defined]
                line, lane = divmod(column, patch)
                column = line * 16 + lane
            outs, ins = planned.config.outs, planned.config.ins
            tile = (row // outs) * depth + column // ins
            tiles = 128 * (step.fields["norm_entries"] + step.fields["param_entries"]) + 256 * step.fields["table"]
            return place(tiles + (tile * outs + row % outs) * ins + column % ins)
    return None


def differs(
    graph: Graph,
    step: Step,
    values: dict[Node, Array],
    image: dict[str, Array],
    changed: Node,
    array: Array,
    columns: int | None = None,
) -> bool:
    """Whether the interpreter stores something else with ``array`` in the place of ``changed``, in the first ``columns``."""
    result = step.operation.result
    partial = replace(graph, outputs=(result,), output_names=("result",))
    swapped = substitute(partial, changed, constant(array))
    found = interpret_all(swapped, image)[swapped.outputs[0]]
    here = slice(step.first_column, step.first_column + (columns or step.columns))
    before = values[result].reshape(rows_columns(result))[:, here]
    return not np.array_equal(found.reshape(before.shape[0], -1)[:, here], before)


def substitute(graph: Graph, old: Node, new: Node) -> Graph:
    """The graph with ``new`` in the place of ``old``."""
    done: dict[Node, Node] = {}
    for node in graph.nodes():
        done[node] = new if node is old else node.with_inputs(done[operand] for operand in node.inputs)
    return replace(graph, inputs=tuple(done[n] for n in graph.inputs), outputs=tuple(done[n] for n in graph.outputs))


def test_the_engine_fits_the_board() -> None:
    device = load("zcu104")
    used = resources_of(config())
    assert device.resources is not None
    for name in ("dsp", "lut", "ff", "bram36", "uram"):
        assert getattr(used, name) is not None
        assert getattr(used, name) <= getattr(device.resources, name), name
