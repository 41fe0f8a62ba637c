"""Which samples of a data set calibrate a model, and on which others its accuracy is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from edgewright.frontend.samples import data as files
from edgewright.frontend.samples.draw import divided, drawn
from edgewright.frontend.samples.labelled import LABELS, PREFIX, Labelled, Material, SampleReader
from edgewright.frontend.samples.stores import PLAIN, DataSource, Reading, open_store
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph

MOST = 1 << 40
CALIBRATED = "checkpoints/calibrated.txt"
"""The file of a bundle with the digest of each sample that calibrated it."""
_DIGITS = 16


class ChosenSamples(NamedTuple):
    """Samples to calibrate on, and others to measure on (None where nothing says what is right). how: which they are, a
    sentence for the user."""

    samples: files.Samples
    measure: Labelled | None
    how: str = ""


def load_calibration(
    source: DataSource,
    graph: Graph,
    wanted: int = MOST,
    seed: int = 0,
    reading: Reading = PLAIN,
    most: int = MOST,
    calibrates: bool = True,
) -> ChosenSamples:
    """Return `wanted` samples to calibrate on, drawn over the classes, and at most `most` to measure on. calibrates: False for
    a model of floats, whose accuracy may be measured on any sample.

    `calib` calibrates where there is one, and the others are measured on; else part of the samples calibrates (at most half of
    them) and the rest is measured on. Only what was drawn is read. Errors (CompileError): as `data.load_samples`."""
    with open_store(source, files.input_shapes(graph), input_ranges(graph), reading, files.ARRAY_NAMES) as store:
        reader = SampleReader(store, graph)
        names = reader.names("")
        try:
            chosen = reader.choose(True)
        except CompileError:
            training = reader.names(PREFIX)
            if names is not None or training is None:
                raise
            chosen = training  # only arrays to learn from
        count = reader.count(chosen)
        kept: Labelled | None = None
        if names is None or names == chosen:
            prefix = PREFIX if chosen == reader.names(PREFIX) else "" if names else "calib_"
            known = reader.targets(chosen, prefix)
            labels = known.get(LABELS)
            if names is None or not known or count < 2:
                positions = drawn(count, wanted, labels, seed)
                how = f"{_counted(len(positions), count)} calibrated"
            else:
                positions, others = drawn(count, wanted, labels, seed), np.arange(count)
                if calibrates:
                    positions, others = divided(count, wanted, labels, seed)
                others = others[drawn(len(others), most, None if labels is None else labels[others], seed)]
                kept = reader.samples(names, "", np.sort(others))
                over = " over the classes" if labels is not None else ""
                how = f"{_counted(len(positions), count)} calibrated, drawn{over} with seed {seed}; accuracy is of others"
        else:
            labels = reader.targets(chosen, "calib_").get(LABELS)
            positions = drawn(count, wanted, labels, seed)
            how = f"{_counted(len(positions), count)} of '{next(iter(chosen.values()))}' calibrated"
            known = reader.targets(names, "")
            if known:
                total = reader.count(names)
                kept = reader.samples(names, "", np.sort(drawn(total, most, known.get(LABELS), seed)))
                how += "; accuracy is of others"
        samples = files.Samples(reader.inputs(chosen, positions), None, str(store.path), store.classes, store.notes)
        return ChosenSamples(samples, kept, how if calibrates else "")


def digests(inputs: Mapping[str, Array]) -> list[str]:
    """Return for each sample what tells it from others, so that a bundle knows those that calibrated it."""
    arrays = [np.ascontiguousarray(inputs[name]) for name in sorted(inputs)]
    return [hashlib.sha256(b"".join(a[i].tobytes() for a in arrays)).hexdigest()[:_DIGITS] for i in range(len(arrays[0]))]


def calibrated_file(inputs: Mapping[str, Array]) -> bytes:
    """Return the file of a bundle that tells which samples calibrated it."""
    return "".join(f"{digest}\n" for digest in digests(inputs)).encode()


def from_learned(material: Material, wanted: int, seed: int) -> ChosenSamples:
    """Return what calibrates a model that passes have learned from: some of the samples that they learned from."""
    learn = material.learn
    positions = drawn(learn.count, wanted, learn.targets.get(LABELS), seed)
    inputs = {name: array[positions] for name, array in learn.inputs.items()}
    how = f"{_counted(len(positions), learn.count)} that passes learned from calibrated; accuracy is of others"
    return ChosenSamples(files.Samples(inputs, None, learn.source, material.classes, material.notes), material.measure, how)


def _counted(some: int, count: int) -> str:
    return f"all {count:,} samples" if some == count and count > 1 else f"{some:,} of {count:,} samples"
