"""Edgewright: a co-design compiler from ONNX transformers to FPGA engines and edge CPUs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "CompileError",
    "Preprocess",
    "Reshaping",
    "__version__",
    "compare",
    "compile",
    "inspect",
    "open",
    "optimise",
    "split",
]

if TYPE_CHECKING:
    from edgewright.frontend.build import compile as compile
    from edgewright.frontend.bundle import open_bundle as open
    from edgewright.frontend.comparing import compare as compare
    from edgewright.frontend.optimise import optimise as optimise
    from edgewright.frontend.reshaping.options import Reshaping as Reshaping
    from edgewright.frontend.samples.preprocess import Preprocess as Preprocess
    from edgewright.frontend.splitting.model import split as split
    from edgewright.frontend.support import inspect as inspect
    from edgewright.passes.diagnostics import CompileError as CompileError

_ENTRIES = {
    "CompileError": ("passes.diagnostics", "CompileError"),
    "Preprocess": ("frontend.samples.preprocess", "Preprocess"),
    "Reshaping": ("frontend.reshaping.options", "Reshaping"),
    "compare": ("frontend.comparing", "compare"),
    "compile": ("frontend.build", "compile"),
    "inspect": ("frontend.support", "inspect"),
    "open": ("frontend.bundle", "open_bundle"),
    "optimise": ("frontend.optimise", "optimise"),
    "split": ("frontend.splitting.model", "split"),
}


def __getattr__(name: str) -> Any:
    """Resolve the public entry points on first use, so that importing the package stays cheap."""
    if name not in _ENTRIES:
        raise AttributeError(f"module 'edgewright' has no attribute {name!r}")
    module, attribute = _ENTRIES[name]
    return getattr(import_module(f"edgewright.{module}"), attribute)


def __dir__() -> list[str]:
    """Return the public names, also those that are not resolved yet."""
    return sorted({*globals(), *__all__})
