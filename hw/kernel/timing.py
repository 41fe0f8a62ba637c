"""Predict when each process of a block issues: a token-level model of the printed hardware and its memory, without data.

Every iteration issues as early as its process, the tokens it reads, the space in the FIFOs it writes and the banks it enters
allow. `timing_events` finds the iterations that access a stream or a bank, `timing_loop.c` when they happen. Predicates must
be control (known at issue); values of streams that steer other processes are computed where they are control too, and
supplied by the caller where they are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.memory_timing import IDEAL, MemoryTiming
from edgewright.hw.kernel.placement import Placement
from edgewright.hw.kernel.schedule import entries
from edgewright.hw.kernel.timing_events import Clocks, Command, ProgramRuns, network
from edgewright.hw.kernel.timing_library import MORE_OUTPUTS, run_loop
from edgewright.hw.kernel.tokens import Rows


@dataclass(frozen=True, slots=True)
class Activity:
    """The first and last issue of each execution of a process's nest, and the cycles that it waited, by what it waited for
    (a token of a stream, space in a FIFO, a bank). A process without a command has no spans."""

    spans: list[tuple[int, int]]
    waited: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timing:
    """Result of a run. ``outputs``: for every output stream the cycle of each token."""

    outputs: dict[str, list[int]]
    activity: dict[str, Activity]
    stuck: tuple[str, ...]


def predict(
    program: ir.Program,
    tokens: Mapping[str, Sequence[Command]],
    *,
    placements: dict[str, Placement],
    clocks: Clocks,
    inputs: Mapping[str, int],
    memory: MemoryTiming = IDEAL,
) -> Timing:
    """Run the program. ``inputs``: tokens per input stream, all there from the start. ``tokens``: leaf values of the
    tokens of those streams that steer processes and are not control where they are written, in order.

    CompileError T010 or T011 when there is no C compiler, or it fails.
    """
    return _run(network(program, tokens, placements, clocks, inputs), placements, clocks, inputs, memory)


def _run(
    net: ProgramRuns,
    placements: dict[str, Placement],
    clocks: Clocks,
    inputs: Mapping[str, int],
    memory: MemoryTiming,
) -> Timing:
    program, queues = net.program, net.queues
    arrays = {name: _table(rows) for name, rows in _rows(net, placements, clocks, inputs).items()}
    arrays |= {"memory": _table(astuple(memory)), "spans": _table([(-1, -1)] * len(arrays["plan_of"]))}
    tokens = MORE_OUTPUTS
    room = 64
    while tokens == MORE_OUTPUTS:
        room *= 16
        arrays["waited"] = np.zeros((len(program.processes), len(queues.names)), np.int64)
        arrays["ends"] = np.zeros((len(program.processes), 2), np.int64)
        arrays["outputs"] = np.zeros((room, 2), np.int64)
        arrays["sizes"] = _table([len(queues.names), len(program.processes), len(program.axi), len(program.outputs), room])
        tokens = run_loop(arrays)
    which, cycles = arrays["outputs"][:tokens].T
    outputs = {c.name: cycles[which == i].tolist() for i, c in enumerate(program.outputs)}
    activity, stuck, first = {}, [], 0
    for process, (begun, blocked), waited in zip(program.processes, arrays["ends"].tolist(), arrays["waited"], strict=True):
        done = net.executions[process.name]
        spans = [] if process.command is None else arrays["spans"][first : first + begun].tolist()
        first += len(done.plan_of)
        waits = {queues.names[q]: int(waited[q]) for q in np.flatnonzero(waited)}
        activity[process.name] = Activity([(a, b) for a, b in spans if a >= 0], waits)
        if blocked >= 0:
            stuck.append(f"{process.name} waits for {queues.names[blocked]}")
    return Timing(outputs, activity, tuple(stuck))


def _rows(net: ProgramRuns, placements: dict[str, Placement], clocks: Clocks, inputs: Mapping[str, int]) -> dict[str, object]:
    """The tables that describe a network to the loop, by the names in `timing_library.ARRAYS`."""
    program, queues, plans = net.program, net.queues, net.plans
    initial = [0] * len(queues.names)
    for c in program.channels:
        initial[queues.free[c]] = entries(c, placements)
    for c in program.inputs:
        initial[queues.readable[c]] = inputs.get(c.name, 0)
    for b in program.buffers:
        initial[queues.empty[b]] = b.places
    for a in program.axi:
        initial[queues.room[a]] = a.ahead

    processes: list[tuple[int, ...]] = []
    plan_of: list[int] = []
    for process in program.processes:
        own, command = net.executions[process.name].plan_of, process.command
        pair = (-1, -1) if command is None else (queues.readable[command], queues.free[command])
        processes.append((*pair, len(own), int(command is None), len(plan_of), placements[process.name].lead))
        plan_of += own
    ports, requests = [], 0
    for a in program.axi:
        streams = (a.requests, a.data) if a.done is None else (a.requests, a.data, a.done)
        pairs = [q for c in streams for q in (queues.readable[c], queues.free[c])] + [-1, -1] * (3 - len(streams))
        chip = program.on_chip.words if a.hub and program.on_chip is not None else 0
        ports.append((*pairs, queues.room[a], queues.answers[a], requests, len(net.requests[a.name]), chip))
        requests += len(net.requests[a.name])
    columns = np.concatenate([net.requests[a.name] for a in program.axi]) if program.axi else np.zeros((0, 3), np.int64)
    takes, gives = [taken for taken, _ in plans.patterns], [given for _, given in plans.patterns]
    return {
        "initial": initial,
        "processes": processes,
        "plan_of": plan_of,
        "plans": plans.rows,
        "position": _joined(plans.position),
        "pattern": _joined(plans.pattern),
        "takes_first": _firsts(takes),
        "takes": [q for part in takes for q in part],
        "gives_first": _firsts(gives),
        "gives": [q for part in gives for q, _ in part],
        "give_delay": [delay for part in gives for _, delay in part],
        "ports": ports,
        "address": columns[:, 0],
        "words": columns[:, 1],
        "mark": columns[:, 2],
        "drains": [(queues.readable[c], queues.free[c]) for c in program.outputs],
        "clocks": [clocks.credit, clocks.memory - 2, clocks.acknowledge, clocks.hub_read, clocks.hub_mark],
    }


def _table(rows: object) -> Rows:
    return np.ascontiguousarray(np.array(rows, dtype=np.int64))


def _joined(parts: Sequence[Rows]) -> Rows:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _firsts(parts: Sequence[Sequence[object]]) -> list[int]:
    """Where each part begins when they lie end to end, and where the last one ends."""
    return [0, *np.cumsum([len(part) for part in parts]).tolist()]
