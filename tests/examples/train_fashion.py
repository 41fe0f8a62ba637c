"""Train the Fashion-MNIST vision transformer: `python tests/examples/train_fashion.py`.

About a minute an epoch on two free x86-64 cores.  Stop it at will; `--resume` goes on from the last whole
epoch.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from fashion_data import FOLDER, augment, load_fashion
from training import Recipe, train
from vit import ViTConfig

HERE = Path(__file__).resolve().parent
NETWORK = ViTConfig(image=28, patch=4, channels=1, classes=10, width=64, heads=2, depth=4, pool="cls")


def main() -> None:
    """Parse the options and train."""
    parser = argparse.ArgumentParser(description="train a vision transformer on Fashion-MNIST")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of the four .gz files")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "checkpoints" / "vit_fashion.pt")
    parser.add_argument("--log", type=Path, default=HERE / "logs" / "vit_fashion.txt")
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(
        epochs=options.epochs,
        batch=128,
        rate=1.5e-3,
        warmup_epochs=1.5,
        weight_decay=0.05,
        smoothing=0.05,
        ema=0.998,
        seed=20,
    )
    split = load_fashion(options.data)
    accuracy = train(NETWORK, recipe, split, augment, options.checkpoint, options.log, options.resume)
    print(f"top-1 on {len(split.test_images)} test images: {accuracy:.2f} %")


if __name__ == "__main__":
    main()
