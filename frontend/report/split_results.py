"""The report of a split as typed values; `passes.results.to_data` makes its report.json. None: not measured or predicted."""

from __future__ import annotations

import msgspec
from edgewright.passes.names import plain

KIND, FORMAT = "split", 1


class Range(msgspec.Struct, frozen=True):
    """Predicted milliseconds of one inference; None where nothing predicts them."""

    low_ms: float | None
    high_ms: float | None

    def plus(self, other: Range) -> Range:
        """Return the time of both one after the other; unknown when either is."""
        low = None if self.low_ms is None or other.low_ms is None else self.low_ms + other.low_ms
        high = None if self.high_ms is None or other.high_ms is None else self.high_ms + other.high_ms
        return Range(low, high)


class WholeModel(msgspec.Struct, frozen=True):
    """The model before the split. latency: by board."""

    parameters: int
    macs: int
    memory_bytes: int
    latency: dict[str, Range]


class SubModel(msgspec.Struct, frozen=True):
    """One sub-model on its device. memory_bytes: weights and activations in float32; feature_bytes: what it sends."""

    file: str
    device: str
    board: str
    classes: tuple[int, ...]
    width: int
    heads: int
    hidden: int
    parameters: int
    macs: int
    memory_bytes: int
    feature_bytes: int
    latency: Range


class Fusion(msgspec.Struct, frozen=True):
    """The network that combines the features of all sub-models."""

    file: str
    device: str
    parameters: int
    macs: int
    latency: Range


class SplitAccuracy(msgspec.Struct, frozen=True):
    """Top-1 of the whole model and of the deployment as fractions, how often they agree, and of each sub-model on its own
    classes and "other"."""

    whole: float
    split: float
    agreement: float
    sub_models: tuple[float, ...]
    images: int


class StageSummary(msgspec.Struct, frozen=True):
    """One stage of pruning one sub-model: units before and after, divergence from the whole model, accuracy after the cut
    and after training on `images`."""

    sub_model: int
    kind: str
    before: int
    after: int
    divergence: float
    accuracy_cut: float
    accuracy: float
    images: int
    seconds: float


class JointTraining(msgspec.Struct, frozen=True):
    """The last training, of all sub-models and the fusion."""

    images: int
    seconds: float
    loss: tuple[float, ...]


class SplitReport(msgspec.Struct, frozen=True):
    """All results of a split, in the order of its report.json; from `options` on they need training. harder: how many times
    sub-models had to be made smaller than requested; reasons: why a prediction is missing."""

    kind: str
    schema_version: int
    edgewright: str
    model: str
    classes: int
    fleet: str
    partition: tuple[tuple[int, ...], ...]
    harder: int
    whole: WholeModel
    sub_models: tuple[SubModel, ...]
    fusion: Fusion
    latency: Range
    reasons: tuple[str, ...]
    options: dict[str, str | int | float | None] | None = None
    seconds: float = 0.0
    measured_on: str = ""
    accuracy: SplitAccuracy | None = None
    stages: tuple[StageSummary, ...] = ()
    together: JointTraining | None = None

    def __repr__(self) -> str:
        top1 = "" if self.accuracy is None else f", top-1 {100 * self.accuracy.split:.2f} % of {self.accuracy.images:,} samples"
        return f"<SplitReport: {plain(self.model)} over {len(self.sub_models)} devices{top1}>"

    @property
    def heaviest(self) -> SubModel:
        """The sub-model with the most parameters."""
        return max(self.sub_models, key=lambda part: part.parameters)
