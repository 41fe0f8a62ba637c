"""Ranges of a float graph's values on samples, and the scales of integers chosen from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic, fail
from edgewright.passes.ir import Array, Graph, Node, Quant
from edgewright.passes.ir.interp import batchable, run_size, visit
from edgewright.passes.ops import Constant
from edgewright.passes.quantisation.calibrate_experts import ExpertsSeen, ExpertsWatch
from edgewright.passes.quantisation.lowering_structure import hosted

SAMPLE_MAX = 1 << 15  # values kept of each tensor for the search of a clipping range
ENOUGH = 1 << 14  # values of a channel that show its whole range; best of 2^11..2^20 on the example models
LEVELS = 127  # integers lie in [-127, 127]
METHODS = ("minmax", "percentile", "mse")
PERCENTILES = (100.0, 99.999, 99.99, 99.9)  # candidates of the mse search, those of RepQ-ViT and no clipping


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Statistics of each channel of a value: extremes, mean square, and the number of values."""

    low: Array
    high: Array
    square: Array
    each: int

    def joined(self, other: Channels) -> Channels:
        """Return both observations as one."""
        each = self.each + other.each
        square = (self.square * self.each + other.square * other.each) / max(each, 1)
        return Channels(np.minimum(self.low, other.low), np.maximum(self.high, other.high), square, each)


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Statistics of one value: extremes overall and of `channels` (last axis), a regular sample, the number of values;
    `planes`: the channels of maps (axis 1 of 4)."""

    low: float
    high: float
    channels: Channels
    sample: Array
    count: int
    planes: Channels | None = None

    @property
    def magnitude(self) -> float:
        return max(-self.low, self.high)

    @property
    def widening(self) -> float:
        """How much further than the range seen further samples will reach: the largest of n normal values grows
        with the root of log n, and each channel was seen only n times (a class token once a sample)."""
        each = max(self.count / max(len(self.channels.low), 1), 2.0)
        return max(1.0, math.sqrt(math.log(ENOUGH) / math.log(each)))

    def joined(self, other: Observed) -> Observed:
        """Return both observations as one."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        sample = np.concatenate([self.sample, other.sample])
        planes = self.planes.joined(other.planes) if self.planes and other.planes else None
        return Observed(low, high, self.channels.joined(other.channels), sample, self.count + other.count, planes)


def observe(value: Array, most: int = SAMPLE_MAX) -> Observed:
    """Return extremes and a sample (at most so many values) of one array (last axis = channels)."""
    rows = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
    channels, sample = _channels(rows, 0), thinned(value.reshape(-1), most)
    planes = _channels(value, (0, 2, 3)) if value.ndim == 4 else None
    return Observed(float(channels.low.min()), float(channels.high.max()), channels, sample, value.size, planes)


def _channels(value: Array, others: int | tuple[int, ...]) -> Channels:
    square = np.square(value, dtype=np.float64).mean(axis=others)
    return Channels(value.min(axis=others), value.max(axis=others), square, value.size // len(square))


def thinned(values: Array, most: int) -> Array:
    """Return at most `most` of the values, by a stride coprime to the usual channel counts: every channel is seen."""
    if values.size <= most:
        return values.astype(np.float32)
    step = -(-values.size // most)
    step += 1 - step % 2
    while step % 3 == 0 or step % 5 == 0:
        step += 2
    return values[::step].astype(np.float32)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The statistics of every value of one graph, and how ranges are chosen from them."""

    observed: Mapping[Node, Observed]
    samples: int
    method: str = "mse"
    percentile: float = 99.99
    notes: tuple[str, ...] = field(default=())
    experts: Mapping[Node, ExpertsSeen] = field(default_factory=dict)

    def __getitem__(self, node: Node) -> Observed:
        """Return what was observed; of a constant, its values, which no further sample exceeds."""
        if isinstance(node.op, Constant):
            seen = observe(node.op.value)
            channels = replace(seen.channels, each=(1 << 40) // len(seen.channels.low))
            return replace(seen, count=1 << 40, channels=channels)
        return self.observed[node]

    def channels(self, node: Node, axis: int) -> Channels:
        """Return the channels of a value: the last axis (-1), or those of maps (-3)."""
        seen = self[node]
        if axis == -1:
            return seen.channels
        assert axis == -3 and seen.planes is not None
        return seen.planes

    def affine(self, node: Node, symmetric: bool, through: Callable[[Array], Array] | None = None) -> Quant:
        """Return scale and zero point that put the node's values into [-127, 127].

        through: measure the error after this function (the table that reads the integer), not on the value itself.
        """
        return self.affine_of(self[node], symmetric, through)

    def affine_of(self, seen: Observed, symmetric: bool, through: Callable[[Array], Array] | None = None) -> Quant:
        """`affine` of what was observed."""
        low, high = self._range(seen, symmetric, through)
        return affine_range(low * seen.widening, high * seen.widening, symmetric)

    def _range(self, seen: Observed, symmetric: bool, through: Callable[[Array], Array] | None) -> tuple[float, float]:
        """Return the range to keep of the values that were seen."""
        if self.method == "minmax":
            return seen.low, seen.high
        ordered = np.sort(seen.sample).astype(np.float64)
        if self.method == "percentile":
            return _clipped(seen, ordered, self.percentile)
        ranges = dict.fromkeys(_clipped(seen, ordered, p) for p in PERCENTILES)
        if through is not None:  # what a table flattens needs no resolution
            ranges |= dict.fromkeys((low * f, high) for low, high in list(ranges) for f in (0.75, 0.5, 0.375))
        extremes = np.array([seen.low, seen.high])
        candidates = list(ranges)
        errors = [
            _error(affine_range(low, high, symmetric), ordered, extremes, seen.count, through) for low, high in candidates
        ]
        return candidates[int(np.argmin(np.nan_to_num(errors, nan=np.inf)))]


def _clipped(seen: Observed, ordered: Array, percentile: float) -> tuple[float, float]:
    if percentile >= 100:
        return seen.low, seen.high
    tail = (100 - percentile) / 100 * (ordered.size - 1)
    low, high = np.interp([tail, ordered.size - 1 - tail], np.arange(ordered.size), ordered)
    return float(low), float(high)


def _error(quant: Quant, values: Array, extremes: Array, count: int, through: Callable[[Array], Array] | None) -> float:
    """Return mean squared error of quantised values; the true extremes count once each, as in the whole tensor."""

    def squared(x: Array) -> Array:
        rounded = quantised(x, quant)
        if through is not None:
            x, rounded = through(x), through(rounded)
        return (rounded - x) ** 2

    return float(squared(values).mean()) + float(squared(extremes).sum()) / count


def quantised(x: Array, quant: Quant) -> Array:
    """Return what x becomes when it is held in int8 under `quant`."""
    q = np.floor(x / quant.scale + 0.5) + quant.zero_point
    return quant.real(np.clip(q, -LEVELS, LEVELS))


def affine_range(low: float, high: float, symmetric: bool) -> Quant:
    """Return integers [-127, 127] over a range (extended to 0, which is always exact); symmetric: zero point 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return Quant(positive(max(-low, high) / LEVELS))
    scale = positive((high - low) / (2 * LEVELS))
    zero_point = math.floor(-LEVELS - low / scale + 0.5)
    return Quant(scale, min(max(zero_point, -LEVELS), LEVELS))


def positive(scale: float) -> float:
    """Return a scale for a value that was always zero."""
    return scale if scale > 1e-30 else 1.0 / LEVELS


def calibrate(graph: Graph, samples: Mapping[str, Array], method: str = "mse", percentile: float = 99.99) -> Calibration:
    """Run the float graph on samples (each input with its samples along axis 0) and observes every value.

    CompileError Q006 for each value that is not finite, U010 for an unknown method.
    """
    if method not in METHODS:
        fail("U010", f"unknown calibration method {method!r}", help=", ".join(METHODS))
    count = max(len(value) for value in samples.values())
    most = max(1, SAMPLE_MAX // -(-count // run_size(graph)))
    seen: dict[Node, Observed] = {}
    inside = ExpertsWatch(graph, lambda value: observe(value, most))
    masks = hosted(graph)
    bad: list[Diagnostic] = []

    def see(node: Node, value: Array) -> None:
        if isinstance(node.op, Constant) or value.size == 0:
            return
        now = observe(value, most)
        if node in masks and not math.isfinite(now.low) and not math.isnan(now.low):
            return  # a mask of minus infinity
        if not (math.isfinite(now.low) and math.isfinite(now.high)):
            bad.append(_not_finite(node))
            return
        inside.see(node, value)
        seen[node] = seen[node].joined(now) if node in seen else now

    with np.errstate(all="ignore"):
        visit(graph, samples, see)
    if bad:
        raise CompileError(dict.fromkeys(bad[:8]))
    notes = () if batchable(graph) else ("calibrated one sample at a time",)
    return Calibration(seen, count, method, percentile, notes, inside.seen)


def _not_finite(node: Node) -> Diagnostic:
    return Diagnostic(
        "Q006",
        f"{node.op.kind} gives values that are not finite on the calibration samples",
        node.name,
        "no integer range holds infinity or nan",
        "check that the samples are preprocessed as in training, and that the weights are finite",
    )
