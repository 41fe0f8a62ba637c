"""Train the multi-task networks on Fashion-MNIST: `python examples/train_multitask.py --network NAME`.

* `moe_fashion`: 16 experts, 4 of them for each token, in every second block, one router per task;
* `dense_fashion`: the same with dense MLPs: equal multiply-adds for one task;
* `single_class`, `single_foreground`, `single_edges`: dense, one task each.

Stop it at will; `--resume` goes on from the last whole epoch.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from fashion_data import FOLDER
from moe import TASKS, MultiTaskConfig, MultiTaskViT
from multitask_data import augment, load_multitask
from torch import Tensor, nn
from torch.nn import functional
from training import Recipe, train

HERE = Path(__file__).resolve().parent
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
        elif task == "foreground":
            both, found, there = hits[task].tolist()
            scores["foreground IoU"] = 100.0 * both / max(found + there - both, 1)
        else:
            both, found, there = hits[task].tolist()
            scores["edges F1"] = 200.0 * both / max(found + there, 1)
    return scores


def main() -> None:
    """Parse the options and train."""
    parser = argparse.ArgumentParser(description="train a multi-task vision transformer on Fashion-MNIST")
    parser.add_argument("--network", choices=NETWORKS, default="moe_fashion")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of the four .gz files")
    parser.add_argument("--checkpoint", type=Path, help="[default: checkpoints/NETWORK.pt]")
    parser.add_argument("--log", type=Path, help="[default: logs/NETWORK.txt]")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(
        epochs=options.epochs, batch=128, rate=2e-3, warmup_epochs=0.5, weight_decay=0.05, smoothing=0.05, ema=0.998, seed=20
    )
    checkpoint = options.checkpoint or HERE / "checkpoints" / f"{options.network}.pt"
    log = options.log or HERE / "logs" / f"{options.network}.txt"
    scores = train(
        NETWORKS[options.network],
        recipe,
        load_multitask(options.data),
        augment,
        checkpoint,
        log,
        options.resume,
        build=MultiTaskViT,
        loss=loss,
        score=score,
    )
    print(", ".join(f"{name} {value:.2f} %" for name, value in scores.items()))


if __name__ == "__main__":
    main()
