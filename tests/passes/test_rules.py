"""Every pass that keeps a float graph's function, on two short texts and by values: `tests/passes/rules/*.txt`."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.ir.interp import interpret

from tests.passes.rule_cases import FOLDER, Case, applied, graph_of, inputs_of, passes, read, text_of

CASES = [case for path in sorted(FOLDER.glob("*.txt")) for case in read(path)]
PASSES = passes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.title}")
def test_a_pass_makes_the_second_text_of_the_first(case: Case) -> None:
    graph = graph_of(case.before)
    after = applied(PASSES[case.rule], graph)
    assert text_of(after) == (case.after if case.after != case.before else text_of(graph))
    for seed in range(3):
        values = inputs_of(graph, seed=seed)
        for name, wanted in interpret(graph, values).items():
            result = interpret(after, values)[name]
            assert result.shape == wanted.shape
            assert np.allclose(result, wanted, rtol=1e-4, atol=2e-5 * max(1.0, float(np.abs(wanted).max())))


def test_every_pass_has_a_case_and_says_what_it_does() -> None:
    assert {case.rule for case in CASES} == PASSES.keys()
    for name, step in PASSES.items():
        assert all(f"{word}:" in (step.__doc__ or "") for word in ("Before", "After", "Exact", "Source")), name
