"""Every float operator that the reader makes, as a step that takes a value and returns one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from edgewright.passes.ir.graph import Node, make
from edgewright.passes.ir.op import Op
from edgewright.passes.ops import (
    Add,
    Attention,
    BatchNormalization,
    Cast,
    Concat,
    Conv,
    ConvTranspose,
    Div,
    Erf,
    Exp,
    Gather,
    Gelu,
    HardSwish,
    Linear,
    MatMul,
    MoE,
    Mul,
    Neg,
    PatchEmbed,
    Pow,
    Reciprocal,
    ReduceMean,
    Relu,
    Reshape,
    Sigmoid,
    Sign,
    Silu,
    Slice,
    Softmax,
    Sqrt,
    Sub,
    Tanh,
    Transpose,
    Where,
    constant,
)

from tests.fuzz.float_network import CHANNELS, LOWEST, SIDE, Network, Step, spread_channels


def _channels(x: Node) -> int:
    return x.shape[1] if x.type.rank == 4 else x.shape[-1]


def _added(network: Network, x: Node) -> Node:
    """A constant of as many axes as x or fewer, some of them 1 long."""
    axes = [n if network.rng.random() < 0.6 else 1 for n in x.shape]
    return network.real(*axes[int(network.rng.integers(0, x.type.rank)) :])


# ---- products


def linear(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    outs = int(g.rng.choice([CHANNELS, CHANNELS, 6]))
    return make(Linear(), x, g.weight(outs, x.shape[-1]), g.real(outs))


def one_column(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    return make(Add(), make(Linear(), x, g.weight(1, x.shape[-1]), g.real(1)), g.real(1, x.shape[1], x.shape[2]))


def two_linears(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    inner = make(Linear(), x, g.weight(12, x.shape[-1]), g.real(12))
    return make(Linear(), inner, g.weight(CHANNELS, 12), g.real(CHANNELS))


def mixing_tokens(g: Network, x: Node) -> Node:
    x = make(Transpose((0, 2, 1)), g.tokens(x))
    outs = x.shape[-1]
    return make(Transpose((0, 2, 1)), make(Linear(), x, g.weight(outs, outs), g.real(outs)))


def convolution(groups: Callable[[int], int], kernel: int = 3, stride: int = 1, pad: int = 1, bias: bool = True) -> Step:
    def step(g: Network, x: Node) -> Node:
        x = g.maps(x)
        if min(x.shape[2:]) + 2 * pad < kernel:
            return x
        channels = x.shape[1]
        parts = groups(channels)
        outs = channels * (2 if parts == channels and g.rng.random() < 0.2 else 1)
        operands = [g.weight(outs, channels // parts, kernel, kernel), *([g.real(outs)] if bias else [])]
        return make(Conv((stride, stride), (pad,) * 4, groups=parts), x, *operands)

    return step


def half(channels: int) -> int:
    return 2 if channels % 2 == 0 else 1


def transposed_convolution(g: Network, x: Node) -> Node:
    x = g.maps(x)
    size = (2 * x.shape[2], 2 * x.shape[3])
    if max(size) > 4 * SIDE:
        return x
    groups = half(x.shape[1]) if g.rng.random() < 0.5 else 1
    return make(ConvTranspose(size, (2, 2), groups=groups), x, g.weight(x.shape[1], CHANNELS // groups, 2, 2), g.real(CHANNELS))


def patches(g: Network, x: Node) -> Node:
    x = g.maps(x)
    if x.shape[2] % 2 or x.shape[3] % 2:
        return x
    return make(PatchEmbed(2), x, g.weight(CHANNELS, 4 * x.shape[1]), g.real(CHANNELS))


def merged_patches(g: Network, x: Node) -> Node:
    """2 x 2 pixels side by side, as one token of four times the channels."""
    x = g.maps(x)
    _, channels, height, width = x.shape
    if height % 2 or width % 2 or channels > 2 * CHANNELS:
        return x
    x = make(Reshape((1, height // 2, 2, width // 2, 2, channels)), make(Transpose((0, 2, 3, 1)), x))
    x = make(Transpose((0, 1, 3, 2, 4, 5)), x)
    return make(Reshape((1, height * width // 4, 4 * channels)), x)


def matmul(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    scores = make(MatMul(), x, make(Transpose((0, 2, 1)), x))
    return make(MatMul(), make(Softmax(-1), make(Mul(), scores, constant(np.array(0.3, np.float32)))), x)


def attention(mask: str) -> Step:
    def step(g: Network, x: Node) -> Node:
        x = g.tokens(x)
        count, width = x.shape[1:]
        heads = half(width)
        same = g.rng.random() < 0.3
        parts = [x if same else make(Linear(), x, g.weight(width, width), g.real(width)) for _ in range(3)]
        bias = _bias(g, mask, heads, count)
        scale = 0.3 * (g.scale() if g.rng.random() < 0.3 else 1.0)
        return make(Attention(heads, scale), *parts, *([] if bias is None else [bias]))

    return step


def _bias(g: Network, mask: str, heads: int, count: int) -> Node | None:
    if mask == "none":
        return None
    if mask == "positions":
        return g.real(1, heads, count, count)
    level = float(g.rng.choice([-1e4, -1e9, -1e30, LOWEST]))
    if mask == "given" and count == SIDE * SIDE:
        bits = make(Reshape((1, 1, 1, count)), g.mask_input())
        return make(Where(), bits, *(constant(np.array(v, np.float32)) for v in (0.0, level)))
    kept = {"none masked": np.ones((count, count)), "all masked": np.zeros((count, count))}
    rows = kept.get(mask, np.tril(np.ones((count, count)), int(g.rng.integers(-1, 2))))
    return constant(np.where(rows > 0, 0, level).astype(np.float32))


def experts(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    width, hidden, count = x.shape[-1], 5, 3
    logits = make(Linear(), x, g.weight(count, width), g.real(count))
    parts = g.weight(count, hidden, width), g.real(count, hidden), g.weight(count, width, hidden), g.real(count, width)
    softmax = str(g.rng.choice(["before", "after"]))
    return make(MoE(2, softmax, activation=str(g.rng.choice(["Gelu", "Relu"]))), x, logits, *parts)


def table(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    ids = constant(g.rng.integers(0, 5, (1, x.shape[1])))
    return make(Add(), x, make(Gather(0), g.real(5, x.shape[-1], middle=0.3), ids))


# ---- element by element


def unary(*ops: Op) -> Step:
    return lambda g, x: make(g.pick(*ops), g.either(x))


def with_constant(op: Op, swapped: bool = False) -> Step:
    def step(g: Network, x: Node) -> Node:
        x = g.either(x)
        other = _added(g, x)
        if isinstance(op, Div):
            other = constant(np.where(np.abs(other.op.eval()) < 1e-34, 1, other.op.eval()))
        return make(op, other, x) if swapped else make(op, x, other)

    return step


def per_channel(op: Op) -> Step:
    def step(g: Network, x: Node) -> Node:
        x = g.either(x)
        return make(op, x, spread_channels(x, g.real(_channels(x), middle=1.0, spread=0.2)))

    return step


def with_number(op: Op) -> Step:
    return lambda g, x: make(op, x := g.either(x), constant(np.array(g.rng.uniform(0.5, 2) * g.scale(), np.float32)))


def with_itself(op: Op) -> Step:
    def step(g: Network, x: Node) -> Node:
        x = g.either(x)
        return make(op, x, make(Tanh(), x))

    return step


def divided(g: Network, x: Node) -> Node:
    """By something computed that is at least a small number."""
    x = g.either(x)
    floor = constant(np.array(g.rng.choice([1e-5, 1e-2, 1.0]), np.float32))
    return make(Div(), x, make(Add(), make(Relu(), x), floor))


def root(g: Network, x: Node) -> Node:
    x = g.either(x)
    one = constant(np.ones((), np.float32))
    positive = make(Add(), make(Mul(), x, x), one)
    return make(g.pick(Sqrt(), Reciprocal()), positive)


def power(g: Network, x: Node) -> Node:
    return make(Pow(), g.either(x), constant(np.array(2.0, np.float32)))


def exponential(g: Network, x: Node) -> Node:
    return make(Exp(), make(Tanh(), g.either(x)))


def signed(g: Network, x: Node) -> Node:
    x = g.either(x)
    return make(Mul(), x, make(Sign(), x))


def chosen(g: Network, x: Node) -> Node:
    """Where a mask is 1, x; elsewhere a constant."""
    x = g.tokens(x)
    if x.shape[1] != SIDE * SIDE:
        return x
    bits = make(Reshape((1, SIDE * SIDE, 1)), g.mask_input())
    return make(Where(), bits, x, g.real(1, 1, x.shape[-1]))


def cast(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    if x.shape[1] != SIDE * SIDE:
        return x
    return make(Mul(), x, make(Cast(), make(Reshape((1, SIDE * SIDE, 1)), g.mask_input())))


def batch_norm(g: Network, x: Node) -> Node:
    x = g.either(x)
    size = x.shape[1]
    variance = constant(g.rng.uniform(0.5, 2, size).astype(np.float32))
    return make(BatchNormalization(g.epsilon()), x, g.real(size, middle=1.0), g.real(size), g.real(size), variance)


# ---- moves and reductions


def cut(tokens: bool) -> Step:
    def step(g: Network, x: Node) -> Node:
        x = g.tokens(x)
        axis = 1 if tokens else 2
        size = x.shape[axis]
        return x if size < 4 else make(Slice(axis, 0, size // 2) if g.rng.random() < 0.5 else Slice(axis, 0, size, 2), x)

    return step


def joined(axis: int, known: bool) -> Step:
    def step(g: Network, x: Node) -> Node:
        x = g.either(x)
        at = axis if x.type.rank == 3 else (1 if axis == 2 else 3)
        shape = list(x.shape)
        shape[at] = 2
        other = g.real(*shape) if known else make(Tanh(), x)
        return make(Concat(at), *((other, x) if g.rng.random() < 0.5 else (x, other)))

    return step


def picked(axis: int) -> Step:
    def step(g: Network, x: Node) -> Node:
        x = g.tokens(x)
        return make(Gather(axis), x, constant(g.rng.integers(0, x.shape[axis], x.shape[axis])))

    return step


def enlarged(g: Network, x: Node) -> Node:
    """As Resize by nearest rows is read."""
    x = g.maps(x)
    rows = x.shape[2]
    return x if rows > 2 * SIDE else make(Gather(2), x, constant(np.arange(2 * rows) // 2))


def interpolated(g: Network, x: Node) -> Node:
    """As Resize by products with matrices is read."""
    x = g.maps(x)
    columns = x.shape[3]
    matrix = constant(np.abs(g.rng.standard_normal((columns + 1, columns))).astype(np.float32))
    return make(Linear(), x, matrix, constant(np.zeros(columns + 1, np.float32)))


def split_channels(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    _, count, width = x.shape
    return x if width % 2 else make(Reshape((1, 2 * count, width // 2)), x)


def merged_channels(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    _, count, width = x.shape
    return x if count % 2 or width > 2 * CHANNELS else make(Reshape((1, count // 2, 2 * width)), x)


def detour(g: Network, x: Node) -> Node:
    """A view and back."""
    x = g.tokens(x)
    _, count, width = x.shape
    return make(Reshape((1, count, width)), make(Reshape((count, 1, width)), x))


def shuffled(g: Network, x: Node) -> Node:
    """Channels in another order, as ShuffleNet does."""
    x = g.maps(x)
    _, channels, height, width = x.shape
    if channels % 2:
        return x
    apart = make(Transpose((0, 2, 1, 3, 4)), make(Reshape((1, 2, channels // 2, height, width)), x))
    return make(Reshape(x.shape), apart)


def turned(g: Network, x: Node) -> Node:
    """Tokens become channels."""
    return make(Transpose((0, 2, 1)), g.tokens(x))


def mean(axis: int) -> Step:
    """What a value is above its mean over an axis."""

    def step(g: Network, x: Node) -> Node:
        x = g.either(x)
        at = axis if x.type.rank == 3 else (1 if axis == 2 else 2)
        return make(Sub(), x, make(ReduceMean((at,)), x))

    return step


def pooled(g: Network, x: Node) -> Node:
    x = g.either(x)
    if x.type.rank == 4:
        return make(Add(), x, make(ReduceMean((2, 3)), x))
    return make(Reshape((1, 1, x.shape[2])), make(ReduceMean((1,), False), x))


def softmax(g: Network, x: Node) -> Node:
    x = g.either(x)
    return make(Softmax(int(g.rng.integers(1, x.type.rank))), x)


def residual(g: Network, x: Node) -> Node:
    """x + f(x), f ending in a product."""
    x = g.tokens(x)
    width = x.shape[-1]
    inner = make(Gelu(), make(Linear(), x, g.weight(6, width), g.real(6)))
    branch = make(Linear(), inner, g.weight(width, 6), g.real(width))
    return make(g.pick(Add(), Sub()), x, branch)


STEPS: dict[str, Step] = {
    "linear": linear,
    "one column": one_column,
    "two linears": two_linears,
    "mixing tokens": mixing_tokens,
    "convolution": convolution(lambda channels: 1),
    "convolution 1x1": convolution(lambda channels: 1, 1, 1, 0),
    "convolution without bias": convolution(lambda channels: 1, 3, 2, 1, False),
    "grouped convolution": convolution(half),
    "depthwise convolution": convolution(lambda channels: channels),
    "depthwise convolution 1x1": convolution(lambda channels: channels, 1, 1, 0),
    "depthwise convolution, stride": convolution(lambda channels: channels, 2, 2, 0, False),
    "transposed convolution": transposed_convolution,
    "patches": patches,
    "merged patches": merged_patches,
    "matmul": matmul,
    **{f"attention, {mask}": attention(mask) for mask in ("none", "positions", "given", "causal", "none masked", "all masked")},
    "experts": experts,
    "table": table,
    "activation": unary(Gelu(), Gelu("tanh"), Relu(), Sigmoid(), Silu(), HardSwish(), Tanh(), Erf()),
    "neg": unary(Neg()),
    "add": with_constant(Add()),
    "sub": with_constant(Sub()),
    "sub from": with_constant(Sub(), True),
    "mul": with_constant(Mul()),
    "div": with_constant(Div()),
    "mul channel": per_channel(Mul()),
    "div channel": per_channel(Div()),
    "add channel": per_channel(Add()),
    "mul number": with_number(Mul()),
    "div number": with_number(Div()),
    "add number": with_number(Add()),
    "mul itself": with_itself(Mul()),
    "add itself": with_itself(Add()),
    "sub itself": with_itself(Sub()),
    "divided": divided,
    "root": root,
    "power": power,
    "exponential": exponential,
    "signed": signed,
    "chosen": chosen,
    "cast": cast,
    "batch norm": batch_norm,
    "cut tokens": cut(True),
    "cut channels": cut(False),
    "join tokens": joined(1, False),
    "join channels": joined(2, False),
    "join constant token": joined(1, True),
    "join constant channels": joined(2, True),
    "picked tokens": picked(1),
    "picked channels": picked(2),
    "enlarged": enlarged,
    "interpolated": interpolated,
    "split channels": split_channels,
    "merged channels": merged_channels,
    "detour": detour,
    "shuffled": shuffled,
    "turned": turned,
    "mean of tokens": mean(1),
    "mean of channels": mean(2),
    "pooled": pooled,
    "softmax": softmax,
    "residual": residual,
}
