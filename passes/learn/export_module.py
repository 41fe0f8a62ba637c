"""A torch module as ONNX, by torch's own exporter, so that it can be compiled without a file in between."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.learn.torch_import import nn, torch
from edgewright.passes.names import plain

OPSET = 20
_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


def input_names(module: nn.Module) -> list[str]:
    """Return the parameters of `forward` that have no default, by which the inputs are called."""
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [entry.name for entry in parameters if entry.kind in kinds and entry.default is inspect.Parameter.empty]


def exported(module: nn.Module, inputs: Mapping[str, tuple[tuple[int, ...], bool]]) -> bytes:
    """Return the ONNX file of a module in evaluation mode; the module is left as it was. inputs: shape of each, and whether it
    holds integers, by the names of `input_names`. CompileError N027 when torch cannot export it."""
    arguments = tuple(
        torch.zeros(shape, dtype=torch.int64) if integer else torch.zeros(shape) for shape, integer in inputs.values()
    )
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with TemporaryDirectory() as folder, _quiet():
            path = Path(folder) / "model.onnx"
            settings: dict[str, Any] = {"input_names": list(inputs), "opset_version": OPSET, "external_data": False}
            torch.onnx.export(module, arguments, path, dynamo=True, verbose=False, **settings)
            return path.read_bytes()
    except Exception as error:  # whatever torch raises, the cause is the module
        because = f"{type(error).__name__}: {plain(str(error).strip().splitlines()[0] if str(error).strip() else '')[:300]}"
        help_text = "export it yourself with torch.onnx.export, and give the file"
        name = type(module).__name__
        fail("N027", "torch cannot export the module", name, because, help_text, Exit.MODEL, cause=error)
    finally:
        for part in training:
            part.training = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter off the terminal: what matters is an error."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
