"""Plan a quantised graph on an engine: the memory image, the program, and what every descriptor is expected to store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from edgewright.hw import blobs
from edgewright.hw.arrange import arrange, packed
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import WEIGHT_PORTS, WORDS, encode
from edgewright.hw.fused import Fused
from edgewright.hw.host_part import HostValue, host_values
from edgewright.hw.limits import too_wide
from edgewright.hw.memory import ALIGN_BYTES, WORD_BYTES, Layout, Region, Storage, round_up
from edgewright.hw.operations.operation import Operation, Step
from edgewright.hw.order import order
from edgewright.hw.placing import ValuePlacing
from edgewright.hw.reach import check_reach
from edgewright.hw.views import StoredView, matrix
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import Array

__all__ = ["Plan", "Step", "pack_rows", "plan", "unpack_rows"]

DESCRIPTOR_BYTES = WORDS * WORD_BYTES


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that depends on the model. The engine itself depends on ``config`` alone.

    ``outputs``: the view of a stored value that each of the graph's outputs is.
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
    windows: dict[Node, HostValue]

    def host_values(self, values: Mapping[Node, Array]) -> dict[int, Array]:
        """Return what the host writes before an image: (rows, columns) by address. ``values``: of the graph's nodes."""
        written = {region.address for region in self.regions if region.kind == "input"}
        made = {**values, **host_values(self.windows, values)}
        return {at: matrix(node, made[node]) for node, at in self.addresses.items() if at in written}

    @property
    def external_image(self) -> bytes:
        """The part of ``image`` that is in external memory: what a host loads, from ``program_address`` on."""
        return self.image[self.config.on_chip_bytes :]

    @property
    def macs(self) -> int:
        """Products of the model itself, without padding."""
        return sum(step.macs for step in self.steps)

    def address(self, view: StoredView) -> int:
        """Return the address of a view's first element."""
        return self.storage.address(view)

    @property
    def storage(self) -> Storage:
        """Layout and address of every stored value."""
        return Storage(self.layouts, self.addresses)


def plan(graph: Graph, config: EngineConfig) -> Plan:
    """Plan a graph. Raises ``CompileError`` if the engine cannot run a part of it, or it does not fit."""
    planned = Planner(graph, config, arrange(graph, config)).plan()
    check_reach(planned.steps, planned.storage)
    return planned


class Planner:
    """Builds the plan of one graph."""

    def __init__(self, graph: Graph, config: EngineConfig, fused: Fused) -> None:
        self.graph, self.config, self.fused = graph, config, fused
        self.operations, self.constants = fused.operations, fused.constants
        self.placing = ValuePlacing(graph, config, fused)
        self.storage, self.regions = self.placing.storage, self.placing.regions
        self.problems: dict[Diagnostic, None] = {}

    def refuse(self, operation: Operation, because: str, help_text: str) -> None:
        """Note that an operation exceeds the engine."""
        message = "an operation does not fit the engine"
        self.problems[Diagnostic("P002", message, operation.name, because, help_text)] = None

    # ---- the whole

    def plan(self) -> Plan:
        """Place everything, then write the program."""
        for operation in self.operations:
            for excess in operation.exceeding(self.config):
                self.refuse(operation, *excess)
        self.stop_at_problems()
        count = sum(1 for operation in self.operations for _ in operation.pieces(self.config))
        begin = self.config.on_chip_bytes
        activations_end = self.placing.place_values(begin + round_up(count * DESCRIPTOR_BYTES, ALIGN_BYTES))
        steps = [step for operation in self.operations for step in operation.steps(self.storage, self.config)]
        cursor = round_up(activations_end, ALIGN_BYTES)
        placed = []
        for step in order(steps, self.config):
            fields = {**step.fields, "blob_address": cursor, "blob_beats": len(step.blob) // (WORD_BYTES * WEIGHT_PORTS)}
            for excess in too_wide(fields):
                self.refuse(step.operation, *excess)
            placed.append(replace(step, fields=fields))
            cursor = round_up(cursor + len(step.blob), ALIGN_BYTES)
        self.stop_at_problems()
        return self.assemble(placed, cursor)

    def stop_at_problems(self) -> None:
        """Raise the problems noted so far."""
        if self.problems:
            raise CompileError(self.problems)

    def assemble(self, steps: list[Step], end: int) -> Plan:
        """Fill the memory image: descriptors, blobs, constants."""
        program, where = self.config.on_chip_bytes, self.storage
        in_order = {o.residual.source.root for o in self.operations if o.residual is not None and o.residual.packed}
        parts = []
        for node, array in self.constants.items():
            place = where.layouts[node]
            content = pack_rows(matrix(node, array), place)
            if node in in_order:
                content = packed(content, place.rows, self.config.tokens, self.config.lanes * place.element_bytes)
            parts.append((where.addresses[node], content))
        for position, step in enumerate(steps):
            address = step.fields["blob_address"]
            parts += [(address, blobs.parts(step.blob)), (program + position * DESCRIPTOR_BYTES, encode(step.fields))]
            self.regions.append(Region(f"{step.operation.name} weights", "weights", address, len(step.blob)))
        self.regions.append(Region("program", "program", program, len(steps) * DESCRIPTOR_BYTES))
        image = bytearray(end)
        for address, content in parts:
            image[address : address + len(content)] = content
        return Plan(
            self.graph,
            self.config,
            tuple(steps),
            tuple(sorted(self.regions, key=lambda r: r.address)),
            self.storage.layouts,
            self.storage.addresses,
            self.fused.outputs,
            bytes(image),
            program,
            end,
            self.fused.windows,
        )


def pack_rows(array: Array, where: Layout) -> bytes:
    """Pack a value as its region holds it: little endian, rows padded to ``where.pitch_bytes``."""
    flat = np.asarray(array).reshape(-1, where.columns)
    kind = {1: "<i1", 2: "<i2", 4: "<i4"}[where.element_bytes]
    padded = np.zeros((flat.shape[0], where.pitch_bytes // where.element_bytes), dtype=kind)
    padded[:, : where.columns] = flat
    return padded.tobytes()


def unpack_rows(content: bytes, where: Layout, rows: int) -> Array:
    """Invert ``pack_rows``: (rows, columns)."""
    kind = {1: "<i1", 2: "<i2", 4: "<i4"}[where.element_bytes]
    padded = np.frombuffer(content[: rows * where.pitch_bytes], dtype=kind).reshape(rows, -1)
    return padded[:, : where.columns].astype(np.int64)
