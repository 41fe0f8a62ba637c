"""Data that passes learn from and data that they are measured on, from one data set; no sample is ever both.

Arrays for the inputs as in `data.load_samples`, `labels`, and targets named after outputs. With `train_` before their
names (`train_images`, `train_labels`, `train_edges`) they are to learn from, and so is `calib`; then those without are
measured on. Where there is nothing of the kind, a share of the samples is held out by the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from edgewright.frontend.samples import data as files
from edgewright.frontend.samples.stores import PLAIN, DataSource, Reading, SampleStore, open_store
from edgewright.passes.diagnostics import fail
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
    """`learn` and `measure` share no sample. `how`: how the samples were divided, a sentence for the user. classes, notes: as
    in `data.Samples`."""

    learn: Labelled
    measure: Labelled
    how: str
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def load_material(
    source: DataSource, graph: Graph, seed: int = 0, labelled: bool = False, reading: Reading = PLAIN
) -> Material:
    """Return what a data set holds for this model. labelled: only labels teach, so a `calib` without them is omitted where
    there are other samples. Errors (CompileError): as `data.load_samples`; L006 for too few samples to hold any out."""
    with open_store(source, files.input_shapes(graph), input_ranges(graph), reading, files.ARRAY_NAMES) as store:
        return replace(material_of(SampleReader(store, graph), seed, labelled), classes=store.classes, notes=store.notes)


def material_of(reader: SampleReader, seed: int, labelled: bool) -> Material:
    """Return what an open data set holds; see `load_material`."""
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


class SampleReader(files.SampleFile):
    """Reads parts of a store, whole inputs once."""

    def __init__(self, store: SampleStore, graph: Graph) -> None:
        super().__init__(store, files.input_shapes(graph), input_ranges(graph), files.unbatched_inputs(graph))
        self.outputs = graph.output_names
        self._known: dict[tuple[tuple[str, str], ...], dict[str, Array]] = {}

    def inputs(self, names: Mapping[str, str], positions: Array | None = None) -> dict[str, Array]:
        """Return the arrays with these names, or their samples at these positions, by the input."""
        if positions is not None:
            return super().inputs(names, positions)
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

    def targets(self, names: Mapping[str, str], prefix: str) -> dict[str, Array]:
        """Return what is right for the samples of these arrays: labels, and targets by the output's name. CompileError D005
        and D006 for those that do not fit."""
        targets: dict[str, Array] = {}
        label = next((prefix + name for name in files.LABEL_NAMES if prefix + name in self.headers), None)
        count = self.count(names) if names else 0
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
        return targets

    def samples(self, names: Mapping[str, str], prefix: str, positions: Array | None = None) -> Labelled:
        """Return the samples with their targets, or those at these positions."""
        inputs, targets = self.inputs(names, positions), self.targets(names, prefix)
        if positions is not None:
            targets = {name: array[positions] for name, array in targets.items()}
        return Labelled(inputs, targets, str(self.path))
