"""torch for this folder: importing it from here raises L001 where torch is not installed, instead of a traceback."""

from __future__ import annotations

from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise CompileError(
        [
            Diagnostic(
                "L001",
                "torch is not installed",
                because="this step trains parts of the model",
                help="pip install 'edgewright[train]'",
            )
        ],
        Exit.USAGE,
    ) from error

__all__ = ["Tensor", "functional", "nn", "torch"]
