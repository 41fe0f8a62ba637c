"""A split folder, run as a whole on this machine: every sub-model, then the fusion, by the interpreter. The reference for
what a fleet computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.samples.data import load_samples
from edgewright.frontend.splitting.model import FORMAT, KIND, MANIFEST, sha256
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.documents import Unreadable, read_bytes, read_json
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
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
class SplitRan:
    """One run of a deployment. logits: (samples, classes); accuracy: None without labels."""

    logits: Array
    features: tuple[Array, ...]
    accuracy: float | None

    @property
    def outputs(self) -> dict[str, Array]:
        """What is written with -o."""
        named = {f"features_{i}": one for i, one in enumerate(self.features)}
        return {"logits": self.logits, "class": self.logits.argmax(axis=-1), **named}


@dataclass(frozen=True, slots=True, eq=False)
class SplitFolder:
    """What `split` wrote, with every file checked against its hash."""

    directory: Path
    manifest: _Manifest
    sub_models: tuple[Graph, ...]
    fusion: Graph

    @classmethod
    def open(cls, directory: str | Path) -> SplitFolder:
        """CompileError K010 when a file is missing, damaged, or was changed since."""
        directory = Path(directory)
        try:
            found = read_json(directory / MANIFEST, _Manifest)
        except Unreadable as error:
            raise _broken(directory / MANIFEST, f"the manifest cannot be read: {error}") from error
        if found.kind != KIND or found.schema_version != FORMAT:
            raise _broken(directory / MANIFEST, f"it is {plain(found.kind)}, version {found.schema_version}")
        hashes = [(one.file, one.sha256) for one in found.sub_models] + [(found.fusion.file, found.fusion.sha256)]
        graphs = [_read(directory, name, wanted) for name, wanted in hashes]
        for one, graph in zip(found.sub_models, graphs, strict=False):
            named = {node.name for node in graph.inputs}
            if set(one.inputs.values()) != named or not {one.features, one.logits} <= set(graph.output_names):
                raise _broken(directory / one.file, "its inputs and outputs are not those of the manifest")
        if found.classes != len({label for one in found.sub_models for label in one.classes}):
            raise _broken(directory / MANIFEST, "its classes are not those of its sub-models")
        fusion = graphs[-1]
        if found.fusion.logits not in fusion.output_names:
            raise _broken(directory / found.fusion.file, "its output is not that of the manifest")
        if {node.name for node in fusion.inputs} != set(found.fusion.inputs) or len(found.fusion.inputs) != len(graphs) - 1:
            raise _broken(directory / found.fusion.file, "its inputs are not those of the manifest")
        taken = {node.name: node.shape for node in fusion.inputs}
        for one, graph, name in zip(found.sub_models, graphs, found.fusion.inputs, strict=False):
            if dict(zip(graph.output_names, graph.outputs, strict=True))[one.features].shape != taken[name]:
                raise _broken(directory / MANIFEST, f"the fusion does not take what {plain(one.file)} gives")
        return cls(directory, found, tuple(graphs[:-1]), fusion)

    def run(self, source: str | Path, samples: int | None = None) -> SplitRan:
        """Runs the samples of an npz file, named as the model's own inputs. CompileError: D-codes."""
        shapes = {
            given: next(node.shape for node in graph.inputs if node.name == written)
            for one, graph in zip(self.manifest.sub_models, self.sub_models, strict=True)
            for given, written in one.inputs.items()
        }
        ranges = {
            given: allowed[written]
            for one, graph in zip(self.manifest.sub_models, self.sub_models, strict=True)
            for allowed in [input_ranges(graph)]
            for given, written in one.inputs.items()
            if written in allowed
        }
        found = load_samples(source, shapes, ranges=ranges)
        if samples is not None:
            found = found.first(samples)
        features = []
        for one, graph in zip(self.manifest.sub_models, self.sub_models, strict=True):
            given = {written: found.inputs[name] for name, written in one.inputs.items()}
            features.append(_run(graph, given, one.features))
        logits = _run(self.fusion, dict(zip(self.manifest.fusion.inputs, features, strict=True)), self.manifest.fusion.logits)
        accuracy = None if found.labels is None else float((logits.argmax(axis=-1) == found.labels).mean())
        return SplitRan(logits, tuple(features), accuracy)


def is_split(directory: Path) -> bool:
    """Whether a folder says that `split` wrote it."""
    try:
        return read_json(directory / MANIFEST, dict[str, Any]).get("kind") == KIND
    except Unreadable:
        return False


def _read(directory: Path, name: str, wanted: str) -> Graph:
    if Path(name).name != name or "\0" in name:
        raise _broken(directory / MANIFEST, f"{plain(name)} is not a file of this folder")
    path = directory / name
    try:
        content = read_bytes(path, LARGEST_MODEL)
    except Unreadable as error:
        raise _broken(path, str(error)) from error
    if sha256(content) != wanted:
        raise _broken(path, "its hash is not the manifest's")
    return read_model(path)


def _run(graph: Graph, inputs: dict[str, Array], output: str) -> Array:
    count = len(next(iter(inputs.values())))
    parts = [
        interpret(graph, {name: value[i : i + BATCH] for name, value in inputs.items()})[output] for i in range(0, count, BATCH)
    ]
    return np.concatenate(parts)


def _broken(path: Path, because: str) -> CompileError:
    help_text = "split the model again, or copy the whole folder again"
    return CompileError([Diagnostic("K010", "the split folder is not complete", str(path), because, help_text)])
