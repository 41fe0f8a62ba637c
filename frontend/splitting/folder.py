"""Run a split folder on this machine: every sub-model, then the fusion, in the interpreter. The reference for what a fleet
computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.report.split_results import FORMAT, KIND
from edgewright.frontend.samples.data import load_samples
from edgewright.frontend.samples.preprocess import load_preprocess
from edgewright.frontend.samples.stores import DataSource, Reading
from edgewright.frontend.splitting.model import MANIFEST, sha256
from edgewright.passes.diagnostics import fail
from edgewright.passes.documents import Unreadable, read_bytes, read_json
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.names import plain

BATCH = 64
LARGEST_MODEL = 2 << 30


class _SubModel(msgspec.Struct, frozen=True):
    file: str
    sha256: str
    inputs: dict[str, str]
    features: str
    logits: str
    classes: list[int]
    device: str


class _Fusion(msgspec.Struct, frozen=True):
    file: str
    sha256: str
    inputs: list[str]
    logits: str


class _Manifest(msgspec.Struct, frozen=True):
    kind: str
    schema_version: int
    model: str
    classes: int
    sub_models: list[_SubModel]
    fusion: _Fusion


@dataclass(frozen=True, slots=True)
class SplitRun:
    """One run of a deployment. logits: (samples, classes); accuracy: None without labels."""

    logits: Array
    features: tuple[Array, ...]
    accuracy: float | None

    @property
    def outputs(self) -> dict[str, Array]:
        """The arrays that -o writes, by name."""
        features = {f"features_{i}": values for i, values in enumerate(self.features)}
        return {"logits": self.logits, "class": self.logits.argmax(axis=-1), **features}


@dataclass(frozen=True, slots=True, eq=False)
class SplitFolder:
    """The folder that `split` wrote, with every file checked against its hash."""

    directory: Path
    manifest: _Manifest
    sub_models: tuple[Graph, ...]
    fusion: Graph

    @classmethod
    def open(cls, directory: str | Path) -> SplitFolder:
        """Open a folder. CompileError K010 when a file is missing, damaged, or was changed since."""
        directory = Path(directory)
        try:
            manifest = read_json(directory / MANIFEST, _Manifest)
        except Unreadable as error:
            _refuse(directory / MANIFEST, f"the manifest cannot be read: {error}")
        if manifest.kind != KIND or manifest.schema_version != FORMAT:
            _refuse(directory / MANIFEST, f"it is {plain(manifest.kind)}, version {manifest.schema_version}")
        parts, fused = manifest.sub_models, manifest.fusion
        graphs = [_read(directory, part.file, part.sha256) for part in parts]
        fusion = _read(directory, fused.file, fused.sha256)
        for part, graph in zip(parts, graphs, strict=True):
            inputs = {node.name for node in graph.inputs}
            if set(part.inputs.values()) != inputs or not {part.features, part.logits} <= set(graph.output_names):
                _refuse(directory / part.file, "its inputs and outputs are not those of the manifest")
        if manifest.classes != len({label for part in parts for label in part.classes}):
            _refuse(directory / MANIFEST, "its classes are not those of its sub-models")
        if fused.logits not in fusion.output_names:
            _refuse(directory / fused.file, "its output is not that of the manifest")
        shapes = {node.name: node.shape for node in fusion.inputs}
        if set(shapes) != set(fused.inputs) or len(fused.inputs) != len(graphs):
            _refuse(directory / fused.file, "its inputs are not those of the manifest")
        for part, graph, name in zip(parts, graphs, fused.inputs, strict=True):
            if dict(zip(graph.output_names, graph.outputs, strict=True))[part.features].shape != shapes[name]:
                _refuse(directory / MANIFEST, f"the fusion does not take the output of {plain(part.file)}")
        return cls(directory, manifest, tuple(graphs), fusion)

    def run(self, source: DataSource, samples: int | None = None, preprocess: str | Path | None = None) -> SplitRun:
        """Run samples, as `compile` takes them, on all sub-models and the fusion. CompileError: D-codes."""
        parts = list(zip(self.manifest.sub_models, self.sub_models, strict=True))
        shapes: dict[str, tuple[int, ...]] = {}
        ranges: dict[str, tuple[int, int]] = {}
        for part, graph in parts:
            sizes, limits = {node.name: node.shape for node in graph.inputs}, input_ranges(graph)
            shapes |= {name: sizes[written] for name, written in part.inputs.items()}
            ranges |= {name: limits[written] for name, written in part.inputs.items() if written in limits}
        rule = None if preprocess is None else load_preprocess(preprocess)
        reading = Reading(rule, class_count=self.manifest.classes)
        data = load_samples(source, shapes, ranges=ranges, reading=reading, most=samples)
        features = []
        for part, graph in parts:
            inputs = {written: data.inputs[name] for name, written in part.inputs.items()}
            features.append(_run(graph, inputs, part.features))
        logits = _run(self.fusion, dict(zip(self.manifest.fusion.inputs, features, strict=True)), self.manifest.fusion.logits)
        accuracy = None if data.labels is None else float((logits.argmax(axis=-1) == data.labels).mean())
        return SplitRun(logits, tuple(features), accuracy)


def is_split(directory: Path) -> bool:
    """Return whether `split` wrote a folder, by its manifest."""
    try:
        return read_json(directory / MANIFEST, dict[str, Any]).get("kind") == KIND
    except Unreadable:
        return False


def _read(directory: Path, name: str, digest: str) -> Graph:
    if Path(name).name != name or "\0" in name:
        _refuse(directory / MANIFEST, f"{plain(name)} is not a file of this folder")
    path = directory / name
    try:
        content = read_bytes(path, LARGEST_MODEL)
    except Unreadable as error:
        _refuse(path, str(error))
    if sha256(content) != digest:
        _refuse(path, "its hash is not the manifest's")
    return read_model(path)


def _run(graph: Graph, inputs: dict[str, Array], output: str) -> Array:
    starts = range(0, len(next(iter(inputs.values()))), BATCH)
    batches = ({name: values[i : i + BATCH] for name, values in inputs.items()} for i in starts)
    return np.concatenate([interpret(graph, batch)[output] for batch in batches])


def _refuse(path: Path, because: str) -> NoReturn:
    help_text = "split the model again, or copy the whole folder again"
    fail("K010", "the split folder is not complete", str(path), because, help_text)
