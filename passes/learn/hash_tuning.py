"""Fine-tuning of a hashed model: all weights and its hash functions learn what the unmodified model says.

Signs pass gradients straight through where they are near (EcoFormer, section 3.3); other than there, the coefficients and
thresholds learn too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgewright.passes.ir import Array, Graph, Node
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.fit import Batch, History, fit
from edgewright.passes.learn.losses import distil, feature_mse
from edgewright.passes.learn.recipe import Recipe
from edgewright.passes.learn.torch_graph import TorchGraph
from edgewright.passes.learn.torch_import import Tensor, torch
from edgewright.passes.learn.weights import learnable_constants
from edgewright.passes.ops import HashCodes
from edgewright.passes.transform import Progress

TEMPERATURE = 2.0


def tune(
    teacher: Graph,
    student: Graph,
    samples: Mapping[str, Array],
    recipe: Recipe,
    *,
    pairs: Sequence[tuple[Node, Node]] = (),
    hidden: float = 0.0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Graph, History]:
    """Distillation: logits (samples, classes) by their softmax, other outputs by their relative squared error. Return the
    graph with what it learned, and how the training went.

    pairs: values of teacher and student that have to be alike too, with weight `hidden` in all.
    """
    answering = TorchGraph(teacher, lambda node: False)
    module = TorchGraph(student, (learnable_constants(student) | hash_functions(student)).__contains__)
    theirs, ours = [a for a, _ in pairs] if hidden else [], [b for _, b in pairs] if hidden else []
    outputs = len(student.outputs)

    def compare(batch: Batch) -> Tensor:
        with torch.no_grad():
            answers = answering.evaluate(batch.inputs, (*teacher.outputs, *theirs))
        values = module.evaluate(batch.inputs, (*student.outputs, *ours))
        total = torch.zeros(())
        for i, (value, answer) in enumerate(zip(values, answers, strict=True)):
            if i >= outputs:
                total = total + hidden / len(ours) * feature_mse(value, answer)
            else:
                classes = value.ndim == 2 and value.shape[-1] > 1
                total = total + (distil(value, answer, TEMPERATURE) if classes else feature_mse(value, answer))
        return total

    history = fit(
        module, recipe, LearningData(samples), compare, checkpoint=checkpoint, progress=progress, stage="tune hashed attention"
    )
    return module.to_graph(), history


def hash_functions(graph: Graph) -> set[Node]:
    """Coefficients and thresholds of hash codes; their anchors stay where they are."""
    return {operand for node in graph.nodes() if isinstance(node.op, HashCodes) for operand in node.inputs[2:]}
