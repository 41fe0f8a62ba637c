"""Random operands for every operator with a float form: the op, and arrays of one sample's shapes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.activations import ACTIVATIONS
from edgewright.passes.ops.elementwise import FUNCTIONS
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[int]], int]
Case = tuple[Op, list[Array]]


class Sizes:
    """What a case draws: small sizes, choices, and normal values of shapes."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))

    def size(self, low: int = 1, high: int = 4) -> int:
        return self._draw(st.integers(low, high))

    def flag(self) -> bool:
        return bool(self.size(0, 1))

    def shape(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        return tuple(self.size() for _ in range(self.size(low, high)))

    def normal(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)

    def positive(self, *shape: int) -> Array:
        return np.asarray(np.abs(self.normal(*shape)) + 0.1, np.float32)

    def whole(self, low: int, high: int, *shape: int) -> Array:
        return self.rng.integers(low, high, shape)

    def broadcast(self, *, positive: bool = False) -> list[Array]:
        """Two operands that broadcast: each drops some leading axes or has 1 in some places."""
        shape = self.shape()
        values = self.positive if positive else self.normal
        return [values(*self.thinned(shape)), values(*self.thinned(shape))]

    def thinned(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        kept = shape[self.size(0, len(shape) - 1) :]
        return tuple(1 if self.flag() else n for n in kept)


def _alone(op: Op) -> Callable[[Sizes], Case]:
    return lambda s: (op, [s.normal(*s.shape())])


def _alone_positive(op: Op) -> Callable[[Sizes], Case]:
    return lambda s: (op, [s.positive(*s.shape())])


def _two(op: Op, positive: bool = False) -> Callable[[Sizes], Case]:
    return lambda s: (op, s.broadcast(positive=positive))


def _attention(s: Sizes) -> Case:
    windows, tokens, keys, heads, dk, dv = (s.size() for _ in range(6))
    operands = [s.normal(windows, tokens, heads * dk), s.normal(windows, keys, heads * dk), s.normal(windows, keys, heads * dv)]
    if s.flag():
        operands.append(s.normal(*s.thinned((windows, heads, tokens, keys))))
    return ops.Attention(heads, 0.7), operands


def _batch_normalization(s: Sizes) -> Case:
    shape = s.shape(2, 4)
    c = shape[1]
    return ops.BatchNormalization(1e-3), [s.normal(*shape), s.normal(c), s.normal(c), s.normal(c), s.positive(c)]


def _concat(s: Sizes) -> Case:
    shape = s.shape()
    axis = s.size(0, len(shape) - 1)
    parts = [s.normal(*shape[:axis], s.size(), *shape[axis + 1 :]) for _ in range(s.size(1, 3))]
    return ops.Concat(axis - len(shape) if s.flag() else axis), parts


def _conv(s: Sizes) -> Case:
    groups, ins, outs = s.size(1, 2), s.size(1, 2), s.size(1, 2)
    strides, dilations = (s.size(1, 2), s.size(1, 2)), (s.size(1, 2), s.size(1, 2))
    pads = (s.size(0, 2), s.size(0, 2), s.size(0, 2), s.size(0, 2))
    x = s.normal(s.size(1, 2), groups * ins, s.size(5, 7), s.size(5, 7))
    operands = [x, s.normal(groups * outs, ins, s.size(1, 3), s.size(1, 3))]
    if s.flag():
        operands.append(s.normal(groups * outs))
    return ops.Conv(strides, pads, dilations, groups), operands


def _conv_transpose(s: Sizes) -> Case:
    groups, ins, outs = s.size(1, 2), s.size(1, 2), s.size(1, 2)
    op = ops.ConvTranspose((s.size(1, 9), s.size(1, 9)), (s.size(1, 3), s.size(1, 3)), (s.size(0, 1), s.size(0, 1)), groups)
    x = s.normal(s.size(1, 2), groups * ins, s.size(), s.size())
    operands = [x, s.normal(groups * ins, outs, s.size(1, 3), s.size(1, 3))]
    if s.flag():
        operands.append(s.normal(groups * outs))
    return op, operands


def _gather(s: Sizes) -> Case:
    shape = s.shape(1, 3)
    axis = s.size(0, len(shape) - 1)
    return ops.Gather(axis), [s.normal(*shape), s.whole(-shape[axis], shape[axis], *s.shape(1, 2))]


def _hash_codes(s: Sizes) -> Case:
    heads, width, supports, bits = s.size(), s.size(), s.size(), s.size()
    u = s.normal(s.size(1, 2), s.size(), heads * width)
    anchors, coefficients = s.normal(heads, supports, width), s.normal(heads, bits, supports)
    return ops.HashCodes(heads, 0.8), [u, anchors, coefficients, 0.3 * s.normal(heads, bits)]


def _hash_attention(s: Sizes) -> Case:
    heads, bits, rows = s.size(), s.size(), (s.size(1, 2), s.size())
    codes = (2 * s.whole(0, 2, *rows, heads * bits) - 1).astype(np.float32)
    return ops.HashAttention(heads, bits, "sum" if s.flag() else "own"), [codes, s.normal(*rows, heads * s.size())]


def _linear(s: Sizes) -> Case:
    shape = s.shape()
    outs = s.size()
    return ops.Linear(), [s.normal(*shape), s.normal(outs, shape[-1]), s.normal(outs)]


def _matmul(s: Sizes) -> Case:
    lead, m, k, n = s.shape(1, 2), s.size(), s.size(), s.size()
    a, b = s.thinned(lead) if s.flag() else lead, () if s.flag() else s.thinned(lead)
    return ops.MatMul(), [s.normal(*a, m, k), s.normal(*b, k, n)]


def _moe(s: Sizes) -> Case:
    experts, hidden, width, outs, rows = s.size(), s.size(), s.size(), s.size(), (s.size(1, 2), s.size(1, 6))
    name = list(ACTIVATIONS)[s.size(0, len(ACTIVATIONS) - 1)]
    op = ops.MoE(s.size(1, experts), "before" if s.flag() else "after", s.flag(), name)
    logits = s.whole(0, 3, *rows, experts).astype(np.float32) if s.flag() else s.normal(*rows, experts)  # ties too
    weights = [(experts, hidden, width), (experts, hidden), (experts, outs, hidden), (experts, outs)]
    return op, [s.normal(*rows, width), logits, *(s.normal(*shape) for shape in weights)]


def _norm(op: Op, parameters: int) -> Callable[[Sizes], Case]:
    def case(s: Sizes) -> Case:
        shape = (*s.shape(0, 3), s.size(2, 5))
        return op, [s.normal(*shape), *(s.normal(shape[-1]) for _ in range(parameters))]

    return case


def _patch_embed(s: Sizes) -> Case:
    patch, channels, width = s.size(1, 3), s.size(), s.size()
    x = s.normal(s.size(1, 2), channels, patch * s.size(), patch * s.size())
    return ops.PatchEmbed(patch), [x, s.normal(width, channels * patch * patch), s.normal(width)]


def _reduce_mean(s: Sizes) -> Case:
    shape = s.shape()
    axes = tuple(int(a) for a in s.rng.permutation(len(shape))[: s.size(1, len(shape))])
    return ops.ReduceMean(tuple(a - len(shape) if s.flag() else a for a in axes), s.flag()), [s.normal(*shape)]


def _reshape(s: Sizes) -> Case:
    x = s.normal(*s.shape())
    return ops.Reshape(factored(s, x.size)), [x]


def factored(s: Sizes, size: int) -> tuple[int, ...]:
    """A random shape of so many elements, without axes only for one element."""
    found = []
    for _ in range(s.size(0, 3)):
        found.append(math.gcd(size, s.size(1, 12)))
        size //= found[-1]
    found += [size] if size > 1 or not s.flag() else []
    return tuple(int(n) for n in s.rng.permutation(found))


def _slice(s: Sizes) -> Case:
    shape = s.shape()
    axis = s.size(0, len(shape) - 1)
    start = s.size(0, shape[axis] - 1)
    return ops.Slice(axis, start, s.size(start + 1, shape[axis]), s.size(1, 2)), [s.normal(*shape)]


def _softmax(s: Sizes) -> Case:
    shape = s.shape()
    return ops.Softmax(s.size(0, len(shape) - 1) - (len(shape) if s.flag() else 0)), [s.normal(*shape)]


def _transpose(s: Sizes) -> Case:
    shape = s.shape()
    return ops.Transpose(tuple(int(a) for a in s.rng.permutation(len(shape)))), [s.normal(*shape)]


def _where(s: Sizes) -> Case:
    shape = s.shape()
    parts = [s.thinned(shape) for _ in range(3)]
    return ops.Where(), [s.whole(-1, 2, *parts[0]), s.normal(*parts[1]), s.normal(*parts[2])]


def _clip(s: Sizes) -> Case:
    bounds = [(-1.0, 0.5), (0.0, math.inf), (-math.inf, 1.0), (1.0, -1.0)]
    return ops.Clip(*bounds[s.size(0, 3)]), [s.normal(*s.shape())]


def _elementwise(s: Sizes) -> Case:
    name = sorted(FUNCTIONS)[s.size(0, len(FUNCTIONS) - 1)]
    x = s.normal(*s.shape())
    parameters = tuple(1.5 * value for value in FUNCTIONS[name].parameters.values())
    return ops.Elementwise(name, parameters), [np.abs(x) + np.float32(0.1) if name == "Log" else x]


CASES: dict[type[Op], Callable[[Sizes], Case]] = {
    ops.Add: _two(ops.Add()),
    ops.Attention: _attention,
    ops.BatchNormalization: _batch_normalization,
    ops.Cast: lambda s: (ops.Cast(), [s.whole(-9, 9, *s.shape())]),
    ops.Clip: _clip,
    ops.Concat: _concat,
    ops.Conv: _conv,
    ops.ConvTranspose: _conv_transpose,
    ops.Div: _two(ops.Div(), positive=True),
    ops.Elementwise: _elementwise,
    ops.Erf: _alone(ops.Erf()),
    ops.Exp: _alone(ops.Exp()),
    ops.Gather: _gather,
    ops.Gelu: lambda s: (ops.Gelu("tanh" if s.flag() else "none"), [s.normal(*s.shape())]),
    ops.HardSwish: lambda s: (ops.HardSwish(), [4 * s.normal(*s.shape())]),
    ops.HashAttention: _hash_attention,
    ops.HashCodes: _hash_codes,
    ops.LayerNormalization: _norm(ops.LayerNormalization(1e-3), 2),
    ops.Linear: _linear,
    ops.MatMul: _matmul,
    ops.Max: _two(ops.Max()),
    ops.Min: _two(ops.Min()),
    ops.MoE: _moe,
    ops.Mul: _two(ops.Mul()),
    ops.Neg: _alone(ops.Neg()),
    ops.Sign: _alone(ops.Sign()),
    ops.PatchEmbed: _patch_embed,
    ops.Pow: _two(ops.Pow(), positive=True),
    ops.Reciprocal: _alone_positive(ops.Reciprocal()),
    ops.ReduceMean: _reduce_mean,
    ops.Relu: _alone(ops.Relu()),
    ops.Reshape: _reshape,
    ops.RMSNormalization: _norm(ops.RMSNormalization(1e-3), 1),
    ops.Sigmoid: _alone(ops.Sigmoid()),
    ops.Silu: _alone(ops.Silu()),
    ops.Slice: _slice,
    ops.Softmax: _softmax,
    ops.Sqrt: _alone_positive(ops.Sqrt()),
    ops.Sub: _two(ops.Sub()),
    ops.Tanh: _alone(ops.Tanh()),
    ops.Transpose: _transpose,
    ops.Where: _where,
}
