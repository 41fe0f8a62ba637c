"""A plan as a file: where every value lies and what every descriptor says, so that nobody has to plan again.

What fusing makes of a graph follows from the graph alone and is not stored; the memory image is a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from edgewright.hw import blobs
from edgewright.hw.arrange import arrange
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS, WEIGHT_PORTS, encode
from edgewright.hw.cost import Cycles
from edgewright.hw.fused import Fused
from edgewright.hw.memory import WORD_BYTES, Region, layout
from edgewright.hw.operations.operation import Step, operands
from edgewright.hw.operations.product import Piece
from edgewright.hw.plan import DESCRIPTOR_BYTES, Plan
from edgewright.hw.reach import PlanError, check_reach
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.documents import Unreadable, parse_json, to_json
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.manifest import damaged

PLAN = "checkpoints/plan.json"
FORMAT = 2
Count = Annotated[int, msgspec.Meta(ge=0)]


class _StoredStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One descriptor: the operation's name, the rows and channels that it computes, and the fields that are not zero. `cycles`:
    predicted."""

    operation: str
    first_row: Count
    rows: Count
    first_column: Count
    columns: Count
    macs: Count
    cycles: Count
    fields: dict[str, Count]


class _Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    kind: str
    address: Count
    size_bytes: Count


class _Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`cycles`, `ideal_cycles`: predicted for one image behind the board's memory and an ideal one. `addresses`: (position
    among the values of `_values`, address)."""

    format: int
    program_address: Count
    memory_bytes: Count
    cycles: Count
    ideal_cycles: Count | None
    steps: list[_StoredStep]
    regions: list[_Region]
    addresses: list[tuple[Count, Count]]


def store(plan: Plan, cycles: Cycles) -> bytes:
    """Return a plan and its predicted cycles as JSON."""
    position = {node: i for i, node in enumerate(_values(plan.graph, plan.addresses))}
    steps = [
        _StoredStep(
            step.operation.name,
            step.piece.row,
            step.piece.rows,
            step.piece.column,
            step.piece.columns,
            step.macs,
            predicted,
            {name: value for name, value in step.fields.items() if value},
        )
        for step, predicted in zip(plan.steps, cycles.steps, strict=True)
    ]
    regions = [_Region(r.name, r.kind, r.address, r.size_bytes) for r in plan.regions]
    addresses = [(position[node], address) for node, address in plan.addresses.items()]
    stored = _Plan(FORMAT, plan.program_address, plan.memory_bytes, cycles.total, cycles.ideal, steps, regions, addresses)
    return to_json(msgspec.to_builtins(stored))


def restore(content: bytes, graph: Graph, config: EngineConfig, image: bytes) -> tuple[Plan, Cycles]:
    """Return the plan of a graph and its predicted cycles, as `store` wrote them. ``image``: the memory image.

    Raises ``CompileError`` U023 for what is not a plan of this graph for this engine.
    """
    try:
        stored = parse_json(content, _Plan)
        if stored.format != FORMAT:
            raise ValueError(f"it is of format {stored.format}, this version reads {FORMAT}")
        plan = _restored(stored, graph, config, bytes(config.on_chip_bytes) + image)
        check_reach(plan.steps, plan.storage)
    except (Unreadable, ValueError, PlanError) as error:
        raise CompileError([damaged(PLAN, str(error))]) from error
    return plan, Cycles(stored.cycles, tuple(step.cycles for step in stored.steps), stored.ideal_cycles)


def _restored(stored: _Plan, graph: Graph, config: EngineConfig, image: bytes) -> Plan:
    if stored.memory_bytes != len(image):
        raise ValueError(f"the memory image has {len(image)} bytes instead of {stored.memory_bytes}")
    fused = arrange(graph, config)
    values = _values(graph, _placed(fused))
    if any(position >= len(values) for position, _ in stored.addresses):
        raise ValueError("it places a value that the graph does not have")
    addresses = {values[position]: address for position, address in stored.addresses}
    layouts = {node: layout(node) for node in addresses}
    needed = [node for o in fused.operations for node in (o.target, *(view.root for view in operands(o)))]
    if not addresses.keys() >= {*needed, *(view.root for view in fused.outputs)}:
        raise ValueError("it does not place every value of the graph")
    if any(address + layouts[node].size_bytes > len(image) for node, address in addresses.items()):
        raise ValueError("it places a value outside of the memory")
    cuts = [(o, piece) for o in fused.operations for piece in o.pieces(config)]
    found = [(s.operation, Piece(s.first_row, s.rows, s.first_column, s.columns)) for s in stored.steps]
    if found != [(o.name, piece) for o, piece in cuts]:
        raise ValueError("its descriptors are not those of the graph")
    steps = []
    for i, (step, (operation, piece)) in enumerate(zip(stored.steps, cuts, strict=True)):
        fields = dict.fromkeys(FIELDS, 0) | step.fields
        at = stored.program_address + i * DESCRIPTOR_BYTES
        if encode(fields) != image[at : at + DESCRIPTOR_BYTES]:
            raise ValueError(f"descriptor {i} is not the one in the memory image")
        begin = fields["blob_address"]
        blob = blobs.joined(image[begin : begin + fields["blob_beats"] * WORD_BYTES * WEIGHT_PORTS])
        steps.append(Step(operation, config, fields, blob, piece, step.macs))
    regions = tuple(Region(r.name, r.kind, r.address, r.size_bytes) for r in stored.regions)
    return Plan(
        graph,
        config,
        tuple(steps),
        regions,
        layouts,
        addresses,
        fused.outputs,
        image,
        stored.program_address,
        stored.memory_bytes,
        fused.windows,
    )


def _placed(fused: Fused) -> list[Node]:
    """Return what has a place, in the order in which it was placed: what is read and in memory before the program starts, then
    what each operation stores."""
    targets = dict.fromkeys(operation.target for operation in fused.operations)
    read = {view.root for operation in fused.operations for view in operands(operation)}
    read |= {view.root for view in fused.outputs}
    before = [node for node in (*fused.constants, *fused.windows) if node in read and node not in targets]
    return [*before, *targets]


def _values(graph: Graph, others: Iterable[Node]) -> list[Node]:
    """Return the graph's nodes, then the other ones in their order: constants, values and inputs that fusing has made."""
    return list(dict.fromkeys([*graph.nodes(), *others]))
