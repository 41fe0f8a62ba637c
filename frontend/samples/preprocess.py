"""How pictures and sounds become a model's input: resized, cropped, scaled and normalised as in training.

The rule comes from `--preprocess` and stays with the bundle, so that the compiled model takes files as the training did.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.documents import Unreadable, parse_json, parse_toml, read_bytes, to_json
from edgewright.passes.names import plain

FILE = "preprocess.json"
"""The name of the rule's file in a bundle."""
LARGEST_FILE = 1 << 20
LARGEST_SIDE = 1 << 14
Interpolation = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
MISSING_HELP = (
    "give --preprocess with a small TOML file (`edgewright explain D011` shows one) or the preprocessor_config.json or "
    "config.json that transformers or timm saved with the model"
)


class Sound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sounds. rate: samples a second; length: "same" refuses clips of another length than the model's, "fit" cuts them or adds
    zeros at the end; normalise: whether each clip is brought to mean 0 and variance 1, as Wav2Vec2 does."""

    rate: int
    length: Literal["same", "fit"] = "same"
    normalise: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.rate <= 1 << 20:
            raise ValueError(f"sound.rate is {self.rate}; it has to be a number of samples a second")

    def describe(self) -> str:
        """Return the rule in words."""
        words = [f"{self.rate:,} samples a second"]
        words += ["cut or filled with zeros to the model's length"] if self.length == "fit" else []
        words += ["each clip to mean 0 and variance 1"] if self.normalise else []
        return ", ".join(words)


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The steps in their order. resize: the shorter side as a number, or (height, width), by this interpolation; crop: from the
    middle, a square as a number, or (height, width), whose half pixels `middle` rounds as torchvision ("round", to even) or as
    transformers ("floor"); channels: their order; then (pixel * scale - mean) / std with one number or one for each channel."""

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    interpolation: Interpolation = "bilinear"
    channels: Literal["RGB", "BGR", "L"] | None = None
    scale: float = 1 / 255
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    middle: Literal["round", "floor"] = "round"
    sound: Sound | None = None

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            value = getattr(self, name)
            if value is not None and not all(1 <= side <= LARGEST_SIDE for side in _pair(value)):
                raise ValueError(f"{name} is {value}; it has to be from 1 to {LARGEST_SIDE}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std need each other; give 0 and 1 where training had none")
        if self.mean is None and self.sound is None:
            raise ValueError("mean and std are missing; give 0 and 1 where training had none")
        if not all(0 < abs(value) < float("inf") for value in (self.scale, *self.stds)):
            raise ValueError("scale and std have to be finite numbers other than 0")
        if not all(abs(value) < float("inf") for value in self.means):
            raise ValueError("mean has to be finite")
        if len({len(values) for values in (self.means, self.stds) if len(values) > 1}) > 1:
            raise ValueError("mean and std have different numbers of channels")

    @property
    def means(self) -> tuple[float, ...]:
        """The mean of each channel; one number where all have the same."""
        return _several(self.mean, 0.0)

    @property
    def stds(self) -> tuple[float, ...]:
        """The spread of each channel; one number where all have the same."""
        return _several(self.std, 1.0)

    @property
    def depth(self) -> int | None:
        """The number of channels that the rule is made for; None where it fits any."""
        count = max(len(self.means), len(self.stds))
        return count if count > 1 else {"L": 1, "RGB": 3, "BGR": 3, None: None}[self.channels]

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of every picture after the rule; None where it depends on the picture."""
        if self.crop is not None:
            return _pair(self.crop)
        return self.resize if isinstance(self.resize, tuple) else None

    def describe(self) -> str:
        """Return the steps in words, for a report."""
        words = []
        if self.resize is not None:
            to = f"shorter side to {self.resize}" if isinstance(self.resize, int) else f"to {_by(self.resize)}"
            words.append(f"resized ({to}, {self.interpolation})")
        if self.crop is not None:
            words.append(f"cropped to {_by(_pair(self.crop))}")
        if self.mean is not None:
            factor = 1 / self.scale
            divided = f" / {factor:.6g}" if self.scale != 1 else ""
            words += [f"(pixel{divided} - {_shown(self.means)}) / {_shown(self.stds)}"]
            words += [self.channels] if self.channels else []
        words += [f"sounds at {self.sound.describe()}"] if self.sound else []
        return ", ".join(words)

    def content(self) -> bytes:
        """Return the file that stays with a bundle."""
        return to_json(msgspec.to_builtins(self))


def load_preprocess(path: str | Path) -> Preprocess:
    """Return the rule in a file: our TOML, what a bundle keeps, or what timm or transformers saved with a model.

    CompileError D012 (exit 2) when it cannot be read, or has a step that is not done here."""
    from edgewright.frontend.samples.preprocess_configs import from_config

    path = Path(path)
    try:
        content = read_bytes(path, LARGEST_FILE)
        if path.suffix.lower() != ".json" and not content.lstrip().startswith(b"{"):
            return parse_toml(content, Preprocess)
        config = parse_json(content, dict)
        return parse_json(content, Preprocess) if "middle" in config else from_config(config)
    except (Unreadable, ValueError) as error:
        help_text = (
            "give a TOML file as `edgewright explain D012` shows it, or the model's preprocessor_config.json or config.json"
        )
        fail("D012", "the preprocess file cannot be used", plain(path), plain(error)[:300], help_text, Exit.USAGE)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _several(value: float | tuple[float, ...] | None, default: float) -> tuple[float, ...]:
    return (default,) if value is None else value if isinstance(value, tuple) else (value,)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _shown(values: tuple[float, ...]) -> str:
    return f"{values[0]:.6g}" if len(values) == 1 else f"({', '.join(f'{value:.6g}' for value in values)})"
