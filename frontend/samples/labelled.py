"""Data that passes learn from and data that they are measured on, from one npz file; no sample is ever both.

Arrays for the inputs as in `data.load_samples`, `labels`, and targets named after outputs. With `train_` before their
names (`train_images`, `train_labels`, `train_edges`) they are to learn from, and so is `calib`; then those without are
measured on. Where there is nothing of the kind, a share of the samples is held out by the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from edgewright.frontend.files.npz import Archive, open_archive
from edgewright.frontend.samples import data as files
from edgewright.passes.diagnostics import CompileError, fail
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph

LABELS = "labels"
PREFIX = "train_"
HELD_OUT = 0.25
FEWEST = 4


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Samples by input name with their targets, by output name ("labels": for the output that they fit)."""

    inputs: dict[str, Array]
    targets: dict[str, Array] = field(default_factory=dict)
    source: str = ""

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))

    def take(self, positions: Array) -> Labelled:
        """Return the samples at these positions."""
        both = (self.inputs, self.targets)
        inputs, targets = ({name: array[positions] for name, array in arrays.items()} for arrays in both)
        return Labelled(inputs, targets, self.source)

    def first(self, count: int) -> Labelled:
        """Return at most `count` samples from the start."""
        return self.take(np.arange(min(count, self.count)))

    def some(self, count: int, seed: int) -> Labelled:
        """Return at most `count` samples, drawn by the seed, in their order."""
        if count >= self.count:
            return self
        return self.take(np.sort(np.random.default_rng(seed).permutation(self.count)[:count]))


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """`learn` and `measure` share no sample. `how`: how the samples were divided, a sentence for the user."""

    learn: Labelled
    measure: Labelled
    how: str


def load_material(path: str | Path, graph: Graph, seed: int = 0, labelled: bool = False) -> Material:
    """Return what a file holds for this model. labelled: only labels teach, so a `calib` without them is omitted where there
    are other samples. Errors (CompileError): as `data.load_samples`; L006 for too few samples to hold any out."""
    path = Path(path)
    with open_archive(path) as archive:
        return _material(_Reader(path, archive, graph), seed, labelled)


def load_calibration(path: str | Path, graph: Graph) -> tuple[files.Samples, Labelled | None]:
    """Return the samples to calibrate on, and those to measure on: the arrays without `train_`, None where there are none.
    No array is read twice. Errors (CompileError): as `data.load_samples`."""
    path = Path(path)
    with open_archive(path) as archive:
        reader = _Reader(path, archive, graph)
        names = reader.names("")
        measure = None if names is None else reader.samples(names, "")
        try:
            chosen = reader.choose(True)
        except CompileError:
            if measure is not None:
                raise
            return files.Samples(_material(reader, 0, False).learn.inputs, None, str(path)), None  # only `train_` arrays
        return files.Samples(reader.inputs(chosen), None, str(path)), measure


def _material(reader: _Reader, seed: int, labelled: bool) -> Material:
    headers, shapes = reader.headers, reader.shapes
    names, training = reader.names(""), reader.names(PREFIX)
    calib = "calib" if len(shapes) == 1 and "calib" in headers else None
    known = any(f"calib_{name}" in headers for name in (*files.LABEL_NAMES, *reader.outputs))
    if labelled and names is not None and not known:
        calib = None
    learn = measure = None
    if training is not None:
        learn = reader.samples(training, PREFIX)
    elif calib is not None and names is not None and calib not in names.values():
        learn = reader.samples({next(iter(shapes)): calib}, "calib_")
    if names is not None:
        measure = reader.samples(names, "")
    elif calib is not None:
        measure = reader.samples({next(iter(shapes)): calib}, "calib_")
    if learn is None and measure is None:
        reader.choose(False)  # raises with what is missing
    if learn is not None and measure is not None:
        name = "calib" if training is None else next(iter(training.values()))
        how = f"learns from the {learn.count:,} samples of '{name}' and is measured on the {measure.count:,} others"
        return Material(learn, measure, how)
    whole = learn or measure
    assert whole is not None
    if whole.count < FEWEST:
        because = f"there are {whole.count}, and what a pass learned from does not measure it"
        help_text = f"give at least {FEWEST}, or arrays to learn from with `{PREFIX}` before their names"
        fail("L006", "too few samples", str(reader.path), because, help_text)
    order = np.random.default_rng(seed).permutation(whole.count)
    held = max(1, round(HELD_OUT * whole.count))
    how = (
        f"learns from {whole.count - held:,} of the {whole.count:,} samples and is measured on the other {held:,} "
        f"(drawn with seed {seed})"
    )
    return Material(whole.take(np.sort(order[held:])), whole.take(np.sort(order[:held])), how)


class _Reader(files.SampleFile):
    """Reads parts of an archive, the inputs of each once."""

    def __init__(self, path: Path, archive: Archive, graph: Graph) -> None:
        super().__init__(path, archive, files.input_shapes(graph), input_ranges(graph), files.unbatched_inputs(graph))
        self.outputs = graph.output_names
        self._known: dict[tuple[tuple[str, str], ...], dict[str, Array]] = {}

    def inputs(self, names: Mapping[str, str]) -> dict[str, Array]:
        """Return the arrays with these names, by the input."""
        key = tuple(names.items())
        if key not in self._known:
            self._known[key] = super().inputs(names)
        return dict(self._known[key])

    def names(self, prefix: str) -> dict[str, str] | None:
        """Return the array for each input under this prefix; None where one has none."""
        names = {}
        for input_name in self.shapes:
            present = [prefix + name for name in self.candidates(input_name) if prefix + name in self.headers]
            if not present:
                return None
            names[input_name] = present[0]
        return names

    def samples(self, names: Mapping[str, str], prefix: str) -> Labelled:
        """Return the samples with their targets."""
        inputs = self.inputs(names)
        count = len(next(iter(inputs.values())))
        targets: dict[str, Array] = {}
        label = next((prefix + name for name in files.LABEL_NAMES if prefix + name in self.headers), None)
        if label is not None and label not in names.values():
            targets[LABELS] = self.labels(label, count)
        for output in self.outputs:
            name = prefix + output
            if name in self.headers and name not in (label, *names.values()):
                array = self.read(name)
                if array.dtype.kind not in "biuf" or len(array) != count or not np.isfinite(array).all():
                    because = f"it is {array.dtype} of shape {array.shape} for {count:,} samples"
                    help_text = "save one finite target for each sample"
                    fail("D005", "targets do not match the samples", self.place(name), because, help_text)
                targets[output] = array
        return Labelled(inputs, targets, str(self.path))
