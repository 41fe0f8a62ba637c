"""Every operator is in each of the six places of CONTRIBUTING, "Add an operator", or is excused by name and reason."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from edgewright.frontend.onnx_writing.float import FLOAT_WRITERS
from edgewright.frontend.onnx_writing.integer import INTEGER_WRITERS
from edgewright.passes import ops
from edgewright.passes.ir.op import Op
from edgewright.passes.ops import groups
from edgewright.passes.ops.elementwise import FUNCTIONS
from edgewright.passes.quantisation.compose_functions import COMPOSED
from edgewright.passes.quantisation.quantise import EXPRESSIBLE

from tests.passes.learn.operands import CASES as OPERANDS
from tests.passes.test_ops_float import CASES
from tests.support_table import kinds

ROOT = Path(__file__).parents[1]
BOUNDARY: set[type[Op]] = {ops.Input, ops.Constant}

# place -> the operators that it does not have, and why
NOT_READ: dict[type[Op], str] = {ops.Input: "graph_input makes it"}
NOT_EVALUATED_BY_ONNXRUNTIME: dict[type[Op], str] = {
    ops.Input: "has no value of its own",
    ops.Constant: "is its value",
    **dict.fromkeys((ops.Silu, ops.Linear, ops.PatchEmbed, ops.Attention, ops.Gather), "is checked from smaller parts there"),
    **dict.fromkeys((ops.Cast, ops.Where, ops.ConvTranspose), "tests/passes/test_ops_masks.py"),
    **dict.fromkeys((ops.HashCodes, ops.HashAttention), "tests/passes/test_hash_ops.py"),
    ops.MoE: "tests/passes/test_moe.py",
}
NOT_IN_INTEGERS: dict[type[Op], str] = {
    ops.BatchNormalization: "is folded into the product beside it, elsewhere a Mul and an Add",
    ops.ConvTranspose: "the reader splits it into convolutions",
}
NOT_A_STEP: dict[type[Op], str] = {
    **dict.fromkeys(BOUNDARY, "is there before the program runs"),
    **dict.fromkeys(groups.WINDOWS, "is an address; what cannot be one is a Copy"),
    ops.Concat: "its parts are written in place, or by a Copy",
    ops.BatchNormalization: "is a Mul and an Add",
    ops.ConvTranspose: "the reader splits it into convolutions",
}


def expect_all(place: str, actual: Iterable[Any], expected: Iterable[Any]) -> None:
    """Names of functions and operator classes; the message names the place to edit."""
    actual, expected = ({getattr(one, "__name__", one) for one in names} for names in (actual, expected))
    assert actual == expected, f"{place}: missing {sorted(expected - actual)}, unexpected {sorted(actual - expected)}"


def made_in(*folders: str) -> set[str]:
    """Names of everything that is called in the Python files of some folders."""
    calls = [
        node.func
        for folder in folders
        for path in (ROOT / folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    return names | {call.attr for call in calls if isinstance(call, ast.Attribute)}


def test_reader() -> None:
    made = made_in("frontend/onnx_reading", "frontend/canonical")
    expect_all(
        "frontend/onnx_reading",
        [op for op in groups.FLOAT_LEVEL if op.__name__ in made],
        set(groups.FLOAT_LEVEL) - set(NOT_READ),
    )


def test_float_against_onnxruntime() -> None:
    tested = {type(case.op) for case in CASES}
    expect_all("CASES of tests/passes/test_ops_float.py", tested, set(groups.FLOAT_LEVEL) - set(NOT_EVALUATED_BY_ONNXRUNTIME))


def test_writer() -> None:
    expect_all("frontend/onnx_writing/float.py", FLOAT_WRITERS, set(groups.FLOAT_LEVEL) - BOUNDARY | {ops.Dequantise})
    integers = set(groups.QUANTISED_LEVEL) - BOUNDARY - {ops.Dequantise}
    expect_all("frontend/onnx_writing/integer.py", INTEGER_WRITERS, integers)


def test_lowering() -> None:
    """In integers by itself, as part of a Function, or not at all."""
    lowered = set(groups.FLOAT_LEVEL) & {*EXPRESSIBLE, *COMPOSED}
    expect_all("EXPRESSIBLE of passes/quantisation/quantise.py", lowered, set(groups.FLOAT_LEVEL) - set(NOT_IN_INTEGERS))
    made = made_in("passes/quantisation")
    assert {op.__name__ for op in groups.ONLY_QUANTISED} - made <= {"Dequantise"}, "passes/quantisation never makes it"


def test_learning() -> None:
    """The functions themselves: tests/passes/learn/test_torch_ops.py, which needs torch."""
    expect_all("CASES of tests/passes/learn/operands.py", OPERANDS, set(groups.FLOAT_LEVEL) - BOUNDARY)


def test_estimate() -> None:
    assert {op for op in groups.OPERATORS if op.facts.instructions is None} == set(NOT_A_STEP)


def test_support_table() -> None:
    expect_all("tests/support_table.py", kinds(), groups.OPERATORS)


def test_documented_functions() -> None:
    text = (ROOT / "docs/reference/support.md").read_text(encoding="utf-8").split("`Elementwise` is any of ")[1]
    expect_all(
        "docs/reference/support.md", text.split(";")[0].replace(" and ", ", ").replace(",\n", ", ").split(", "), FUNCTIONS
    )


@pytest.mark.tvm
def test_cpu() -> None:
    from edgewright.targets.cpu.lower import LOWERINGS
    from edgewright.targets.lowering.formulas import ELEMENTWISE
    from edgewright.targets.lowering.function_formulas import FUNCTION_FORMULAS

    by_element = {op for op in groups.OPERATORS if op in ELEMENTWISE}
    expect_all("FORMULAS of targets/lowering/formulas.py", by_element, {*groups.ELEMENTWISE, ops.Table})
    expect_all("targets/lowering/function_formulas.py", FUNCTION_FORMULAS, FUNCTIONS)
    others = {ops.Concat, ops.BatchNormalization, *groups.WINDOWS, *BOUNDARY, ops.ConvTranspose}
    expect_all("LOWERINGS of targets/cpu/lower.py", LOWERINGS, set(groups.OPERATORS) - by_element - others)


@pytest.mark.tvm
def test_every_step_of_a_program_has_instructions_of_its_own() -> None:
    from edgewright.targets.cpu.lower import lower
    from edgewright.targets.cpu.variants import variant
    from edgewright.targets.cpu.work import works_of
    from edgewright.targets.estimate import INSTRUCTIONS

    from tests.targets.cpu.lowered import Draw
    from tests.targets.cpu.lowered_cases import CASES

    found = set()
    for family in CASES:
        for name, build in CASES[family].items():
            draw = Draw()
            draw.add(name, build)
            for work in works_of(lower(draw.graph(), variant("neon"))):
                found |= {kind.removeprefix("Depthwise") for kind in work.kind.split("+")}
    assert found <= set(INSTRUCTIONS) and {"HardSwish", "Pad", "Elementwise"} <= found
    plain, bent = (sum(INSTRUCTIONS[kind]) for kind in ("Add", "HardSwish"))
    assert bent > plain, "HardSwish was counted as one operation"
