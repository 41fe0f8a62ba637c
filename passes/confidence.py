"""How far a measured share of right answers may be from the true one."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""The normal distribution's quantile for 95 %, both sides."""


def wilson(share: float, count: int, z: float = Z95) -> tuple[float, float]:
    """Return the interval that holds the true share, with 95 % confidence, when `share` of `count` samples were right.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927): the score
    interval, which holds for few samples and for shares near 0 and 1."""
    if count < 1:
        return 0.0, 1.0
    squared = z * z
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    half = z / (1 + squared / count) * math.sqrt(share * (1 - share) / count + squared / (4 * count * count))
    return max(0.0, middle - half) if share > 0 else 0.0, min(1.0, middle + half) if share < 1 else 1.0


def paired_difference(only_first: int, only_second: int, count: int, z: float = Z95) -> tuple[float, float]:
    """Return the interval of how much more often the second of two models is right, measured on the same `count` samples, of
    which so many only one of them got right.

    Source: A. Agresti, Y. Min, Simple improved confidence intervals for comparing matched proportions, Statistics in
    Medicine 24 (2005): Wald's interval after half a sample is added to each of the four cells."""
    total = count + 2.0
    first, second = only_first + 0.5, only_second + 0.5
    difference = (second - first) / total
    half = z * math.sqrt(max(0.0, first + second - (second - first) ** 2 / total)) / total
    return max(-1.0, difference - half), min(1.0, difference + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return how likely two equally good models differ at least as much on the same samples (exact, two-sided).

    Source: Q. McNemar, Psychometrika 12 (1947); the exact form is a sign test of the samples that one alone gets right."""
    count, fewer = only_first + only_second, min(only_first, only_second)
    if count == 0:
        return 1.0
    logs = [
        math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1) - count * math.log(2) for i in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))
