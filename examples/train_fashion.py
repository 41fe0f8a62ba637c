"""Train a Fashion-MNIST vision transformer: `python examples/train_fashion.py [--network NAME]`.

An epoch takes one to four minutes on one idle x86-64 core.  `--resume` continues an interrupted run from the last
complete epoch.

* `vit_fashion`: 49 tokens, 4 blocks, the example of the README;
* `vit_deep`: 49 tokens, 12 blocks, to take blocks or classes from;
* `vit_fine`: 196 tokens, 4 blocks, long enough for attention to cost something;
* `pyramid_fine`: 196 tokens, then 49: two stages of different width.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from fashion_data import FOLDER, augment, load_fashion
from pyramid import Pyramid, PyramidConfig
from training import Recipe, train, trainer_options
from vit import ViT, ViTConfig


@dataclass(frozen=True)
class Example:
    """A network, and how it is trained."""

    config: Any
    build: Any
    epochs: int
    rate: float


DATA: dict[str, Any] = {"image": 28, "channels": 1, "classes": 10}
EXAMPLES = {
    "vit_fashion": Example(ViTConfig(**DATA, patch=4, width=64, heads=2, depth=4), ViT, 32, 1.5e-3),
    "vit_deep": Example(ViTConfig(**DATA, patch=4, width=48, heads=3, depth=12), ViT, 10, 2e-3),
    "vit_fine": Example(ViTConfig(**DATA, patch=2, width=32, heads=2, depth=4, pool="avg"), ViT, 9, 2e-3),
    "pyramid_fine": Example(PyramidConfig(**DATA, patch=2, widths=(32, 48), heads=(2, 3), depths=(2, 2)), Pyramid, 6, 2e-3),
}


def main() -> None:
    """Parse the options and train."""
    options = trainer_options("train a vision transformer on Fashion-MNIST", list(EXAMPLES), epochs=None, data=FOLDER)
    example = EXAMPLES[options.network]
    recipe = Recipe(
        epochs=options.epochs or example.epochs,
        batch=128,
        rate=example.rate,
        warmup_epochs=1.5 if example.epochs > 20 else 0.5,
        weight_decay=0.05,
        smoothing=0.05,
        ema=0.998,
        seed=20,
    )
    split = load_fashion(options.data)
    files = (options.checkpoint, options.log, options.resume)
    scores = train(example.config, recipe, split, augment, *files, example.build)
    print(f"top-1 on {len(split.test_images)} test images: {scores['top-1']:.2f} %")


if __name__ == "__main__":
    main()
