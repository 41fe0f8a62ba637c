"""Predicted latency of a split model: each sub-model where it runs, the transfer of its features, and the fusion.

int8 on every board, priced as for `optimise` (snapshot.py): a range for a processor, cycles for the FPGA engine. The cost of a
sub-model depends on its shape, not on its weights, so each shape is priced once for a board.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgewright.frontend.pricing import Pricing
from edgewright.frontend.report.split_results import Range, SubModel
from edgewright.frontend.splitting.fleet import Fleet, Member
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir import Graph
from edgewright.passes.results import Snapshot
from edgewright.passes.splitting.assign_devices import Energy
from edgewright.passes.structure.classifier import keep_classes
from edgewright.passes.structure.sub_model_shape import SubShape, shaped
from edgewright.targets.device import Device, load

PRECISION = "int8"


@dataclass(slots=True)
class FleetPricing:
    """Predictions for the boards of a fleet. `reasons`: why one is missing."""

    fleet: Fleet
    _pricings: dict[str, Pricing] = field(default_factory=dict)
    _snapshots: dict[tuple[str, str, SubShape | None, int], Snapshot] = field(default_factory=dict)
    _missing_links: dict[str, None] = field(default_factory=dict)

    @property
    def boards(self) -> list[Device]:
        """The boards of the fleet, each once."""
        return list({member.board.name: member.board for member in self.fleet.members}.values())

    @property
    def reasons(self) -> list[str]:
        return [reason for pricing in self._pricings.values() for reason in pricing.reasons] + list(self._missing_links)

    @property
    def fuses(self) -> str:
        """The name of the device that runs the fusion network."""
        return "host" if self.fleet.fuses < 0 else self.fleet.members[self.fleet.fuses].name

    def whole(self, graph: Graph, board: Device) -> Range:
        """Return the range of the unsplit model on one board."""
        return _range(self._priced(graph, board, None, 0))

    def latency(self, graph: Graph, part: Sequence[int], shape: SubShape, member: Member) -> Range:
        """Return the range of one sub-model on one device, without transfer."""
        return _range(self._priced(graph, member.board, shape, len(part)))

    def fusion(self, fusion: Graph) -> Range:
        """Return the range of the fusion network where it runs."""
        board = load("host") if self.fleet.fuses < 0 else self.fleet.members[self.fleet.fuses].board
        return _range(self._pricing(board).snapshot(fusion))

    def total(self, parts: Sequence[SubModel], fusion: Range) -> Range:
        """Return the range of the whole deployment: the slowest device with its transfers, then the fusion. A device with
        several sub-models runs them one after the other; the one that fuses sends nothing."""
        members = {member.name: (i, member) for i, member in enumerate(self.fleet.members)}
        ends: dict[str, Range] = {}
        for part in parts:
            place, member = members[part.device]
            sent = 0.0 if place == self.fleet.fuses else member.transfer_ms(part.feature_bytes)
            if sent is None:
                reason = f"The time of the whole deployment is not predicted: {member.name} has no link_mbit_per_s."
                self._missing_links[reason] = None
            done = part.latency.plus(Range(sent, sent))
            ends[member.name] = ends[member.name].plus(done) if member.name in ends else done
        low, high = _longest([end.low_ms for end in ends.values()]), _longest([end.high_ms for end in ends.values()])
        return Range(low, high).plus(fusion)

    def energy(self, graph: Graph, levels: Sequence[SubShape]) -> Energy:
        """Return the function from (device, level) to mJ of one inference: the board's power times the longer end of its
        latency. CompileError K011 when latency is not predicted."""

        def energy_mj(device: int, level: int) -> float:
            member = self.fleet.members[device]
            assert member.entry.power_w is not None
            high = self.latency(graph, (0,), levels[level], member).high_ms
            if high is None:
                because = " ".join(self.reasons) or f"nothing is known of the speed of {member.board.name}"
                fail("K011", "energy cannot be predicted", member.name, because, "omit energy_mj", exit=Exit.USAGE)
            return member.entry.power_w * high

        return energy_mj

    def _priced(self, graph: Graph, board: Device, shape: SubShape | None, classes: int) -> Snapshot:
        key = (board.name, graph.name, shape, classes)
        if key not in self._snapshots:
            model = graph if shape is None else shaped(keep_classes(graph, range(classes)), shape)
            self._snapshots[key] = self._pricing(board).snapshot(model)
        return self._snapshots[key]

    def _pricing(self, board: Device) -> Pricing:
        return self._pricings.setdefault(board.name, Pricing(board, PRECISION))


def _range(model: Snapshot) -> Range:
    return Range(model.latency_low_ms, model.latency_high_ms)


def _longest(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) and known else None
