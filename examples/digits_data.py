"""scikit-learn's handwritten digits (8x8 pixels of 0..16, from the UCI repository) as tensors."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits as load_bunch  # type: ignore[import-untyped,unused-ignore]
from torch import Tensor
from training import Split

# Mean and standard deviation of all pixels, scaled to [0, 1] by division by 16.
MEAN, STD = 0.3053, 0.3760
TEST_COUNT = 360
SPLIT_SEED = 7


def load_digits() -> Split:
    """Return 1,437 training and 360 test images [B, 1, 8, 8], split at random with a fixed seed."""
    bunch = load_bunch()
    pixels = bunch.images.astype(np.float32)
    images = ((torch.from_numpy(pixels) / 16.0 - MEAN) / STD).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    order = torch.from_numpy(np.random.RandomState(SPLIT_SEED).permutation(len(images)))
    test, rest = order[:TEST_COUNT], order[TEST_COUNT:]
    return Split(images[rest], labels[rest], images[test], labels[test])


def augment(images: Tensor, random: torch.Generator) -> Tensor:
    """Shift each image by up to one pixel and add a little noise; [B, 1, 8, 8] both ways."""
    count, _, side, _ = images.shape
    background = (0.0 - MEAN) / STD
    padded = torch.nn.functional.pad(images[:, 0], (1, 1, 1, 1), value=background)
    # Four times in six, an axis stays where it is.
    steps = torch.tensor([0, 1, 1, 1, 1, 2])
    down, right = steps[torch.randint(0, len(steps), (2, count, 1), generator=random)]
    along = torch.arange(side).expand(count, side)
    rows, columns = (along + down)[:, :, None], (along + right)[:, None, :]
    picked = padded[torch.arange(count)[:, None, None], rows, columns].unsqueeze(1)
    return picked + 0.1 * torch.randn(picked.shape, generator=random)
