"""Fashion-MNIST with three tasks: the class, the silhouette of the article, and its edges, both pixel by pixel.

The silhouette is every pixel above a threshold with its holes filled (dark prints belong to the article); an edge is
a pixel whose Sobel gradient is large. Both come from the clean image; the network sees it with noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from fashion_data import FOLDER, MEAN, STD, read_part
from scipy import ndimage
from torch import Tensor
from training import Split

FOREGROUND_LEVEL = 0.15
EDGE_LEVEL = 1.0
NOISE_STD = 0.3
"""Standard deviation of the noise on the input, in units of the normalised image."""


def targets(images: Tensor) -> Tensor:
    """Return silhouette and edges as 0 or 1: [B, 1, S, S] normalised -> [B, 2, S, S] float32."""
    pixels = (images[:, 0] * STD + MEAN).numpy()
    filled = np.stack([ndimage.binary_fill_holes(image > FOREGROUND_LEVEL) for image in pixels])
    edges = np.stack([np.hypot(ndimage.sobel(image, axis=0), ndimage.sobel(image, axis=1)) > EDGE_LEVEL for image in pixels])
    return torch.from_numpy(np.stack([filled, edges], axis=1).astype(np.float32))


def noisy(images: Tensor, random: torch.Generator) -> Tensor:
    """Return the images with Gaussian noise."""
    return images + NOISE_STD * torch.randn(images.shape, generator=random)


def load_multitask(folder: Path = FOLDER) -> Split:
    """Return images with their targets as two more channels: [B, 3, S, S]; the noise of test images is included."""
    train_images, train_labels = read_part(folder, "train")
    test_images, test_labels = read_part(folder, "t10k")
    random = torch.Generator().manual_seed(20)
    test = torch.cat([noisy(test_images, random), targets(test_images)], dim=1)
    return Split(torch.cat([train_images, targets(train_images)], dim=1), train_labels, test, test_labels)


def augment(images: Tensor, random: torch.Generator, reach: int = 1) -> Tensor:
    """Flip half, shift all by up to `reach` pixels, image and targets alike; then noise on the image."""
    count, channels, side, _ = images.shape
    padded = torch.nn.functional.pad(images, (reach,) * 4, value=0.0)
    background = (0.0 - MEAN) / STD
    padded[:, 0, :reach], padded[:, 0, -reach:] = background, background
    padded[:, 0, :, :reach], padded[:, 0, :, -reach:] = background, background
    down, right = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=random)
    along = torch.arange(side).expand(count, side)
    flipped = torch.rand(count, 1, generator=random) < 0.5
    rows, columns = along + down, torch.where(flipped, side - 1 - along, along) + right
    item = torch.arange(count)[:, None, None, None]
    channel = torch.arange(channels)[None, :, None, None]
    picked = padded[item, channel, rows[:, None, :, None], columns[:, None, None, :]]
    picked[:, :1] = noisy(picked[:, :1], random)
    return picked
