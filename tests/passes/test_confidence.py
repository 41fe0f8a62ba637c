"""Intervals of shares: against published values and against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.confidence import mcnemar, paired_difference, wilson
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_s_interval_as_published(right: int, count: int, low: float, high: float) -> None:
    """R. Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert wilson(right / count, count) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 200), st.integers(1, 200))
def test_an_interval_holds_the_measured_share(right: int, count: int) -> None:
    share = min(right, count) / count
    low, high = wilson(share, count)
    assert 0 <= low <= share <= high <= 1
    again = wilson(share, 4 * count)
    assert again[1] - again[0] < high - low


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    for truth, count in ((0.9, 100), (0.5, 40), (0.98, 256)):
        shares = random.binomial(count, truth, 4000) / count
        covered = np.mean([low <= truth <= high for low, high in (wilson(float(share), count) for share in shares)])
        assert 0.93 <= covered <= 0.98


def test_paired_differences_cover_the_truth_too() -> None:
    random = np.random.default_rng(1)
    cells = random.multinomial(200, [0.85, 0.02, 0.05, 0.08], 3000)  # both right, only the first, only the second, none
    covered = [low <= 0.03 <= high for low, high in (paired_difference(int(c[1]), int(c[2]), 200) for c in cells)]
    assert 0.93 <= np.mean(covered) <= 0.98


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_symmetric_and_a_probability(first: int, second: int) -> None:
    assert mcnemar(first, second) == mcnemar(second, first) and 0 <= mcnemar(first, second) <= 1


def test_mcnemar_s_exact_values() -> None:
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 32) and mcnemar(1, 7) == pytest.approx(2 * 9 / 256)
