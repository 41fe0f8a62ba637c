"""Edgewright: a co-design compiler from ONNX transformers to FPGA engines and edge CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "compile"]

if TYPE_CHECKING:
    from edgewright.frontend.compiled import compile as compile


def __getattr__(name: str) -> Any:
    """Resolve the public entry points on first use, so that importing the package stays cheap."""
    if name == "compile":
        from edgewright.frontend.compiled import compile as entry

        return entry
    raise AttributeError(f"module 'edgewright' has no attribute {name!r}")
