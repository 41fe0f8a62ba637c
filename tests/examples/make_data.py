"""Write the small committed image sets: `python tests/examples/make_data.py FOLDER`.

`fashion.npz` and `digits.npz` hold `calib` [B, 1, S, S] float32 from the training images, `images` likewise
from the test images and `labels` [B] int64 of the latter.  The images are normalised,
(pixel / scale - mean) / std; the three constants are stored as well.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import digits_data
import fashion_data
import numpy as np
import torch
from torch import Tensor
from training import Split

SEED = 20


def stratified(labels: Tensor, count: int) -> Tensor:
    """Indices of `count` images drawn at random, their classes as even as `count` allows, in random order."""
    random = torch.Generator().manual_seed(SEED)
    shuffled = torch.randperm(len(labels), generator=random)
    classes = [shuffled[labels[shuffled] == label] for label in torch.unique(labels)]
    # One of each class in turn until there are enough.
    turns = [members[turn] for turn in range(count) for members in classes if turn < len(members)]
    picked = torch.stack(turns[:count])
    return picked[torch.randperm(count, generator=random)]


def write(path: Path, split: Split, calib: int, test: int, mean: float, std: float, scale: float) -> None:
    """Pick, and write one compressed file."""
    chosen, shown = stratified(split.train_labels, calib), stratified(split.test_labels, test)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        calib=split.train_images[chosen].numpy(),
        images=split.test_images[shown].numpy(),
        labels=split.test_labels[shown].numpy(),
        mean=np.float32(mean),
        std=np.float32(std),
        scale=np.float32(scale),
    )
    print(f"{path.name}: {calib} + {test} images, {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """Parse the options and write both files."""
    parser = argparse.ArgumentParser(description="write the example image sets")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=fashion_data.FOLDER, help="Fashion-MNIST's .gz files")
    options = parser.parse_args()
    fashion, digits = fashion_data.load_fashion(options.data), digits_data.load_digits()
    held_out = len(digits.test_images)
    write(options.folder / "fashion.npz", fashion, 128, 256, fashion_data.MEAN, fashion_data.STD, 255.0)
    write(options.folder / "digits.npz", digits, 128, held_out, digits_data.MEAN, digits_data.STD, 16.0)


if __name__ == "__main__":
    main()
