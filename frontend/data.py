"""Images and labels from npz files, checked; random images where there are none.

Headers are looked at before anything is allocated, and pickles are never loaded.
"""

from __future__ import annotations

import math
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
from edgewright.frontend.onnx_reading.checks_file import memory_budget_bytes
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.input_ranges import MASK, Range
from edgewright.passes.ir import Array, Graph, Shape
from edgewright.passes.ops import Input
from numpy.lib import format as npy_format

IMAGE_NAMES = ("images", "x")
CALIBRATION_NAMES = ("calib", "images", "x")
LABEL_NAMES = ("labels", "y")
# Everything that zipfile, zlib and numpy raise on damaged archives; a header is parsed as Python.
_BROKEN = (
    OSError,
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    NotImplementedError,
    SyntaxError,
    TypeError,
    tokenize.TokenError,
    MemoryError,
    AttributeError,
    OverflowError,
)
Archive = zipfile.ZipFile
NO_RANGES: Mapping[str, Range] = {}
_SHAPE_HELP = "save images as float32, normalised as in training, one per row: (count, channels, height, width)"


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """`inputs`: for each input of the model (count, ...) float32; `labels`: (count,) int64, if any."""

    inputs: dict[str, Array]
    labels: Array | None
    source: str

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))

    @property
    def is_random(self) -> bool:
        """Made up: ranges and accuracy mean nothing."""
        return self.source == "random"

    def first(self, count: int) -> Samples:
        """At most `count` samples from the start."""
        labels = None if self.labels is None else self.labels[:count]
        return Samples({name: array[:count] for name, array in self.inputs.items()}, labels, self.source)


def input_shapes(graph: Graph) -> dict[str, Shape]:
    """The graph's inputs by name, the leading 1 included."""
    return {node.op.name: node.shape for node in graph.inputs if isinstance(node.op, Input)}


def random_samples(
    shapes: Mapping[str, Shape], count: int = 32, seed: int = 0, ranges: Mapping[str, Range] = NO_RANGES
) -> Samples:
    """Standard-normal values from a fixed seed, the same on every machine; integers where `ranges` (as `input_ranges`
    gives them) has the input, masks all 1."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for name, shape in sorted(shapes.items()):
        size = (count, *shape[1:])
        if name in ranges:
            low, high = ranges[name]
            inputs[name] = np.ones(size, np.int64) if (low, high) == MASK else rng.integers(low, high, size, endpoint=True)
        else:
            inputs[name] = rng.standard_normal(size).astype(np.float32)
    return Samples(inputs, None, "random")


def load_samples(
    path: str | Path, shapes: Mapping[str, Shape], calibration: bool = False, ranges: Mapping[str, Range] = NO_RANGES
) -> Samples:
    """Samples for inputs of these shapes (leading batch of 1 included); `ranges` as `input_ranges` gives them.

    An array is found under its input's name; for a model of one input also as `images`, and for `calibration`
    first as `calib`.  Labels (`labels`) belong to the arrays that are not `calib`.
    Errors (CompileError): D001 (exit 2) no such file; D002 to D007 (exit 1) what is wrong with the data, all at once.
    """
    path = Path(path)
    with open_archive(path) as archive:
        headers = read_headers(archive, path)
        names = choose(headers, shapes, path, calibration)
        wants_labels = "calib" not in names.values()
        label_name = next((name for name in LABEL_NAMES if name in headers and name not in names.values()), None)
        inputs = read_inputs(archive, headers, names, shapes, path, ranges)
        labels = None
        if label_name is not None and wants_labels:
            count = len(next(iter(inputs.values())))
            labels = check_labels(read_array(archive, headers[label_name], path), count, path)
    return Samples(inputs, labels, str(path))


def read_inputs(
    archive: Archive,
    headers: Mapping[str, Header],
    names: Mapping[str, str],
    shapes: Mapping[str, Shape],
    path: Path,
    ranges: Mapping[str, Range],
) -> dict[str, Array]:
    """The arrays called `names` (input name -> array name), checked before and after they are read."""
    _check_headers(headers, names, shapes, path, ranges)
    _check_memory(headers, names.values(), path)
    return {
        given: _as_integer(read_array(archive, headers[name], path), name, path, ranges[given])
        if given in ranges
        else _as_float(read_array(archive, headers[name], path), name, path)
        for given, name in names.items()
    }


def check_arrays(given: Mapping[str, Array], shapes: Mapping[str, Shape], ranges: Mapping[str, Range]) -> dict[str, Array]:
    """Samples (count, ...) that a caller has as arrays, in the model's types. CompileError D004 with all that do not fit."""
    found: list[Diagnostic] = []
    checked: dict[str, Array] = {}
    for name, shape in shapes.items():
        wanted = f"(samples, {', '.join(map(str, shape[1:]))})"
        array = np.asarray(given[name]) if name in given else None
        help_text = f"give finite values of shape {wanted}"
        if array is None:
            because: str | None = "it is missing"
        elif array.shape[1:] != shape[1:] or array.ndim != len(shape) or not array.shape[0]:
            because = f"its shape is {array.shape}"
        elif (because := _unfit(array.dtype, ranges.get(name))) is not None:
            help_text = _type_help(array.dtype, name in ranges)
        elif array.dtype.kind == "f" and not np.isfinite(array).all():
            because = "it holds nan or infinity"
        elif name in ranges and not ranges[name][0] <= int(array.min()) <= int(array.max()) <= ranges[name][1]:
            because = f"its values go from {array.min()} to {array.max()}"
            help_text = f"the model takes {ranges[name][0]} to {ranges[name][1]}"
        if array is None or because is not None:
            found.append(Diagnostic("D004", f"input '{name}' does not fit the model", name, str(because), help_text))
        else:
            checked[name] = np.ascontiguousarray(array, np.int64 if name in ranges else np.float32)
    counts = {len(array) for array in checked.values()}
    if not found and len(counts) > 1:
        because = f"they hold {', '.join(map(str, sorted(counts)))} samples"
        found.append(Diagnostic("D004", "inputs of different counts", "inputs", because, "give one row per sample in each"))
    if found:
        raise CompileError(found)
    return checked


def fail(code: str, message: str, at: str, because: str, help_text: str, exit_code: int = Exit.MODEL) -> NoReturn:
    raise CompileError([Diagnostic(code, message, at=at, because=because, help=help_text)], exit_code)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else "it is cut short"


def open_archive(path: Path) -> zipfile.ZipFile:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            fail(
                "D001",
                "data path is not a file",
                str(path),
                "it is a folder or device",
                "give an .npz file",
                Exit.USAGE,
            )
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        fail("D001", "data file not found", str(path), "there is no file of this name", "check the path", Exit.USAGE)
    except (OSError, ValueError) as error:
        fail("D001", "data file cannot be read", str(path), str(error), "check path and permissions", Exit.USAGE)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        help_text = "save it with numpy.savez(path, images=..., labels=...)"
        fail("D002", "not an npz file", str(path), f"it is no complete zip archive ({error})", help_text)


@dataclass(frozen=True, slots=True)
class Header:
    """One array in the archive, not yet read."""

    entry: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = npy_format.read_magic(file)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read(file)
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, dtype


def read_headers(archive: zipfile.ZipFile, path: Path) -> dict[str, Header]:
    found: dict[str, Header] = {}
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            continue
        name = info.filename.removesuffix(".npy")
        at = f"array {name!r} in {path}"
        try:
            with archive.open(info) as file:
                shape, dtype = _read_header(file)
                overhead = file.tell()
        except _BROKEN as error:
            fail("D002", "damaged array", at, _first_line(error), "save it again")
        if dtype.hasobject:
            because = "its elements are Python objects, stored as a pickle, and loading a pickle runs code"
            fail("D003", "pickled array refused", at, because, "save plain numeric arrays")
        found[name] = header = Header(info.filename, shape, dtype)
        if header.size_bytes + overhead != info.file_size:
            there = info.file_size - overhead
            because = f"shape {shape} of {dtype} needs {header.size_bytes:,} bytes, and {there:,} are there"
            fail("D002", "damaged array", at, because, "save it again")
    return found


def choose(
    headers: Mapping[str, Header], shapes: Mapping[str, Shape], path: Path, calibration: bool
) -> dict[str, str]:
    """Input name -> array name."""
    found: dict[str, str] = {}
    missing: list[str] = []
    for given in shapes:
        candidates = [given, *IMAGE_NAMES] if len(shapes) == 1 else [given]
        if calibration and len(shapes) == 1:
            candidates = [CALIBRATION_NAMES[0], *candidates]
        elif len(shapes) == 1:
            candidates = [*candidates, CALIBRATION_NAMES[0]]
        name = next((c for c in candidates if c in headers), None)
        if name is None:
            missing.append(given)
        else:
            found[given] = name
    if missing:
        has = ", ".join(repr(name) for name in headers) or "no arrays"
        raise CompileError(
            Diagnostic(
                "D004",
                f"no data for input {name!r}",
                at=str(path),
                because=f"the file has {has}",
                help=f"save an array named {name!r}" + (" or 'images'" if len(shapes) == 1 else ""),
            )
            for name in missing
        )
    return found


def _spell(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def _check_headers(
    headers: Mapping[str, Header],
    names: Mapping[str, str],
    shapes: Mapping[str, Shape],
    path: Path,
    ranges: Mapping[str, Range],
) -> None:
    found: list[Diagnostic] = []
    for given, name in names.items():
        header, wanted, at = headers[name], shapes[given][1:], f"array {name!r} in {path}"
        if (because := _unfit(header.dtype, ranges.get(given))) is not None:
            found.append(Diagnostic("D005", "data of the wrong type", at, because, _type_help(header.dtype, given in ranges)))
        if header.shape[1:] != wanted or len(header.shape) != len(wanted) + 1:
            because = f"it is {_spell(header.shape)}, and input {given!r} takes count x {_spell(wanted)}"
            found.append(Diagnostic("D005", "data of the wrong shape", at, because, _SHAPE_HELP))
        elif header.shape[0] == 0:
            found.append(Diagnostic("D005", "no samples", at, "the array is empty", "save at least one sample"))
    counts = {headers[name].shape[:1] for name in names.values()}
    if not found and len(counts) > 1:
        because = f"the arrays have {', '.join(str(c[0]) for c in sorted(counts))} rows"
        found.append(
            Diagnostic("D005", "inputs of different counts", str(path), because, "save one row per sample in each")
        )
    if found:
        raise CompileError(found)


def _unfit(dtype: np.dtype[np.generic], allowed: Range | None) -> str | None:
    """Why elements of this type are not the model's; None where they are."""
    if allowed is None:
        return None if dtype.kind == "f" else f"its elements are {dtype}, and the model takes float32"
    if dtype.kind in ("iub" if allowed == MASK else "iu"):
        return None
    what = "0 and 1, as booleans or integers" if allowed == MASK else "integers"
    return f"its elements are {dtype}, and the model takes {what}"


def _type_help(dtype: np.dtype[np.generic], integer: bool) -> str:
    if integer:
        return "save integers: token ids, masks, or pixels where the model takes those"
    if dtype == np.uint8:
        return "the scale is the model's: save float32, for instance (pixels / 255 - mean) / std as in training"
    return _SHAPE_HELP


def _check_memory(headers: Mapping[str, Header], names: Iterable[str], path: Path) -> None:
    needed, budget = sum(headers[name].size_bytes for name in names), memory_budget_bytes()
    if needed > budget:
        because = f"its arrays need {needed:,} bytes, and {budget:,} can be used"
        fail("D007", "data does not fit in memory", str(path), because, "use fewer samples")


def read_array(archive: zipfile.ZipFile, header: Header, path: Path) -> Array:
    try:
        with archive.open(header.entry) as file:
            array: Array = npy_format.read_array(file, allow_pickle=False)
            return array
    except _BROKEN as error:
        fail("D002", "damaged array", f"array {header.entry!r} in {path}", _first_line(error), "save it again")


def _as_float(array: Array, name: str, path: Path) -> Array:
    at = f"array {name!r} in {path}"
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32)
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        because = f"{bad:,} of {values.size:,} values are NaN, infinite or beyond float32"
        fail("D006", "data out of range", at, because, "normalise as in training")
    return values


def check_ranges(samples: Samples) -> None:
    """Refuse (D006) samples that scales are to be taken from and whose values are all the same."""
    for name, values in samples.inputs.items():
        if values.dtype.kind == "f" and values.size > 1 and values.min() == values.max():
            because = f"every value is {float(values.reshape(-1)[0])}"
            at = f"input {name!r} in {samples.source}"
            fail("D006", "data without a range", at, because, "save real images: scales are taken from their ranges")


def _as_integer(array: Array, name: str, path: Path, allowed: Range) -> Array:
    values = np.ascontiguousarray(array, np.int64)
    low, high = allowed
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        because = f"its values go from {values.min()} to {values.max()}, and the model takes {low} to {high}"
        help_text = "a mask is 0 or 1" if allowed == MASK else "give ids as the model counts them (its own tokeniser does)"
        fail("D006", "data out of range", f"array {name!r} in {path}", because, help_text)
    return values


def check_labels(array: Array, count: int, path: Path) -> Array:
    at = f"labels in {path}"
    help_text = "save one integer class for each image"
    if array.dtype.kind not in "iu" or array.ndim != 1:
        fail("D005", "labels of the wrong type", at, f"they are {array.dtype} of shape {array.shape}", help_text)
    if len(array) != count:
        fail("D005", "labels do not match the images", at, f"{len(array)} labels for {count} images", help_text)
    if array.size and (int(array.min()) < 0 or int(array.max()) >= 1 << 31):
        fail("D006", "labels out of range", at, f"from {array.min()} to {array.max()}", help_text)
    return array.astype(np.int64)
