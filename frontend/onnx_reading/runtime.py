"""A model as onnxruntime computes it, for comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir import Array
from edgewright.passes.names import plain
from edgewright.passes.transform import Progress


def onnxruntime_outputs(
    path: Path, inputs: Mapping[str, Array], unbatched: Set[str] = frozenset(), progress: Progress | None = None
) -> dict[str, Array]:
    """Return what onnxruntime computes of an ONNX file for samples along axis 0, one at a time, by the names of the outputs.

    unbatched: inputs without an axis of samples. CompileError: T061 (exit 2) without onnxruntime, T062 when it cannot run the
    file."""
    try:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        because, help_text = "it runs ONNX files for comparison", "pip install onnxruntime"
        fail("T061", "onnxruntime is not installed", plain(path), because, help_text, Exit.USAGE, error)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        kinds = {entry.name: _dtype(entry.type) for entry in session.get_inputs()}
        names = [entry.name for entry in session.get_outputs()]
        rows: list[list[Array]] = []
        count = len(next(iter(inputs.values())))
        for i in range(count):
            feed = {
                name: np.asarray(array[i] if name in unbatched else array[i : i + 1], kinds[name])
                for name, array in inputs.items()
                if name in kinds
            }
            rows.append(session.run(names, feed))
            if progress is not None:
                progress("run in onnxruntime", i + 1, count)
    except Exception as error:  # whatever it raises, it cannot run the file
        text = str(error).strip()
        because = plain(text.splitlines()[0] if text else type(error).__name__)[:300]
        help_text = "check the file with onnx.checker, or give a bundle"
        fail("T062", "onnxruntime cannot run the model", plain(path), because, help_text, cause=error)
    return {name: np.concatenate([_with_axis(row[place]) for row in rows]) for place, name in enumerate(names)}


def _with_axis(value: Any) -> Array:
    array = np.asarray(value)
    return array if array.ndim and array.shape[0] == 1 else array[None]


def _dtype(name: str) -> Any:
    """Return numpy's type for onnxruntime's, such as tensor(float)."""
    kind = name.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"}.get(kind, kind))
