"""The result of running a compiled model on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgewright.passes.ir import Array


@dataclass(frozen=True, slots=True, eq=False)
class Ran(Mapping[str, Array]):
    """One run: outputs as real numbers by name, and whether they agree with the interpreter (None: not checked)."""

    outputs: dict[str, Array]
    agrees: bool | None

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)
