"""The width of every descriptor field, checked before a descriptor is encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgewright.hw.operations.product import Excess, largest


def too_wide(fields: Mapping[str, int]) -> Iterator[Excess]:
    """Yield the fields of a descriptor whose value does not fit."""
    for name, value in fields.items():
        if not 0 <= value <= largest(name):
            yield f"the descriptor's field {name} would be {value:,}, it holds up to {largest(name):,}", "use a smaller model"
