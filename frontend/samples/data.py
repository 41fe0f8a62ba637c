"""Samples and labels from a store of arrays, checked; random samples where there are none.

Headers are looked at before anything is allocated, and pickles are never loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from edgewright.frontend.onnx_reading.checks_file import memory_budget_bytes
from edgewright.frontend.samples.draw import drawn
from edgewright.frontend.samples.pictures import picture_input
from edgewright.frontend.samples.preprocess import MISSING_HELP
from edgewright.frontend.samples.stores import IMAGES, NO_RANGES, PLAIN, DataSource, Reading, SampleStore, open_store
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail
from edgewright.passes.input_ranges import MASK, Range
from edgewright.passes.ir import Array, Graph, Shape
from edgewright.passes.names import plain
from edgewright.passes.ops import Input

IMAGE_NAMES = (IMAGES, "x")
CALIBRATION_NAME = "calib"
LABEL_NAMES = ("labels", "y")
ARRAY_NAMES = (*IMAGE_NAMES, CALIBRATION_NAME)
"""Names under which an array for the only input of a model may lie."""
NOTHING: Set[str] = frozenset()
_SHAPE_HELP = "save images as float32, normalised as in training, one per row: (count, channels, height, width)"


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """`inputs`: for each input of the model (count, ...) float32; `labels`: (count,) int64, if any. classes: their names, if
    the data has any; notes: what was done to the data; titles: what the samples are called, if anything."""

    inputs: dict[str, Array]
    labels: Array | None
    source: str
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    titles: tuple[str, ...] | None = None

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))

    @property
    def is_random(self) -> bool:
        """Whether they are made up, so that ranges and accuracy mean nothing."""
        return self.source == "random"

    def first(self, count: int) -> Samples:
        """Return at most `count` samples from the start."""
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, inputs={name: array[:count] for name, array in self.inputs.items()}, labels=labels)


def input_shapes(graph: Graph) -> dict[str, Shape]:
    """Return the shapes of the graph's inputs by name, the leading 1 included."""
    return {node.op.name: node.shape for node in graph.inputs if isinstance(node.op, Input)}


def unbatched_inputs(graph: Graph) -> frozenset[str]:
    """Return the inputs whose own shape follows the axis that counts samples: their data may come in that shape."""
    return frozenset(node.op.name for node in graph.inputs if isinstance(node.op, Input) and node.op.unbatched)


def sample_count(actual: Shape, shape: Shape, unbatched: bool) -> int | None:
    """Return how many samples an array of shape `actual` holds for an input of `shape` (leading 1 included); None: no fit.

    For an `unbatched` input also samples joined along the first axis of their own shape, as outputs are.
    """
    if len(actual) == len(shape) and actual[1:] == shape[1:]:
        return actual[0]
    if not unbatched or len(actual) != len(shape) - 1:
        return None
    if not actual:
        return 1
    return actual[0] // shape[1] if actual[1:] == shape[2:] and actual[0] % shape[1] == 0 else None


def random_samples(
    shapes: Mapping[str, Shape], count: int = 32, seed: int = 0, ranges: Mapping[str, Range] = NO_RANGES
) -> Samples:
    """Return standard-normal values from a fixed seed, the same on every machine; integers where `ranges` (as
    `input_ranges` gives them) has the input, masks all 1."""
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
    source: DataSource,
    shapes: Mapping[str, Shape],
    calibration: bool = False,
    ranges: Mapping[str, Range] = NO_RANGES,
    unbatched: Set[str] = NOTHING,
    reading: Reading = PLAIN,
    most: int | None = None,
    spread: bool = False,
) -> Samples:
    """Return samples for inputs of these shapes (leading batch of 1 included), at most so many, the first ones or, if `spread`,
    some of every class; `ranges` and `unbatched` as
    `input_ranges` and `unbatched_inputs` give them.

    An array is found under its input's name; for a model of one input also as `images`, and for `calibration`
    first as `calib`.  Labels (`labels`) belong to the arrays that are not `calib`.
    Errors (CompileError): D001 (exit 2) no such file; D002 to D020 what is wrong with the data, all at once.
    """
    with open_store(source, shapes, ranges, reading, ARRAY_NAMES) as store:
        file = SampleFile(store, shapes, ranges, unbatched)
        names = file.choose(calibration)
        label_name = next((name for name in LABEL_NAMES if name in file.headers and name not in names.values()), None)
        positions = None if most is None else np.arange(min(most, file.count(names)))
        labels = None
        if label_name is not None and CALIBRATION_NAME not in names.values():
            labels = file.labels(label_name, file.count(names))
        if most is not None and spread:
            positions = np.sort(drawn(file.count(names), most, labels, 0))
        inputs = file.inputs(names, positions)
        titles = store.titles
        if positions is not None:
            labels = None if labels is None else labels[positions]
            titles = None if titles is None else tuple(titles[i] for i in positions)
        return Samples(inputs, labels, str(store.path), store.classes, store.notes, titles)


class SampleFile:
    """An open store with samples for inputs of these shapes; `ranges` and `unbatched` as in `load_samples`."""

    def __init__(
        self,
        store: SampleStore,
        shapes: Mapping[str, Shape],
        ranges: Mapping[str, Range] = NO_RANGES,
        unbatched: Set[str] = NOTHING,
    ) -> None:
        self.store, self.path, self.headers = store, store.path, store.headers
        self.shapes, self.ranges, self.unbatched = shapes, ranges, unbatched

    def read(self, name: str, positions: Array | None = None) -> Array:
        """Return an array of the file, or its rows at these positions."""
        return self.store.read(name, positions)

    def place(self, name: str) -> str:
        """Return how messages refer to an array."""
        return self.store.place(name)

    def count(self, names: Mapping[str, str]) -> int:
        """Return how many samples the arrays called `names` hold. CompileError D005 as `inputs`."""
        self._check_headers(names)
        input_name, name = next(iter(names.items()))
        return sample_count(self.headers[name].shape, self.shapes[input_name], input_name in self.unbatched) or 0

    def candidates(self, input_name: str) -> tuple[str, ...]:
        """Return the names under which an input's array may be found, the first choice first."""
        return (input_name, *IMAGE_NAMES) if len(self.shapes) == 1 else (input_name,)

    def choose(self, calibration: bool) -> dict[str, str]:
        """Return the name of the array for each input. CompileError D004 for inputs without one."""
        chosen: dict[str, str] = {}
        missing: list[str] = []
        for input_name in self.shapes:
            names = self.candidates(input_name)
            if len(self.shapes) == 1:
                names = (CALIBRATION_NAME, *names) if calibration else (*names, CALIBRATION_NAME)
            name = next((name for name in names if name in self.headers), None)
            if name is None:
                missing.append(input_name)
            else:
                chosen[input_name] = name
        if missing:
            because = f"the file has {', '.join(map(repr, self.headers)) or 'no arrays'}"
            also = " or 'images'" if len(self.shapes) == 1 else ""
            raise CompileError(
                Diagnostic(
                    "D004", f"no data for input {name!r}", str(self.path), because, f"save an array named {name!r}{also}"
                )
                for name in missing
            )
        return chosen

    def inputs(self, names: Mapping[str, str], positions: Array | None = None) -> dict[str, Array]:
        """Return the arrays called `names` (input name -> array name), or their samples at these positions, checked before and
        after they are read."""
        self._check_headers(names)
        whole = sum(self.headers[name].size_bytes for name in names.values())
        needed = whole if positions is None else whole * len(positions) // max(1, self.count(names))
        budget = memory_budget_bytes()
        if needed > budget:
            because = f"its arrays need {needed:,} bytes, and {budget:,} can be used"
            fail("D007", "data does not fit in memory", str(self.path), because, "use fewer samples")
        return {input_name: self._samples(input_name, name, positions) for input_name, name in names.items()}

    def _samples(self, input_name: str, name: str, positions: Array | None) -> Array:
        """Return an input's samples, (count, ...); those that lie joined along their own first axis are read whole."""
        joined = len(self.headers[name].shape) != len(self.shapes[input_name])
        values = self._values(input_name, name, None if joined else positions).reshape(-1, *self.shapes[input_name][1:])
        return values[positions] if joined and positions is not None else values

    def labels(self, name: str, count: int) -> Array:
        """Return the labels of `count` samples."""
        array, at = self.read(name), f"labels in {self.path}"
        help_text = "save one integer class for each image"
        if array.dtype.kind not in "iu" or array.ndim != 1:
            fail("D005", "labels of the wrong type", at, f"they are {array.dtype} of shape {array.shape}", help_text)
        if len(array) != count:
            fail("D005", "labels do not match the images", at, f"{len(array)} labels for {count} images", help_text)
        if array.size and (int(array.min()) < 0 or int(array.max()) >= 1 << 31):
            fail("D006", "labels out of range", at, f"from {array.min()} to {array.max()}", help_text)
        return array.astype(np.int64)

    def _check_headers(self, names: Mapping[str, str]) -> None:
        refusals: list[Diagnostic] = []
        counts: set[int] = set()
        for input_name, name in names.items():
            header, wanted, at = self.headers[name], self.shapes[input_name][1:], self.place(name)
            if header.dtype == np.uint8 and input_name not in self.ranges and picture_input(self.shapes) == input_name:
                refuse_pixels(input_name, at)
            if (because := _unfit(header.dtype, self.ranges.get(input_name))) is not None:
                help_text = _type_help(header.dtype, input_name in self.ranges)
                refusals.append(Diagnostic("D005", "data of the wrong type", at, because, help_text))
            count = sample_count(header.shape, self.shapes[input_name], input_name in self.unbatched)
            if count is None:
                shown, row = (" x ".join(map(str, shape)) for shape in (header.shape, wanted))
                because = f"it is {shown or 'one number'}, and input {input_name!r} takes count x {row}"
                refusals.append(Diagnostic("D005", "data of the wrong shape", at, because, _SHAPE_HELP))
            elif count == 0:
                refusals.append(Diagnostic("D005", "no samples", at, "the array is empty", "save at least one sample"))
            else:
                counts.add(count)
        if not refusals and len(counts) > 1:
            because, help_text = (
                f"the arrays have {', '.join(map(str, sorted(counts)))} rows",
                "save one row per sample in each",
            )
            refusals.append(Diagnostic("D005", "inputs of different counts", str(self.path), because, help_text))
        if refusals:
            raise CompileError(refusals)

    def _values(self, input_name: str, name: str, positions: Array | None) -> Array:
        """Return an input's array in the model's type. CompileError D006 for values that it does not take."""
        array, at = self.read(name, positions), self.place(name)
        if input_name in self.ranges:
            values, (low, high) = np.ascontiguousarray(array, np.int64), self.ranges[input_name]
            if values.size and (int(values.min()) < low or int(values.max()) > high):
                because = f"its values go from {values.min()} to {values.max()}, and the model takes {low} to {high}"
                ids_help = "give ids as the model counts them (its own tokeniser does)"
                help_text = "a mask is 0 or 1" if (low, high) == MASK else ids_help
                fail("D006", "data out of range", at, because, help_text)
            return values
        with np.errstate(over="ignore"):
            reals = np.ascontiguousarray(array, dtype=np.float32)
        bad = reals.size - int(np.isfinite(reals).sum())
        if bad:
            because = f"{bad:,} of {reals.size:,} values are NaN, infinite or beyond float32"
            fail("D006", "data out of range", at, because, "normalise as in training")
        return reals


def check_arrays(
    arrays: Mapping[str, Array],
    shapes: Mapping[str, Shape],
    ranges: Mapping[str, Range],
    unbatched: Set[str] = NOTHING,
    finite: bool = True,
) -> dict[str, Array]:
    """Return samples (count, ...) that a caller has as arrays, in the model's types. CompileError D008 with all that do not
    fit. finite: whether nan and infinity are refused, which no integer represents."""
    refusals: list[Diagnostic] = []
    checked: dict[str, Array] = {}
    for name, shape in shapes.items():
        wanted = f"(samples, {', '.join(map(str, shape[1:]))})"
        array = np.asarray(arrays[name]) if name in arrays else None
        help_text = f"give finite values of shape {wanted}"
        if array is None:
            because: str | None = "it is missing"
        elif not sample_count(array.shape, shape, name in unbatched):
            because = f"its shape is {array.shape}"
        elif (because := _unfit(array.dtype, ranges.get(name))) is not None:
            help_text = _type_help(array.dtype, name in ranges)
        elif finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            because = "it holds nan or infinity"
        elif name in ranges and not ranges[name][0] <= int(array.min()) <= int(array.max()) <= ranges[name][1]:
            because = f"its values go from {array.min()} to {array.max()}"
            help_text = f"the model takes {ranges[name][0]} to {ranges[name][1]}"
        if array is None or because is not None:
            refusals.append(Diagnostic("D008", f"input '{name}' does not fit the model", name, str(because), help_text))
        else:
            values = np.ascontiguousarray(array, np.int64 if name in ranges else np.float32)
            checked[name] = values.reshape(-1, *shape[1:])
    counts = {len(array) for array in checked.values()}
    for name in sorted(set(arrays) - set(shapes)):
        help_text = f"the model's inputs are {', '.join(shapes)}"
        message = f"the model has no input '{plain(name)}'"
        refusals.append(Diagnostic("D008", message, plain(name), "an array has this name", help_text))
    if not refusals and len(counts) > 1:
        because = f"they hold {', '.join(map(str, sorted(counts)))} samples"
        refusals.append(Diagnostic("D008", "inputs of different counts", "inputs", because, "give one row per sample in each"))
    if refusals:
        raise CompileError(refusals)
    return checked


def refuse_pixels(input_name: str, at: str) -> NoReturn:
    """Raise D011 (exit 2) for uint8 pixels that no rule turns into the real numbers that an input takes."""
    because = f"its elements are uint8, input '{plain(input_name)}' takes real numbers, and pixels are never scaled silently"
    fail("D011", "pixels without a rule", at, because, MISSING_HELP, Exit.USAGE)


def _unfit(dtype: np.dtype[np.generic], allowed: Range | None) -> str | None:
    """Return why elements of this type are not the model's; None where they are."""
    if allowed is None:
        return None if dtype.kind == "f" else f"its elements are {dtype}, and the model takes float32"
    if dtype.kind in ("iub" if allowed == MASK else "iu"):
        return None
    wanted = "0 and 1, as booleans or integers" if allowed == MASK else "integers"
    return f"its elements are {dtype}, and the model takes {wanted}"


def _type_help(dtype: np.dtype[np.generic], integer: bool) -> str:
    if integer:
        return "save integers: token ids, masks, or pixels where the model takes those"
    if dtype == np.uint8:
        return "the scale is the model's: save float32, for instance (pixels / 255 - mean) / std as in training"
    return _SHAPE_HELP


def check_ranges(samples: Samples) -> None:
    """CompileError D006 for samples whose values are all the same, from which no scale can be taken."""
    for name, values in samples.inputs.items():
        if values.dtype.kind == "f" and values.size > 1 and values.min() == values.max():
            because = f"every value is {float(values.reshape(-1)[0])}"
            at = f"input {name!r} in {samples.source}"
            fail("D006", "data without a range", at, because, "save real images: scales are taken from their ranges")
