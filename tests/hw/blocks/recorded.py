"""Record the tokens of every stream of an interpreted block, and cut the block into parts that run alone on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.interp import interpret
from edgewright.hw.kernel.tokens import Rows, TokenQueue, decode
from edgewright.hw.kernel.types import Type
from numpy.typing import NDArray

Tokens = Any
"""As in `interpret`: rows of an array, or for a struct a (nested) dict of such arrays."""


class RecordedQueue(TokenQueue):
    """A queue that records every token pushed."""

    def __init__(self, type_: Type) -> None:
        super().__init__(type_)
        self.pushed = [super().take(0)]

    def push(self, columns: Sequence[Rows]) -> None:
        self.pushed.append([np.array(column) for column in columns])
        super().push(columns)

    def all(self) -> list[Rows]:
        """Return the leaf rows of all tokens, in order."""
        return [np.concatenate(column) for column in zip(*self.pushed, strict=True)]


def record(program: ir.Program, inputs: Mapping[str, Tokens], memory: NDArray[np.uint8] | None = None) -> dict[str, Tokens]:
    """Interpret the program and return the tokens of each of its channels; `memory` is written in place."""
    streams = {channel: RecordedQueue(channel.type) for channel in program.channels}
    interpret(program, inputs, memory, streams=streams)
    return {channel.name: decode(channel.type, stream.all()) for channel, stream in streams.items()}


def count(tokens: Tokens) -> int:
    """Return the number of tokens."""
    while isinstance(tokens, dict):
        tokens = next(iter(tokens.values()))
    return len(tokens)


def joined(parts: Sequence[Tokens]) -> Tokens:
    """Concatenate tokens (or whole recordings)."""
    if isinstance(parts[0], dict):
        return {key: joined([part[key] for part in parts]) for key in parts[0]}
    return np.concatenate(parts)


def leaves_of(tokens: Tokens, name: str) -> dict[str, Rows]:
    """Return the arrays by dotted path."""
    if not isinstance(tokens, dict):
        return {name: np.asarray(tokens)}
    return {path: rows for key, part in tokens.items() for path, rows in leaves_of(part, f"{name}.{key}").items()}


def differences(expected: Mapping[str, Tokens], actual: Mapping[str, Tokens]) -> list[str]:
    """Return one line for each leaf of each expected stream that differs from the actual one in any bit."""
    lines = []
    for name, tokens in expected.items():
        got = leaves_of(actual[name], name)
        for path, rows in leaves_of(tokens, name).items():
            if np.array_equal(rows, got[path]):
                continue
            if rows.shape != got[path].shape:
                lines.append(f"{path}: {len(got[path])} tokens instead of {len(rows)}")
            else:
                where = np.argwhere(rows != got[path])
                at = tuple(where[0].tolist())
                lines.append(f"{path}: {len(where)} of {rows.size} differ, first {at}: {got[path][at]}, not {rows[at]}")
    return lines


def parts(program: ir.Program) -> list[ir.Program]:
    """Cut the program at its streams: processes that share a buffer stay together with the streams among them; AXI movers are
    omitted. A part is named `<program>_<process>` after its last process that writes no buffer."""
    group = {process.name: process.name for process in program.processes}
    for buffer in program.buffers:
        old, new = group[str(buffer.writer)], group[str(buffer.reader)]
        group = {name: new if of == old else of for name, of in group.items()}
    return [part(program, [p for p in program.processes if group[p.name] == name]) for name in dict.fromkeys(group.values())]


def part(program: ir.Program, processes: list[ir.Process]) -> ir.Program:
    """Return some processes of a program as a separate program; streams that leave them become its ports."""
    names = {process.name for process in processes}
    writers = {buffer.writer for buffer in program.buffers}
    final = next((p.name for p in reversed(processes) if p.name not in writers), processes[-1].name)
    tables = {node.op.rom for process in processes for node in process.nodes() if isinstance(node.op, ir.Lookup)}
    return ir.Program(
        name=f"{program.name}_{final}",
        inputs=[c for c in program.channels if c.reader in names and c.writer not in names],
        outputs=[c for c in program.channels if c.writer in names and c.reader not in names],
        channels=[c for c in program.channels if c.reader in names or c.writer in names],
        buffers=[b for b in program.buffers if b.writer in names],
        roms=[rom for rom in program.roms if rom in tables],
        processes=processes,
    )
