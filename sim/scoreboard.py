"""Every word that an engine stored, against the integer interpreter: exact, in the program's order.

The log of a run holds each written word with its address. Descriptors store one after the other, so the log is cut by
the number of words each must store; each piece is compared with the rows and channels that its operation computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from edgewright.hw.memory import WORD_BYTES
from edgewright.hw.plan import Plan, Step
from edgewright.hw.views import StoredView, rows_columns
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class WriteLog:
    """Words in the order in which they were written: ``cycles`` (n,), ``addresses`` (n,), ``words`` (n, 16) bytes."""

    cycles: NDArray[np.uint32]
    addresses: NDArray[np.uint64]
    words: NDArray[np.uint8]

    def part(self, begin: int, end: int) -> WriteLog:
        """The words ``begin`` to ``end``."""
        return WriteLog(self.cycles[begin:end], self.addresses[begin:end], self.words[begin:end])

    def __len__(self) -> int:
        return len(self.addresses)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first difference between the engine and the interpreter."""

    operation: str
    tensor: str
    index: tuple[int, ...]
    expected: int | None
    found: int | None
    because: str = ""

    def __str__(self) -> str:
        where = f"{self.operation}: tensor {self.tensor}[{', '.join(map(str, self.index))}]"
        if self.because:
            return f"{where}: {self.because}"
        return f"{where}: the engine stored {self.found}, the interpreter says {self.expected}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of one image: how many stored integers and tensors were compared, and the first difference if any."""

    integers: int
    tensors: int
    mismatch: Mismatch | None

    @property
    def exact(self) -> bool:
        """Whether every bit agreed."""
        return self.mismatch is None


def compare(plan: Plan, values: Mapping[Node, Array], log: WriteLog) -> Comparison:
    """``values``: every node's value from ``interpret_all`` for the image that the engine ran."""
    position = integers = 0
    for done, step in enumerate(plan.steps):
        expected = expected_rows(step, values)
        addresses = step_addresses(plan, step, expected.shape[0])
        count = len(addresses)
        written = log.addresses[position : position + count]
        name, tensor = step.operation.name, step.operation.result.name
        if len(written) < count:
            return Comparison(integers, done, Mismatch(name, tensor, (), None, None, "never stored in full"))
        if not np.array_equal(written, addresses):
            first = int(np.flatnonzero(written != addresses)[0])
            because = f"word {first} went to address {int(written[first]):#x} instead of {int(addresses[first]):#x}"
            return Comparison(integers, done, Mismatch(name, tensor, (), None, None, because))
        found = step_values(plan, step, log.words[position : position + count], expected.shape[0])
        if not np.array_equal(found, expected):
            row, column = (int(v) for v in np.argwhere(found != expected)[0])
            where = (row, step.first_column + column)
            pair = int(expected[row, column]), int(found[row, column])
            return Comparison(integers, done, Mismatch(name, tensor, where, *pair))
        integers += expected.size
        position += count
    if position != len(log):
        last = plan.steps[-1].operation
        because = f"{len(log) - position} words were stored after the program's last"
        return Comparison(integers, len(plan.steps), Mismatch(last.name, last.result.name, (), None, None, because))
    return Comparison(integers, len(plan.steps), None)


def compare_outputs(
    plan: Plan, values: Mapping[Node, Array], log: WriteLog, image: bytes, writes: Mapping[int, bytes]
) -> Mismatch | None:
    """Whether a host that reads each output where the memory map says finds its value, when the program has finished.

    ``image`` and ``writes`` (address -> bytes): what the memory held when it started.
    """
    memory = np.zeros(-(-plan.memory_bytes // WORD_BYTES) * WORD_BYTES, np.uint8)
    memory[: len(image)] = np.frombuffer(image, np.uint8)
    for address, content in writes.items():
        memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
    memory.reshape(-1, WORD_BYTES)[log.addresses // WORD_BYTES] = log.words
    for node, name, view in zip(plan.graph.outputs, plan.graph.output_names, plan.outputs, strict=True):
        found = read_view(plan, memory, view)
        expected = np.asarray(values[node], dtype=np.int64).reshape(found.shape)
        if not np.array_equal(found, expected):
            where = tuple(int(v) for v in np.argwhere(found != expected)[0])
            return Mismatch("the memory map", name, where, int(expected[where]), int(found[where]))
    return None


def read_view(plan: Plan, memory: NDArray[np.uint8], view: StoredView) -> NDArray[np.int64]:
    """The integers (rows, columns) of a view of a stored value, as a host reads them."""
    where = plan.layouts[view.root]
    pitch, width = where.pitch_bytes * view.row_step, view.columns * where.element_bytes
    begin = plan.address(view) + pitch * np.arange(view.rows)
    rows: NDArray[np.uint8] = memory[begin[:, None] + np.arange(width)[None, :]]
    values: NDArray[np.int64] = rows.view(f"<i{where.element_bytes}").astype(np.int64)
    return values


def expected_rows(step: Step, values: Mapping[Node, Array]) -> NDArray[np.int64]:
    """What a descriptor must store: (rows, channels)."""
    node = step.operation.result
    rows, columns = rows_columns(node)
    full = np.asarray(values[node], dtype=np.int64).reshape(rows, columns)
    return full[:, step.first_column : step.first_column + step.columns]


def step_addresses(plan: Plan, step: Step, rows: int) -> NDArray[np.uint64]:
    """The address of every word that a descriptor stores, in order: blocks of tokens, tiles of outputs, tokens."""
    fields = step.fields
    words = 2 if fields["out16"] else 1
    order = []
    for start in range(0, rows, plan.config.tokens):
        token = np.arange(start, min(start + plan.config.tokens, rows))
        tile = np.arange(fields["out_tiles"])
        word = np.arange(words)
        grid = token[None, :, None] * fields["out_pitch"] + (tile[:, None, None] * words + word[None, None, :]) * WORD_BYTES
        order.append(grid.reshape(-1))
    return (np.concatenate(order) + fields["out_address"]).astype(np.uint64)


def step_values(plan: Plan, step: Step, words: NDArray[np.uint8], rows: int) -> NDArray[np.int64]:
    """The integers of a descriptor's words: (rows, channels)."""
    fields = step.fields
    kind = "<i2" if fields["out16"] else "<i1"
    tokens, tiles = plan.config.tokens, fields["out_tiles"]
    per_row = fields["out16"] + 1
    found = np.empty((rows, tiles * 16), dtype=np.int64)
    position = 0
    for start in range(0, rows, tokens):
        count = min(tokens, rows - start)
        block = words[position : position + tiles * count * per_row].copy().view(kind).reshape(tiles, count, 16)
        found[start : start + count] = block.transpose(1, 0, 2).reshape(count, tiles * 16)
        position += tiles * count * per_row
    return found[:, : step.columns]
