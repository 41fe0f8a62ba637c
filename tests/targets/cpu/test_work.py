"""Steps as work: nothing of a program is lost, and the estimate of it holds on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "examples/models/vit_fashion.dynamo18.onnx"

pytestmark = pytest.mark.tvm


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_work_of_a_program_is_that_of_its_graph(precision: str) -> None:
    from edgewright.frontend.onnx_reading.reader import read_model
    from edgewright.frontend.samples.data import input_shapes, random_samples
    from edgewright.passes.ops import Attention
    from edgewright.passes.pipeline import optimise, quantise
    from edgewright.targets.cpu.lower import lower
    from edgewright.targets.cpu.variants import variant
    from edgewright.targets.cpu.work import works_of

    graph = read_model(str(MODEL), {})
    samples = random_samples(input_shapes(graph), 2)
    graph, _ = optimise(graph)
    if precision == "int8":
        graph = quantise(graph, samples.inputs).graph
    program = lower(graph, variant("neon"))
    works = works_of(program)
    assert len(works) == len(program.steps)
    assert sum(work.macs for work in works) == sum(node.work.macs for node in graph.nodes())
    products = [work for work in works if work.kind.startswith("Linear")]
    assert {work.dtype for work in products} == {"float32" if precision == "fp32" else "int8"}
    weights = sum(node.inputs[1].type.size for node in graph.nodes() if node.op.kind == "Linear")
    item = 4 if precision == "fp32" else 1
    assert weights * item <= sum(work.weight_bytes for work in products) <= 1.35 * weights * item + 20_000
    scores = sum(work.elements for work in works if work.kind.startswith("Attention"))
    each = [
        node.op.heads * node.inputs[0].shape[1] * node.inputs[1].shape[1]
        for node in graph.nodes()
        if isinstance(node.op, Attention)
    ]
    assert scores == sum(each) and len(each) == 4
    assert all(work.activation_bytes > 0 for work in works)


@pytest.mark.parametrize(
    ("family", "name", "integer"),
    [
        ("experts", "batch, tokens, experts, K, d, h, o = (1, 197, 16, 4, 16, 20, 16)", False),
        ("experts", "integers, batch, tokens, experts, K, d, h, o = (1, 197, 16, 4, 16, 20, 16)", True),
        ("hashing", "windows, tokens, heads, bits, d, dv, supports = (1, 49, 2, 16, 16, 16, 25)", False),
        ("hashing", "integers, windows, tokens, heads, bits, d, dv, supports = (1, 49, 2, 16, 16, 16, 25)", True),
    ],
)
def test_the_work_of_experts_and_codes(family: str, name: str, integer: bool) -> None:
    from edgewright.targets.cpu.lower import lower
    from edgewright.targets.cpu.variants import variant
    from edgewright.targets.cpu.work import IN_STEPS, works_of
    from edgewright.targets.estimate import INSTRUCTIONS

    from tests.targets.cpu.lowered import Draw
    from tests.targets.cpu.lowered_cases import CASES

    draw = Draw()
    draw.add(name, CASES[family][name])
    program = lower(draw.graph(), variant("neon"))
    works = works_of(program)
    assert sum(work.macs for work in works) == sum(node.work.macs for node in program.graph.nodes())
    own = [work for work in works if work.kind.split("+")[0] in IN_STEPS]
    assert {work.dtype for work in own} == {"int8" if integer else "float32"} and all(work.elements > 0 for work in own)
    assert not any(work.parallel for work in works if work.kind == "Route")
    assert all(kind in INSTRUCTIONS for work in own for kind in work.kind.split("+") if kind not in ("Linear", "Add"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_this_machine_takes_lies_in_the_range(precision: str) -> None:
    """The least of many runs on one thread, for others may use the machine as well."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.estimate_host", f"{MODEL}:{precision}"],
        cwd=ROOT,
        env=os.environ | {"TVM_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["low_ms"] <= found["least_ms"] <= found["high_ms"], found
