"""A fixed share of the mutated models; `python -m tests.fuzz.mutated_models` runs any number of them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fuzz.mutated_models import case, run
from tests.fuzz.mutation_bases import BASES, base_bytes
from tests.fuzz.mutation_checks import check

COUNT = 300


@pytest.mark.long
def test_mutated_models_are_right_or_refused() -> None:
    verdicts = dict(run(0, 0, COUNT))
    assert len(verdicts) == COUNT
    faults = {index: verdict.where for index, verdict in verdicts.items() if verdict.kind == "fault"}
    assert not faults, "repeat one with: python -m tests.fuzz.mutated_models --seed 0 --only INDEX"
    kinds = Counter(verdict.kind for verdict in verdicts.values())
    assert sum(verdict.compared for verdict in verdicts.values()) > 0.4 * COUNT, kinds  # the check itself is alive


@pytest.mark.parametrize("base", range(len(BASES)))
def test_bases_are_sound(base: int) -> None:
    verdict = check(base_bytes(base))
    assert verdict.kind != "fault" and verdict.compared, verdict


def test_a_seed_gives_the_same_models() -> None:
    assert case(3, 17) == case(3, 17) != case(4, 17)
