"""Fashion-MNIST as tensors, read from the IDX files Debian's package `dataset-fashion-mnist` installs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from training import Split

PACKAGE = "dataset-fashion-mnist"
FOLDER = Path("/usr/share/datasets/fashion-mnist")
# Mean and standard deviation of the 60,000 training images, pixels scaled to [0, 1].
MEAN, STD = 0.2860, 0.3530


def _read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """Unpack one gzipped IDX file: a magic number, big-endian sizes, then bytes."""
    if not path.is_file():
        raise SystemExit(
            f"{path} is missing: install Debian's package `{PACKAGE}` (apt install {PACKAGE}),"
            " or name the folder of the four .gz files with --data"
        )
    raw = gzip.decompress(path.read_bytes())
    if int.from_bytes(raw[:4], "big") != magic:
        raise SystemExit(f"{path} is not an IDX file of the kind expected (magic {raw[:4].hex()})")
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_part(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return normalised images [B, 1, 28, 28] float32 and labels [B] int64 of part `train` or `t10k`."""
    pixels = _read_idx(folder / f"{part}-images-idx3-ubyte.gz", 0x803)
    labels = _read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 0x801)
    images = (torch.from_numpy(pixels.astype(np.float32)) / 255.0 - MEAN) / STD
    return images.unsqueeze(1), torch.from_numpy(labels.astype(np.int64))


def load_fashion(folder: Path = FOLDER) -> Split:
    """Return the 60,000 training and 10,000 test images."""
    return Split(*read_part(folder, "train"), *read_part(folder, "t10k"))


def augment(images: Tensor, random: torch.Generator, reach: int = 1) -> Tensor:
    """Flip half of the images left to right, shift each by up to `reach` pixels; [B, 1, S, S] both ways."""
    count, _, side, _ = images.shape
    background = (0.0 - MEAN) / STD
    padded = torch.nn.functional.pad(images[:, 0], (reach,) * 4, value=background)
    down, right = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=random)
    along = torch.arange(side).expand(count, side)
    flipped = torch.rand(count, 1, generator=random) < 0.5
    rows = along + down
    columns = torch.where(flipped, side - 1 - along, along) + right
    picked = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.unsqueeze(1)
