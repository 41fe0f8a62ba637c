"""The training loop that all trainers share: AdamW, warm-up and cosine, weight averaging, checkpoints, a log."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from vit import ViT

HERE = Path(__file__).resolve().parent
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
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.99))


@torch.no_grad()
def score_top1(model: nn.Module, images: Tensor, labels: Tensor, batch: int = 500) -> dict[str, float]:
    """Return the percentage of images whose largest logit is that of the label, under its name in logs."""
    model.eval()
    hits = 0
    for start in range(0, len(images), batch):
        hits += int((model(images[start : start + batch]).argmax(1) == labels[start : start + batch]).sum())
    return {"top-1": 100.0 * hits / len(images)}


def classify(model: nn.Module, images: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy of a classifier."""
    return functional.cross_entropy(model(images), labels, label_smoothing=smoothing)


def _clock(seconds: float) -> str:
    """Return seconds as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def trainer_options(
    description: str, networks: Sequence[str], epochs: int | None, data: Path | None = None
) -> argparse.Namespace:
    """Parse the options that all trainers take, set torch's threads, and name checkpoint and log after the network.

    `data`: the default of --data, for a trainer that reads files.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.set_defaults(network=networks[0])
    if len(networks) > 1:
        parser.add_argument("--network", choices=networks)
    if data is not None:
        parser.add_argument("--data", type=Path, default=data, help="folder of the four .gz files")
    parser.add_argument("--checkpoint", type=Path, help="[default: checkpoints/NETWORK.pt]")
    parser.add_argument("--log", type=Path, help="[default: logs/NETWORK.txt]")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.checkpoint = options.checkpoint or HERE / "checkpoints" / f"{options.network}.pt"
    options.log = options.log or HERE / "logs" / f"{options.network}.txt"
    return options


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
    modules: dict[str, Any] = {"model": model, "average": average, "optimiser": optimiser}
    per_epoch = len(split.train_images) // recipe.batch
    steps, warmup = recipe.epochs * per_epoch, max(1, round(recipe.warmup_epochs * per_epoch))
    first, lines = 0, [f"network {asdict(config)}", f"recipe {asdict(recipe)}"]
    if resume:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if state["config"] != asdict(config) or state["recipe"] != asdict(recipe):
            raise SystemExit(f"{checkpoint} was trained with another network or recipe")
        for name, module in modules.items():
            module.load_state_dict(state[name])
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
        state = {name: module.state_dict() for name, module in modules.items()}
        state |= {"config": asdict(config), "recipe": asdict(recipe), "random": random.get_state()}
        partial = checkpoint.with_suffix(".partial")
        torch.save(state | {"epoch": epoch + 1, "lines": lines}, partial)
        partial.replace(checkpoint)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("\n".join(lines) + "\n")
    return scores
