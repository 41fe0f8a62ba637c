"""A description is recorded the same, and a profiler goes on, when Python code around it is profiled."""

from __future__ import annotations

import cProfile
import sys
from typing import Any

import pytest
from edgewright.hw import cost
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.kernel import to_systemverilog


def recorded() -> dict[str, str]:
    """Describe the engine anew, without the caches, and return its SystemVerilog."""
    return dict(to_systemverilog(cost.program_of.__wrapped__(EngineConfig())))


@pytest.mark.parametrize("kind", ["C", "function"])
def test_a_profiler_that_is_active(kind: str) -> None:
    expected = recorded()
    profiler = cProfile.Profile()
    seen: list[str] = []

    def watch(frame: Any, event: str, _: Any) -> None:
        seen.append(event)

    if kind == "C":
        profiler.enable()
    else:
        sys.setprofile(watch)
    try:
        found = recorded()
        assert sys.getprofile() is (profiler if kind == "C" else watch)
    finally:
        profiler.disable()
        sys.setprofile(None)
    assert found == expected
    if kind == "C":
        profiler.create_stats()
        assert any("hw/kernel" in str(entry) for entry in profiler.stats)
    else:
        assert seen
