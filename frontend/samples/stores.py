"""Where samples come from: arrays by name, read when they are needed and only as many as are needed.

npz and npy files, arrays of a caller, folders and lists of pictures or sounds (`media`), parquet tables (`parquet`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from edgewright.frontend.files.npz import Archive, Header, open_archive, open_array, read_array, read_headers
from edgewright.frontend.samples.preprocess import Preprocess
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.input_ranges import Range
from edgewright.passes.ir import Array, Shape
from edgewright.passes.names import plain

DataSource: TypeAlias = str | Path | Mapping[str, Array] | Array
"""A path, arrays by name, or one array for a model of one input."""
IMAGES = "images"
LABELS = "labels"
IN_MEMORY = Path("(arrays)")
"""What stands for the file in messages about arrays of a caller."""
NO_RANGES: Mapping[str, Range] = {}
LISTS = (".txt", ".lst")


@dataclass(frozen=True, slots=True)
class Reading:
    """How files become samples. classes: their names in the model's order, where the user gave them; class_count: how many the
    model tells apart, where that is known."""

    preprocess: Preprocess | None = None
    classes: tuple[str, ...] | None = None
    class_count: int | None = None

    def completed(self, other: Reading) -> Reading:
        """Return this with what it lacks from another."""
        return replace(self, preprocess=self.preprocess or other.preprocess, classes=self.classes or other.classes)


PLAIN = Reading()


class SampleStore(ABC):
    """Arrays by name. headers: what is there, before anything is read; titles: what the samples are called; classes: names of
    the labels' classes, if the data has any; notes: what was done to the data, for the user."""

    path: Path
    headers: dict[str, Header]
    titles: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def read(self, name: str, positions: Array | None = None) -> Array:
        """Return an array, or its rows at these positions."""

    def place(self, name: str) -> str:
        """Return how messages refer to an array."""
        return f"array {name!r} in {self.path}"


class NpzStore(SampleStore):
    """An open npz file; each array is read once."""

    def __init__(self, path: Path, archive: Archive) -> None:
        self.path, self._archive, self.headers = path, archive, read_headers(archive, path)
        self._arrays: dict[str, Array] = {}

    def read(self, name: str, positions: Array | None = None) -> Array:
        """Return an array of the file. CompileError D002 for a damaged one."""
        if name not in self._arrays:
            self._arrays[name] = read_array(self._archive, self.headers[name], self.path)
        array = self._arrays[name]
        return array if positions is None else array[positions]


class ArrayStore(SampleStore):
    """Arrays of a caller, or of a npy file."""

    def __init__(self, arrays: Mapping[str, Array], path: Path = IN_MEMORY) -> None:
        self.path, self._arrays = path, arrays
        self.headers = {name: Header(name, array.shape, array.dtype) for name, array in arrays.items()}

    def read(self, name: str, positions: Array | None = None) -> Array:
        """Return an array."""
        array = self._arrays[name]
        return array if positions is None else np.asarray(array[positions])

    def place(self, name: str) -> str:
        """Return how messages refer to an array."""
        return f"array {name!r}" if self.path == IN_MEMORY else str(self.path)


class ScaledStore(SampleStore):
    """Another store whose pictures in uint8 become the model's input by the rule of `--preprocess`."""

    def __init__(self, inner: SampleStore, names: tuple[str, ...], pictures: Any) -> None:
        self._inner, self._names, self._pictures = inner, names, pictures
        self.path, self.classes, self.titles = inner.path, inner.classes, inner.titles
        self.notes = (*inner.notes, f"Pixels (uint8) became inputs by --preprocess: {pictures.rule.describe()}.")
        size = pictures.shape[1:]
        made = {name: replace(inner.headers[name], shape=(inner.headers[name].shape[0], *size)) for name in names}
        self.headers = inner.headers | {name: replace(header, dtype=np.dtype(np.float32)) for name, header in made.items()}

    def read(self, name: str, positions: Array | None = None) -> Array:
        """Return an array, pixels by the rule."""
        array = self._inner.read(name, positions)
        if name not in self._names:
            return array
        rows = [self._pictures.pixels(row, f"picture {i} of {self._inner.place(name)}") for i, row in enumerate(array)]
        return np.stack(rows) if rows else np.empty(self.headers[name].shape, np.float32)

    def place(self, name: str) -> str:
        """Return how messages refer to an array."""
        return self._inner.place(name)


@contextmanager
def open_store(
    source: DataSource,
    shapes: Mapping[str, Shape],
    ranges: Mapping[str, Range] = NO_RANGES,
    reading: Reading = PLAIN,
    named: tuple[str, ...] = (),
) -> Iterator[SampleStore]:
    """Open data for inputs of these shapes (leading 1 included). named: under which names an array for the only input may lie.

    CompileError: D001 (exit 2) no such data, D017 (exit 2) of an unknown kind; D002 and D011 to D020 for what is wrong with it.
    """
    with _opened(source, shapes, ranges, reading) as store:
        yield _scaled(store, shapes, ranges, reading, named)


@contextmanager
def _opened(
    source: DataSource, shapes: Mapping[str, Shape], ranges: Mapping[str, Range], reading: Reading
) -> Iterator[SampleStore]:
    from edgewright.frontend.samples import media

    if not isinstance(source, str | Path):
        yield ArrayStore(in_memory(source, shapes))
        return
    path = Path(source)
    ending = path.suffix.lower()
    if path.is_dir() or ending in (*media.PICTURES, *media.SOUNDS, *LISTS):
        yield media.MediaStore(path, shapes, ranges, reading)
    elif ending == ".npy":
        array = open_array(path)
        yield ArrayStore({next(iter(shapes)) if len(shapes) == 1 else path.stem: array}, path)
    elif ending in (".parquet", ".pq"):
        from edgewright.frontend.samples.parquet import ParquetStore

        yield ParquetStore(path, shapes, ranges, reading)
    elif path.is_file() and ending and ending not in (".npz", ".zip") and not _is_zip(path):
        because = f"its name ends in '{plain(ending)}'"
        fail("D017", "data of an unknown kind", plain(path), because, KINDS_HELP, Exit.USAGE)
    else:
        with open_archive(path) as archive:
            yield NpzStore(path, archive)


KINDS_HELP = (
    "give a folder of pictures (PNG, JPEG, WebP) or of .wav files, a .txt file with one of them a line, or an .npz, .npy or "
    ".parquet file"
)


def in_memory(source: Mapping[str, Array] | Array, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Return a caller's data as arrays by name; a single array is that of the first input."""
    arrays = source if isinstance(source, Mapping) else {next(iter(shapes)): source}
    return {str(name): np.asarray(array) for name, array in arrays.items()}


def _is_zip(path: Path) -> bool:
    """Return whether a file of any name is one that numpy.savez writes, or none that can be looked into."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4"
    except OSError:
        return True  # opening it says why not


def scaled_arrays(
    arrays: Mapping[str, Array], shapes: Mapping[str, Shape], ranges: Mapping[str, Range], reading: Reading
) -> dict[str, Array]:
    """Return a caller's arrays, pictures in uint8 scaled where a rule says how."""
    store = _scaled(ArrayStore(arrays), shapes, ranges, reading, ())
    return {name: store.read(name) for name in arrays}


def _scaled(
    store: SampleStore, shapes: Mapping[str, Shape], ranges: Mapping[str, Range], reading: Reading, named: tuple[str, ...]
) -> SampleStore:
    """Return the store with its pixels scaled, where a float input takes pictures and there is a rule for them."""
    from edgewright.frontend.samples.pictures import Pictures, picture_input

    name = picture_input(shapes)
    if name is None or name in ranges or reading.preprocess is None or reading.preprocess.mean is None:
        return store
    names = (name, *(named if len(shapes) == 1 else ()))
    raw = tuple(
        array
        for array in (*names, *(f"train_{array}" for array in names))
        if (header := store.headers.get(array)) is not None and header.dtype == np.uint8 and 3 <= len(header.shape) <= 4
    )
    return ScaledStore(store, raw, Pictures(name, shapes[name], False, reading.preprocess)) if raw else store
