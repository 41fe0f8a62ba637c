"""Proofs of the hand-written cells: their properties hold, and a changed cell breaks the property that is meant to see it."""

from __future__ import annotations

import pytest

from tests.hw.formal.harnesses import HARNESSES, Size, sources
from tests.hw.formal.mutants import MUTANTS, Mutant
from tests.hw.formal.prove import Verdict, bounded, induction, properties

pytestmark = pytest.mark.proof

SIZES = [(name, size) for name, harness in HARNESSES.items() for size in harness.sizes]
CHANGES = [
    (name, promise, mutant)
    for name, changes in MUTANTS.items()
    for promise, broken in changes.items()
    for mutant in (broken if isinstance(broken, tuple) else (broken,))
]


@pytest.mark.parametrize(("name", "size"), SIZES, ids=[f"{name} {size}" for name, size in SIZES])
def test_nothing_fails(name: str, size: Size) -> None:
    texts, top = sources(name), f"{name}_proof"
    assert bounded(texts, top, size.parameters, size.steps, size.only) == Verdict((), -1)
    if size.depth:
        assert size.depth < size.steps, "the first cycles are the base of the induction"
        assert induction(texts, top, size.parameters, size.depth, size.only) == Verdict((), -1)


@pytest.mark.parametrize(("name", "promise", "mutant"), CHANGES, ids=[f"{name}: {m.name} ({p})" for name, p, m in CHANGES])
def test_a_wrong_cell_is_refuted(name: str, promise: str, mutant: Mutant) -> None:
    texts = sources(name)
    places = [file for file, text in texts.items() if mutant.old in text]
    assert len(places) == 1 and texts[places[0]].count(mutant.old) == 1, "a mutant changes one place"
    texts[places[0]] = texts[places[0]].replace(mutant.old, mutant.new)
    found = bounded(texts, f"{name}_proof", mutant.parameters, mutant.steps, (promise,))
    assert [failed.rpartition(".")[2] for failed in found.failed] in ([promise], [promise] * len(found.failed)) and found.failed


@pytest.mark.parametrize("name", HARNESSES)
def test_each_property_has_a_mutant(name: str) -> None:
    assert sorted(MUTANTS[name]) == sorted(properties(sources(name)[f"{name}_proof.sv"]))
