"""Small pictures and sounds, made where a test needs them."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir import Array
from PIL import Image


def pixels(height: int, width: int, depth: int = 3, seed: int = 0) -> Array:
    """Random pixels (height, width, depth), or (height, width) for one channel."""
    shape = (height, width) if depth == 1 else (height, width, depth)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(path: Path, array: Array) -> Path:
    """Write pixels as the kind of file that the name says, without loss where it can."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    Image.fromarray(array).save(path, **options)
    return path


def class_folders(folder: Path, classes: Sequence[str], each: int, height: int = 4, width: int = 4, depth: int = 1) -> Path:
    """A folder of pictures for each class, in ImageFolder's layout."""
    for number, name in enumerate(classes):
        for i in range(each):
            picture(folder / name / f"{i}.png", pixels(height, width, depth, seed=100 * number + i))
    return folder


def sound(path: Path, values: Array, rate: int = 16000, width: int = 2, channels: int = 1) -> Path:
    """Write samples from -1 to 1 as a PCM file."""
    scaled = np.rint(values * (2.0 ** (8 * width - 1) - 1)).astype(np.int64)
    stored = scaled + 128 if width == 1 else scaled
    content = b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in stored)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(content)
    return path


def only(error: CompileError) -> Diagnostic:
    """The only diagnostic of an error."""
    (found,) = error.diagnostics
    return found
