"""`compare`: two compiled models, or one and its ONNX file in onnxruntime, on the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from edgewright.frontend.bundle import Bundle, Source, open_bundle
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_reading.runtime import onnxruntime_outputs
from edgewright.frontend.report.compared_results import Compared, ComparedModel, ComparedOutput, Share
from edgewright.frontend.samples.calibrating import digests
from edgewright.frontend.samples.data import Samples, input_shapes, load_samples, random_samples, unbatched_inputs
from edgewright.frontend.samples.preprocess import Preprocess
from edgewright.frontend.samples.readings import reading_of
from edgewright.frontend.samples.scores import classes_of
from edgewright.frontend.samples.stores import Reading
from edgewright.passes.confidence import mcnemar, paired_difference
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph
from edgewright.passes.names import plain
from edgewright.passes.transform import Progress

Side: TypeAlias = "str | Path | Bundle[Any]"
RANDOM_SAMPLES = 16


def compare(
    first: Side,
    second: Side,
    data: Source = None,
    *,
    samples: int | None = None,
    preprocess: str | Path | Preprocess | None = None,
    labels: str | Path | None = None,
    progress: Progress | None = None,
) -> Compared:
    """Compare two compiled models (bundles or their folders), or one with an ONNX file, which onnxruntime runs.

    ``data``: as `compile` calibrates on, with labels if any; without it, samples that stayed with a bundle. A bundle reads it
    as it was compiled, an ONNX file as the other model does or by ``preprocess``. Accuracy is of samples that calibrated
    neither. Raises ``CompileError``: D-codes for the data, T061 and T062 for onnxruntime, U038 for outputs without a match."""
    sides = [_opened(first), _opened(second)]
    asked = None if preprocess is None and labels is None else reading_of(sides[0].graph, preprocess, labels)
    kept = next((side.reading for side in sides if side.reading is not None), Reading())
    if asked is not None:
        asked = asked.completed(kept)
    loaded = [side.load(data, samples, asked or side.reading or kept) for side in _with_samples_first(sides, data)]
    if data is None:  # the same samples for both, whatever is kept with the other
        loaded = [loaded[0], loaded[0]]
    done = [side.run(held, progress) for side, held in zip(sides, loaded, strict=True)]
    known = frozenset().union(*(side.calibrated for side in sides))
    unseen = [np.array([digest not in known for digest in digests(held.inputs)]) for held in loaded]
    counts: Array = unseen[0] & unseen[1]
    wanted = loaded[0].labels
    notes = tuple(dict.fromkeys((*loaded[0].notes, *loaded[1].notes)))
    if wanted is not None and not counts.all():
        notes += (f"{int((~counts).sum()):,} of {len(counts):,} samples calibrated a model and do not count for accuracy.",)
    pairs = _pairs(done[0], done[1])
    outputs = tuple(_compared(name, a, b, wanted, counts) for name, a, b in pairs)
    return Compared(sides[0].described, sides[1].described, loaded[0].source, outputs, notes)


@dataclass(slots=True)
class _Opened:
    """One side of a comparison."""

    graph: Graph
    bundle: Bundle[Any] | None
    path: Path
    by: str = ""

    @property
    def reading(self) -> Reading | None:
        return None if self.bundle is None else self.bundle.reading

    @property
    def calibrated(self) -> frozenset[str]:
        return frozenset() if self.bundle is None else self.bundle.calibrated

    @property
    def described(self) -> ComparedModel:
        return ComparedModel(plain(self.path), self.by, {} if self.bundle is None else _cost(self.bundle))

    def load(self, data: Source, most: int | None, reading: Reading) -> Samples:
        if self.bundle is not None:
            before, self.bundle.reading = self.bundle.reading, reading
            try:
                return self.bundle.load(data, most, spread=True)
            finally:
                self.bundle.reading = before
        shapes, ranges, unbatched = input_shapes(self.graph), input_ranges(self.graph), unbatched_inputs(self.graph)
        if data is None:
            return random_samples(shapes, most or RANDOM_SAMPLES, ranges=ranges)
        return load_samples(data, shapes, ranges=ranges, unbatched=unbatched, reading=reading, most=most, spread=True)

    def run(self, data: Samples, progress: Progress | None) -> Mapping[str, Array]:
        if self.bundle is not None:
            ran = self.bundle.run(data.inputs)
            self.by = ran.by
            return ran.outputs
        self.by = "onnxruntime"
        return onnxruntime_outputs(self.path, data.inputs, unbatched_inputs(self.graph), progress)


def _opened(side: Side) -> _Opened:
    if isinstance(side, Bundle):
        return _Opened(side.graph, side, side.directory)
    path = Path(side)
    if path.is_dir():
        bundle = open_bundle(path)
        return _Opened(bundle.graph, bundle, path)
    return _Opened(read_model(path), None, path)


def _with_samples_first(sides: list[_Opened], data: Source) -> list[_Opened]:
    """Return the sides in their order; without data, a bundle, which keeps samples, first."""
    return sides if data is not None or sides[0].bundle is not None else sides[::-1]


def _cost(bundle: Bundle[Any]) -> dict[str, float | int | str]:
    """Return the figures of a report that one would choose by."""
    report = bundle.report
    cost: dict[str, float | int | str] = {"target": report.target, "precision": report.precision}
    if report.cycles.best_known is not None:
        cost["cycles"] = report.cycles.best_known
    if report.latency_ms is not None:
        cost["latency, ms"] = report.latency_ms
    if report.latency:
        cost["latency, ms (estimate)"] = f"{report.latency[0].low_ms:.3g} to {report.latency[0].high_ms:.3g}"
    if report.artifact is not None:
        cost["weights, bytes"] = report.artifact.weights_bytes
    return cost


def _pairs(first: Mapping[str, Array], second: Mapping[str, Array]) -> list[tuple[str, Array, Array]]:
    """Return the outputs that both have, by name, or the only one of each. CompileError U038 (exit 2) without any."""
    names = [name for name in first if name in second]
    pairs = [(name, first[name], second[name]) for name in names]
    if not names and len(first) == len(second) == 1:
        pairs = [(next(iter(first)), next(iter(first.values())), next(iter(second.values())))]
    fitting = [(name, a, b) for name, a, b in pairs if a.size == b.size]
    if not fitting:
        shown = [
            ", ".join(f"{plain(name)} {' x '.join(map(str, a.shape[1:]))}" for name, a in side.items())
            for side in (first, second)
        ]
        because = f"the first has {shown[0]}, the second {shown[1]}"
        fail("U038", "the models have no output in common", "compare", because, "compare models of the same task", Exit.USAGE)
    return fitting


def _compared(name: str, first: Array, second: Array, labels: Array | None, counts: Array) -> ComparedOutput:
    """Return the comparison of one output; the samples that `counts` are those that calibrated neither model."""
    a, b = (value.reshape(len(value), -1).astype(np.float64) for value in (first, second))
    noise, signal = float(((a - b) ** 2).sum()), float((a**2).sum())
    ratio = 10 * float(np.log10(signal / noise)) if noise and signal else None
    shown: dict[str, Any] = {}
    if classes_of(first.shape) is not None:
        ours, theirs = a.argmax(axis=1), b.argmax(axis=1)
        shown["agree"] = Share.of(ours == theirs)
        if labels is not None and counts.any() and int(labels.max(initial=0)) < a.shape[1]:
            right = [(classes == labels)[counts] for classes in (ours, theirs)]
            alone = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
            change = (alone[1] - alone[0]) / len(right[0])
            shown |= {
                "first": Share.of(right[0]),
                "second": Share.of(right[1]),
                "difference": Share(change, *paired_difference(*alone, len(right[0]))),
                "p_value": mcnemar(*alone),
                "labelled": len(right[0]),
            }
    return ComparedOutput(plain(name), len(a), float(np.abs(a - b).max(initial=0)), ratio, **shown)
