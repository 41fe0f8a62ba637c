"""What the descriptors of a plan touch: whole words, inside of the values that they belong to.

The engine drops the low bits of an address and knows no bounds, so a planner that errs here makes a program that stores
wrong integers. A plan that breaks one of these rules is an error of ours and never leaves the planner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.hw.memory import WORD_BYTES
from edgewright.passes.ir.graph import Node

if TYPE_CHECKING:
    from edgewright.hw.descriptors import Step
    from edgewright.hw.plan import Plan


class PlanError(RuntimeError):
    """A plan breaks a rule of the engine."""


@dataclass(frozen=True, slots=True)
class Access:
    """``rows`` runs of ``size`` bytes, ``pitch`` apart, from ``address`` on. ``owner``: the value they must lie in."""

    what: str
    owner: Node
    address: int
    rows: int
    pitch: int
    size: int

    @property
    def end(self) -> int:
        """First address behind the last run."""
        return self.address + (self.rows - 1) * self.pitch + self.size


def accesses(step: Step) -> Iterator[Access]:
    """Every access of a descriptor to a stored value; patches, which are cut at any byte, by the words that hold them."""
    fields, operation = step.fields, step.operation
    computed = operation.computed
    tokens, word = fields["n_tokens"], WORD_BYTES
    tiles = fields["out_tiles"]
    yield Access(
        "results", operation.target, fields["out_address"], tokens, fields["out_pitch"], tiles * word * (1 + fields["out16"])
    )
    if operation.residual is not None:
        root = operation.residual.source.root
        yield Access("the residual", root, fields["res_address"], tokens, fields["res_pitch"], tiles * word * 2)
    source = operation.source.root
    if fields["patch"]:
        rows = tokens // fields["grid_width"]
        last = (rows - 1) * fields["stride_row"] + (fields["grid_width"] - 1) * fields["stride_col"]
        last += (fields["act_planes"] - 1) * fields["stride_plane"] + (fields["act_rows"] - 1) * fields["stride_line"]
        size = last // word * word + fields["act_beats"] * word
        yield Access("patches", source, fields["act_address"], 1, 0, size)
    elif not fields["ones"]:
        yield Access("activations", source, fields["act_address"], tokens, fields["stride_row"], fields["act_beats"] * word)
    keys, pitch = fields["n_keys"], fields["key_pitch"]
    if computed.key is not None:
        yield Access("keys", computed.key.root, fields["key_address"], keys, pitch, fields["key_depth"] * word)
    if fields["value_depth"]:
        root = source if computed.value is None else computed.value.root
        yield Access("values", root, fields["value_address"], keys, pitch, fields["value_depth"] * word)


def check_reach(plan: Plan) -> None:
    """Raises ``PlanError`` when a descriptor's address or pitch is not one of whole words, or leaves its value."""
    for step in plan.steps:
        for access in accesses(step):
            begin = plan.addresses[access.owner]
            end = begin + plan.layouts[access.owner].size_bytes
            if access.what == "patches":
                end += WORD_BYTES  # reserved behind every input
            if access.address % WORD_BYTES or access.pitch % WORD_BYTES:
                raise PlanError(
                    f"{access.what} of {step.operation.name} start at {access.address:#x}, {access.pitch} bytes apart, "
                    f"which are no multiples of {WORD_BYTES}"
                )
            if access.address < begin or access.end > end:
                raise PlanError(
                    f"{access.what} of {step.operation.name} reach from {access.address:#x} to {access.end:#x}, "
                    f"{access.owner.name} from {begin:#x} to {end:#x}"
                )
        if step.fields["blob_address"] % WORD_BYTES or len(step.blob) % WORD_BYTES:
            raise PlanError(f"the weights of {step.operation.name} are not whole words")
