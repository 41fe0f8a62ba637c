"""Where the cycles of a predicted run go: of each unit and port over time, of the array by operation and by cause."""

from __future__ import annotations

import numpy as np
from edgewright.hw.blocks.operation import ROLES
from edgewright.hw.cost import program_of
from edgewright.hw.kernel.ir import AxiPort
from edgewright.hw.kernel.timing import Timing
from edgewright.hw.kernel.tokens import Rows
from edgewright.hw.plan import Plan
from edgewright.hw.tracks import BUSY, IDLE, SEQUENCER, Pieces, Tracks
from edgewright.passes.results import ArrayTime, Lane, Profile, Timeline, WaitReason

STATES = ("busy", "weights", "operands", "activations", "completion", "memory", "room", "input", "idle")
"""What a unit does, or waits for: constants; computed operands; rows of activations; results that it reads and that are not
stored yet; memory that was asked; room for what it makes; the unit in front of it. Idle: it has no command."""
CAUSES = {
    "weights": "weights",
    "operands": "operands",
    "activations": "activations",
    "LayerNorm": "activations",
    "tiles": "activations",
    "residual": "activations",
    SEQUENCER: "completion",
}
"""What a unit waits for when it waits for the unit with this role; for any other it is its input."""
MOST_BINS = 400
CLOSER = 10
"""The second timeline shows this part of the time."""


def tracks_of(plan: Plan, timing: Timing) -> Tracks:
    """Return what the units do from the start of a program to its end."""
    return Tracks(program_of(plan.config), timing, timing.outputs["finished"][0])


def profile(tracks: Tracks) -> Profile:
    """Return timelines of the whole run and of the part in which the array waits most, and why it waits."""
    lanes = {role: _unit(tracks, role) for role in ROLES}
    lanes |= {f"port {port.name}": _port(tracks, port) for port in tracks.program.axi}
    whole = _timeline(lanes, 0, tracks.end)
    return Profile(tracks.end, (whole, _timeline(lanes, *_busiest_waits(lanes["array"], tracks.end))), _reasons(tracks))


def array_times(tracks: Tracks, steps: int) -> tuple[ArrayTime, ...]:
    """Return when the array works on each descriptor, and its cycles by what it does; all together are those of the run.

    The time before an operation belongs to it, that after the last one to the last. One that the array has no part in, a
    copy, has the cycles of its store, and none of the array's.
    """
    runs = tracks.timing.activity[tracks.leader("array")].runs
    stores = tracks.timing.activity[tracks.leader("store")].runs
    causes = _causes(tracks)
    edges = np.append(runs[:, 2] + 1, tracks.end) if len(runs) else np.array([tracks.end])
    spans = Pieces.of_spans(np.concatenate([[0], edges[:-1]]), edges)
    pieces = tracks.track(tracks.leader("array")).within(spans)
    owner = np.append(runs[:, 0], runs[-1:, 0] if len(runs) else steps - 1)
    totals = np.zeros((steps, len(STATES)), np.int64)
    np.add.at(totals, (owner[pieces.of], causes[pieces.what]), pieces.cycles)
    found = {int(step): (int(first), int(last)) for step, first, last in (*stores.tolist(), *runs.tolist())}
    return tuple(
        ArrayTime(*found.get(step, (0, 0)), {state: int(n) for state, n in zip(STATES, totals[step], strict=True) if n})
        for step in range(steps)
    )


def _causes(tracks: Tracks) -> Rows:
    """Return the number of the state for each queue that is waited for, then of IDLE and BUSY (from the end)."""
    names = []
    for queue in range(len(tracks.timing.queues.names)):
        source = tracks.source(queue)
        names.append("room" if queue in tracks.takers else "memory" if source is None else CAUSES.get(source, "input"))
    return np.array([STATES.index(name) for name in (*names, "idle", "busy")])


def _unit(tracks: Tracks, role: str) -> Pieces:
    """Return what a unit does over time. A wait for words that memory was not asked for yet is one for what that waits for."""
    pieces = tracks.track(tracks.leader(role)).whole()
    reads = np.isin(pieces.what, list(tracks.ports))
    parts = [_named(pieces.chosen(~reads), _causes(tracks)[pieces.what[~reads]])]
    for root, waits in tracks.roots(pieces.chosen(reads)):
        state = root if root in STATES and root != role else "input"
        parts.append(_named(waits, np.full(len(waits.of), STATES.index(state))))
    return Pieces.joined(parts)


def _named(pieces: Pieces, states: Rows) -> Pieces:
    return Pieces(pieces.of, states, pieces.first, pieces.end, pieces.late)


def _port(tracks: Tracks, port: AxiPort) -> Pieces:
    """Return what a port does over time: it is busy while words move, and waits for words that it asked for."""
    wanted, asked, first, last = tracks.timing.moves[port.name].T
    if port.done is None:
        names, spans = ("busy", "memory", "room", "idle"), ((first, last + 1), (asked, first), (wanted, asked))
    else:  # its words come from the store; those on chip move when they have come
        given = np.where(asked == first, wanted, asked)
        names, spans = ("busy", "input", "memory", "idle"), ((first, last + 1), (given, first), (wanted, given))
    columns = np.repeat(np.arange(3), [2 * len(first)] * 3)
    at = np.concatenate([[0], *(edge for span in spans for edge in span)])
    changes = np.zeros((len(at), 3), np.int64)
    changes[np.arange(1, len(at)), columns] = np.tile(np.repeat([1, -1], len(first)), 3)
    order = np.argsort(at, kind="stable")
    at, open_now = at[order], np.cumsum(changes[order], axis=0) > 0
    numbers = np.array([STATES.index(name) for name in names])
    state = numbers[np.argmax(np.append(open_now, np.ones((len(at), 1), bool), axis=1), axis=1)]
    end = np.minimum(np.append(at[1:], tracks.end), tracks.end)
    zero = np.zeros_like(at)
    return Pieces(zero, state, np.minimum(at, end), end, zero).chosen(at < end)


def _timeline(lanes: dict[str, Pieces], first: int, cycles: int) -> Timeline:
    """Return the cycles of each lane by state, in bins of two digits of cycles from ``first`` on."""
    width = -(-cycles // MOST_BINS)
    unit = 10 ** max(0, len(str(width)) - 2)
    width = -(-width // unit) * unit
    edges = np.minimum(first + width * np.arange(-(-cycles // width) + 1), first + cycles)
    found = []
    for name, pieces in lanes.items():
        states = {s: np.diff(_before(pieces, number, edges)) for number, s in enumerate(STATES) if s != "idle"}
        shown = {state: tuple(counts.tolist()) for state, counts in states.items() if counts.any()}
        if shown:
            found.append(Lane(name.removeprefix("port "), "port" if name.startswith("port ") else "unit", shown))
    return Timeline(first, width, cycles, tuple(found))


def _before(pieces: Pieces, state: int, edges: Rows) -> Rows:
    """Return for each edge the cycles before it in a state. The pieces are in order and leave no cycle out."""
    if not len(pieces.of):
        return np.zeros_like(edges)
    holds = pieces.what == state
    total = np.cumsum(holds * pieces.cycles)
    place = np.maximum(0, np.searchsorted(pieces.first, edges, side="right") - 1)
    return np.asarray(total[place] - holds[place] * np.maximum(0, pieces.end[place] - np.maximum(edges, pieces.first[place])))


def _busiest_waits(array: Pieces, end: int) -> tuple[int, int]:
    """Return first cycle and length of the part in which the array waits most, once it has begun."""
    busy = array.what == STATES.index("busy")
    length = max(1, end // CLOSER)
    begun = int(array.first[busy][0]) if busy.any() else 0
    starts = np.unique(np.append(array.first[(array.first >= begun) & (array.first <= end - length)], min(begun, end - length)))
    waited = np.zeros(len(starts), np.int64)
    for number in range(len(STATES)):
        if STATES[number] not in ("busy", "idle"):
            waited += _before(array, number, starts + length) - _before(array, number, starts)
    return int(starts[np.argmax(waited)]), length


def _reasons(tracks: Tracks) -> tuple[WaitReason, ...]:
    """Return what the array waits for, and what that in turn came from; the largest first."""
    pieces = tracks.track(tracks.leader("array")).whole()
    waits = pieces.chosen((pieces.what != BUSY) & (pieces.what != IDLE))
    waits = Pieces(np.arange(len(waits.of)), waits.what, waits.first, waits.end, waits.late)
    direct, found = _causes(tracks)[waits.what], dict[tuple[str, str], int]()
    for root, parts in tracks.roots(waits):
        cycles = np.bincount(direct[parts.of], parts.cycles, len(STATES))
        for number in np.flatnonzero(cycles).tolist():
            key = STATES[number], root
            found[key] = found.get(key, 0) + int(cycles[number])
    return tuple(WaitReason(*key, cycles) for key, cycles in sorted(found.items(), key=lambda item: (-item[1], item[0])))
