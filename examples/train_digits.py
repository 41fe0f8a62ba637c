"""Train the digits vision transformer: `python examples/train_digits.py`, which takes about a minute on one core."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from digits_data import augment, load_digits
from training import Recipe, train, trainer_options
from vit import ViTConfig

NETWORK = ViTConfig(image=8, patch=2, channels=1, classes=10, width=48, heads=3, depth=4, pool="avg")


def main() -> None:
    """Parse the options and train."""
    options = trainer_options("train a vision transformer on scikit-learn's digits", ["vit_digits"], epochs=80)
    recipe = Recipe(
        epochs=options.epochs, batch=32, rate=1.5e-3, warmup_epochs=5, weight_decay=0.05, smoothing=0.05, ema=0.99, seed=20
    )
    split = load_digits()
    scores = train(NETWORK, recipe, split, augment, options.checkpoint, options.log, options.resume)
    print(f"top-1 on {len(split.test_images)} held-out images: {scores['top-1']:.2f} %")


if __name__ == "__main__":
    main()
