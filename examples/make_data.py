"""Write the small committed image sets: `python examples/make_data.py FOLDER`, or with `--whole` the large ones.

`fashion.npz` and `digits.npz` hold `calib` [B, 1, S, S] float32 from the training images, `images` likewise
from the test images and `labels` [B] int64 of the latter.  The images are normalised,
(pixel / scale - mean) / std; the three constants are stored as well.  `multitask.npz` has `images` with the noise that
the multi-task networks see, and a target for each task, named like the output: `class`, `foreground`, `edges`.

`--whole` writes `fashion_whole.npz` and `multitask_whole.npz` instead: all 10,000 test images under the same names,
and all 60,000 training images, shifted by nothing, as `train_images`, `train_labels` and so on (500 MB).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import digits_data
import fashion_data
import multitask_data
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from training import Split

SEED = 20


def stratified(labels: Tensor, count: int) -> Tensor:
    """Return the indices of `count` random images in random order, balanced over the classes as far as `count` allows."""
    random = torch.Generator().manual_seed(SEED)
    shuffled = torch.randperm(len(labels), generator=random)
    classes = [shuffled[labels[shuffled] == label] for label in torch.unique(labels)]
    # One of each class in turn until there are enough.
    turns = [members[turn] for turn in range(count) for members in classes if turn < len(members)]
    picked = torch.stack(turns[:count])
    return picked[torch.randperm(count, generator=random)]


def write(path: Path, split: Split, calib: int, test: int, mean: float, std: float, scale: float) -> None:
    """Choose images and write one compressed file."""
    chosen, shown = stratified(split.train_labels, calib), stratified(split.test_labels, test)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"calib": split.train_images[chosen], "images": split.test_images[shown], "labels": split.test_labels[shown]}
    numbers = {"mean": np.float32(mean), "std": np.float32(std), "scale": np.float32(scale)}
    np.savez_compressed(path, **{name: tensor.numpy() for name, tensor in tensors.items()}, **numbers)
    print(f"{path.name}: {calib} + {test} images, {path.stat().st_size / 1e3:.0f} kB")


def write_multitask(path: Path, split: Split, calib: int, test: int) -> None:
    """Choose images and write them with their targets."""
    random = torch.Generator().manual_seed(SEED)
    chosen, shown = stratified(split.train_labels, calib), stratified(split.test_labels, test)
    seen = split.test_images[shown]
    np.savez_compressed(
        path,
        **{"calib": multitask_data.noisy(split.train_images[chosen][:, :1], random).numpy(), "images": seen[:, :1].numpy()},
        **{"class": split.test_labels[shown].numpy(), "foreground": _bits(seen[:, 1:2]), "edges": _bits(seen[:, 2:])},
    )
    print(f"{path.name}: {calib} + {test} images, {path.stat().st_size / 1e3:.0f} kB")


def write_whole(folder: Path, fashion: Split, multitask: Split) -> None:
    """Write all images of both sets, uncompressed."""
    random = torch.Generator().manual_seed(SEED)
    tested = {"images": fashion.test_images.numpy(), "labels": fashion.test_labels.numpy()}
    trained = {"train_images": fashion.train_images.numpy(), "train_labels": fashion.train_labels.numpy()}
    np.savez(folder / "fashion_whole.npz", **tested, **trained)
    train, test = multitask.train_images, multitask.test_images
    np.savez(
        folder / "multitask_whole.npz",
        **{"images": test[:, :1].numpy(), "train_images": multitask_data.noisy(train[:, :1], random).numpy()},
        **{"class": multitask.test_labels.numpy(), "train_class": multitask.train_labels.numpy()},
        **{"foreground": _bits(test[:, 1:2]), "train_foreground": _bits(train[:, 1:2])},
        **{"edges": _bits(test[:, 2:]), "train_edges": _bits(train[:, 2:])},
    )


def _bits(mask: Tensor) -> NDArray[np.uint8]:
    """Return a mask as 0 or 1 for each pixel."""
    pixels: NDArray[np.uint8] = mask.numpy().astype(np.uint8)
    return pixels


def main() -> None:
    """Parse the options and write the files."""
    parser = argparse.ArgumentParser(description="write the example image sets")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=fashion_data.FOLDER, help="Fashion-MNIST's .gz files")
    parser.add_argument("--whole", action="store_true", help="all images of Fashion-MNIST instead of a few")
    options = parser.parse_args()
    multitask = multitask_data.load_multitask(options.data)
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.whole:
        write_whole(options.folder, fashion_data.load_fashion(options.data), multitask)
        return
    fashion, digits = fashion_data.load_fashion(options.data), digits_data.load_digits()
    held_out = len(digits.test_images)
    write(options.folder / "fashion.npz", fashion, 128, 256, fashion_data.MEAN, fashion_data.STD, 255.0)
    write_multitask(options.folder / "multitask.npz", multitask, 64, 128)
    write(options.folder / "digits.npz", digits, 128, held_out, digits_data.MEAN, digits_data.STD, 16.0)


if __name__ == "__main__":
    main()
