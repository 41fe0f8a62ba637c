"""The accuracy of a model on labelled data, and the agreement of two models on any data, output by output.

`labels` belong to the first output whose number of classes they fit; an array named after an output is its target.
Values come from torch where it is installed (several times as fast), else from the interpreter; integers always from the
interpreter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
from edgewright.frontend.samples.labelled import LABELS, Labelled
from edgewright.passes.diagnostics import fail
from edgewright.passes.ir import Array, Graph, Level, Node
from edgewright.passes.ir.interp import for_each, interpret
from edgewright.passes.ops import Sigmoid
from edgewright.passes.results import Score
from edgewright.passes.transform import Progress

TOP1 = "top-1"
VALUES = "values right"
SIMILARITY = "cosine similarity"
SAME_CLASS = "same class"
SAME_SIDE = "same side"
_BATCH = 64
_TORCH_BATCH = 250


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two models agree on one output. how: "same class" (the largest value is at the same place), "same side"
    (each value on the same side of the decision) or "cosine similarity" (mean over samples, for outputs that decide
    nothing)."""

    output: str
    how: str
    value: float


def outputs_of(
    graph: Graph, inputs: Mapping[str, Array], stage: str = "", progress: Progress | None = None
) -> dict[str, Array]:
    """Return every output by name, samples along axis 0, as real numbers up to a factor (integers without zero point)."""
    count = len(next(iter(inputs.values())))
    fast = graph.level is Level.FLOAT and find_spec("torch") is not None
    step, model = (_TORCH_BATCH, _by_torch(graph)) if fast else (_BATCH, partial(interpret, graph))
    nodes = dict(zip(graph.output_names, graph.outputs, strict=True))
    parts: dict[str, list[Array]] = {name: [] for name in graph.output_names}
    for begin in range(0, count, step):
        batch = {name: array[begin : begin + step] for name, array in inputs.items()}
        for name, value in model(batch).items():
            parts[name].append(for_each(min(begin + step, count) - begin, nodes[name], value))
        if progress is not None and stage:
            progress(stage, min(begin + step, count), count)
    return {name: np.concatenate(values) - _zero(nodes[name]) for name, values in parts.items()}


def _by_torch(graph: Graph) -> Callable[[dict[str, Array]], dict[str, Array]]:
    from edgewright.passes.learn.measure import outputs
    from edgewright.passes.learn.torch_graph import TorchGraph

    return partial(outputs, TorchGraph(graph))


def _zero(node: Node) -> int:
    return 0 if node.quant is None or not isinstance(node.quant.zero_point, int) else node.quant.zero_point


def targets_of(graph: Graph, data: Labelled) -> dict[str, Array]:
    """Return the targets by output name. CompileError L004: labels that fit no output; L010: targets of another shape."""
    targets: dict[str, Array] = {}
    shapes = {name: node.shape for name, node in zip(graph.output_names, graph.outputs, strict=True)}
    for name, values in data.targets.items():
        if name == LABELS:
            targets[_output_of(shapes, values, data)] = values
        elif name in shapes:
            _check(name, shapes[name], values, data)
            targets[name] = values
    return {name: targets[name] for name in shapes if name in targets}


def _output_of(shapes: Mapping[str, tuple[int, ...]], labels: Array, data: Labelled) -> str:
    classes = {name: count for name, shape in shapes.items() if (count := classes_of(shape)) is not None}
    most = int(labels.max(initial=0))
    exact = [name for name, count in classes.items() if count == most + 1]
    wide = [name for name, count in classes.items() if count > most]
    if not wide:
        has = ", ".join(f"'{name}' with {count}" for name, count in classes.items()) or "none"
        because = f"they go up to {most}; outputs with classes: {has}"
        help_text = "number the classes from 0, in the order of the model's outputs, or name an array after its output"
        fail("L004", "labels out of range", f"labels in {data.source}", because, help_text)
    return (exact or wide)[0]


def _check(name: str, shape: tuple[int, ...], values: Array, data: Labelled) -> None:
    if is_class(shape, values) and int(values.min(initial=0)) >= 0 and int(values.max(initial=0)) < (classes_of(shape) or 0):
        return
    if values.shape[1:] == shape[1:] and np.isin(values, (0, 1)).all():
        return
    count = classes_of(shape)
    wanted = "0 and 1 for each value" if count is None else f"classes from 0 to {count - 1}, one for each sample"
    because = (
        f"it is {' x '.join(map(str, values.shape))} of {values.dtype} from {values.min()} to {values.max()}, and the "
        f"output is {' x '.join(map(str, shape[1:]))} for each sample"
    )
    message, at = f"targets that do not fit output '{name}'", f"array '{name}' in {data.source}"
    fail("L010", message, at, because, f"give {wanted}, or omit the array")


def output_of(graph: Graph, name: str) -> Node:
    """Return an output by its name."""
    return graph.outputs[graph.output_names.index(name)]


def is_class(shape: tuple[int, ...], values: Array) -> bool:
    """Return whether targets are one class a sample for an output of this shape."""
    return values.ndim == 1 and values.dtype.kind in "iu" and classes_of(shape) is not None


def classes_of(shape: tuple[int, ...]) -> int | None:
    """Return how many classes an output of this shape distinguishes; None for one that has more axes."""
    size = math.prod(shape[1:])
    return size if size > 1 and size == max(shape[1:]) else None


def scores(graph: Graph, outputs: Mapping[str, Array], data: Labelled) -> tuple[Score, ...]:
    """Return a score for each output that has targets, classes first."""
    rows = []
    for name, wanted in targets_of(graph, data).items():
        node, values = output_of(graph, name), outputs[name]
        if is_class(node.shape, wanted):
            right = values.reshape(len(wanted), -1).argmax(axis=1) == wanted
            rows.append(Score(name, TOP1, float(right.mean()), len(wanted)))
        else:
            rows.append(Score(name, VALUES, float((_sides(node, values) == (wanted > 0.5)).mean()), len(wanted)))
    return tuple(sorted(rows, key=lambda row: row.metric != TOP1))


def measured_scores(graph: Graph, data: Labelled, progress: Progress) -> tuple[Score, ...]:
    """Return the score of each output with targets; see `scores`."""
    return scores(graph, outputs_of(graph, data.inputs, "measure accuracy", progress), data)


def _sides(node: Node, values: Array) -> Array:
    """Return True where a value is on the positive side: above one half for probabilities, above zero for logits."""
    sides: Array = values > (0.5 if isinstance(node.op, Sigmoid) else 0.0)
    return sides


def agreements(
    before: Graph, after: Graph, left: Mapping[str, Array], right: Mapping[str, Array], data: Labelled
) -> tuple[Agreement, ...]:
    """Return the agreement on each output that both models have. `left`, `right`: their outputs on the same samples."""
    rows = []
    decided = {name for name, wanted in data.targets.items() if name in after.output_names and wanted.ndim > 1}
    for name, node in zip(after.output_names, after.outputs, strict=True):
        if name not in left or left[name].shape != right[name].shape:
            continue
        if name in decided:
            same = _sides(output_of(before, name), left[name]) == _sides(node, right[name])
            rows.append(Agreement(name, SAME_SIDE, float(same.mean())))
        elif classes_of(node.shape) is not None:
            old, new = (values.reshape(len(values), -1).argmax(axis=1) for values in (left[name], right[name]))
            rows.append(Agreement(name, SAME_CLASS, float((old == new).mean())))
        else:
            rows.append(Agreement(name, SIMILARITY, _cosine(left[name], right[name])))
    return tuple(rows)


def _cosine(left: Array, right: Array) -> float:
    """Return the mean over samples; 1 for equal values, 0 at least."""
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (left, right))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    each = np.where(norms > 0, (a * b).sum(axis=1) / np.maximum(norms, 1e-300), (a == b).all(axis=1))
    return float(min(1.0, max(0.0, each.mean())))
