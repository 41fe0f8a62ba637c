"""Mixtures of experts: small layers of odd shapes, one token, experts that nobody chooses, one that all choose."""

from __future__ import annotations

import dataclasses

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import INT8, INT16
from edgewright.passes.ops import Add, AddRequantised, LayerNormalization, MoE, Relu, Slice, Transpose, constant
from edgewright.passes.ops.activations import ACTIVATIONS
from edgewright.passes.ops.scaling import IDENTITY

from tests.targets.cpu.case_layers import Cases, requantise
from tests.targets.cpu.lowered import Draw

CASES = Cases()
case = CASES.case


def weights(d: Draw, experts: int, width: int, hidden: int, outs: int) -> tuple[Node, ...]:
    """Both layers of all experts, so scaled that results stay near 1."""
    first, second = d.real(experts, hidden, width, scale=width**-0.5), d.real(experts, outs, hidden, scale=hidden**-0.5)
    return first, d.real(experts, hidden, scale=0.3), second, d.real(experts, outs, scale=0.3)


def factors(d: Draw, experts: int, outs: int, shift: int) -> tuple[Node, Node]:
    multiplier = d.integers(experts, outs, low=1 << 15, high=(1 << 16) - 1, dtype="int32")
    return multiplier, d.integers(experts, outs, low=shift, high=shift + 1)


def integer_layer(d: Draw, op: MoE, x: Node, logits: Node, hidden: int, outs: int) -> Node:
    """Factors such that few results saturate."""
    experts, width = logits.shape[2], x.shape[2]
    op = dataclasses.replace(op, gate_multiplier=47000, gate_shift=17, zero_point=int(d.rng.integers(-9, 9)))
    biases = (d.integers(experts, n, low=-2000, high=2000, dtype="int32") for n in (hidden, outs))
    w1, w2 = d.integers(experts, hidden, width), d.integers(experts, outs, hidden)
    b1, b2 = biases
    return d(op, x, logits, w1, b1, w2, b2, *factors(d, experts, hidden, 23), d.integers(256), *factors(d, experts, outs, 16))


def layer(d: Draw, op: MoE, x: Node, logits: Node, hidden: int, outs: int) -> Node:
    if not x.type.is_float:
        return integer_layer(d, op, x, logits, hidden, outs)
    return d(op, x, logits, *weights(d, logits.shape[2], x.shape[2], hidden, outs))


# batch, tokens, experts, K, d, h, o
SHAPES = (
    (1, 1, 4, 2, 8, 8, 8),
    (1, 1, 3, 3, 5, 7, 9),
    (1, 9, 16, 4, 24, 12, 24),
    (2, 13, 5, 1, 33, 35, 31),
    (1, 197, 16, 4, 16, 20, 16),
    (1, 60, 2, 2, 7, 40, 3),
    (1, 30, 37, 5, 12, 9, 12),
)

for sizes in SHAPES:

    @case("experts", f"batch, tokens, experts, K, d, h, o = {sizes}")
    def _(d: Draw, sizes: tuple[int, ...] = sizes) -> tuple[Node, ...]:
        batch, tokens, experts, k, width, hidden, outs = sizes
        x, logits = d.input(batch, tokens, width), d.input(batch, tokens, experts)
        found = [
            layer(d, op, x, logits, hidden, outs) for op in (MoE(k), MoE(k, renormalise=True), MoE(k, "after", False, "Relu"))
        ]
        return *found, d(Add(), layer(d, MoE(k, activation="Silu"), x, logits, hidden, outs), d.input(batch, tokens, outs))

    @case("experts", f"integers, batch, tokens, experts, K, d, h, o = {sizes}")
    def _(d: Draw, sizes: tuple[int, ...] = sizes) -> tuple[Node, ...]:
        batch, tokens, experts, k, width, hidden, outs = sizes
        x, logits = d.input(batch, tokens, width, elem=INT8), d.input(batch, tokens, experts, elem=INT16)
        ops = MoE(k), MoE(k, renormalise=True), MoE(k, "after")
        found = [layer(d, op, x, logits, hidden, outs) for op in ops]
        narrow = [requantise(d, layer(d, MoE(k), x, logits, hidden, outs), (n,), INT16) for n in (1, outs)]
        joined = d(AddRequantised(*IDENTITY, 40000, 16), narrow[0], d.input(batch, tokens, outs, elem=INT16))
        return *found, *narrow, joined


@case("experts", "integers, all choosing one, equal logits, views")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 50, 12, elem=INT8)
    alone = np.zeros((1, 50, 6), np.int16)
    alone[..., 4] = 32767
    equal = constant(np.full((1, 50, 6), -32768, np.int16))
    turned = d(Transpose((0, 2, 1)), d.input(1, 14, 23, elem=INT8))
    logits = d(Slice(2, 1, 6), d.input(1, 23, 8, elem=INT16))
    chosen = [layer(d, MoE(k), x, given, 10, 12) for given, k in ((constant(alone), 1), (constant(alone), 2), (equal, 3))]
    y = layer(d, MoE(2), turned, logits, 16, 14)
    return *chosen, d(Transpose((0, 2, 1)), y), requantise(d, layer(d, MoE(2), turned, logits, 16, 14), (14,))


@case("experts", "each activation")
def _(d: Draw) -> tuple[Node, ...]:
    x, logits = d.input(1, 11, 17), d.input(1, 11, 4)
    return tuple(layer(d, MoE(2, activation=name), x, logits, 19, 5) for name in ACTIVATIONS)


@case("experts", "none chosen, all choosing one, equal logits")
def _(d: Draw) -> tuple[Node, ...]:
    x, logits = d.input(1, 50, 12), d.input(1, 50, 6)
    one = d(Add(), logits, constant(np.array([0, 0, 0, 0, 100, 0], np.float32)))  # every token, and first
    some = d(Add(), logits, constant(np.array([0, -100, 0, 0, -100, -100], np.float32)))
    equal = constant(np.zeros((1, 50, 6), np.float32))
    chosen = [layer(d, MoE(k), x, given, 10, 12) for given, k in ((one, 1), (one, 2), (some, 2), (equal, 3))]
    return (*chosen,)


@case("experts", "between views")
def _(d: Draw) -> tuple[Node, ...]:
    x = d(Transpose((0, 2, 1)), d.input(1, 14, 23))
    logits = d(Slice(2, 1, 6), d.input(1, 23, 8))
    y = layer(d, MoE(2), x, logits, 16, 14)
    part = layer(d, MoE(2), d(Slice(1, 0, 23, 2), x), d(Slice(1, 0, 23, 2), logits), 16, 14)
    normal = d(LayerNormalization(1e-2), d(Add(), x, y), d.real(14), d.real(14))
    return d(Transpose((0, 2, 1)), y), d(Relu(), part), normal
