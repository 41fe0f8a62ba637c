"""The training loop that all trainers share: AdamW, warm-up and cosine, weight averaging, checkpoints, a log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from vit import ViT

Config = Any  # a frozen dataclass of plain values: what `build` makes a network of
Augment = Callable[[Tensor, torch.Generator], Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
Score = Callable[[nn.Module, Tensor, Tensor], dict[str, float]]


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the weights, except the data and the shape of the network."""

    epochs: int
    batch: int
    rate: float
    warmup_epochs: float
    weight_decay: float
    smoothing: float
    ema: float
    seed: int
    clip: float = 1.0


@dataclass(frozen=True)
class Split:
    """Normalised images [B, C, S, S] float32 and labels [B] int64, to train on and to test on."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def rate_at(step: int, steps: int, warmup: int, peak: float) -> float:
    """Return the learning rate of a step: linear to `peak`, then half a cosine down to a hundredth of it."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))


def make_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Return an AdamW that decays only matrices: not biases, norms, class token or positions."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_table = name in ("pos_embed", "cls_token") or name.startswith("tables.")
        (plain if parameter.ndim < 2 or is_table else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.99))


@torch.no_grad()
def top1(model: nn.Module, images: Tensor, labels: Tensor, batch: int = 500) -> float:
    """Return the percentage of images whose largest logit is that of the label."""
    model.eval()
    hits = 0
    for start in range(0, len(images), batch):
        hits += int((model(images[start : start + batch]).argmax(1) == labels[start : start + batch]).sum())
    return 100.0 * hits / len(images)


def score_top1(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Return `top1` under its name in logs."""
    return {"top-1": top1(model, images, labels)}


def classify(model: nn.Module, images: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy of a classifier."""
    return functional.cross_entropy(model(images), labels, label_smoothing=smoothing)


def _clock(seconds: float) -> str:
    """Return seconds as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def save_checkpoint(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint atomically."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def train(
    config: Config,
    recipe: Recipe,
    split: Split,
    augment: Augment,
    checkpoint: Path,
    log: Path,
    resume: bool = False,
    build: Callable[[Config], nn.Module] = ViT,
    loss: Loss = classify,
    score: Score = score_top1,
) -> dict[str, float]:
    """Train, write a checkpoint and a log line each epoch, and return the last epoch's scores in percent.

    Test images do not influence the result: its weights are the averaged ones of the last epoch.
    """
    torch.manual_seed(recipe.seed)
    random = torch.Generator().manual_seed(recipe.seed)
    model, average = build(config), build(config)
    average.load_state_dict(model.state_dict())
    optimiser = make_optimiser(model, recipe)
    per_epoch = len(split.train_images) // recipe.batch
    steps, warmup = recipe.epochs * per_epoch, max(1, round(recipe.warmup_epochs * per_epoch))
    first, lines = 0, [f"network {asdict(config)}", f"recipe {asdict(recipe)}"]
    if resume:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if state["config"] != asdict(config) or state["recipe"] != asdict(recipe):
            raise SystemExit(f"{checkpoint} was trained with another network or recipe")
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        random.set_state(state["random"])
        first, lines = state["epoch"], state["lines"]
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    print("\n".join(lines), flush=True)
    scores = score(average, split.test_images, split.test_labels) if first == recipe.epochs else {}
    begun = time.monotonic()
    for epoch in range(first, recipe.epochs):
        started, total = time.monotonic(), 0.0
        model.train()
        order = torch.randperm(len(split.train_images), generator=random)
        for index in range(per_epoch):
            step = epoch * per_epoch + index
            chosen = order[index * recipe.batch : (index + 1) * recipe.batch]
            for group in optimiser.param_groups:
                group["lr"] = rate_at(step, steps, warmup, recipe.rate)
            images, labels = augment(split.train_images[chosen], random), split.train_labels[chosen]
            error = loss(model, images, labels, recipe.smoothing)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(error)
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimiser.step()
            keep = min(recipe.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - keep)
            total += error.item()
            if index and index % 100 == 0:
                pace = (time.monotonic() - started) / index
                left = pace * (steps - step)
                print(f"  epoch {epoch + 1} step {index}/{per_epoch}, {_clock(left)} left", flush=True)
        scores = score(average, split.test_images, split.test_labels)
        now = time.monotonic()
        left = (now - begun) / (epoch + 1 - first) * (recipe.epochs - epoch - 1)
        lines.append(
            f"epoch {epoch + 1:3d}/{recipe.epochs} loss {total / per_epoch:.4f}"
            f" {', '.join(f'test {name} {value:.2f} %' for name, value in scores.items())} {now - started:.1f} s"
        )
        print(f"{lines[-1]}, {_clock(left)} left", flush=True)
        save_checkpoint(
            checkpoint,
            {
                "config": asdict(config),
                "recipe": asdict(recipe),
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "random": random.get_state(),
                "epoch": epoch + 1,
                "lines": lines,
            },
        )
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("\n".join(lines) + "\n")
    return scores
