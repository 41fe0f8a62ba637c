"""Quantised graph + board -> Plan: the memory image, the program, and what every descriptor is expected to store."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import WORD_BITS, WORDS, encode
from edgewright.hw.descriptors import Descriptors, Step, groups
from edgewright.hw.fuse import fuse
from edgewright.hw.fused import Fused, Operation, operands
from edgewright.hw.limits import exceeding, too_wide
from edgewright.hw.memory import ALIGN_BYTES, WORD_BYTES, Allocator, Layout, Region, layout, round_up
from edgewright.hw.reach import check_reach
from edgewright.hw.views import StoredView
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Concat

__all__ = ["Plan", "Step", "pack_rows", "plan", "unpack_rows"]

DESCRIPTOR_BYTES = WORDS * WORD_BITS // 8
LOOKAHEAD = 8
"""Descriptors after which a gate takes a completion it does not need, so that completions never pile up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that changes with the model. The engine itself depends on ``config`` alone.

    ``outputs``: for each of the graph's outputs, what of which stored value it is.
    """

    graph: Graph
    config: EngineConfig
    steps: tuple[Step, ...]
    regions: tuple[Region, ...]
    layouts: dict[Node, Layout]
    addresses: dict[Node, int]
    outputs: tuple[StoredView, ...]
    image: bytes
    program_address: int
    memory_bytes: int

    @property
    def macs(self) -> int:
        """Products of the model itself, without padding."""
        return sum(step.macs for step in self.steps)

    def address(self, view: StoredView) -> int:
        """Address of a view's first element."""
        where = self.layouts[view.root]
        return self.addresses[view.root] + view.row * where.pitch_bytes + view.column * where.element_bytes


def plan(graph: Graph, config: EngineConfig) -> Plan:
    """Raises ``CompileError`` when the graph has something that the engine cannot run or that does not fit it."""
    found = Planner(graph, config, fuse(graph)).plan()
    check_reach(found)
    return found


class Planner:
    """Builds the plan of one graph."""

    def __init__(self, graph: Graph, config: EngineConfig, fused: Fused) -> None:
        self.graph, self.config, self.fused = graph, config, fused
        self.operations, self.constants = fused.operations, fused.constants
        self.layouts: dict[Node, Layout] = {}
        self.addresses: dict[Node, int] = {}
        self.regions: list[Region] = []
        self.problems: dict[Diagnostic, None] = {}

    def refuse(self, operation: Operation, because: str, help_text: str) -> None:
        """Note that an operation exceeds the engine."""
        found = Diagnostic("P002", "an operation does not fit the engine", operation.name, because, help_text)
        self.problems[found] = None

    # ---- memory

    def place_values(self, base: int) -> int:
        """Give every stored value an address; returns the end of memory."""
        last_use: dict[Node, int] = {}
        for position, operation in enumerate(self.operations):
            for view in operands(operation):
                last_use[view.root] = position
        forever = {output.root for output in self.fused.outputs}
        allocator = Allocator(base)
        targets = {operation.target for operation in self.operations}
        stored = dict.fromkeys([*self.graph.nodes(), *self.constants])
        for node in stored:  # what is in memory before the program starts
            if node in targets or not (node in last_use or node in forever):
                continue
            kind = "constant" if node in self.constants else "input"
            self.layouts[node] = layout(node)
            # an unaligned last line of an image touches one word more than the image has
            self.addresses[node] = allocator.allocate(self.layouts[node].size_bytes + WORD_BYTES)
            self.regions.append(Region(node.name, kind, self.addresses[node], self.layouts[node].size_bytes))
        keeps_rows = [node for node in dict.fromkeys(o.target for o in self.operations) if isinstance(node.op, Concat)]
        for node in keeps_rows:
            self.place_target(allocator, node, "output" if node in forever else "activation")
        for position, operation in enumerate(self.operations):
            if operation.target not in self.addresses:
                self.place_target(allocator, operation.target, "output" if operation.target in forever else "activation")
            for node, use in last_use.items():
                temporary = node in targets and node not in forever and node not in keeps_rows
                if use == position and temporary and node in self.addresses:
                    allocator.free(self.addresses[node])
        return allocator.top

    def place_target(self, allocator: Allocator, node: Node, kind: str) -> None:
        """Allocate a value that the engine writes."""
        self.layouts[node] = layout(node)
        self.addresses[node] = allocator.allocate(self.layouts[node].size_bytes)
        self.regions.append(Region(node.name, kind, self.addresses[node], self.layouts[node].size_bytes))

    def address(self, view: StoredView) -> int:
        """Address of a view's first element."""
        where = self.layouts[view.root]
        return self.addresses[view.root] + view.row * where.pitch_bytes + view.column * where.element_bytes

    # ---- the whole

    def plan(self) -> Plan:
        """Place everything, then write the program."""
        for operation in self.operations:
            for excess in exceeding(operation, self.config):
                self.refuse(operation, *excess)
        self.stop_at_problems()
        count = sum(1 for operation in self.operations for _ in groups(operation, self.config))
        activations_end = self.place_values(round_up(count * DESCRIPTOR_BYTES, ALIGN_BYTES))
        descriptors = Descriptors(self.config, self.layouts, self.address)
        steps = self.order([step for operation in self.operations for step in descriptors.steps(operation)])
        cursor = round_up(activations_end, ALIGN_BYTES)
        placed = []
        for step in steps:
            fields = {**step.fields, "blob_address": cursor, "blob_beats": len(step.blob) // WORD_BYTES}
            for excess in too_wide(fields):
                self.refuse(step.operation, *excess)
            placed.append(replace(step, fields=fields))
            cursor = round_up(cursor + len(step.blob), ALIGN_BYTES)
        self.stop_at_problems()
        return self.assemble(placed, cursor)

    def stop_at_problems(self) -> None:
        """Raise what was refused so far."""
        if self.problems:
            raise CompileError(self.problems)

    def assemble(self, steps: list[Step], end: int) -> Plan:
        """Fill the memory image: descriptors, blobs, constants."""
        parts = self.constant_rows()
        for position, step in enumerate(steps):
            address = step.fields["blob_address"]
            parts += [(address, step.blob), (position * DESCRIPTOR_BYTES, encode(step.fields))]
            self.regions.append(Region(f"{step.operation.name} weights", "weights", address, len(step.blob)))
        self.regions.append(Region("program", "program", 0, len(steps) * DESCRIPTOR_BYTES))
        image = bytearray(end)
        for address, content in parts:
            image[address : address + len(content)] = content
        return Plan(
            self.graph,
            self.config,
            tuple(steps),
            tuple(sorted(self.regions, key=lambda r: r.address)),
            self.layouts,
            self.addresses,
            self.fused.outputs,
            bytes(image),
            0,
            end,
        )

    def constant_rows(self) -> list[tuple[int, bytes]]:
        """Constants that live in memory: whole values, and the constant parts of joined ones."""
        parts = [(self.addresses[node], pack_rows(array, self.layouts[node])) for node, array in self.constants.items()]
        for target in dict.fromkeys(rows.place.target for rows in self.fused.constant_rows):
            where = self.layouts[target]
            full = np.zeros((where.rows, where.columns), np.int64)
            for rows in self.fused.constant_rows:
                place = rows.place
                if place.target is target:
                    height, width = rows.values.shape
                    at = place.first_row + place.row_step * np.arange(height)
                    full[at, place.first_column : place.first_column + width] = rows.values
            parts.append((self.addresses[target], pack_rows(full, where)))
        return parts

    # ---- order

    def order(self, steps: list[Step]) -> list[Step]:
        """Add the completions each gate waits for: a value is read only after all that write it have finished."""
        writers: dict[Node, int] = {}
        taken = {"load": 0, "run": 0}
        ordered: list[Step] = []
        for position, step in enumerate(steps):
            operation = step.operation
            computed = operation.computed
            loads = [v.root for v in (computed.key, computed.value) if v is not None]
            runs = [operation.source.root] if operation.kind != "pool" else []
            if operation.kind == "pool":
                loads.append(operation.source.root)
            if operation.residual is not None:
                runs.append(operation.residual.source.root)
            fields = dict(step.fields)
            for side, roots in (("load", loads), ("run", runs)):
                needed = max([writers.get(root, -1) + 1 for root in roots] + [position - LOOKAHEAD, taken[side]])
                fields[f"waits_{side}"] = needed - taken[side]
                taken[side] = needed
                if position == len(steps) - 1:
                    fields[f"drain_{side}"] = len(steps) - needed
            fields["final"] = int(position == len(steps) - 1)
            writers[operation.target] = position
            ordered.append(replace(step, fields=fields))
        return ordered


def pack_rows(array: Array, where: Layout) -> bytes:
    """A value as its region holds it: little endian, rows padded to ``where.pitch_bytes``."""
    flat = np.asarray(array).reshape(-1, where.columns)
    kind = {1: "<i1", 2: "<i2", 4: "<i4"}[where.element_bytes]
    padded = np.zeros((flat.shape[0], where.pitch_bytes // where.element_bytes), dtype=kind)
    padded[:, : where.columns] = flat
    return padded.tobytes()


def unpack_rows(content: bytes, where: Layout, rows: int) -> Array:
    """The inverse of ``pack_rows``: (rows, columns)."""
    kind = {1: "<i1", 2: "<i2", 4: "<i4"}[where.element_bytes]
    padded = np.frombuffer(content[: rows * where.pitch_bytes], dtype=kind).reshape(rows, -1)
    return padded[:, : where.columns].astype(np.int64)
