"""Compare every word that an engine stored with the integer interpreter: exactly, in the program's order.

The log of a run holds each written word with its address. Descriptors store one after the other, so the log is cut by the
number of words that each must store; each descriptor (``Step``) says which words these are and which integers they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from edgewright.hw.memory import WORD_BYTES
from edgewright.hw.plan import Plan
from edgewright.hw.views import StoredView, matrix
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
        """Return the words from ``begin`` to ``end``."""
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
        return f"{where}: the engine stored {self.found}, the interpreter computes {self.expected}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of one image: the number of stored integers and tensors compared, and the first difference if any."""

    integers: int
    tensors: int
    mismatch: Mismatch | None

    @property
    def exact(self) -> bool:
        """Whether every bit is equal."""
        return self.mismatch is None


def compare(plan: Plan, values: Mapping[Node, Array], log: WriteLog) -> Comparison:
    """Compare a log. ``values``: every node's value from ``interpret_all`` for the image that the engine ran."""
    position = integers = 0
    for done, step in enumerate(plan.steps):
        expected, addresses = step.expected(values), step.addresses()
        count = len(addresses)
        written = log.addresses[position : position + count]
        name, tensor = step.operation.name, step.operation.result.name
        if len(written) < count:
            return Comparison(integers, done, Mismatch(name, tensor, (), None, None, "never stored in full"))
        if not np.array_equal(written, addresses):
            first = int(np.flatnonzero(written != addresses)[0])
            because = f"word {first} went to address {int(written[first]):#x} instead of {int(addresses[first]):#x}"
            return Comparison(integers, done, Mismatch(name, tensor, (), None, None, because))
        stored = step.integers(log.words[position : position + count])
        if not np.array_equal(stored, expected):
            row, column = (int(v) for v in np.argwhere(stored != expected)[0])
            where = (row, step.first_column + column)
            pair = int(expected[row, column]), int(stored[row, column])
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
    """Check that a host that reads each output as the memory map says reads its value, when the program has finished.

    ``image`` and ``writes`` (address -> bytes): the memory contents when it started.
    """
    memory = np.zeros(-(-plan.memory_bytes // WORD_BYTES) * WORD_BYTES, np.uint8)
    memory[: len(image)] = np.frombuffer(image, np.uint8)
    for address, content in writes.items():
        memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
    memory.reshape(-1, WORD_BYTES)[log.addresses // WORD_BYTES] = log.words
    for node, name, view in zip(plan.graph.outputs, plan.graph.output_names, plan.outputs, strict=True):
        stored = read_view(plan, memory, view)
        expected = np.asarray(matrix(node, values[node]), dtype=np.int64).reshape(stored.shape)
        if not np.array_equal(stored, expected):
            where = tuple(int(v) for v in np.argwhere(stored != expected)[0])
            return Mismatch("the memory map", name, where, int(expected[where]), int(stored[where]))
    return None


def read_view(plan: Plan, memory: NDArray[np.uint8], view: StoredView) -> NDArray[np.int64]:
    """Return the integers (rows, columns) of a view of a stored value, as a host reads them."""
    where = plan.layouts[view.root]
    pitch, width = plan.storage.pitch(view), view.columns * where.element_bytes
    begin = plan.address(view) + pitch * np.arange(view.rows)
    rows: NDArray[np.uint8] = memory[begin[:, None] + np.arange(width)[None, :]]
    values: NDArray[np.int64] = rows.view(f"<i{where.element_bytes}").astype(np.int64)
    return values
