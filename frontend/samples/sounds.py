"""Sounds as a model's input: the samples of a .wav file, from -1 to 1, at the rate that `--preprocess` states."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
from edgewright.frontend.samples.preprocess import MISSING_HELP, Sound
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir import Array, Shape
from edgewright.passes.names import plain

SMALLEST_VARIANCE = 1e-7
"""Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm adds it."""


def sound_input(shapes: Mapping[str, Shape]) -> str | None:
    """Return the only input that takes sounds: (1, samples) or (1, 1, samples); None where there is none, or more."""
    names = [name for name, shape in shapes.items() if len(shape) == 2 or (len(shape) == 3 and shape[1] == 1)]
    return names[0] if len(names) == 1 else None


class Sounds:
    """Makes the values of one input of sounds. CompileError D011 (exit 2) when no rate is stated."""

    def __init__(self, name: str, shape: Shape, rule: Sound | None) -> None:
        if rule is None:
            because = f"input '{plain(name)}' takes samples at the rate that its training used"
            fail("D011", "sounds without a rate", "--preprocess", because, MISSING_HELP, Exit.USAGE)
        self.shape, self.rule = shape, rule

    def file(self, path: Path, at: str) -> Array:
        """Return the samples of a file, in the input's shape. CompileError: D014 when it cannot be read, D015 when it has
        another rate or length."""
        try:
            with wave.open(str(path), "rb") as file:
                channels, width, rate, count = file.getparams()[:4]
                content = file.readframes(count)
        except (OSError, EOFError, wave.Error, RuntimeError, ValueError) as error:
            _broken(at, str(error) or "it is cut short")
        if channels != 1:
            _broken(at, f"it has {channels} channels")
        if len(content) != count * width:
            _broken(at, f"it states {count:,} samples and holds {len(content) // max(1, width):,}")
        if rate != self.rule.rate:
            because = f"it has {rate:,} samples a second, and the model takes {self.rule.rate:,}"
            fail("D015", "a sound of another rate than the model's", at, because, "resample it")
        return self._fitted(_values(content, width, at), at).reshape(self.shape[1:])

    def _fitted(self, values: Array, at: str) -> Array:
        """Return the clip in the model's length; it is normalised before zeros follow it, as Wav2Vec2's padding does."""
        wanted = self.shape[-1]
        if len(values) != wanted and self.rule.length == "same":
            because = f"it has {len(values):,} samples, and the model takes {wanted:,}"
            help_text = 'cut it, or let --preprocess do that: length = "fit" below [sound]'
            fail("D015", "a sound of another length than the model's", at, because, help_text)
        values = values[:wanted]
        if self.rule.normalise and len(values):
            values = (values - values.mean()) / np.sqrt(values.var() + SMALLEST_VARIANCE)
        return np.pad(values, (0, wanted - len(values))).astype(np.float32)


def _values(content: bytes, width: int, at: str) -> Array:
    """Return PCM samples from -1 to 1."""
    if width == 1:
        return (np.frombuffer(content, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:
        rows = np.frombuffer(content, np.uint8).reshape(-1, 3).astype(np.int32)
        values = rows[:, 0] << 8 | rows[:, 1] << 16 | rows[:, 2] << 24
        return values / 2.0**31
    if width not in (2, 4):
        _broken(at, f"it has {8 * width} bits a sample")
    return np.frombuffer(content, f"<i{width}") / 2.0 ** (8 * width - 1)


def _broken(at: str, because: str) -> NoReturn:
    help_text = "save it as a PCM .wav file of one channel, or remove it"
    fail("D014", "a sound cannot be decoded", at, plain(because)[:300], help_text)
