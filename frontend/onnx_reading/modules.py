"""Whatever a caller has as a model: a file, a proto, or a torch module, which is exported."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import numpy as np
import onnx
from edgewright.frontend.onnx_reading.reader import ModelSource
from edgewright.passes.diagnostics import Exit, fail


class TorchModule(Protocol):
    """A `torch.nn.Module`, which is not imported here."""

    training: bool

    def forward(self, *inputs: Any) -> Any:
        """Compute the outputs."""

    def state_dict(self) -> Any:
        """Return the weights."""


AnyModel = ModelSource | TorchModule


def is_module(source: object) -> TypeGuard[TorchModule]:
    """Return whether the source is a torch module, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def as_source(source: AnyModel, shapes: Mapping[str, tuple[int, ...]] | None = None, samples: object = None) -> ModelSource:
    """Return the model as a file or a proto. A torch module is exported with inputs of these shapes, or of those of arrays of
    samples. CompileError: N027 when torch cannot export it, N028 (exit 2) when the shape of an input is not known."""
    if isinstance(source, str | os.PathLike | onnx.ModelProto):
        return source
    if not is_module(source):
        raise TypeError(f"a model is an ONNX file, an onnx.ModelProto or a torch.nn.Module, not {type(source).__name__}")
    from edgewright.passes.learn.export_module import exported, input_names

    names = input_names(source)
    known = {name: (tuple(shape), False) for name, shape in (shapes or {}).items()}
    for name, array in _arrays(samples, names).items():
        values = np.asarray(array)
        shape = known[name][0] if name in known else (1, *values.shape[1:])
        known[name] = (shape, values.dtype.kind in "iub" and name in names and values.ndim <= 2)
    if missing := [name for name in names if name not in known]:
        because = f"nothing gives the shape of {', '.join(missing)}, a parameter of its forward"
        help_text = f'give shapes={{"{missing[0]}": (1, 3, 224, 224)}}, with a batch of 1, or arrays as calibration data'
        fail("N028", "a module's inputs have no shape", type(source).__name__, because, help_text, Exit.USAGE)
    content = exported(source, {name: known[name] for name in names})
    model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    model.graph.name = type(source).__name__
    return model


def _arrays(samples: object, names: list[str]) -> dict[str, Any]:
    """Return a caller's arrays by the inputs' names; a single one, or `images`, is that of the only input."""
    if samples is None or isinstance(samples, str) or not (isinstance(samples, Mapping) or hasattr(samples, "__array__")):
        return {}
    arrays = dict(samples) if isinstance(samples, Mapping) else {names[0]: samples} if names else {}
    if len(names) == 1 and names[0] not in arrays:
        first = next((arrays[name] for name in ("images", "x", "calib") if name in arrays), None)
        arrays |= {} if first is None else {names[0]: first}
    return {name: array for name, array in arrays.items() if name in names}
