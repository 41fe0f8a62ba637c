"""The window unit against windows by definition: in the interpreter, at RTL and in C++, with its cycles."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from edgewright.hw.blocks import window as unit
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.kernel import interpret, ir
from edgewright.hw.kernel.chains import slowest_chains
from edgewright.hw.kernel.schedule import place_all
from edgewright.hw.kernel.timing import predict
from edgewright.hw.kernel.timing_events import Clocks
from edgewright.hw.kernel.tokens import encode
from edgewright.hw.operations.window import Windows
from edgewright.sim.block_csim import run_block
from edgewright.targets.device import load
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.blocks.mutants import Change, mutant
from tests.hw.blocks.recorded import count
from tests.hw.blocks.windows import CONFIG, Integers, expected, pixels_of, program, streams, weights_of
from tests.hw.kernel.kernel_bench import trace_rtl

PRESSURE = ((0.5, 0.0), (0.0, 0.6), (0.4, 0.4))
JOBS = [
    Windows(height=7, width=6, channels=30, kernel=(3, 3), strides=(1, 1), padding=(1, 1), output=(7, 6)),
    Windows(height=5, width=1, channels=16, kernel=(3, 3), strides=(1, 1), padding=(1, 1), output=(5, 1)),
    Windows(height=7, width=6, channels=16, kernel=(5, 5), strides=(2, 2), padding=(2, 2), output=(4, 3), pad_value=-77),
    Windows(height=6, width=5, channels=40, kernel=(2, 2), strides=(2, 2), padding=(0, 0), output=(3, 2), maximum=True),
    Windows(height=7, width=7, channels=16, kernel=(7, 7), strides=(1, 1), padding=(3, 3), output=(7, 7)),
    Windows(height=2, width=2, channels=20, kernel=(5, 4), strides=(2, 1), padding=(4, 3), output=(3, 5)),
    Windows(height=9, width=8, channels=16, kernel=(3, 3), strides=(4, 4), padding=(1, 0), output=(3, 2), maximum=True),
    Windows(height=4, width=5, channels=33, kernel=(1, 6), strides=(3, 1), padding=(0, 2), output=(2, 5)),
    Windows(height=3, width=3, channels=16, kernel=(3, 3), strides=(3, 3), padding=(0, 0), output=(1, 1)),
]


def given_of(jobs: list[Windows], seed: int = 0) -> tuple[dict[str, Any], Integers]:
    """The inputs of the block, and what must come."""
    rng = np.random.default_rng(seed)
    maps, weights = [pixels_of(job, rng) for job in jobs], [weights_of(job, rng) for job in jobs]
    want = [expected(job, pixels, weight) for job, pixels, weight in zip(jobs, maps, weights, strict=True)]
    return streams(jobs, maps, weights), np.concatenate(want)


@cache
def example() -> tuple[ir.Program, dict[str, Any], Integers]:
    return program(), *given_of(JOBS)


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    """Any windows that the unit takes, of which each touches the map."""
    height, width, words = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    padding = draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))
    strides = draw(st.tuples(st.integers(1, unit.MOST_STRIDE), st.integers(1, unit.MOST_STRIDE)))
    most = [(size + pad - 1) // s + 1 for size, pad, s in zip((height, width), padding, strides, strict=True)]
    output = [draw(st.integers(1, n)) for n in most]
    return Windows(
        height=height,
        width=width,
        channels=words * 16 - draw(st.integers(0, 15)),
        kernel=kernel,
        strides=strides,
        padding=padding,
        output=(output[0], output[1]),
        maximum=draw(st.booleans()),
        pad_value=draw(st.integers(-128, 127)),
    )


@settings(max_examples=40, deadline=None)
@given(jobs=st.lists(windows(), min_size=1, max_size=4), bounded=st.booleans(), seed=st.integers(0, 9))
def test_interpreter(jobs: list[Windows], bounded: bool, seed: int) -> None:
    assert not [reason for job in jobs for reason in job.exceeding(CONFIG)]
    inputs, want = given_of(jobs, seed)
    assert np.array_equal(interpret(program(), inputs, depths=bounded)["rows"], want)


@settings(max_examples=20, deadline=None)
@given(job=windows())
def test_a_sum_of_pixels_is_a_product_with_ones(job: Windows) -> None:
    job = replace(job, maximum=False, pad_value=0)
    pixels, ones = pixels_of(job, np.random.default_rng(0)), np.ones((*job.kernel, job.channels), dtype=np.int64)
    got = interpret(program(), streams([job], [pixels], [ones]))["rows"]
    (rows, columns), (above, left) = job.kernel, job.padding
    around = np.pad(pixels, ((above, 40), (left, 40), (0, 0)))
    at = [(y * job.strides[0], x * job.strides[1]) for y in range(job.output[0]) for x in range(job.output[1])]
    want = np.array([around[y : y + rows, x : x + columns].sum((0, 1)) for y, x in at])
    assert np.array_equal(got, want.reshape(-1, 16))


def predicted(block: ir.Program, inputs: dict[str, Any]) -> list[int]:
    commands = {}
    for channel in block.inputs:
        if channel.name.endswith("_cmd"):
            rows = encode(channel.type, inputs[channel.name], channel.name)
            commands[channel.name] = list(zip(*(row.tolist() for row in rows), strict=True))
    counts = {name: count(tokens) for name, tokens in inputs.items()}
    return list(predict(block, commands, placements=place_all(block), clocks=Clocks(), inputs=counts).outputs["rows"])


@pytest.mark.sim
def test_rtl_and_its_cycles() -> None:
    block, inputs, want = example()
    run = trace_rtl(block, inputs, optimise=False)
    assert np.array_equal(run.outputs["rows"], want)
    assert run.times["rows"].tolist() == [cycle + 1 for cycle in predicted(block, inputs)]
    for seed, (idle, stall) in enumerate(PRESSURE):
        assert np.array_equal(trace_rtl(block, inputs, idle, stall, seed, optimise=False).outputs["rows"], want)


@pytest.mark.sim
@pytest.mark.parametrize(("kernel", "cycles"), [((3, 3), 1), ((5, 5), 3), ((7, 7), 6)])
def test_its_rate(kernel: tuple[int, int], cycles: int) -> None:
    """A word of output takes a cycle for nine taps, and padding below the map one for each of its words."""
    pad = kernel[0] // 2
    job = Windows(height=16, width=12, channels=32, kernel=kernel, strides=(1, 1), padding=(pad, pad), output=(16, 12))
    inputs, want = given_of([job])
    run = trace_rtl(program(), inputs, optimise=False)
    assert np.array_equal(run.outputs["rows"], want)
    below = (pad * 12 + pad) * 2
    assert job.cycles == 16 * 12 * 2 * cycles + below
    assert job.cycles <= run.cycles <= job.cycles + 60


@pytest.mark.sim
def test_cpp() -> None:
    block, inputs, want = example()
    assert np.array_equal(run_block(block, inputs)[0]["rows"], want)


@pytest.mark.sim
@pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml, which has ap_int.h, is missing")
def test_cpp_with_ap_int() -> None:
    block, inputs, want = example()
    assert np.array_equal(run_block(block, inputs, ap_int=True, optimise=True)[0]["rows"], want)


def not_below(node: ir.Node, args: tuple[ir.Node, ...]) -> ir.Node | None:
    """The lines below the map count."""
    if not isinstance(node.op, ir.Compare) or node.op.kind != "lt" or isinstance(args[1].op, ir.Const):
        return None
    return ir.Node(ir.Compare("le"), args, node.type, node.where)


def unclear(node: ir.Node, args: tuple[ir.Node, ...]) -> ir.Node | None:
    """A delay goes on where the one before ended: lines of another length follow."""
    if not isinstance(node.op, ir.Delay):
        return None
    never = ir.Node(ir.Const((0,)), (), args[2].type)
    return ir.Node(node.op, (*args[:2], never, *args[3:]), node.type, node.where)


def each_iteration(node: ir.Node, args: tuple[ir.Node, ...]) -> ir.Node | None:
    """A delay moves on in every phase."""
    if not isinstance(node.op, ir.Delay):
        return None
    return ir.Node(ir.Delay(node.op.count, node.op.most, guarded=False), args[:3], node.type, node.where)


def zeros(node: ir.Node, args: tuple[ir.Node, ...]) -> ir.Node | None:
    """Padding is zero, for a maximum too."""
    if not isinstance(node.op, ir.Part) or node.op.path != ("win_missing",):
        return None
    return ir.Node(ir.Const((0,)), (), node.type, node.where)


MUTANTS = {
    "padding below counts": ("window", not_below),
    "a line of the map before": ("window", unclear),
    "moves on in every phase": ("window", each_iteration),
    "padding wins a maximum": ("window", zeros),
    "a line too many": ("window_lines", not_below),
}


@pytest.mark.sim
@pytest.mark.parametrize(("process", "change"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_mutant_is_noticed(process: str, change: Change) -> None:
    block, inputs, want = example()
    try:
        found = trace_rtl(mutant(block, process, change), inputs, optimise=False).outputs
    except RuntimeError:  # an assertion of the RTL
        return
    assert not np.array_equal(found["rows"], want)


@pytest.mark.parametrize("clock_mhz", [150, 200, 250, 300])
def test_every_chain_fits_a_cycle(clock_mhz: int) -> None:
    config = replace(EngineConfig.of_board(load("zcu104")), clock_mhz=clock_mhz)
    block = program(config)
    slowest = slowest_chains(block, place_all(block, config.period_ns))
    assert slowest[0].ns <= config.period_ns + 0.005, str(slowest[0])


def test_every_place_has_one_tap() -> None:
    found = [place for phase in unit.PLACES for place in phase]
    assert sorted(found) == [(r, c) for r in range(unit.SIDE) for c in range(unit.SIDE)]
    assert max(len(phase) for phase in unit.PLACES) == unit.TAPS
    for side in range(1, unit.SIDE + 1):
        inside = [place for phase in unit.PLACES[: unit.phases_of((side, 1))] for place in phase]
        assert {(r, c) for r in range(side) for c in range(side)} <= set(inside)


@given(job=windows())
def test_fields_fit_their_widths(job: Windows) -> None:
    fields = job.fields()
    assert set(fields) == set(unit.FIELDS)
    assert all(0 <= value <= unit.FIELDS[name].high for name, value in fields.items())


LARGE = Windows(height=56, width=56, channels=256, kernel=(3, 3), strides=(1, 1), padding=(1, 1), output=(56, 56))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kernel": (8, 3)}, "its windows are 8 x 3, the engine's at most 7 x 7"),
        ({"strides": (1, 5), "output": (56, 11)}, "its windows are 5 apart"),
        ({"padding": (3, 1)}, "some of its windows lie in the padding"),
        ({"output": (58, 56)}, "some of its windows lie in the padding"),
        ({"height": 1030}, "its map is 1030 x 56"),
        ({"channels": 600}, "its map has 600 channels, the window unit holds 512"),
        ({"channels": 200}, "a line of its map takes 728 words of 16 bytes, a line of the window unit holds 512"),
    ],
)
def test_what_exceeds_the_unit(changes: dict[str, Any], says: str) -> None:
    config, fitting = EngineConfig(), replace(LARGE, channels=16)
    assert not list(fitting.exceeding(config))
    reasons = [reason for reason, _ in replace(fitting, **changes).exceeding(config)]
    assert len(reasons) == 1 and says in reasons[0]


def test_an_engine_without_the_unit() -> None:
    ((reason, _),) = replace(LARGE, channels=16).exceeding(replace(EngineConfig(), window_words=0))
    assert reason == "it works on windows, channel by channel"
