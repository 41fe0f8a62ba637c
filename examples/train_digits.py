"""Train the digits vision transformer: `python examples/train_digits.py`, which takes about a minute on one core."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from digits_data import augment, load_digits
from training import Recipe, train
from vit import ViTConfig

HERE = Path(__file__).resolve().parent
NETWORK = ViTConfig(image=8, patch=2, channels=1, classes=10, width=48, heads=3, depth=4, pool="avg")


def main() -> None:
    """Parse the options and train."""
    parser = argparse.ArgumentParser(description="train a vision transformer on scikit-learn's digits")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "checkpoints" / "vit_digits.pt")
    parser.add_argument("--log", type=Path, default=HERE / "logs" / "vit_digits.txt")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(
        epochs=options.epochs,
        batch=32,
        rate=1.5e-3,
        warmup_epochs=5,
        weight_decay=0.05,
        smoothing=0.05,
        ema=0.99,
        seed=20,
    )
    split = load_digits()
    scores = train(NETWORK, recipe, split, augment, options.checkpoint, options.log, options.resume)
    print(f"top-1 on {len(split.test_images)} held-out images: {scores['top-1']:.2f} %")


if __name__ == "__main__":
    main()
