"""Sub-models learn: importance, the three stages, fusion, and a run that goes on where it was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, Node, rebuild
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.verify import verify
from edgewright.passes.ops import Linear, constant, value_of
from edgewright.passes.splitting.split_classes import SplitClasses, answer, identity
from edgewright.passes.structure.classifier import keep_classes
from edgewright.passes.structure.prune_structure import CHANNEL, HEAD, HIDDEN, prune, structure_of
from edgewright.passes.structure.sub_model_shape import SubShape

from tests.models import images, tiny_vit

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def task(count: int = 240, classes: int = 4) -> tuple[Graph, Any]:
    """A small network, and images with its own answers as labels; every class is there."""
    from edgewright.passes.learn.dataset import LearningData

    graph = tiny_vit(3, image=8, classes=classes, width=16, heads=2, hidden=24, blocks=1)
    many = images(graph, 40 * count)
    labels = interpret(graph, {"image": many})["logits"].argmax(-1)
    chosen = np.concatenate([np.flatnonzero(labels == c)[: count // classes] for c in range(classes)])
    chosen = np.random.default_rng(0).permutation(chosen)
    return graph, LearningData({"image": many[chosen]}, labels[chosen])


def short(**changes: Any) -> Any:
    """A schedule of a second."""
    from edgewright.passes.learn.class_pruning import PruningSchedule, PruningStage

    given = {
        "channels": PruningStage(320, 200, 2e-3),
        "heads": PruningStage(320, 200, 2e-3),
        "hidden": PruningStage(4800, 200, 3e-3),
        "together": PruningStage(1600, 200, 2e-3),
        "batch": 32,
        "score_images": 64,
        "exact_images": 32,
        "exact": 4,
    }
    return PruningSchedule(**{**given, **changes})


def muted(graph: Graph, group: int, quiet: list[int]) -> Graph:
    """The graph with the columns of hidden units in its second feed-forward product set to 0."""
    second = [n for n in graph.nodes() if isinstance(n.op, Linear) and n.name.endswith("fc2")][group]

    def change(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if node is not second.inputs[1]:
            return None
        value = np.array(value_of(node))
        value[:, quiet] = 0
        return constant(value)

    return rebuild(graph, change)


def test_estimates_follow_exact_divergences() -> None:
    import torch
    from edgewright.passes.learn.class_pruning import estimate_divergence
    from edgewright.passes.learn.measure import outputs
    from edgewright.passes.structure.classifier import FEATURES

    graph, data = task()
    part = keep_classes(graph, (0, 1))
    structure = structure_of(part, (FEATURES,))

    def log_answers(one: Graph) -> Any:
        return torch.log_softmax(torch.from_numpy(outputs(one, data)["logits"]), -1)

    wanted = log_answers(part)
    for kind, least in ((HIDDEN, 0.6), (CHANNEL, 0.3)):
        (estimated,) = estimate_divergence(structure, kind, data)
        exact = []
        for unit in structure.groups(kind)[0]:
            found = log_answers(prune(structure, [unit]))
            exact.append(float((wanted.exp() * (wanted - found)).sum(-1).mean()))
        ranks = [np.argsort(np.argsort(values)) for values in (estimated, np.array(exact))]
        assert (estimated >= 0).all() and np.corrcoef(ranks[0], ranks[1])[0, 1] > least


def test_units_that_do_nothing_go_first() -> None:
    from edgewright.passes.learn.class_pruning import cut_to

    graph, data = task()
    quiet = [0, 5, 6, 11, 17, 23]
    part = keep_classes(muted(graph, 0, quiet), (2, 3))
    small = cut_to(part, SubShape(16, 2, 18), HIDDEN, data, short())
    x = images(graph, 4)
    before, after = (interpret(one, {"image": x})["logits"] for one in (part, small))
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert len(structure_of(small).hidden[0]) == 18
    assert cut_to(part, SubShape(16, 2, 24), HEAD, data, short()) is part
    one = cut_to(part, SubShape(16, 1, 24), HEAD, data, short(exact=1))  # the estimate alone decides
    assert len(structure_of(one).heads[0]) == 1


def test_samples_are_balanced() -> None:
    from edgewright.passes.learn.class_pruning import balanced

    labels = np.repeat(np.arange(5), [50, 10, 50, 50, 50])
    chosen = balanced(labels, (0, 1), 40, 0)
    counts = np.bincount(labels[chosen], minlength=5).tolist()
    assert counts == [10, 10, 6, 6, 6] and len(set(chosen.tolist())) == len(chosen)
    assert np.bincount(labels[balanced(labels, range(5), 50, 0)]).tolist() == [10] * 5
    assert not np.array_equal(chosen, balanced(labels, (0, 1), 40, 1))


def test_a_split_learns_and_resumes_to_the_same_result(tmp_path: Path) -> None:
    graph, data = task()
    said: list[str] = []
    told: list[tuple[str, int, int]] = []
    work = SplitClasses(
        2,
        "confusion",
        0.5,
        4,
        seed=1,
        schedule=short(),
        checkpoints=tmp_path,
        say=said.append,
        progress=lambda *step: told.append(step),
    )
    split = work.run(graph, data)
    for part, sub_model in zip(split.plan.partition, split.sub_models, strict=True):
        verify(sub_model)
        shapes = [node.shape for node in sub_model.outputs]
        assert sub_model.output_names == ("features", "logits") and shapes[1] == (1, len(part) + 1)
        found = structure_of(sub_model, ("features",))
        sizes = (len(found.channels), len(found.heads[0]), len(found.hidden[0]))
        assert SubShape(*sizes) == split.plan.shapes[0]
    assert [stage.kind for stage in split.pruned[0]] == [CHANNEL, HEAD, HIDDEN]
    assert len(said) == 7 and "sub-model 2 of 2" in said[-2] and said[-1].startswith("all together")
    assert all(0 <= done <= total for _, done, total in told) and told[0][0] == "sub-model 1 of 2, channels"
    assert data.labels is not None
    accuracy = float((answer(split, data).argmax(-1) == data.labels).mean())
    assert accuracy > 0.5  # chance is 0.25
    assert split.together.loss[1] < split.together.loss[0]
    for stopped in ("together.pt", "fusion.pt", "sub-model 2 of 2-2-hidden.pt", "sub-model 2 of 2-1-head.start.npz"):
        (tmp_path / stopped).unlink()
    again = replace(work, resume=True).run(graph, data)
    assert identity(again) == identity(split)
    for changed, word in ((replace(work, resume=True, seed=2), "seed"), (replace(work, resume=True, size=0.4), "size")):
        with pytest.raises(CompileError) as error:
            changed.run(graph, data)
        assert error.value.diagnostics[0].code == "K008" and word in error.value.diagnostics[0].because
    replace(work, seed=2)._claim(graph, data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.npy", "run.json"]


def test_together_they_learn_what_none_could_know_alone() -> None:
    from edgewright.passes.learn.class_fusion import train_fusion
    from edgewright.passes.learn.class_pruning import PruningStage
    from edgewright.passes.learn.class_tuning import tune_together
    from edgewright.passes.learn.measure import outputs

    graph, data = task()
    assert data.labels is not None
    partition = ((0, 1), (2, 3))
    alone = [keep_classes(graph, part) for part in partition]
    features = [np.zeros_like(outputs(one, data)["features"]) for one in alone]  # a fusion that has learned nothing
    teacher = np.eye(4)[data.labels]
    fusion = train_fusion(features, data.labels, teacher, 0, steps=20)
    together = tune_together(alone, fusion, partition, data, teacher, PruningStage(9600, 240, 3e-3), 32, 0)
    found = [outputs(one, data) for one in together.sub_models]
    joined = outputs(together.fusion, {f"features_{i}": one["features"] for i, one in enumerate(found)})["logits"]
    assert (joined.argmax(-1) == data.labels).mean() > 0.8
    for part, one in zip(partition, found, strict=True):  # and can still be asked alone
        own = np.array([part.index(c) if c in part else 2 for c in data.labels])
        assert (one["logits"].argmax(-1) == own).mean() > 0.8


def test_one_device_keeps_all_classes_and_has_no_other() -> None:
    graph, data = task(120)
    split = SplitClasses(1, size=0.6, schedule=short()).run(graph, data)
    assert split.sub_models[0].outputs[1].shape == (1, 4) and answer(split, data).shape == (len(data), 4)


def test_data_that_cannot_teach_is_refused() -> None:
    from edgewright.passes.learn.dataset import LearningData

    graph, data = task(80)
    assert data.labels is not None
    missing = data.choose(np.flatnonzero(data.labels != 2))
    wrong = LearningData(data.inputs, data.labels + 1)
    unlabelled = LearningData(data.inputs)
    for given, code in ((missing, "L005"), (wrong, "L004"), (unlabelled, "L007")):
        with pytest.raises(CompileError) as error:
            SplitClasses(2, schedule=short()).run(graph, given)
        assert code in [one.code for one in error.value.diagnostics]


def test_the_fusion_of_perfect_features_is_perfect() -> None:
    from edgewright.passes.learn.class_fusion import fusion_graph, train_fusion
    from edgewright.passes.learn.measure import outputs

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    features = [
        (100 + 50 * np.eye(4)[labels][:, cols] + rng.normal(0, 1, (400, 2))).astype(np.float32) for cols in ([0, 1], [2, 3])
    ]
    graph = train_fusion(features, labels, np.eye(4)[labels], 0, steps=300)
    found = outputs(graph, {"features_0": features[0], "features_1": features[1]})["logits"].argmax(-1)
    assert (found == labels).mean() > 0.98
    joined = np.concatenate(features, axis=1)
    first = fusion_graph([2, 2], 4, 0, joined.mean(axis=0), joined.std(axis=0))
    inner = next(n for n in first.nodes() if n.name == "fuse1")
    hidden = interpret(Graph("h", first.inputs, (inner,), ("h",)), {"features_0": features[0], "features_1": features[1]})["h"]
    assert abs(float(hidden.mean())) < 0.5 and float(hidden.std()) < 3
