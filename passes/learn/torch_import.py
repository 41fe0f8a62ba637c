"""torch for this folder: importing it from here raises L001 instead of a traceback where torch is not installed."""

from __future__ import annotations

from edgewright.passes.diagnostics import Exit, fail

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    because, help_text = "this step trains parts of the model", "pip install 'edgewright[train]'"
    fail("L001", "torch is not installed", because=because, help=help_text, exit=Exit.USAGE, cause=error)

__all__ = ["Tensor", "functional", "nn", "torch"]
