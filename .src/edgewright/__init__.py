"""Edgewright: a co-design compiler from ONNX transformers to FPGA engines and edge CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Reshaping", "__version__", "compile", "open", "optimise"]

if TYPE_CHECKING:
    from edgewright.frontend.build import compile as compile
    from edgewright.frontend.bundle import open_bundle as open
    from edgewright.frontend.optimise import optimise as optimise
    from edgewright.frontend.reshaping.options import Reshaping as Reshaping


def __getattr__(name: str) -> Any:
    """Resolve the public entry points on first use, so that importing the package stays cheap."""
    if name == "compile":
        from edgewright.frontend.build import compile as entry

        return entry
    if name == "open":
        from edgewright.frontend.bundle import open_bundle

        return open_bundle
    if name == "optimise":
        from edgewright.frontend.optimise import optimise

        return optimise
    if name == "Reshaping":
        from edgewright.frontend.reshaping.options import Reshaping

        return Reshaping
    raise AttributeError(f"module 'edgewright' has no attribute {name!r}")
