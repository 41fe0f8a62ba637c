"""Losses against their definitions, and fast measures against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.learn.dataset import LearningData

from tests.mixed_models import plain_attention, samples, windows_network
from tests.models import images, tiny_vit
from tests.passes.learn.reference import assert_close

pytestmark = pytest.mark.train


def test_distillation_is_the_divergence_of_softened_answers() -> None:
    import torch
    from edgewright.passes.learn.losses import distil

    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 5, 7))

    def softmax(x: Array) -> Array:
        e = np.exp(x)
        result: Array = e / e.sum(-1, keepdims=True)
        return result

    p, q = softmax(teacher / 3), softmax(student / 3)
    wanted = 9 * (p * np.log(p / q)).sum(-1).mean()
    a, b = torch.tensor(student, requires_grad=True), torch.tensor(teacher, requires_grad=True)
    assert distil(a, b, 3).item() == pytest.approx(wanted)
    assert distil(a.reshape(5, 1, 7), b.reshape(5, 1, 7), 3).item() == pytest.approx(wanted)
    torch.autograd.backward(distil(a, b))
    assert a.grad is not None and b.grad is None
    assert distil(a, a).item() == pytest.approx(0, abs=1e-12)


def test_feature_difference_is_relative_and_labels_count_by_their_share() -> None:
    import torch
    from edgewright.passes.learn.losses import feature_mse, known_answers

    teacher = torch.tensor([[3.0, -4.0], [0.0, 5.0]])
    assert float(feature_mse(torch.zeros(2, 2), teacher)) == pytest.approx(1)
    assert float(feature_mse(teacher, teacher)) == 0 and float(feature_mse(teacher / 10, teacher / 10 + 1e-9)) < 1e-12
    logits, labels = torch.log(torch.tensor([[0.7, 0.2, 0.1]])), torch.tensor([0])
    teacher = torch.tensor([[0.2, 0.5, 0.3]])
    divergence = sum(p * np.log(p / q) for p, q in ((0.2, 0.7), (0.5, 0.2), (0.3, 0.1)))
    wanted = 0.9 * divergence - 0.1 * np.log(0.7)
    assert float(known_answers(logits, teacher, labels, 0.1)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("count", [1, 7, 64, 70])
def test_outputs_over_batches_equal_the_interpreter(count: int) -> None:
    from edgewright.passes.learn.measure import outputs

    for graph in (tiny_vit(), windows_network(), plain_attention()):
        inputs = samples(graph, count)
        found, wanted = outputs(graph, inputs, 32), interpret(graph, inputs)
        assert set(found) == set(wanted)
        for name in wanted:
            assert_close(found[name], wanted[name])


def test_accuracy_and_agreement() -> None:
    from edgewright.passes.learn.measure import agreement, top1
    from edgewright.passes.learn.torch_graph import TorchGraph

    graph, other = tiny_vit(0), tiny_vit(1)
    x = images(graph, 80)
    labels, others = (interpret(g, {"image": x})["logits"].argmax(-1) for g in (graph, other))
    data = LearningData({"image": x}, labels)
    assert top1(graph, data) == agreement(graph, TorchGraph(graph), data) == 1
    assert top1(other, data) == agreement(graph, other, LearningData({"image": x})) == (labels == others).mean() < 0.9
    with pytest.raises(CompileError, match="the data has no labels"):
        top1(graph, LearningData({"image": x}))
