"""The training loop: it learns, averages, tells, and an interrupted run ends with the same bits."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.types import Array
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.recipe import Recipe

from tests.models import images, tiny_vit

pytestmark = pytest.mark.train

GRAPH = tiny_vit(0, image=8, width=16, heads=1)
DATA = LearningData({"image": images(GRAPH, 100)}, np.arange(100) % 10)


class Stopped(Exception):
    """What interrupts a run in these tests."""


def trained(
    recipe: Recipe, checkpoint: Path | None = None, stop_at: int | None = None, data: LearningData = DATA, **options: Any
) -> tuple[Any, list[Array]]:
    """The history and the weights of a run with dropout, from the same start each time."""
    import torch
    from edgewright.passes.learn.fit import Batch, fit
    from edgewright.passes.learn.torch_graph import TorchGraph

    torch.set_num_threads(1)
    module, calls = TorchGraph(GRAPH), 0

    def loss(batch: Batch) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise Stopped
        assert batch.labels is not None
        logits = torch.nn.functional.dropout(module(batch.inputs)["logits"], 0.2)
        return torch.nn.functional.cross_entropy(logits, batch.labels, label_smoothing=0.1)

    history = fit(module, recipe, data, loss, checkpoint=checkpoint, **options)
    return history, [p.detach().numpy().copy() for p in module.parameters()]


def same(a: list[Array], b: list[Array]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


RECIPE = Recipe(3, 16, 1e-3, ema=0.9, seed=3)


@pytest.mark.parametrize("stops", [[1], [4], [7, 1], [9, 5], [18], [3, 3, 3]])
@pytest.mark.parametrize("every_step", [False, True])
def test_interrupted_runs_end_with_the_same_bits(
    stops: list[int], every_step: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from edgewright.passes.learn import fit as module

    if every_step:
        monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    history, weights = trained(RECIPE)
    torch.manual_seed(len(stops))  # what the caller drew before does not matter
    path = tmp_path / "new" / "run.pt"
    for stop in stops:
        with pytest.raises(Stopped):
            trained(RECIPE, path, stop)
    resumed, again = trained(RECIPE, path)
    assert resumed == history and same(weights, again)
    assert [p.name for p in path.parent.iterdir()] == ["run.pt"]
    finished, unchanged = trained(RECIPE, path, stop_at=1)
    assert finished == history and same(weights, unchanged), "a finished run takes no step"


def test_the_seed_decides() -> None:
    first, second = trained(RECIPE)[1], trained(RECIPE)[1]
    assert same(first, second)
    assert not same(first, trained(Recipe(3, 16, 1e-3, ema=0.9, seed=4))[1])


def test_the_callers_random_numbers_are_not_touched() -> None:
    import torch

    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    trained(Recipe(1, 50, 1e-3))
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("change", ["recipe", "data", "stage", "damage", "empty"])
def test_a_checkpoint_of_another_run_is_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    recipe, data, stage = Recipe(1, 50, 1e-3), DATA, "training"
    trained(recipe, path)
    if change == "recipe":
        recipe = Recipe(1, 50, 2e-3)
    elif change == "data":
        data = DATA.choose(np.arange(99))
    elif change == "stage":
        stage = "other"
    else:
        path.write_bytes(path.read_bytes()[:1000] if change == "damage" else b"")
    before = path.read_bytes()
    with pytest.raises(CompileError) as caught:
        trained(recipe, path, data=data, stage=stage)
    (found,) = caught.value.diagnostics
    assert found.code == "L009" and (change in found.because or "damaged" in found.because)
    assert path.read_bytes() == before


def test_a_loss_that_is_not_finite_stops_with_the_checkpoint_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    bad = LearningData({"image": np.where(np.arange(100)[:, None, None, None] == 3, np.nan, DATA.inputs["image"])}, DATA.labels)
    with pytest.raises(CompileError) as caught:
        trained(Recipe(2, 100, 1e-3), path, data=bad)
    (found,) = caught.value.diagnostics
    assert (found.code, found.at) == ("L008", "training, step 1") and not path.exists()


def plain_fit(recipe: Recipe, **options: Any) -> tuple[Any, Any]:
    """One parameter of two axes and one of one axis pulled to 1."""
    import torch
    from edgewright.passes.learn.fit import fit
    from edgewright.passes.learn.torch_import import nn

    module = nn.Module()
    module.matrix, module.bias = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    data = LearningData({"x": np.zeros((8, 1))})
    return fit(module, recipe, data, lambda _: sum(((p - 1) ** 2).sum() for p in module.parameters()), **options), module


def test_steps_max_ends_in_the_middle_of_an_epoch_and_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    history, _ = plain_fit(Recipe(9, 2, 1e-2, steps_max=6), progress=lambda *report: told.append(report), stage="pulling")
    assert history.steps == 6 and len(history.epochs) == 2
    assert told == [("pulling", step, 6) for step in range(7)]


def test_the_rate_warms_up_and_falls_to_a_hundredth() -> None:
    recipe = Recipe(4, 10, 1e-3, warmup_epochs=0.5)
    rates = [recipe.rate_at(step, 105) for step in range(recipe.steps(105))]
    assert recipe.steps(105) == 40 and recipe.steps(3) == 4
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0]) and rates[5] == 1
    assert all(a > b for a, b in itertools.pairwise(rates[5:])) and 0.01 < rates[-1] < 0.02


def test_decay_acts_on_matrices() -> None:
    import torch
    from edgewright.passes.learn.fit import fit
    from edgewright.passes.learn.torch_graph import TorchGraph

    module = TorchGraph(GRAPH)
    position = next(n for n in module.learned if n.shape == (1, 5, 16))
    before = {node: module.parameter(node).detach().clone() for node in module.learned}
    data = LearningData({"x": np.zeros((8, 1))})
    recipe = Recipe(1, 8, 0.1, weight_decay=0.5, warmup_epochs=0)
    fit(module, recipe, data, lambda batch: 0 * sum(p.sum() for p in module.parameters()))
    matrices = {id(p) for p in module.matrices()}
    for node in module.learned:
        factor = 0.95 if id(module.parameter(node)) in matrices else 1.0
        assert torch.allclose(module.parameter(node), factor * before[node], rtol=1e-6), node
    assert id(module.parameter(position)) not in matrices and len(matrices) == 6


@pytest.mark.parametrize("clip,norm", [(1.0, 1.0), (0.0, 500.0), (1000.0, 500.0)])
def test_clipping_bounds_all_gradients_together(clip: float, norm: float) -> None:
    import torch
    from edgewright.passes.learn.fit import fit

    a, b = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    data = LearningData({"x": np.zeros((8, 1))})

    norms: list[float] = []

    def gradients(stage: str, done: int, total: int) -> None:
        if done == total:
            assert a.grad is not None and b.grad is not None
            norms.append(math.hypot(float(a.grad), float(b.grad)))

    fit([{"params": [a, b]}], Recipe(1, 8, 0.1, clip=clip), data, lambda _: 300 * a.sum() + 400 * b.sum(), progress=gradients)
    assert norms == [pytest.approx(norm, rel=1e-4)]


def test_the_average_follows_slowly_and_is_what_stays() -> None:
    _, fast = plain_fit(Recipe(40, 8, 0.05, weight_decay=0))
    _, slow = plain_fit(Recipe(40, 8, 0.05, weight_decay=0, ema=0.99))
    assert 0 < slow.bias[0].item() < fast.bias[0].item() and not slow.training


def test_groups_have_their_own_rates_and_frozen_parameters_stay() -> None:
    import torch
    from edgewright.passes.learn.fit import fit

    free, slow, frozen = (torch.nn.Parameter(torch.zeros(1)) for _ in range(3))
    frozen.requires_grad_(False)
    groups = [{"params": [free, frozen]}, {"params": [slow], "lr": 1e-4, "weight_decay": 0.0}]
    fit(
        groups,
        Recipe(1, 4, 1e-2, warmup_epochs=0),
        LearningData({"x": np.zeros((4, 1))}),
        lambda b: -(free + slow + frozen).sum(),
    )
    assert free.item() == pytest.approx(1e-2, rel=1e-3) and slow.item() == pytest.approx(1e-4, rel=1e-3) and frozen.item() == 0
    with pytest.raises(ValueError, match="nothing to train"):
        fit([{"params": [frozen]}], Recipe(1, 4, 1e-2), LearningData({"x": np.zeros((4, 1))}), lambda b: frozen.sum())


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch": 0}, {"rate": 0.0}, {"ema": 1.0}, {"steps_max": 0}, {"seed": -1}])
def test_recipes_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Recipe(**{"epochs": 1, "batch": 1, "rate": 0.1, **wrong})


def test_every_sample_is_seen_once_an_epoch() -> None:
    seen: list[int] = []
    import torch
    from edgewright.passes.learn.fit import fit

    weight = torch.nn.Parameter(torch.zeros(1))

    def loss(batch: Any) -> Any:
        assert torch.equal(batch.inputs["x"][:, 0], batch.index) and torch.equal(batch.labels, 2 * batch.index)
        seen.extend(batch.index.tolist())
        return weight.sum()

    fit([{"params": [weight]}], Recipe(2, 4, 0.1), LearningData({"x": np.arange(12)[:, None]}, 2 * np.arange(12)), loss)
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12)) and seen[:12] != seen[12:]
