"""Train the multi-task networks on Fashion-MNIST: `python examples/train_multitask.py --network NAME`.

* `moe_fashion`: 16 experts, 4 of them for each token, in every second block, one router per task;
* `dense_fashion`: the same with dense MLPs: equal multiply-adds for one task;
* `single_class`, `single_foreground`, `single_edges`: dense, one task each.

Stop it at will; `--resume` goes on from the last whole epoch.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from fashion_data import FOLDER
from moe import TASKS, MultiTaskConfig, MultiTaskViT
from multitask_data import augment, load_multitask
from torch import Tensor, nn
from torch.nn import functional
from training import Recipe, train, trainer_options

NETWORKS = {
    "moe_fashion": MultiTaskConfig(),
    "dense_fashion": MultiTaskConfig(experts=0),
    **{f"single_{task}": MultiTaskConfig(experts=0, tasks=(task,)) for task in TASKS},
}
BALANCE = 0.01
"""Weight of the balance loss, summed over mixtures (the published value)."""
PIXELS = {"foreground": 1, "edges": 2}
"""Channel of the batch that holds a task's target."""


def loss(model: nn.Module, images: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the sum over tasks: cross-entropy of the class, binary cross-entropy of each pixel; and the balance of experts."""
    results = model(images[:, :1])
    total = BALANCE * model.balance
    for task, result in results.items():
        if task == "class":
            total = total + functional.cross_entropy(result, labels, label_smoothing=smoothing)
        else:
            target = images[:, PIXELS[task]].unsqueeze(1)
            total = total + 2.0 * functional.binary_cross_entropy_with_logits(result, target)
    return total


@torch.no_grad()
def score(model: nn.Module, images: Tensor, labels: Tensor, batch: int = 500) -> dict[str, float]:
    """Return in percent: top-1 of the class; intersection over union of the foreground; F1 of the edges."""
    model.eval()
    right = 0
    hits = {task: torch.zeros(3) for task in PIXELS}  # both, found, there
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        for task, result in model(part[:, :1]).items():
            if task == "class":
                right += int((result.argmax(1) == labels[start : start + batch]).sum())
            else:
                found, there = result[:, 0] > 0, part[:, PIXELS[task]] > 0.5
                hits[task] += torch.stack([(found & there).sum(), found.sum(), there.sum()])
    scores = {}
    for task in model.config.tasks:
        if task == "class":
            scores["class top-1"] = 100.0 * right / len(images)
            continue
        both, found, there = hits[task].tolist()
        if task == "foreground":
            scores["foreground IoU"] = 100.0 * both / max(found + there - both, 1)
        else:
            scores["edges F1"] = 200.0 * both / max(found + there, 1)
    return scores


def main() -> None:
    """Parse the options and train."""
    options = trainer_options("train a multi-task vision transformer on Fashion-MNIST", list(NETWORKS), epochs=5, data=FOLDER)
    recipe = Recipe(
        epochs=options.epochs, batch=128, rate=2e-3, warmup_epochs=0.5, weight_decay=0.05, smoothing=0.05, ema=0.998, seed=20
    )
    config, data, files = NETWORKS[options.network], load_multitask(options.data), (options.checkpoint, options.log)
    scores = train(config, recipe, data, augment, *files, options.resume, build=MultiTaskViT, loss=loss, score=score)
    print(", ".join(f"{name} {value:.2f} %" for name, value in scores.items()))


if __name__ == "__main__":
    main()
