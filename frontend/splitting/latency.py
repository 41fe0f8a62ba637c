"""How long a split model takes, predicted: each sub-model where it runs, the transfer of its features, and the fusion.

Integers on every board, priced as for `optimise` (snapshot.py): a range for a processor, cycles for the FPGA engine. What
a sub-model costs depends on its shape, not on its weights, so each shape is priced once for a board.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgewright.frontend.snapshot import Pricing
from edgewright.frontend.splitting.fleet import Fleet, Member
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir.graph import Graph
from edgewright.passes.results import Snapshot
from edgewright.passes.splitting.assign_devices import Energy
from edgewright.passes.structure.classifier import keep_classes
from edgewright.passes.structure.sub_model_shape import SubShape, shaped
from edgewright.targets.device import Device, load

PRECISION = "int8"


@dataclass(frozen=True, slots=True)
class Range:
    """Milliseconds of one inference; None where nothing predicts them."""

    low_ms: float | None
    high_ms: float | None

    def data(self) -> dict[str, float | None]:
        return {"low_ms": self.low_ms, "high_ms": self.high_ms}

    def plus(self, milliseconds: float | None) -> Range:
        """Longer by a known time; unknown when either is."""
        if milliseconds is None or self.low_ms is None or self.high_ms is None:
            return Range(None, None)
        return Range(self.low_ms + milliseconds, self.high_ms + milliseconds)


@dataclass(slots=True)
class FleetPricing:
    """Predictions for the boards of a fleet. `reasons`: why one is missing."""

    fleet: Fleet
    _pricings: dict[str, Pricing] = field(default_factory=dict)
    _found: dict[tuple[str, str, SubShape | None, int], Snapshot] = field(default_factory=dict)
    _more: dict[str, None] = field(default_factory=dict)

    @property
    def boards(self) -> list[Device]:
        """The boards of the fleet, each once."""
        return list({member.board.name: member.board for member in self.fleet.members}.values())

    @property
    def reasons(self) -> list[str]:
        return [reason for pricing in self._pricings.values() for reason in pricing.reasons] + list(self._more)

    @property
    def fuses(self) -> str:
        """The name of the device that runs the fusion network."""
        return "host" if self.fleet.fuses < 0 else self.fleet.members[self.fleet.fuses].name

    def whole(self, graph: Graph, board: Device) -> Range:
        """The unsplit model on one board."""
        return _range(self._priced(graph, board, None, 0))

    def latency(self, graph: Graph, part: Sequence[int], shape: SubShape, member: Member) -> Range:
        """One sub-model on one device, without transfer."""
        return _range(self._priced(graph, member.board, shape, len(part)))

    def fusion(self, fusion: Graph) -> Range:
        """The fusion network where it runs."""
        board = load("host") if self.fleet.fuses < 0 else self.fleet.members[self.fleet.fuses].board
        return _range(self._pricing(board).snapshot(fusion))

    def total(self, rows: Sequence[Mapping[str, Any]], fusion: Range) -> Range:
        """The whole deployment: the slowest device with its transfers, then the fusion. A device that has several
        sub-models runs them one after the other; the one that fuses sends nothing."""
        members = {member.name: (i, member) for i, member in enumerate(self.fleet.members)}
        ends: dict[str, Range] = {}
        for row in rows:
            place, member = members[row["device"]]
            sent = 0.0 if place == self.fleet.fuses else member.transfer_ms(row["feature_bytes"])
            if sent is None:
                self._more[f"The time of the whole deployment is not predicted: {member.name} has no link_mbit_per_s."] = None
            mine = Range(row["latency"]["low_ms"], row["latency"]["high_ms"]).plus(sent)
            before = ends.get(member.name)
            ends[member.name] = mine if before is None else Range(*_summed(before, mine))
        low, high = _longest([one.low_ms for one in ends.values()]), _longest([one.high_ms for one in ends.values()])
        return Range(*_summed(Range(low, high), fusion))

    def energy(self, graph: Graph, levels: Sequence[SubShape]) -> Energy:
        """mJ of one inference for (device, level): the board's power times the longer end of its latency; for a part
        with its share of the classes. CompileError K011 when latency is not predicted."""

        def found(device: int, level: int) -> float:
            member = self.fleet.members[device]
            assert member.entry.power_w is not None
            high = self.latency(graph, (0,), levels[level], member).high_ms
            if high is None:
                because = " ".join(self.reasons) or f"nothing is known of the speed of {member.board.name}"
                fail("K011", "energy cannot be predicted", member.name, because, "omit energy_mj", exit=Exit.USAGE)
            return member.entry.power_w * high

        return found

    def _priced(self, graph: Graph, board: Device, shape: SubShape | None, classes: int) -> Snapshot:
        key = (board.name, graph.name, shape, classes)
        if key not in self._found:
            one = graph if shape is None else shaped(keep_classes(graph, range(classes)), shape)
            self._found[key] = self._pricing(board).snapshot(one)
        return self._found[key]

    def _pricing(self, board: Device) -> Pricing:
        return self._pricings.setdefault(board.name, Pricing(board, PRECISION))


def _range(found: Snapshot) -> Range:
    return Range(found.latency_low_ms, found.latency_high_ms)


def _longest(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) and known else None


def _summed(a: Range, b: Range) -> tuple[float | None, float | None]:
    low = None if a.low_ms is None or b.low_ms is None else a.low_ms + b.low_ms
    high = None if a.high_ms is None or b.high_ms is None else a.high_ms + b.high_ms
    return low, high
