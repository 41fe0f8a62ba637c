"""The functions of `ops.elementwise` in torch."""

from __future__ import annotations

from collections.abc import Callable

from edgewright.passes.learn.torch_import import Tensor, functional, torch
from edgewright.passes.ops import Elementwise

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Ceil": torch.ceil,
    "Celu": lambda x, alpha: functional.celu(x, alpha),
    "Cos": torch.cos,
    "Elu": lambda x, alpha: functional.elu(x, alpha),
    "Floor": torch.floor,
    "HardSigmoid": lambda x, alpha, beta: torch.clamp(alpha * x + beta, 0, 1),
    "LeakyRelu": lambda x, alpha: functional.leaky_relu(x, alpha),
    "Log": torch.log,
    "Mish": functional.mish,
    "Round": torch.round,
    "Selu": lambda x, alpha, gamma: gamma * functional.elu(x, alpha),
    "Sin": torch.sin,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "ThresholdedRelu": lambda x, alpha: torch.where(x > alpha, x, torch.zeros_like(x)),
}


def elementwise(op: Elementwise) -> Callable[[Tensor], Tensor]:
    """Return the op as a function of one tensor."""
    return lambda x: FUNCTIONS[op.function](x, *op.parameters)
