"""What manifest.json says of an engine and its program."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import ClassVar

import msgspec
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.emit import IMAGE
from edgewright.hw.plan import Plan
from edgewright.hw.stored_plan import PLAN
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.manifest import MANIFEST, Manifest, damaged
from edgewright.passes.names import plain
from edgewright.targets.device import load_supported


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the program starts, and how many descriptors it has."""

    address: int
    descriptors: int


class EngineManifest(Manifest, frozen=True, kw_only=True, tag="fpga"):
    """`engine`: the sizes and the clock that the engine was generated with."""

    FORMAT: ClassVar[int] = 3
    REQUIRED: ClassVar[tuple[str, ...]] = ("rtl/engine_top.v", IMAGE, "checkpoints/passes.npz", PLAN)

    engine: dict[str, int]
    program: Program
    memory_bytes: int

    def config(self) -> EngineConfig:
        """Return the engine, which is its board's at the clock that was asked for. CompileError U023 for another, T001 for an
        unknown board."""
        board, clock_mhz = EngineConfig.of_board(load_supported(self.target)), self.engine.get("clock_mhz", 0)
        config = replace(board, clock_mhz=clock_mhz)
        if self.engine != asdict(config) or clock_mhz < 1:
            raise CompileError([damaged(MANIFEST, f"its engine is not the one of {plain(self.target)}")])
        return config

    def check_plan(self, plan: Plan) -> None:
        """CompileError U023 when a plan is not the one that the bundle was emitted from."""
        found = Program(plan.program_address, len(plan.steps)), plan.memory_bytes
        if found != (self.program, self.memory_bytes):
            raise CompileError([damaged(MANIFEST, "its program is not the one that was planned")])
