"""Interpret a block: a Kahn network of processes, evaluated in numpy on as many iterations at once as have tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.evaluate import KernelError
from edgewright.hw.kernel.execution import Banks, Execution
from edgewright.hw.kernel.tokens import TokenQueue, decode, encode
from edgewright.hw.kernel.trace import Block
from edgewright.hw.kernel.types import WORD_BYTES
from numpy.typing import NDArray


class Deadlock(KernelError):
    """No process can proceed, with tokens left inside the block."""


class ReadMover:
    """`axi_read`: memory bytes -> data tokens."""

    def __init__(self, port: ir.AxiPort, streams: dict[ir.Channel, TokenQueue], memory: NDArray[np.uint8]) -> None:
        self.port, self.memory = port, memory
        self.requests, self.data = streams[port.requests], streams[port.data]

    def run(self) -> bool:
        if not self.requests.count:
            return False
        addresses, beats, _ = self.requests.take(self.requests.count)
        for address, n in zip(addresses.tolist(), beats.tolist(), strict=True):
            check_span(self.port.name, address, n, self.memory)
            raw = self.memory[address : address + WORD_BYTES * n].tobytes()
            rows = np.empty(n, dtype=object)
            rows[:] = [int.from_bytes(raw[at : at + WORD_BYTES], "little") for at in range(0, len(raw), WORD_BYTES)]
            self.data.push([rows])
        return True

    def waiting(self) -> str | None:
        return None


class WriteMover:
    """`axi_write`: data tokens -> memory bytes, `done` after marked requests."""

    def __init__(self, port: ir.AxiPort, streams: dict[ir.Channel, TokenQueue], memory: NDArray[np.uint8]) -> None:
        assert port.done is not None
        self.port, self.memory = port, memory
        self.requests, self.data, self.done = streams[port.requests], streams[port.data], streams[port.done]
        self.pending: tuple[int, int, int] | None = None

    def run(self) -> bool:
        moved = False
        while True:
            if self.pending is None:
                if not self.requests.count:
                    return moved
                address, beats, mark = (int(c[0]) for c in self.requests.take(1))
                check_span(self.port.name, address, beats, self.memory)
                self.pending = address, beats, mark
                moved = True
            address, beats, mark = self.pending
            if self.data.count < beats:
                return moved
            raw = b"".join(int(v).to_bytes(WORD_BYTES, "little") for v in self.data.take(beats)[0])
            self.memory[address : address + WORD_BYTES * beats] = np.frombuffer(raw, np.uint8)
            if mark:
                self.done.push([np.ones(1, dtype=np.int64)])
            self.pending = None
            moved = True

    def waiting(self) -> str | None:
        return None if self.pending is None else f"axi_write {self.port.name} waits for {self.port.data.name}"


def check_span(name: str, address: int, beats: int, memory: NDArray[np.uint8]) -> None:
    if address % WORD_BYTES or address + WORD_BYTES * beats > len(memory):
        raise KernelError(f"axi port {name}: {beats} beats at {address:#x} in a memory of {len(memory)} bytes")


def interpret(
    block: Block | ir.Program,
    inputs: Mapping[str, Any],
    memory: NDArray[np.uint8] | None = None,
    *,
    depths: bool = False,
    strict: bool = True,
    streams: Mapping[ir.Channel, TokenQueue] | None = None,
) -> dict[str, Any]:
    """Run the block on streams of tokens until nothing moves; return the output streams by name.

    Tokens of an integer or array type are rows of an array; of a struct, a dict of such arrays. `memory` (uint8) is read and
    written in place by the AXI ports. With `depths`, FIFOs hold `depth` tokens and buffers `banks` banks; a deadlock is then an
    error that names what each process waits for. With `strict`, tokens left inside the block and unfinished nests are errors
    too. `streams` are empty queues for the channels, for a caller that records what passes through them."""
    program = block.check() if isinstance(block, Block) else block
    streams = {c: TokenQueue(c.type) for c in program.channels} if streams is None else dict(streams)
    banks = {b: Banks(b) for b in program.buffers}
    unknown = set(inputs) - {c.name for c in program.inputs}
    if unknown:
        raise ValueError(f"block {program.name} has no input {', '.join(sorted(unknown))}")
    for port in program.inputs:
        if port.name in inputs:
            streams[port].push(encode(port.type, inputs[port.name], f"input {port.name}"))
    if program.axi and memory is None:
        raise ValueError(f"block {program.name} has AXI ports: give it a memory")
    room = {c: c.depth if depths else None for c in program.channels}
    for outside in program.outputs:
        room[outside] = None
    actors: list[Any] = [Execution(p, streams, banks, room, depths) for p in program.processes]
    if memory is not None:
        for axi in program.axi:
            actors.append((WriteMover if axi.done is not None else ReadMover)(axi, streams, memory))
    moved = True
    while moved:
        moved = False
        for actor in actors:
            while actor.run():
                moved = True
    if strict:
        report_rest(program, streams, banks, actors)
    return {c.name: decode(c.type, streams[c].take(streams[c].count)) for c in program.outputs}


def report_rest(
    program: ir.Program, streams: dict[ir.Channel, TokenQueue], banks: dict[ir.Buffer, Banks], actors: list[Any]
) -> None:
    """Raise Deadlock if anything is left inside the block."""
    left = [
        f"{streams[c].count} tokens left in {c.name}" for c in program.channels if streams[c].count and c not in program.outputs
    ]
    left += [f"{len(b.full)} banks left in {b.buffer.name}" for b in banks.values() if b.full]
    left += [f"{b.held} elements left in {b.buffer.name}" for b in banks.values() if b.buffer.ring and b.held]
    waits = [w for w in (a.waiting() for a in actors) if w]
    source = {f"process {a.process.name}" for a in actors if isinstance(a, Execution) and a.source}
    waits = [w for w in waits if not any(w.startswith(s + " ") for s in source)]
    if source and not waits:
        return
    if left or waits:
        raise Deadlock(f"block {program.name} stopped with work left: {'; '.join(left + waits)}")
