"""Classes shared out among sub-models: evenly in order, or so that classes that are mistaken for each other stay together.

Source: ED-ViT (arXiv 2410.11650) shares them out evenly; keeping confused classes together is this project's addition:
the sub-model that has both learns what tells them apart, which no other one can.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from edgewright.passes.diagnostics import fail
from edgewright.passes.ir import Array

Partition = tuple[tuple[int, ...], ...]
Method = Literal["even", "confusion"]


def partition_even(classes: int, parts: int) -> Partition:
    """Run of neighbouring classes whose sizes differ by at most 1, the larger first. CompileError K004."""
    check_parts(classes, parts)
    return tuple(tuple(part.tolist()) for part in np.array_split(np.arange(classes), parts))


def partition_by_confusion(confusion: Array, parts: int) -> Partition:
    """Parts of the sizes of `partition_even` that keep much confusion inside. Greedy: a part starts with the class that is
    most confused with any other left and takes whoever is most confused with it; then exchanges, while they help.

    confusion: (classes, classes), how often (or with how much probability) row is taken for column.
    """
    classes = len(confusion)
    sizes = sorted((len(part) for part in partition_even(classes, parts)), reverse=True)
    between = np.asarray(confusion, np.float64) + np.asarray(confusion, np.float64).T
    np.fill_diagonal(between, 0.0)
    groups: list[list[int]] = []
    left = list(range(classes))
    for size in sizes:
        group = [max(left, key=lambda c: (between[c][left].max(), -c))]
        left.remove(group[0])
        while len(group) < size:
            best = max(left, key=lambda c: (between[c][group].sum(), -c))
            group.append(best)
            left.remove(best)
        groups.append(group)
    _exchange(groups, between)
    return tuple(sorted(tuple(sorted(group)) for group in groups))


def confusion_of(probabilities: Array, labels: Array) -> Array:
    """Return (classes, classes): the mean probability that samples of the row's class give the column's."""
    classes = probabilities.shape[1]
    total = np.zeros((classes, classes))
    np.add.at(total, labels, probabilities)
    counts = np.bincount(labels, minlength=classes)
    return total / np.maximum(1, counts)[:, None]


def check_parts(classes: int, parts: int) -> None:
    """Raise CompileError K004 when there are more parts than classes."""
    if not 1 <= parts <= classes:
        fail(
            "K004",
            "more devices than classes",
            f"{parts} devices",
            f"each device gets classes of its own, and the model has {classes}",
            f"name at most {classes} devices in the fleet",
        )


def _exchange(groups: list[list[int]], between: Array) -> None:
    """Swaps of two classes between parts while one raises the confusion inside parts."""

    def inside(label: int, group: list[int]) -> float:
        return float(sum(between[label][other] for other in group if other != label))

    improved = True
    while improved:
        improved = False
        for i, first in enumerate(groups):
            for second in groups[i + 1 :]:
                for x in range(len(first)):
                    for y in range(len(second)):
                        a, b = first[x], second[y]
                        before = inside(a, first) + inside(b, second)
                        swapped = [*first[:x], b, *first[x + 1 :]], [*second[:y], a, *second[y + 1 :]]
                        if inside(b, swapped[0]) + inside(a, swapped[1]) > before + 1e-12:
                            first[x], second[y] = b, a
                            improved = True
