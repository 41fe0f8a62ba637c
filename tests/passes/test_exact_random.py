"""Exact passes, each alone and all in a row, on random float graphs: every operator beside every norm."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.frontend.canonical.canonicalise import GROUPS
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.exact.reparameterise import ReparameteriseLayerNorm
from edgewright.passes.exact.split_outliers import SplitOutliers
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.types import Array
from edgewright.passes.pipeline import float_passes, optimise
from edgewright.passes.quantisation.calibrate import calibrate
from edgewright.passes.transform import Pass
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.agreement import difference, outputs_under_noise, tolerances
from tests.fuzz.float_networks import NORMS, around, chain
from tests.fuzz.float_steps import STEPS

PASSES = {step.name: step for rms_norm in (False, True) for step in float_passes(rms_norm)}


def results(graph: Graph, values: dict[str, Array]) -> list[Array]:
    with np.errstate(all="ignore"):
        return outputs_under_noise(graph, values, np.random.default_rng(0), 0.0)


def calibrated(graph: Graph, values: dict[str, Array]) -> list[Pass]:
    """The passes that look at ranges, where every value has one."""
    try:
        seen = calibrate(graph, values)
    except CompileError:
        return []
    return [ReparameteriseLayerNorm(seen), SplitOutliers(seen)]


def disagreements(graph: Graph, values: dict[str, Array], extreme: float) -> list[str]:
    """Which passes change what an output is, by more than rounding does, or lose a value that was finite."""
    wanted, allowed = results(graph, values), tolerances(graph, values)
    found = []

    def compare(name: str, after: Graph) -> None:
        for i, (a, b, most) in enumerate(zip(wanted, results(after, values), allowed, strict=True)):
            if np.isfinite(a).all() and difference(a, b) > most:
                found.append(f"{name}: output {i} differs by {difference(a, b):.2g}, allowed {most:.2g}")

    with np.errstate(all="ignore"):
        # a normalisation that is written out overflows where the operator it is recognised as does not
        for step in (*PASSES.values(), *calibrated(graph, values), *(() if extreme else GROUPS)):
            compare(step.name, step(graph)[0])
        for rms_norm in (False, True):
            compare(f"optimise(rms_norm={rms_norm})", optimise(graph, rms_norm=rms_norm)[0])
    return found


@pytest.mark.long
@pytest.mark.parametrize("extreme", [0.0, 0.15], ids=["usual", "extreme"])
@pytest.mark.parametrize("norm", NORMS)
def test_every_operator_before_and_behind_a_norm(norm: str, extreme: float) -> None:
    steps = list(STEPS)
    behind = np.random.default_rng(len(norm)).permutation(steps)
    half = (list(NORMS).index(norm) + (extreme > 0)) % 2  # the other half of the pairs, beside the other kinds of norms
    for seed, (first, second) in list(enumerate(zip(steps, behind, strict=True)))[half::2]:
        graph, values = around(first, norm, second, seed, extreme)
        assert not disagreements(graph, values, extreme), (first, norm, second, seed)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), extreme=st.sampled_from([0.0, 0.0, 0.1]))
def test_random_chains(seed: int, extreme: float) -> None:
    graph, values = chain(8, seed, extreme)
    assert not disagreements(graph, values, extreme)
