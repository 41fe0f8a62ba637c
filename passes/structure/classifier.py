"""The classifier at the end of a graph: found, and replaced by one for some of the classes and an "other"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes import ops
from edgewright.passes.diagnostics import fail
from edgewright.passes.ir import Array, Graph, Node, make

FEATURES, LOGITS = "features", "logits"


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """features: (1, width), what the last product reads; head: that product, (1, classes); output: its name."""

    features: Node
    head: Node
    output: str

    @property
    def classes(self) -> int:
        return self.head.shape[-1]


def find_classifier(graph: Graph) -> Classifier:
    """Return the one output that a Linear computes, one row per sample (a Softmax after it is looked through).
    CompileError K001 when there is not one, or several."""
    classifiers: list[Classifier] = []
    for name, node in zip(graph.output_names, graph.outputs, strict=True):
        while isinstance(node.op, (ops.Softmax, ops.Reshape)):
            node = node.inputs[0]
        constant = isinstance(node.op, ops.Linear) and all(isinstance(n.op, ops.Constant) for n in node.inputs[1:])
        if constant and node.type.size == node.shape[-1] and node.shape[-1] > 1:
            classifiers.append(Classifier(node.inputs[0], node, name))
    if len(classifiers) == 1:
        return classifiers[0]
    outputs = ", ".join(f"{name} {node.type}" for name, node in zip(graph.output_names, graph.outputs, strict=True))
    if classifiers:
        because = f"several outputs are: {', '.join(classifier.output for classifier in classifiers)}"
        help_text = "keep one task first: edgewright optimise MODEL --task NAME"
    else:
        because = f"no output is one row of class scores from a linear layer (outputs: {outputs})"
        help_text = "split takes a model that ends in one linear layer over classes"
    fail("K001", "the model has no classifier to split", graph.name, because, help_text)


def keep_classes(graph: Graph, classes: Sequence[int]) -> Graph:
    """Return the graph with outputs "features" (1, width) and "logits" (1, len(classes) + 1): those classes and, unless
    they are all of them, "other", which starts as the mean of the rest with the bias that their number gives it.

    ValueError for classes that repeat or that the head does not have.
    """
    classifier = find_classifier(graph)
    chosen = list(classes)
    if len(set(chosen)) != len(chosen) or not chosen or min(chosen) < 0 or max(chosen) >= classifier.classes:
        raise ValueError(f"classes {chosen} of a head with {classifier.classes}")
    weight, bias = (ops.array_of(n) for n in classifier.head.inputs[1:])
    rest = [c for c in range(classifier.classes) if c not in set(chosen)]
    w, b = weight[chosen], bias[chosen]
    if rest:
        w = np.concatenate([w, weight[rest].mean(axis=0, keepdims=True)])
        b = np.concatenate([b, [bias[rest].mean() + np.log(len(rest))]])
    features = classifier.features
    if features.type.rank != 2:
        features = make(ops.Reshape((1, features.shape[-1])), features, origin=features.origin)
    logits = make(
        ops.Linear(),
        features,
        _constant(w, classifier.head, 1),
        _constant(b, classifier.head, 2),
        origin=classifier.head.origin,
    )
    return Graph(graph.name, graph.inputs, (features, logits), (FEATURES, LOGITS), graph.level)


def collapsed(scores: Array, classes: Sequence[int]) -> Array:
    """Probabilities (samples, classes of the whole head) -> (samples, len(classes) + 1), the rest summed as the last; as
    many as there are classes when none is left over."""
    chosen = scores[:, list(classes)]
    if len(classes) == scores.shape[1]:
        return chosen
    return np.concatenate([chosen, 1.0 - chosen.sum(axis=1, keepdims=True)], axis=1).clip(0.0, 1.0)


def relabelled(labels: Array, classes: Sequence[int]) -> Array:
    """Labels of the whole head as labels of a part: places in `classes`, len(classes) for any other."""
    places = np.full(int(labels.max(initial=0)) + 1, len(classes), np.int64)
    for place, chosen in enumerate(classes):
        if chosen < len(places):
            places[chosen] = place
    return np.asarray(places[labels])


def _constant(value: Array, head: Node, position: int) -> Node:
    return ops.constant(value.astype(np.float32), head.inputs[position].origin)
