"""Predict when each process of a block issues: a token-level model of the printed hardware and its memory, without data.

Every iteration issues as early as its process, the tokens it reads, the space in the FIFOs it writes and the banks it enters
allow. `timing_events` finds the iterations that access a stream or a bank, `timing_loop.c` when they happen. Predicates must
be control (known at issue); values of streams that steer other processes are computed where they are control too, and
supplied by the caller where they are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.memory_timing import IDEAL, MemoryTiming
from edgewright.hw.kernel.placement import Placement
from edgewright.hw.kernel.schedule import entries
from edgewright.hw.kernel.timing_events import Clocks, Command, ProcessRuns, ProgramRuns, RunPlans, TimeQueues, network
from edgewright.hw.kernel.timing_library import run_loop
from edgewright.hw.kernel.tokens import Rows

LOGS = {"outputs": 2, "waits": 5, "moves": 5}
"""What the loop writes row by row, with the columns; as in `Input` of timing_loop.c."""
ROWS = (1 << 12, 1 << 20, 1 << 19)
"""Rows of these for a start: twice a run costs more than room that nobody fills."""


@dataclass(frozen=True, slots=True)
class Activity:
    """When a process worked, and what it waited for.

    ``spans``: the first and last issue of each execution of its nest. ``runs``: of the same executions, rows (origin, first
    cycle, last issue); in each of these cycles it issues or waits for what an iteration takes. ``waits``: rows (origin,
    queue, first cycle, cycle in which it issued). ``origins`` are those of `ProcessRuns`. A process without a command has
    neither spans nor runs.
    """

    spans: list[tuple[int, int]]
    runs: Rows
    waits: Rows


@dataclass(frozen=True, slots=True)
class Timing:
    """Result of a run. ``outputs``: for every output stream the cycle of each token. ``moves``: for every AXI port rows
    (cycle in which it could ask but for room, in which it asked, first and last cycle with a word), words without a pause
    together. ``delays``: by queue, the cycles from the issue that gives an entry to when it can be taken at the earliest.
    """

    outputs: dict[str, list[int]]
    activity: dict[str, Activity]
    stuck: tuple[str, ...]
    moves: dict[str, Rows]
    queues: TimeQueues
    delays: dict[int, int]


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
    counts = [len(queues.names), len(program.processes), len(program.axi), len(program.outputs)]
    rows = np.array(ROWS)
    complete = False
    while not complete:
        arrays["ends"] = np.zeros((len(program.processes), 2), np.int64)
        arrays |= {name: np.zeros((n, w), np.int64) for (name, w), n in zip(LOGS.items(), rows.tolist(), strict=True)}
        arrays |= {"sizes": _table([*counts, *rows.tolist()]), "counts": np.zeros(len(LOGS), np.int64)}
        complete = run_loop(arrays)
        rows = np.maximum(rows, arrays["counts"])
    outputs, waits, moves = (arrays[name][:n] for name, n in zip(LOGS, arrays["counts"].tolist(), strict=True))
    waits_of, moves_of = _by_first(waits, len(program.processes)), _by_first(moves, len(program.axi))
    activity, stuck, first = {}, [], 0
    for process, (begun, blocked), waited in zip(program.processes, arrays["ends"].tolist(), waits_of, strict=True):
        done = net.executions[process.name]
        begun = 0 if process.command is None else begun
        activity[process.name] = _activity(done, net.plans, arrays["spans"][first : first + begun], waited)
        first += len(done.plan_of)
        if blocked >= 0:
            stuck.append(f"{process.name} waits for {queues.names[blocked]}")
    return Timing(
        {c.name: outputs[outputs[:, 0] == i, 1].tolist() for i, c in enumerate(program.outputs)},
        activity,
        tuple(stuck),
        {port.name: moved for port, moved in zip(program.axi, moves_of, strict=True)},
        queues,
        {queue: delay for _, given in net.plans.patterns for queue, delay in given},
    )


def _by_first(log: Rows, count: int) -> list[Rows]:
    """Return the rows of a log without their first column, by that column, in order."""
    order = np.argsort(log[:, 0], kind="stable")
    edges = np.searchsorted(log[order, 0], np.arange(count + 1)).tolist()
    return [log[order[begin:end], 1:] for begin, end in pairwise(edges)]


def _activity(done: ProcessRuns, plans: RunPlans, spans: Rows, waits: Rows) -> Activity:
    """Return the activity of a process. ``waits``: rows (execution, queue, first cycle, cycle of issue)."""
    origins = np.array(done.origins, np.int64)
    steps = np.array([plans.rows[plan][0] for plan in done.plan_of[: len(spans)]], np.int64)
    waited = np.bincount(waits[:, 0], waits[:, 3] - waits[:, 2], len(spans)).astype(np.int64)[: len(spans)]
    runs = np.stack([origins[: len(spans)], spans[:, 1] + 1 - steps - waited, spans[:, 1]], axis=1)
    iterates = spans[:, 0] >= 0
    return Activity(
        [(a, b) for a, b in spans[iterates].tolist()],
        runs[iterates],
        np.concatenate([origins[waits[:, :1]], waits[:, 1:]], axis=1),
    )


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
