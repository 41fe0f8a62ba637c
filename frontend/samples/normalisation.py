"""Whether data looks as the model's training normalised it: warnings, since a model runs with any numbers and is wrong."""

from __future__ import annotations

import numpy as np
from edgewright.frontend.samples.data import Samples, input_shapes
from edgewright.frontend.samples.pictures import picture_input
from edgewright.frontend.samples.preprocess import Preprocess
from edgewright.passes.confidence import wilson
from edgewright.passes.ir import Array, Graph
from edgewright.passes.names import plain
from edgewright.passes.ops import Add, Constant, Div, Input, Mul, Sub
from edgewright.passes.ops.groups import MOVES

SLACK = 0.02
"""Share of a rule's range by which values may exceed it: interpolation of float pictures overshoots."""
FAR = 3.0
"""Spreads by which the mean of a data set differs from the training's at most; ImageNet's pictures of one class: below 1."""
NARROW, WIDE = 0.05, 5.0
"""Spread of normalised data: 1 by definition for the training set."""
FEWEST = 20
"""Samples from which on chance is told from a model that is right."""


def unlike_normalised(graph: Graph, samples: Samples, rule: Preprocess | None) -> tuple[str, ...]:
    """Return a warning if the pictures' values look unlike the model's normalisation. rule: what is known of it."""
    name = picture_input(input_shapes(graph))
    if name is None or samples.is_random or samples.inputs[name].dtype.kind != "f":
        return ()
    values = samples.inputs[name]
    limits = f"{values.min():.4g} to {values.max():.4g}"
    seen = f"Values of '{plain(name)}' go from {limits}, mean {values.mean():.3g}, spread {values.std():.3g}: "
    if rule is not None and rule.mean is not None:
        because = _against_rule(values, rule)
    else:
        because = None if _normalises_itself(graph, name) else _raw(values)
    return () if because is None else (seen + because,)


def _against_rule(values: Array, rule: Preprocess) -> str | None:
    """Return what does not fit a rule: values that no pixel becomes, or a set that lies far from the training's."""
    ends = [(pixel * rule.scale - np.asarray(rule.means)) / np.asarray(rule.stds) for pixel in (0, 255)]
    low, high = float(np.minimum(*ends).min()), float(np.maximum(*ends).max())
    room = SLACK * (high - low)
    if values.min() < low - room or values.max() > high + room:
        return f"by --preprocess they lie between {low:.4g} and {high:.4g}; were these arrays normalised in another way?"
    return _shape_of(values)


def _raw(values: Array) -> str | None:
    if values.min() >= 0 and values.max() > 16 and values.max() <= 255:
        return "they look like pixels without normalisation; give them as uint8 with --preprocess, or normalise as in training"
    return _shape_of(values)


def _shape_of(values: Array) -> str | None:
    mean, spread = float(values.mean()), float(values.std())
    if spread < NARROW or spread > WIDE or abs(mean) > FAR:
        return "normalised data has a mean near 0 and a spread near 1; were these normalised as in training?"
    return None


def _normalises_itself(graph: Graph, name: str) -> bool:
    """Return whether the model scales or shifts an input by constants before it does anything else."""
    node = next(node for node in graph.inputs if isinstance(node.op, Input) and node.op.name == name)
    users = [user for user in graph.nodes() if node in user.inputs]
    while len(users) == 1:
        user = users[0]
        if isinstance(user.op, Mul | Div | Add | Sub):
            return any(isinstance(operand.op, Constant) for operand in user.inputs)
        if not isinstance(user.op, MOVES):
            return False
        users = [other for other in graph.nodes() if user in other.inputs]
    return False


def guessing(share: float, classes: int, images: int) -> str | None:
    """Return a warning when the float model is no better than guessing on so many samples; None otherwise."""
    low, high = wilson(share, images)
    if images < FEWEST or low > 1 / classes:
        return None
    return (
        f"The float model is right for {100 * share:.1f} % of {images:,} samples (95 %: {100 * low:.1f} to "
        f"{100 * high:.1f} %), "
        f"no better than guessing one of {classes:,} classes. Check the normalisation (--preprocess), the order of channels "
        "and that of classes (--labels)."
    )
