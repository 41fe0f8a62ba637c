"""Check what the descriptors of a plan access: whole words, inside the values that they belong to.

The engine drops the low bits of an address and checks no bounds, so an error in the planner would make a program that stores
wrong integers. A plan that breaks one of these rules is a bug and never leaves the planner.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
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
        check_requests(step, storage)
        if step.fields["blob_address"] % WORD_BYTES or len(step.blob) % (WORD_BYTES * WEIGHT_PORTS):
            raise PlanError(f"the weights of {name} are not whole words")


def check_requests(step: Step, storage: Storage) -> None:
    """Raise ``PlanError`` if the activations port reads outside of a descriptor's source and its constants."""
    requests, name = step.requests, step.operation.name
    product = step.operation.product
    source = product.source.root
    if not len(requests):
        return
    known = np.zeros(len(requests), bool)
    for node in (source, *product.constants):
        begin = storage.addresses[node]
        end = begin + storage.layouts[node].size_bytes
        if step.fields["patch"]:
            end += WORD_BYTES  # reserved after every input
        known |= (requests[:, 0] >= begin) & (requests[:, 0] + requests[:, 1] * WORD_BYTES <= end)
    if not known.all():
        first = int(requests[np.argmin(known), 0])
        raise PlanError(f"activations of {name} are read at {first:#x}, outside of {source.name}")
    words = int(requests[:, 1].sum())
    if words != step.fields["act_words"]:
        raise PlanError(f"{name} asks for {words} words of activations and takes {step.fields['act_words']}")
    unaligned = step.fields["act_address"] % WORD_BYTES or (step.listed % WORD_BYTES).any()
    if not step.fields["patch"] and unaligned:
        raise PlanError(f"activations of {name} do not start at multiples of {WORD_BYTES} bytes")
