"""Reports as data fit the schema that the frontend ships."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
from edgewright.passes.results import (
    CpuArtifact,
    Cycles,
    Latency,
    LayerNoise,
    MemoryRange,
    Mismatch,
    OperationCost,
    Published,
    Report,
    Resource,
    Resources,
    StageTime,
    to_data,
)

SCHEMA = json.loads((Path(__file__).parents[2] / "frontend" / "report" / "report.schema.json").read_text(encoding="utf-8"))


def test_an_empty_report_fits_the_schema() -> None:
    jsonschema.validate(to_data(Report("model", "zcu104", "0.1.0")), SCHEMA)


def test_a_full_report_fits_the_schema_in_its_order() -> None:
    report = Report(
        "model",
        "zcu104",
        "0.1.0",
        mismatch=Mismatch("a", "b", (0, 1), 2, 3),
        cycles=Cycles(10, 11),
        resources=Resources(dsp=Resource(1, 2, "counted")),
        stages=(StageTime("read", 0.1),),
        layers=(LayerNoise("a", "Linear", 30.0), LayerNoise("b", "Gelu", None)),
        operations=(OperationCost("a", "linear", 100, 10, Cycles(1, None), 0.5),),
        memory_map=(MemoryRange("x", "on-chip", 0, 16),),
        latency=(Latency(2, 0.5, 1.25, "core", {"products": 0.75, "memory": 0.25}, "best", "worst"),),
        published=(Published("other", 3.0, 1, "fp32", "runtime", 10, 0.1, "clock", "paper"),),
        artifact=CpuArtifact("avx2", "x86_64", ("avx2",), 1, 2, 3),
        notes=("one",),
    )
    data = to_data(report)
    jsonschema.validate(json.loads(json.dumps(data)), SCHEMA)
    assert list(data["latency"][0]) == SCHEMA["properties"]["latency"]["items"]["required"]
    assert set(data) == set(SCHEMA["properties"])
