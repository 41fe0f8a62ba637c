"""Runs an artifact on this machine through TVM's runtime."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail
from edgewright.passes.ir import Array

if TYPE_CHECKING:
    from edgewright.targets.cpu.artifact import Artifact, TensorInfo

_LOADED: dict[Path, str] = {}
"""SHA-256 of the library that this process has loaded from each path; TVM never unloads them."""


class Runner:
    """An artifact in memory: weights, workspace and outputs are allocated once."""

    def __init__(self, artifact: Artifact, threads: int | None = None) -> None:
        tvm = _tvm(threads)
        manifest = artifact.manifest
        self.artifact = artifact
        self.threads = threads
        self._tensor = tvm.runtime.tensor
        self._entry = _loaded(tvm, artifact)[manifest.entry]
        weights = np.fromfile(artifact.weights, np.uint8) if manifest.weights_bytes else np.zeros(1, np.uint8)
        self._blocks = [self._tensor(weights), self._tensor(np.zeros(max(manifest.workspace_bytes, 1), np.uint8))]
        self._outputs = [self._tensor(np.zeros(tensor.shape, tensor.dtype)) for tensor in manifest.outputs]
        self._inputs: list[Any] = [self._tensor(np.zeros(tensor.shape, tensor.dtype)) for tensor in manifest.inputs]

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name, as the model stores them: float32, or integers (see `real`).

        CompileError D008 for inputs of a wrong name, shape or type, or not finite where the model is integer.
        """
        self.set_inputs(inputs)
        self.run()
        return {tensor.name: got.numpy() for tensor, got in zip(self.artifact.manifest.outputs, self._outputs, strict=True)}

    def set_inputs(self, inputs: Mapping[str, Array]) -> None:
        """Check the inputs and copy them in."""
        checked = checked_inputs(self.artifact, inputs)
        self._inputs = [self._tensor(checked[tensor.name]) for tensor in self.artifact.manifest.inputs]

    def run(self, first: int = 0, last: int | None = None) -> None:
        """Run steps first <= i < last on the present inputs and workspace."""
        last = len(self.artifact.manifest.steps) if last is None else last
        self._entry(first, last, *self._blocks, *self._inputs, *self._outputs)

    @property
    def workspace(self) -> Array:
        """A copy of the workspace's bytes."""
        actual: Array = self._blocks[1].numpy()
        return actual


def real(tensor: TensorInfo, value: Array) -> Array:
    """Return the numbers that stored integers represent, as float32; real outputs are returned unchanged."""
    if tensor.scale is None:
        return value
    return ((value.astype(np.float64) - tensor.zero_point) * tensor.scale).astype(np.float32)


def checked_inputs(artifact: Artifact, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return one sample per input in the model's types. CompileError D008 with everything that does not fit."""
    manifest = artifact.manifest
    expected = {tensor.name: tensor for tensor in manifest.inputs}
    problems = []
    for name in inputs:
        if name not in expected:
            problems.append((name, "the model has no such input", f"its inputs are {', '.join(expected)}"))
    checked: dict[str, Array] = {}
    for name, tensor in expected.items():
        if name not in inputs:
            problems.append((name, "it is missing", f"give an array of shape {tensor.shape} and type {tensor.dtype}"))
            continue
        array = np.asarray(inputs[name])
        if array.shape != tensor.shape:
            problems.append((name, f"its shape is {array.shape}", f"the model takes {tensor.shape}"))
        elif array.dtype.kind not in ("f" if tensor.dtype.startswith("float") else "iub"):
            problems.append((name, f"its type is {array.dtype}", f"the model takes {tensor.dtype}"))
        elif manifest.precision != "fp32" and array.dtype.kind == "f" and not np.isfinite(array).all():
            problems.append((name, "it holds nan or infinity", "an integer model has no values for them: clean the data"))
        elif tensor.range is not None and not _within(array, tensor.range):
            actual = f"its values go from {array.min()} to {array.max()}"
            problems.append((name, actual, f"the model takes {tensor.range[0]} to {tensor.range[1]}"))
        else:
            checked[name] = np.ascontiguousarray(array, tensor.dtype)
    if problems:
        raise CompileError(
            [Diagnostic("D008", f"input '{name}' does not fit the model", name, why, hint) for name, why, hint in problems]
        )
    return checked


def _within(array: Array, allowed: tuple[int, int]) -> bool:
    return array.size == 0 or bool(array.min() >= allowed[0] and array.max() <= allowed[1])


def _loaded(tvm: Any, artifact: Artifact) -> Any:
    """Load the module in an artifact's library. For a known path the loader returns the file that it loaded from there, even
    if another compilation has replaced it: then it gets a copy under a different name."""
    path, content = artifact.library.resolve(), artifact.manifest.files[artifact.library.name]
    if _LOADED.setdefault(path, content) == content:
        return tvm.runtime.load_module(str(path))
    with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
        return tvm.runtime.load_module(str(shutil.copy(path, folder)))


def _tvm(threads: int | None) -> Any:
    """Return TVM with this many threads: its pool reads the variable once, when the first parallel loop starts."""
    if threads is not None and "tvm" not in sys.modules:
        os.environ["TVM_NUM_THREADS"] = str(threads)
    try:
        import tvm
    except ImportError as error:
        fail("T022", "TVM is not installed", because=str(error), help="pip install 'edgewright[cpu]'", exit=Exit.USAGE)
    if threads is not None:
        configure = tvm.get_global_func("runtime.config_threadpool", allow_missing=True)
        if configure is not None:
            configure(1, threads)
    return tvm
