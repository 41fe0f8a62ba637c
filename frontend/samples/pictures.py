"""Pictures as a model's input: decoded by Pillow, resized, cropped and normalised by the rule of `--preprocess`."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from edgewright.frontend.samples.preprocess import MISSING_HELP, Preprocess
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir import Array, Shape
from edgewright.passes.names import plain

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP")
DEPTHS = (1, 3)
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of more than 8 bits, which it would cut off."""


def picture_input(shapes: Mapping[str, Shape]) -> str | None:
    """Return the only input that takes pictures: (1, channels, height, width) or (1, height, width, channels), 1 or 3
    channels; None where there is none, or more than one."""
    names = [name for name, shape in shapes.items() if len(shape) == 4 and (shape[1] in DEPTHS or shape[3] in DEPTHS)]
    return names[0] if len(names) == 1 else None


class Pictures:
    """Makes the values of one input of pictures. integer: whether the model takes the pixels themselves.

    CompileError (exit 2): D011 when nothing says how pixels become its values, D013 when the rule is for another model.
    """

    def __init__(self, name: str, shape: Shape, integer: bool, rule: Preprocess | None) -> None:
        if rule is None or (rule.mean is None and not integer):
            if not integer:
                because = f"input '{plain(name)}' takes real numbers, and only the model's training says which a pixel becomes"
                fail("D011", "pictures without a rule for their pixels", "--preprocess", because, MISSING_HELP, Exit.USAGE)
            rule = rule or Preprocess(mean=0.0, std=1.0, scale=1.0)
        self.name, self.shape, self.integer, self.rule = name, shape, integer, rule
        self.first = shape[1] in DEPTHS
        depth, *size = (shape[1], *shape[2:]) if self.first else (shape[3], *shape[1:3])
        self.depth, self.size = depth, (size[0], size[1])
        self._check()

    def _check(self) -> None:
        rule, wrong = self.rule, ""
        if rule.depth is not None and rule.depth != self.depth:
            wrong = f"it is for {_channels(rule.depth)}, and input '{plain(self.name)}' has {self.depth}"
        elif rule.size is not None and rule.size != self.size:
            sizes = [f"{height} x {width}" for height, width in (rule.size, self.size)]
            wrong = f"it makes pictures of {sizes[0]}, and input '{plain(self.name)}' takes {sizes[1]}"
        elif self.integer and (any(rule.means) or any(value != 1 for value in rule.stds)):
            wrong = f"it normalises pixels, and input '{plain(self.name)}' takes integers: the model normalises them itself"
        if wrong:
            help_text = "give the file that was saved with this model, or export the model for pictures of that size"
            fail("D013", "the preprocess file is of another model", "--preprocess", wrong, help_text, Exit.USAGE)

    def file(self, source: Path | bytes, at: str) -> Array:
        """Return the values of a picture in a file, or in its bytes. CompileError D014 when it cannot be decoded."""
        from PIL import Image, UnidentifiedImageError

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
                    image.load()
                    return self._values(image, at)
        except UnidentifiedImageError:
            _broken(at, "it is neither PNG nor JPEG nor WebP, whatever its name says")
        except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError, Warning) as error:
            _broken(at, str(error).splitlines()[0] if str(error) else type(error).__name__)

    def pixels(self, array: Array, at: str) -> Array:
        """Return the values of a picture in uint8: (height, width), or with 1 or 3 channels before or after that."""
        from PIL import Image

        if array.ndim == 3 and array.shape[2] not in DEPTHS and array.shape[0] in DEPTHS:
            array = array.transpose(1, 2, 0)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[:, :, 0]
        if array.ndim != 2 and (array.ndim != 3 or array.shape[2] != 3):
            _broken(at, f"its shape is {array.shape}: a picture has 1 or 3 channels, before or after its height and width")
        return self._values(Image.fromarray(np.ascontiguousarray(array)), at)

    def _values(self, image: Image, at: str) -> Array:
        """Return (channels, height, width), or the input's order of these: float32, or pixels for a model that takes those."""
        if image.mode in _DEEP_MODES:
            _broken(at, f"it has more than 8 bits a channel (mode {image.mode})")
        rule, grey = self.rule, self.depth == 1
        image = self._cut(_resized(image.convert("L" if grey else "RGB"), rule), at)
        pixels = np.asarray(image).reshape(*self.size, self.depth)
        if rule.channels == "BGR":
            pixels = pixels[:, :, ::-1]
        values = pixels if self.integer else self._normalised(pixels)
        return np.ascontiguousarray(values.transpose(2, 0, 1) if self.first else values)

    def _cut(self, image: Image, at: str) -> Image:
        """Return the middle of a picture, of the model's size. CompileError D015 when it has another size."""
        if self.rule.crop is not None:
            (height, width), (columns, rows) = self.size, image.size
            if height > rows or width > columns:
                self._refuse_size(at, f"it is {rows} x {columns} before it is cropped to {height} x {width}")
            top, left = rows - height, columns - width
            y, x = (top // 2, left // 2) if self.rule.middle == "floor" else (round(top / 2), round(left / 2))
            image = image.crop((x, y, x + width, y + height))
        if image.size != (self.size[1], self.size[0]):
            became = "" if self.rule.resize is None else " after resizing"
            self._refuse_size(at, f"it is {image.size[1]} x {image.size[0]}{became}")
        return image

    def _refuse_size(self, at: str, because: str) -> NoReturn:
        height, width = self.size
        help_text = (
            f"let --preprocess resize and crop, for instance resize = [{height}, {width}], or give pictures of that size"
        )
        because = f"{because}, and the model takes {height} x {width}"
        fail("D015", "a picture of another size than the model's", at, because, help_text)

    def _normalised(self, pixels: Array) -> Array:
        # in double precision and rounded once: within one unit in the last place of what torch computes in three steps
        means, stds = (np.asarray(values, np.float64) for values in (self.rule.means, self.rule.stds))
        return ((pixels * np.float64(self.rule.scale) - means) / stds).astype(np.float32)


def _resized(image: Image, rule: Preprocess) -> Image:
    from PIL import Image as pillow

    if rule.resize is None:
        return image
    columns, rows = image.size
    if isinstance(rule.resize, tuple):
        height, width = rule.resize
    else:  # torchvision and transformers cut the longer side off after its point
        shorter, longer = rule.resize, int(rule.resize * max(rows, columns) / min(rows, columns))
        height, width = (shorter, longer) if rows <= columns else (longer, shorter)
    method: Any = pillow.Resampling[rule.interpolation.upper()]
    return image.resize((width, height), method) if (columns, rows) != (width, height) else image


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _broken(at: str, because: str) -> NoReturn:
    help_text = "open it in a viewer, then save it again as PNG, JPEG or WebP with 8 bits a channel, or remove it"
    fail("D014", "a picture cannot be decoded", at, plain(because)[:300], help_text)
