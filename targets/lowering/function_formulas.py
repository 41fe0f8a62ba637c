"""What each function of `ops.elementwise` computes for one float32 element, as a TIR expression."""

from __future__ import annotations

from collections.abc import Callable

from edgewright.targets.lowering.tir import Expr, T, constant, tirx


def _f32(value: float) -> Expr:
    return constant(value, "float32")


def _abs(x: Expr) -> Expr:
    return T.max(x, _f32(0) - x)


def _rectified(x: Expr) -> Expr:
    return T.max(x, _f32(0))


def _expm1(x: Expr) -> Expr:
    """Return exp(min(x, 0)) - 1; near 0, where that cancels, by its series."""
    low = T.min(x, _f32(0))
    series = low * (_f32(1) + low * (_f32(1 / 2) + low * (_f32(1 / 6) + low * _f32(1 / 24))))
    return tirx.Select(low > _f32(-0.03), series, T.exp(low) - _f32(1))


def _softplus(x: Expr) -> Expr:
    return _rectified(x) + T.log(_f32(1) + T.exp(_f32(0) - _abs(x)))


def _mish(x: Expr) -> Expr:
    """Return x * tanh(log(1 + e^x)) as x * n / (n + 2) with n = e^2x + 2 e^x; above 20 the factor is 1."""
    e = T.exp(T.min(x, _f32(20)))
    n = e * (e + _f32(2))
    return x * n / (n + _f32(2))


FUNCTION_FORMULAS: dict[str, Callable[..., Expr]] = {
    "Abs": _abs,
    "Ceil": lambda x: T.ceil(x),
    "Celu": lambda x, alpha: _rectified(x) + alpha * _expm1(x / alpha),
    "Cos": lambda x: T.cos(x),
    "Elu": lambda x, alpha: _rectified(x) + alpha * _expm1(x),
    "Floor": lambda x: T.floor(x),
    "HardSigmoid": lambda x, alpha, beta: T.min(T.max(alpha * x + beta, _f32(0)), _f32(1)),
    "LeakyRelu": lambda x, alpha: tirx.Select(x < _f32(0), alpha * x, x),
    "Log": lambda x: T.log(x),
    "Mish": _mish,
    "Round": lambda x: T.nearbyint(x),
    "Selu": lambda x, alpha, gamma: gamma * (_rectified(x) + alpha * _expm1(x)),
    "Sin": lambda x: T.sin(x),
    "Softplus": _softplus,
    "Softsign": lambda x: x / (_f32(1) + _abs(x)),
    "ThresholdedRelu": lambda x, alpha: tirx.Select(x > alpha, x, _f32(0)),
}
