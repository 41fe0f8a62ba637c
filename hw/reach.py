"""Check what the descriptors of a plan access: whole words, inside the values that they belong to.

The engine drops the low bits of an address and checks no bounds, so an error in the planner would make a program that stores
wrong integers. A plan that breaks one of these rules is a bug and never leaves the planner.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgewright.hw.blocks.operation import WEIGHT_PORTS
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.operation import Step


class PlanError(RuntimeError):
    """A plan breaks a rule of the engine."""


def check_reach(steps: Iterable[Step], storage: Storage) -> None:
    """Raise ``PlanError`` if a descriptor's address or pitch is not one of whole words, or leaves its value."""
    for step in steps:
        name = step.operation.name
        for access in step.accesses():
            begin = storage.addresses[access.owner]
            end = begin + storage.layouts[access.owner].size_bytes
            if access.what == "patches":
                end += WORD_BYTES  # reserved after every input
            if access.address % WORD_BYTES or access.pitch % WORD_BYTES:
                raise PlanError(
                    f"{access.what} of {name} start at {access.address:#x}, {access.pitch} bytes apart, "
                    f"which are not multiples of {WORD_BYTES}"
                )
            if access.address < begin or access.end > end:
                raise PlanError(
                    f"{access.what} of {name} reach from {access.address:#x} to {access.end:#x}, "
                    f"{access.owner.name} from {begin:#x} to {end:#x}"
                )
        if step.fields["blob_address"] % WORD_BYTES or len(step.blob) % (WORD_BYTES * WEIGHT_PORTS):
            raise PlanError(f"the weights of {name} are not whole words")
