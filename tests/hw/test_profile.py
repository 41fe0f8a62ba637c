"""A profile leaves no cycle out: of the array, of any unit, of any wait; and values in use share neither time nor address."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import ROLES
from edgewright.hw.cost import program_of, timing_of
from edgewright.hw.kernel import timing
from edgewright.hw.kernel.memory_timing import IDEAL, MemoryTiming
from edgewright.hw.lifetimes import lifetimes, most_live
from edgewright.hw.operations.operation import operands
from edgewright.hw.plan import Plan, plan
from edgewright.hw.profile import STATES, array_times, profile, tracks_of
from edgewright.hw.tracks import BUSY, IDLE, SEQUENCER, Pieces, Tracks, role_of
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ir.types import Level
from edgewright.passes.ops import Quantise, graph_input
from hypothesis import given, settings, strategies

from tests.hw.integer_models import Builder, random_vit

SLOW = MemoryTiming(read_latency=300, write_latency=200, outstanding=4, line_cost=2048)
MEMORIES = {"ideal": IDEAL, "slow": SLOW}
ON_CHIP = EngineConfig(tokens=4, weight_tiles=64, on_chip_words=1024, on_chip_banks=4)
CONFIGS = {"external": replace(ON_CHIP, on_chip_words=0), "on chip": ON_CHIP, "hardly": replace(ON_CHIP, on_chip_words=128)}
MODELS = {
    "plain": {},
    "deep": {"blocks": 2, "heads": 2, "width": 32},
    "pool": {"pool": True, "classes": 3, "width": 48, "heads": 3},
}
CASES = [(m, c, t) for m in MODELS for c in CONFIGS for t in MEMORIES]


@cache
def predicted(model: str, config: str, memory: str) -> tuple[Plan, Tracks]:
    planned = plan(random_vit(**MODELS[model]), CONFIGS[config])
    return planned, tracks_of(planned, timing_of(planned, MEMORIES[memory]))


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def run(request: pytest.FixtureRequest) -> tuple[Plan, Tracks]:
    return predicted(*request.param)


def test_the_arrays_cycles_by_cause_add_up_to_all_cycles(run: tuple[Plan, Tracks]) -> None:
    planned, tracks = run
    times = array_times(tracks, len(planned.steps))
    total: Counter[str] = Counter()
    for time in times:
        total.update(time.cycles)
    assert sum(total.values()) == tracks.end == tracks.timing.outputs["finished"][0]
    fields = [step.fields for step in planned.steps if not step.fields["copy"]]
    jobs = [
        (f["n_blocks"] * f["outs0"] * f["depth0"], f["n_blocks"] * f["outs1"] * f["depth1"], f["attention"]) for f in fields
    ]
    assert total["busy"] == sum(rows + values * attention for rows, values, attention in jobs)
    assert all(state in STATES and count > 0 for time in times for state, count in time.cycles.items())
    past = ("copy", "direct")  # the array
    worked = [time for step, time in zip(planned.steps, times, strict=True) if not any(step.fields[f] for f in past)]
    assert all(before.last < after.first for before, after in pairwise(worked))


def test_no_cycle_of_a_process_is_left_out(run: tuple[Plan, Tracks]) -> None:
    planned, tracks = run
    for process in program_of(planned.config).processes:
        activity, whole = tracks.timing.activity[process.name], tracks.track(process.name).whole()
        assert whole.first[0] == 0 and whole.end[-1] == tracks.end and np.array_equal(whole.first[1:], whole.end[:-1])
        waited = activity.waits
        assert (waited[:, 2] < waited[:, 3]).all() and (waited[1:, 2] >= waited[:-1, 3]).all()
        runs = activity.runs
        assert (runs[:, 1] <= runs[:, 2]).all() and (runs[1:, 1] > runs[:-1, 2]).all()
        assert [end for _, end in activity.spans] == runs[:, 2].tolist()
        if process.command is not None and (runs[:, 2] < tracks.end).all():
            within = whole.cycles[whole.what != IDLE].sum()
            assert within == (runs[:, 2] + 1 - runs[:, 1]).sum()
            assert whole.cycles[whole.what >= 0].sum() == (waited[:, 3] - waited[:, 2]).sum()


def test_a_wait_comes_from_roots_that_are_as_long_as_it_is(run: tuple[Plan, Tracks]) -> None:
    _, tracks = run
    for role in ROLES:
        whole = tracks.track(tracks.leader(role)).whole()
        waits = whole.chosen(whole.what >= 0)
        waits = replace(waits, of=np.arange(len(waits.of)))
        found = list(tracks.roots(waits))
        parts = Pieces.joined([pieces for _, pieces in found]) if found else waits
        assert np.array_equal(np.bincount(parts.of, parts.cycles, len(waits.of)), waits.cycles)
        assert (parts.first >= waits.first[parts.of]).all() and (parts.end <= waits.end[parts.of]).all()
        assert (parts.first[1:] >= parts.end[:-1]).all()  # no cycle has two
        assert {root for root, _ in found} <= {*ROLES, "memory", "completion", "room", "command"}


def test_timelines_and_reasons_say_the_same_as_the_totals(run: tuple[Plan, Tracks]) -> None:
    planned, tracks = run
    found = profile(tracks)
    total: Counter[str] = Counter()
    for time in array_times(tracks, len(planned.steps)):
        total.update(time.cycles)
    by_cause: Counter[str] = Counter()
    for reason in found.reasons:
        by_cause[reason.cause] += reason.cycles
    assert by_cause == {state: count for state, count in total.items() if state not in ("busy", "idle")}
    whole, closer = found.timelines
    assert (whole.first_cycle, whole.cycles, found.cycles) == (0, tracks.end, tracks.end)
    assert closer.first_cycle + closer.cycles <= tracks.end
    for shown in found.timelines:
        bins = -(-shown.cycles // shown.bin_cycles)
        assert bins <= 400 and len({(lane.name, lane.kind) for lane in shown.lanes}) == len(shown.lanes)
        for lane in shown.lanes:
            assert all(len(counts) == bins and min(counts) >= 0 for counts in lane.states.values())
            sums = np.sum(list(lane.states.values()), axis=0)
            sizes = np.minimum(shown.bin_cycles, shown.cycles - shown.bin_cycles * np.arange(bins))
            assert (sums <= sizes).all(), lane.name
    (array,) = (lane for lane in whole.lanes if lane.name == "array")
    assert {state: sum(counts) for state, counts in array.states.items()} == {s: n for s, n in total.items() if s != "idle"}


def test_ports_are_busy_for_each_word_that_they_move(run: tuple[Plan, Tracks]) -> None:
    planned, tracks = run
    whole = profile(tracks).timelines[0]
    busy = {lane.name: sum(lane.states.get("busy", ())) for lane in whole.lanes if lane.kind == "port"}
    blob_words = sum(step.fields["blob_beats"] for step in planned.steps)
    assert busy["weights_0"] == busy["weights_1"] == blob_words
    outside = sum(s.stored_words for s in planned.steps if s.fields["out_address"] >= planned.config.on_chip_bytes)
    words = sum(step.stored_words for step in planned.steps)
    # a word may leave for external memory in the cycle in which another one is stored on chip
    assert words - min(outside, words - outside) <= busy["results"] <= words
    assert busy["activations"] == sum(step.fields["act_words"] for step in planned.steps)


def places_taken_over(planned: Plan) -> set[tuple[str, str]]:
    """(value, the one that replaces it row by row) of results that are stored where an operand was."""
    operations = [step.operation for step in planned.steps]
    last_use = {view.root: at for at, operation in enumerate(operations) for view in operands(operation)}
    last_write = {operation.target: at for at, operation in enumerate(operations)}
    found = set()
    for operation in operations:
        root = operation.replaces(last_use, last_write)
        if root is not None and planned.addresses[root] == planned.addresses[operation.target]:
            found.add((root.name, operation.target.name))
    return found


def test_values_in_use_at_a_time_have_addresses_of_their_own(run: tuple[Plan, Tracks]) -> None:
    planned, tracks = run
    values = lifetimes(planned, tracks)
    assert {value.region for value in values} == set(planned.regions)
    assert all(0 <= value.first <= value.last <= tracks.end for value in values)
    shared = places_taken_over(planned)
    for one, other in combinations(values, 2):
        apart = one.region.end <= other.region.address or other.region.end <= one.region.address
        taken = {(one.region.name, other.region.name), (other.region.name, one.region.name)} & shared
        assert apart or taken or one.last < other.first or other.last < one.first, (one, other)
    on_chip = [value for value in values if value.place == "on chip"]
    assert all(value.region.end <= planned.config.on_chip_bytes for value in on_chip)
    assert most_live(on_chip) <= planned.config.on_chip_bytes
    assert most_live(values) <= sum(value.region.size_bytes for value in values)


def test_what_does_not_fit_on_chip_is_spilled() -> None:
    places = {}
    for config in CONFIGS:
        planned, tracks = predicted("deep", config, "ideal")
        places[config] = Counter(value.place for value in lifetimes(planned, tracks))
    assert set(places["external"]) == {"external"}
    assert places["on chip"]["on chip"] and not places["on chip"]["spilled"]
    assert places["hardly"]["spilled"] and places["hardly"]["on chip"]


def test_a_unit_that_a_model_does_not_need_is_idle() -> None:
    b = Builder(2)
    start = make(Quantise(0.02, 1), graph_input("x", (1, 6, 32)), origin=("x",))
    graph = Graph("g", start.inputs, (b.linear(start, 48),), ("y",), Level.QUANTISED)
    planned = plan(graph, ON_CHIP)
    tracks = tracks_of(planned, timing_of(planned, SLOW))
    for role in ("softmax", "LayerNorm", "operands", "residual", "table"):
        assert (tracks.track(tracks.leader(role)).whole().what == IDLE).all(), role
    assert {lane.name for lane in profile(tracks).timelines[0].lanes if lane.kind == "unit"} == {
        *("weights", "activations", "tiles", "array", "epilogue", "store"),
    }
    assert sum(sum(time.cycles.values()) for time in array_times(tracks, len(planned.steps))) == tracks.end


def test_a_slow_memory_is_what_a_profile_blames() -> None:
    shares = {}
    for memory in MEMORIES:
        found = profile(predicted("plain", "external", memory)[1])
        shares[memory] = (
            sum(reason.cycles for reason in found.reasons if reason.reason in ("memory", "completion")) / found.cycles
        )
    assert shares["slow"] > max(0.5, shares["ideal"])


@pytest.mark.parametrize("config", CONFIGS)
def test_each_unit_has_a_process_and_each_process_that_moves_data_a_unit(config: str) -> None:
    program = program_of(CONFIGS[config])
    roles = Counter(role_of(process) for process in program.processes)
    assert set(roles) == {*ROLES, SEQUENCER}
    steering = [process.name for process in program.processes if role_of(process) == SEQUENCER]
    buffers = {user for buffer in program.buffers for user in (buffer.writer, buffer.reader)}
    assert not buffers & set(steering)


@settings(max_examples=60, deadline=None)
@given(
    cuts=strategies.lists(strategies.integers(0, 200), min_size=1, max_size=12),
    spans=strategies.lists(strategies.tuples(strategies.integers(0, 200), strategies.integers(0, 60)), max_size=8),
    late=strategies.integers(0, 50),
)
def test_spans_are_cut_where_a_track_changes(cuts: list[int], spans: list[tuple[int, int]], late: int) -> None:
    """Each cycle of a span has what the track says of the cycle `late` before it."""
    from edgewright.hw.tracks import Track

    first = np.unique([0, *cuts])
    track = Track(first, np.where(np.arange(len(first)) % 2, BUSY, np.arange(len(first))), 220)
    begin = np.array([a for a, _ in spans], np.int64)
    end = np.minimum(begin + np.array([n for _, n in spans], np.int64), 220)
    pieces = track.within(replace(Pieces.of_spans(begin, end), late=np.full(len(begin), late)))
    found = {
        (of, cycle): what
        for of, what, a, b in zip(*(x.tolist() for x in (pieces.of, pieces.what, pieces.first, pieces.end)), strict=True)
        for cycle in range(a, b)
    }
    at = {cycle: int(track.what[np.searchsorted(first, cycle, side="right") - 1]) for cycle in range(220)}
    spanned = zip(begin.tolist(), end.tolist(), strict=True)
    wanted = {(n, c): at[c - late] for n, (a, b) in enumerate(spanned) for c in range(a, b) if c >= late}
    assert found == wanted and len(found) == int(pieces.cycles.sum())


def test_logs_of_any_first_size_hold_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    planned, tracks = predicted("deep", "hardly", "slow")
    monkeypatch.setattr(timing, "ROWS", (1, 2, 3))
    again, before = timing_of(planned, SLOW), tracks.timing
    assert again.outputs == before.outputs
    assert all(np.array_equal(again.moves[port], moves) for port, moves in before.moves.items())
    for name, activity in before.activity.items():
        assert np.array_equal(again.activity[name].waits, activity.waits)
        assert np.array_equal(again.activity[name].runs, activity.runs)
