"""What training makes small: the teacher's answers, the labels, or the values in between. Means over rows."""

from __future__ import annotations

from edgewright.passes.learn.torch_import import Tensor, functional


def distil(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(softmax(teacher / T), softmax(student / T)) over the last axis; no gradient for the teacher.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network (arXiv 1503.02531), section 2.
    """
    target = functional.log_softmax(teacher.detach() / temperature, -1).flatten(0, -2)
    answers = functional.log_softmax(student / temperature, -1).flatten(0, -2)
    return functional.kl_div(answers, target, reduction="batchmean", log_target=True) * temperature**2


def known_answers(logits: Tensor, teacher: Tensor, labels: Tensor, label_share: float) -> Tensor:
    """Return KL(teacher, softmax(logits)) of probabilities (rows, classes), and for `label_share` of it the cross entropy
    with labels (rows,)."""
    probabilities = teacher.clamp_min(1e-6)
    distilled = functional.kl_div(functional.log_softmax(logits, -1), probabilities, reduction="batchmean")
    return (1 - label_share) * distilled + label_share * functional.cross_entropy(logits, labels)


def feature_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Return mean squared difference over the teacher's mean square: 0 when equal, 1 for a student that is always 0."""
    teacher = teacher.detach()
    return functional.mse_loss(student, teacher) / teacher.square().mean().clamp_min(1e-12)
