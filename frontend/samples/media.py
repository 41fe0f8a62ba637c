"""Folders and lists of pictures or sounds: ImageFolder's layout (a folder for each class), a flat folder, a text file with one
of them a line, or a single file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from edgewright.frontend.files.npz import Header
from edgewright.frontend.onnx_reading.checks_file import memory_budget_bytes
from edgewright.frontend.samples.pictures import Pictures, picture_input
from edgewright.frontend.samples.sounds import Sounds, sound_input
from edgewright.frontend.samples.stores import LABELS, LISTS, Reading, SampleStore
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.documents import Unreadable, read_bytes
from edgewright.passes.input_ranges import Range
from edgewright.passes.ir import Array, Shape
from edgewright.passes.names import plain

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
SOUNDS = (".wav",)
_OTHERS = (".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".heic", ".avif", ".jp2", ".mp3", ".flac", ".ogg", ".m4a", ".aiff")
"""Pictures and sounds that are not read; other files of a folder are none, and are ignored."""
LARGEST_LIST = 64 << 20
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Found:
    """A file, and the class that its folder or its list names; a number if only that is known."""

    path: Path
    label: str | int | None


class MediaStore(SampleStore):
    """Files of pictures or sounds as samples of the only input that takes them, with labels where the layout names classes.

    CompileError: D001 (exit 2) no such path; D005, D007 and D011 to D018 for what does not fit."""

    def __init__(self, path: Path, shapes: Mapping[str, Shape], ranges: Mapping[str, Range], reading: Reading) -> None:
        self.path = path
        found = _find(path)
        sound = found[0].path.suffix.lower() in SOUNDS
        name = sound_input(shapes) if sound else picture_input(shapes)
        if name is None:
            takes = ", ".join(f"'{plain(n)}' of {' x '.join(map(str, shape))}" for n, shape in shapes.items())
            because = f"its inputs are {takes}"
            kind = "sounds" if sound else "pictures"
            fail("D005", f"the model takes no {kind}", plain(path), because, "give an npz file with an array for each input")
        self._files = [entry.path for entry in found]
        self.titles = tuple(file.name for file in self._files)
        rule = reading.preprocess
        self._maker: Pictures | Sounds
        elements: np.dtype[Any]
        if sound:
            self._maker = Sounds(name, shapes[name], None if rule is None else rule.sound)
            said = self._maker.rule.describe()
            elements = np.dtype(np.float32)
        else:
            self._maker = Pictures(name, shapes[name], name in ranges, rule)
            said = self._maker.rule.describe()
            elements = np.dtype(np.int64 if name in ranges else np.float32)
        self._size_bytes = math.prod(shapes[name][1:]) * elements.itemsize
        self.headers = {name: Header(name, (len(found), *shapes[name][1:]), elements)}
        counted = f"{len(found):,} {'sound' if sound else 'picture'}{'s'[: len(found) != 1]}"
        self.notes = (f"{counted} became inputs by --preprocess: {said}.",)
        self._labels = self._numbered(found, reading)
        if self._labels is not None:
            self.headers[LABELS] = Header(LABELS, self._labels.shape, self._labels.dtype)

    def read(self, name: str, positions: Array | None = None) -> Array:
        """Return the samples at these positions, or all, or the labels. CompileError: D007 when they do not fit in memory."""
        if name == LABELS and self._labels is not None:
            return self._labels if positions is None else self._labels[positions]
        files = self._files if positions is None else [self._files[i] for i in positions]
        if self._size_bytes * len(files) > (budget := memory_budget_bytes()):
            because = f"its samples need {self._size_bytes * len(files):,} bytes, and {budget:,} can be used"
            fail("D007", "data does not fit in memory", plain(self.path), because, "use fewer samples")
        made = np.empty((len(files), *self.headers[name].shape[1:]), self.headers[name].dtype)
        for i, path in enumerate(files):
            made[i] = self._maker.file(path, plain(path))
        return made

    def place(self, name: str) -> str:
        """Return how messages refer to an array."""
        return plain(self.path)

    def _numbered(self, found: list[Found], reading: Reading) -> Array | None:
        """Return the class of each file as a number; None where the layout names none."""
        named = {entry.label for entry in found}
        if named == {None}:
            self.classes = reading.classes
            return None
        if None in named:
            first = next(entry.path for entry in found if entry.label is None)
            because = f"{plain(first.name)} has none, and others have"
            fail("D018", "labels do not match the classes", plain(self.path), because, "give each line of the list its class")
        names = tuple(sorted(label for label in named if isinstance(label, str)))
        self.classes = reading.classes or names or None
        if reading.classes is not None:
            count = len(reading.classes)
            if not set(names) & set(reading.classes) and all(name.isdecimal() and int(name) < count for name in names):
                found = [Found(entry.path, int(str(entry.label))) for entry in found]  # folders named by the class's number
            elif twice := sorted(name for name in names if reading.classes.count(name) > 1):
                because = f"two classes of the model are called {_listed(twice)}"
                self._mismatch(because, "name these folders by the numbers of their classes, as all others")
            elif unknown := sorted(set(names) - set(reading.classes)):
                because = f"the classes are {_listed(reading.classes)}, and {_listed(unknown)} is none of them"
                self._mismatch(because, "name folders as the model's classes, or give --labels with their names, one a line")
        elif names and reading.class_count not in (None, len(names)):
            because = f"there are {len(names)} ({_listed(names)}), and the model tells {reading.class_count} apart"
            help_text = "give --labels with the names of all classes, one a line, in the order of the model's outputs"
            self._mismatch(because, help_text)
        numbers = {name: i for i, name in enumerate(self.classes or ())}
        if names and reading.classes is None:
            self.notes = (*self.notes, f"Classes are numbered by the names of their folders: {_listed(names, numbered=True)}.")
        return np.array(
            [entry.label if isinstance(entry.label, int) else numbers[str(entry.label)] for entry in found], np.int64
        )

    def _mismatch(self, because: str, help_text: str) -> NoReturn:
        fail("D018", "labels do not match the classes", plain(self.path), plain(because)[:300], help_text)


def _find(path: Path) -> list[Found]:
    """Return the files of a folder, a list or a single path, in the order of their names or of the list."""
    try:
        if path.is_dir():
            return _in_folder(path)
    except OSError as error:
        fail("D001", "data file cannot be read", plain(path), str(error), "check path and permissions", Exit.USAGE)
    if path.suffix.lower() in LISTS:
        return _in_list(path)
    if not path.is_file():
        fail("D001", "data file not found", plain(path), "there is no file of this name", "check the path", Exit.USAGE)
    return [Found(path, None)]


def _in_folder(folder: Path) -> list[Found]:
    inside = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    folders = [entry for entry in inside if entry.is_dir()]
    flat = _readable(inside)
    classes = {entry: _readable(sorted(entry.rglob("*"))) for entry in folders}
    filled = {entry: files for entry, files in classes.items() if files}
    because, help_text = "", "give a folder of pictures (PNG, JPEG, WebP) or of .wav files"
    if not flat and not filled:
        because = "it holds no file whose name ends in .png, .jpg, .jpeg, .webp or .wav"
    elif flat and filled:
        because = f"it holds both files and folders of them ({plain(flat[0].name)} and {plain(next(iter(filled)).name)})"
        help_text = "put all files into it, or each into the folder of its class"
    elif empty := [entry.name for entry in folders if entry not in filled]:
        because = f"its folder {plain(empty[0])} holds no picture and no sound"
        help_text = "remove that folder, or put files of its class into it"
    elif any(all(file.parent.parent != folder for file in files) for files in filled.values()):
        because = f"its folders ({_listed([entry.name for entry in filled])}) hold folders, not files"
        help_text = f"give one of them, such as {plain(next(iter(filled)))}: a folder holds one folder for each class"
    if because:
        fail("D016", "there are no samples in a folder", plain(folder), because, help_text)
    found = [Found(file, None) for file in flat]
    found += [Found(file, entry.name) for entry, files in filled.items() for file in files]
    return _one_kind(found, folder)


def _readable(paths: Iterable[Path]) -> list[Path]:
    """Return the pictures and sounds among some paths. CompileError D017 for one of a kind that is not read."""
    read: list[Path] = []
    for path in paths:
        ending = path.suffix.lower()
        if ending in _OTHERS and path.is_file():
            because = f"its name ends in '{ending}'; pictures are read from PNG, JPEG and WebP, sounds from .wav"
            fail(
                "D017", "data of an unknown kind", plain(path), because, "convert it, or remove it from the folder", Exit.USAGE
            )
        if ending in (*PICTURES, *SOUNDS) and not path.name.startswith(".") and path.is_file():
            read.append(path)
    return read


def _in_list(path: Path) -> list[Found]:
    """Return the files that a text file names, one a line, with a class after a tab, or a number after a space."""
    try:
        text = read_bytes(path, LARGEST_LIST).decode()
    except (Unreadable, UnicodeDecodeError) as error:
        fail("D001", "data file cannot be read", plain(path), str(error), "check path and permissions", Exit.USAGE)
    found: list[Found] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        name, tab, label = line.rpartition("\t")
        if not tab:
            first, _, last = line.rpartition(" ")
            name, label = (first, last) if first and last.isdecimal() and not (path.parent / line).exists() else (line, "")
        file = path.parent / name.strip()
        if file.suffix.lower() not in (*PICTURES, *SOUNDS):
            because = f"line {number} names '{plain(name)[:80]}', which ends in none of {', '.join((*PICTURES, *SOUNDS))}"
            fail("D017", "data of an unknown kind", plain(path), because, "name one picture or sound a line", Exit.USAGE)
        if not file.is_file():
            because = f"line {number} of {plain(path)} names it"
            fail("D001", "data file not found", plain(file), because, "check the path", Exit.USAGE)
        found.append(Found(file, int(label) if label.isdecimal() else label.strip() or None))
    if not found:
        fail("D016", "there are no samples in a list", plain(path), "it names no file", "name one file a line")
    return _one_kind(found, path)


def _one_kind(found: list[Found], place: Path) -> list[Found]:
    sounds = [entry for entry in found if entry.path.suffix.lower() in SOUNDS]
    if sounds and len(sounds) < len(found):
        because = f"there are {len(sounds):,} sounds and {len(found) - len(sounds):,} pictures"
        fail("D016", "samples of two kinds", plain(place), because, "give a folder of one kind")
    return found


def _listed(names: Iterable[str], numbered: bool = False) -> str:
    """Return the first few names in words."""
    shown = list(names)
    texts = [f"{i} {plain(name)}" if numbered else plain(name) for i, name in enumerate(shown[:_SHOWN])]
    return ", ".join(texts) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
