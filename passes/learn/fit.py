"""The training loop of every pass that learns: AdamW, warm-up and cosine, an average of the weights.

Whatever a step draws at random (its samples, torch's own generator) depends on the seed and the step's number alone, so that
a run resumed from any step ends with the same bits.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from edgewright.passes.diagnostics import fail
from edgewright.passes.ir import Array
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.progress import silent
from edgewright.passes.learn.recipe import Recipe
from edgewright.passes.learn.run_state import RunState, read_state, write_state
from edgewright.passes.learn.torch_graph import TorchGraph
from edgewright.passes.learn.torch_import import Tensor, nn, torch
from edgewright.passes.transform import Progress

BETAS = (0.9, 0.99)
SAVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples: inputs by name, labels if the data has them, and their positions in the data."""

    inputs: dict[str, Tensor]
    labels: Tensor | None
    index: Tensor


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the data, with its mean loss."""

    number: int
    loss: float
    seconds: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class History:
    """What happened: epochs, steps taken, and time."""

    epochs: tuple[Epoch, ...]
    steps: int
    seconds: float = field(compare=False)


Group: TypeAlias = Mapping[str, Any]  # "params", and "weight_decay" and "lr" where they differ from the recipe's
Learner: TypeAlias = "nn.Module | Iterable[Group]"


def fit(
    learner: Learner,
    recipe: Recipe,
    data: LearningData,
    loss: Callable[[Batch], Tensor],
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    stage: str = "training",
) -> History:
    """Train what requires gradients in a module or in groups of parameters, in place.

    `loss` is made small over batches of the data. With `checkpoint`, a file written whole or not at all after every epoch
    and every minute: the same call goes on from it, or returns at once what had been finished. The last weights stay,
    averaged if `ema`.
    CompileError: L008 when the loss is not finite, L009 for a checkpoint of another run or a damaged one.
    """
    run = _Run(learner, recipe, data, stage)
    tell = progress or silent
    if checkpoint is not None:
        run.resume(checkpoint)
    saved = time.monotonic()
    while not run.state.finished:
        tell(stage, run.state.step, run.steps)
        run.step(loss)
        if run.at_epoch_end:
            run.end_epoch()
        if checkpoint is not None and (run.at_epoch_end or time.monotonic() - saved > SAVE_SECONDS):
            write_state(checkpoint, run.snapshot())
            saved = time.monotonic()
    tell(stage, run.state.step, run.state.step)
    return run.finish()


def decayed(module: nn.Module) -> list[nn.Parameter]:
    """Return what weight decay is for: a graph's matrices, and of other modules what has two axes or more."""
    graphs = [part for part in module.modules() if isinstance(part, TorchGraph)]
    inside = {id(p) for graph in graphs for p in graph.parameters()}
    of_graphs = {id(p) for graph in graphs for p in graph.matrices()}
    return [p for p in module.parameters() if (id(p) in of_graphs if id(p) in inside else p.ndim > 1)]


class _Run:
    """One run: parameters, optimiser, average, and the state that a checkpoint holds."""

    def __init__(self, learner: Learner, recipe: Recipe, data: LearningData, stage: str) -> None:
        self.recipe, self.data, self.stage = recipe, data, stage
        self.module = learner if isinstance(learner, nn.Module) else None
        groups = _groups(learner, recipe)
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
        if not self.parameters:
            raise ValueError("nothing to train: no parameter requires gradients")
        self.peaks = [float(group["lr"]) for group in groups]
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.rate, betas=BETAS, fused=True)
        self.average = [p.detach().clone() for p in self.parameters] if recipe.ema else None
        self.buffers = [] if self.module is None else list(self.module.buffers())
        self.per_epoch, self.steps = recipe.steps_per_epoch(len(data)), recipe.steps(len(data))
        self.state = RunState()
        self._order: tuple[int, Array] = (-1, np.empty(0))
        self._initial = _digest(self.parameters)

    @property
    def at_epoch_end(self) -> bool:
        return self.state.step % self.per_epoch == 0 or self.state.step == self.steps

    def batch(self, step: int) -> Batch:
        epoch, position = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self.data))
        index = self._order[1][position * self.recipe.batch : (position + 1) * self.recipe.batch]
        labels = None if self.data.labels is None else torch.from_numpy(self.data.labels[index])
        inputs = {name: torch.from_numpy(value[index]) for name, value in self.data.inputs.items()}
        return Batch(inputs, labels, torch.from_numpy(index))

    def step(self, loss: Callable[[Batch], Tensor]) -> None:
        begun, step = time.monotonic(), self.state.step
        if self.module is not None:
            self.module.train()
        seed = int(np.random.default_rng((self.recipe.seed, step, 1)).integers(1 << 62))
        batch = self.batch(step)
        share = self.recipe.rate_at(step, len(self.data))
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.default_generator.manual_seed(seed)
            value = loss(batch)
            number = float(value.detach())
            if not math.isfinite(number):
                hint = "lower the learning rate, and check that the data is preprocessed as in training"
                fail("L008", f"training diverged: the loss is {number}", f"{self.stage}, step {step + 1}", help=hint)
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimiser.step()
        if self.average is not None:
            keep = min(self.recipe.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - keep)
        self.state.step += 1
        self.state.loss_sum += number
        self.state.loss_count += 1
        self.state.seconds += time.monotonic() - begun

    def end_epoch(self) -> None:
        state = self.state
        seconds = state.seconds - sum(epoch["seconds"] for epoch in state.epochs)
        loss = state.loss_sum / state.loss_count
        state.epochs.append({"number": len(state.epochs) + 1, "loss": loss, "seconds": seconds})
        state.loss_sum, state.loss_count = 0.0, 0
        state.finished = state.step >= self.steps

    def finish(self) -> History:
        state = self.state
        if self.average is not None:
            _copy(self.average, self.parameters)
        if self.module is not None:
            self.module.eval()
        self.optimiser.zero_grad(set_to_none=True)
        return History(tuple(Epoch(**epoch) for epoch in state.epochs), state.step, state.seconds)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """Return what makes this run the same as another: else a checkpoint is not its own."""
        return {
            "recipe": asdict(self.recipe),
            "stage": self.stage,
            "data": self.data.digest,
            "start": self._initial,
        }

    def snapshot(self) -> dict[str, Any]:
        return {
            "identity": self._identity,
            "state": dict(vars(self.state)),
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "buffers": self.buffers,
            "optimiser": self.optimiser.state_dict(),
        }

    def resume(self, checkpoint: Path) -> None:
        """Goes on from a checkpoint where there is one."""
        saved = read_state(checkpoint, self._identity)
        if saved is None:
            return
        self.state = RunState(**saved["state"])
        _copy(saved["parameters"], self.parameters)
        _copy(saved["average"] or [], self.average or [])
        _copy(saved["buffers"], self.buffers)
        self.optimiser.load_state_dict(saved["optimiser"])


def _copy(values: Iterable[Tensor], targets: Iterable[Tensor]) -> None:
    with torch.no_grad():
        for target, value in zip(targets, values, strict=True):
            target.copy_(value)


def _groups(learner: Learner, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for the optimiser: decayed and not, or those given with the recipe's settings where they have none."""
    if isinstance(learner, nn.Module):
        matrices = {id(p) for p in decayed(learner)}
        trained = [p for p in learner.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in trained if id(p) in matrices]},
            {"params": [p for p in trained if id(p) not in matrices], "weight_decay": 0.0},
        ]
    else:
        groups = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in learner]
    settings = {"lr": recipe.rate, "weight_decay": recipe.weight_decay}
    return [{**settings, **group} for group in groups if group["params"]]


def _digest(tensors: Iterable[Tensor]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        state.update(f"{tuple(tensor.shape)}".encode())
        state.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return state.hexdigest()
