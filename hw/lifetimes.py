"""When each stored value of a plan is in use in a predicted run: from the first word that is written to the last one read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from edgewright.hw.memory import Region
from edgewright.hw.plan import Plan
from edgewright.hw.tracks import Tracks
from edgewright.passes.ir.graph import Node

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A region of memory, its place ("on chip", "external", or "spilled": a result in external memory for want of room on
    chip) and the cycles from the first to the last in which it is in use; what a host writes is there from the start, what it
    reads stays to the end."""

    region: Region
    place: str
    first: int
    last: int


class _Uses:
    """The first and last cycle of what each descriptor does with memory, by the unit that does it."""

    def __init__(self, tracks: Tracks) -> None:
        self.tracks = tracks
        self.known: dict[str, dict[int, Span]] = {}

    def __call__(self, role: str, step: int) -> Iterable[Span]:
        """Return the span of a unit's work on a descriptor, if it has any."""
        if role not in self.known:
            activity = self.tracks.timing.activity[self.tracks.leader(role)]
            runs = zip(activity.runs[:, 0].tolist(), activity.spans, strict=True)
            self.known[role] = dict(runs)
        return [self.known[role][step]] if step in self.known[role] else []


def lifetimes(plan: Plan, tracks: Tracks) -> tuple[Lifetime, ...]:
    """Return the lifetime of every region of a plan, in the order of their addresses."""
    uses = _Uses(tracks)
    written: dict[Node, list[Span]] = {}
    read: dict[Node, list[Span]] = {}
    for number, step in enumerate(plan.steps):
        operation = step.operation
        written.setdefault(operation.target, []).extend(uses("store", number))
        if operation.residual is not None:
            read.setdefault(operation.residual.source.root, []).extend(uses("residual", number))
        for role, views in (("activations", operation.product.streamed), ("operands", operation.loaded)):
            for view in views:
                read.setdefault(view.root, []).extend(uses(role, number))
    blobs = {step.fields["blob_address"]: number for number, step in enumerate(plan.steps) if step.blob}
    nodes: dict[tuple[str, int], deque[Node]] = {}
    for node, address in plan.addresses.items():  # names may repeat; both are in the order in which they were placed
        nodes.setdefault((node.name, address), deque()).append(node)
    spills, found = plan.config.on_chip_bytes > 0, []
    for region in plan.regions:
        first, last = 0, tracks.end
        if region.kind == "weights":
            last = max((end for _, end in uses("weights", blobs.get(region.address, -1))), default=last)
        elif region.kind == "program":
            last = int(tracks.timing.moves[region.kind][-1:, 3].sum())
        else:
            node = nodes[region.name, region.address].popleft()
            first = min((begin for begin, _ in written.get(node, [])), default=0)
            if region.kind != "output":
                last = max((end for _, end in read.get(node, [])), default=last)
        place = "on chip" if region.kind == "on-chip" else "spilled" if spills and region.kind == "activation" else "external"
        found.append(Lifetime(region, place, first, last))
    return tuple(found)


def most_live(values: Iterable[Lifetime]) -> int:
    """Return the most bytes that are in use in any cycle; a value in the place of the one that it replaces counts once."""
    places: dict[tuple[int, int], list[Span]] = {}
    for value in values:
        places.setdefault((value.region.address, value.region.size_bytes), []).append((value.first, value.last + 1))
    used = [(first, end, size) for (_, size), spans in places.items() for first, end in merged(spans)]
    changes = sorted(change for first, end, size in used for change in ((first, size), (end, -size)))
    return max(accumulate(by for _, by in changes), default=0)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans (first, end) without those that others cover, overlapping ones as one."""
    found: list[Span] = []
    for first, end in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((first, end))
    return found
