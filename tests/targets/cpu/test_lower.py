"""Every operator through the CPU path, each step beside the interpreter: on every variant that this machine runs."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from edgewright.passes import ops
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops.groups import OPERATORS

pytest.importorskip("tvm")

from edgewright.targets.cpu import attention, convolution, elementwise, experts, hashing, matmul, product, rows
from edgewright.targets.cpu.lower import lower
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.lowering.walk import prepared

from tests.targets.cpu.lowered import HOST, HOST_VARIANTS, Compiled, Draw, values_for
from tests.targets.cpu.lowered_cases import CASES

pytestmark = pytest.mark.tvm

NOT_LOWERED = {
    ops.ConvTranspose: "the reader splits it into convolutions",
}


# The other variants differ in geometry and offsets: what depends on those, here with every loop shared among threads.
GEOMETRY = {
    "generic_x86_64": ("linear", "matmul", "attention", "conv", "experts", "hashing"),
    "avx2": ("linear", "matmul", "attention", "requantise", "experts", "hashing"),
    "avx512": ("linear", "hashing"),
}
OTHERS = [(one, family) for one in HOST_VARIANTS if one is not HOST for family in GEOMETRY.get(one.name, GEOMETRY["avx2"])]


def drawn(family: str, name: str) -> Graph:
    draw = Draw()
    draw.add(name, CASES[family][name])
    return draw.graph()


@pytest.mark.parametrize("family", CASES)
def test_every_operator(family: str) -> None:
    for name in CASES[family]:  # one library each: compiling takes more than linear time in a graph's outputs
        graph = drawn(family, name)
        compiled = Compiled(graph, HOST)
        for seed in range(2):
            compiled.check(values_for(graph, seed))


@pytest.mark.parametrize(("variant", "family"), OTHERS, ids=lambda one: getattr(one, "name", one))
def test_every_geometry_in_threads(variant: Variant, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    modules: list[ModuleType] = [attention, convolution, elementwise, experts, hashing, matmul, product, rows]
    for module in modules:
        for limit in ("PARALLEL_MACS", "PARALLEL_ELEMENTS"):
            if hasattr(module, limit):
                monkeypatch.setattr(module, limit, 1)
    Compiled.set_threads(2)
    for name in CASES[family]:
        graph = drawn(family, name)
        Compiled(graph, variant).check(values_for(graph))


def test_the_table_names_every_operator() -> None:
    every = set(OPERATORS)
    seen = {type(node.op) for family in CASES for name in CASES[family] for node in drawn(family, name).nodes()}
    assert every - seen == set(NOT_LOWERED)


def test_batch_normalisation_becomes_a_product_and_a_sum() -> None:
    graph = drawn("elementwise", "batch normalisation")
    before, after = interpret(graph, values_for(graph)), interpret(prepared(graph), values_for(graph))
    assert not any(isinstance(node.op, ops.BatchNormalization) for node in prepared(graph).nodes())
    assert all(np.allclose(before[name], after[name], rtol=2e-6, atol=2e-6) for name in before)


def test_what_cannot_be_lowered_is_refused_by_name() -> None:
    d = Draw()
    x = d.input(1, 3, 4)
    d.case = "first"
    wrong = d(ops.Linear(), x, d.input(5, 4), d.real(5))
    d.case = "second"
    d.outputs = [wrong, d(ops.ConvTranspose((4, 4), (2, 2)), d.input(1, 3, 2, 2), d.real(3, 5, 2, 2))]
    with pytest.raises(CompileError) as caught:
        lower(d.graph(), HOST)
    found = [(one.code, one.at, one.because) for one in caught.value.diagnostics]
    assert found == [
        ("T020", "first", "its weights are computed while the model runs"),
        ("T020", "second", "there is no CPU lowering for ConvTranspose"),
    ]
