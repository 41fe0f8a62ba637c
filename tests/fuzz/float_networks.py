"""Random float graphs with every operator that the reader makes, in front of and behind every kind of norm.

A value is a node and the axis of its channels, in one of three layouts: tokens (1, N, C), maps (1, C, H, W), and pixels
(1, H, W, C). Each step takes a value of any layout, brings it into the one it needs, and returns a value.
"""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import (
    Add,
    Div,
    LayerNormalization,
    Mul,
    ReduceMean,
    RMSNormalization,
    Sqrt,
    Sub,
    Transpose,
    constant,
)

from tests.fuzz.float_network import Network, Step, spread_channels
from tests.fuzz.float_steps import STEPS, linear

# ---- norms


def _affine(g: Network, width: int, beta: bool) -> tuple[Node, Node]:
    offset = g.real(width) if beta else constant(np.zeros(width, np.float32))
    return g.real(width, middle=1.0), offset


def layer_norm(beta: bool) -> Step:
    def step(g: Network, x: Node) -> Node:
        x = g.tokens(x)
        return make(LayerNormalization(g.epsilon()), x, *_affine(g, x.shape[-1], beta))

    return step


def layer_norm_of_maps(g: Network, x: Node) -> Node:
    """Channels last and back, as ConvNeXt has it."""
    x = make(Transpose((0, 2, 3, 1)), g.maps(x))
    x = make(LayerNormalization(g.epsilon()), x, *_affine(g, x.shape[-1], False))
    return make(Transpose((0, 3, 1, 2)), x)


def layer_norm_of_columns(g: Network, x: Node) -> Node:
    """Over the last axis of maps."""
    x = g.maps(x)
    return make(LayerNormalization(g.epsilon()), x, *_affine(g, x.shape[-1], False))


def rms_norm(g: Network, x: Node) -> Node:
    x = g.tokens(x)
    return make(RMSNormalization(g.epsilon()), x, g.real(x.shape[-1], middle=1.0))


def by_hand(axes: tuple[int, ...]) -> Step:
    """A norm of maps in elementary operators: over channels (1,), over pixels (2, 3), or over everything."""

    def step(g: Network, x: Node) -> Node:
        x = g.maps(x)
        centred = make(Sub(), x, make(ReduceMean(axes), x))
        variance = make(ReduceMean(axes), make(Mul(), centred, centred))
        spread = make(Sqrt(), make(Add(), variance, constant(np.array(g.epsilon(), np.float32))))
        return make(Mul(), make(Div(), centred, spread), spread_channels(x, g.real(x.shape[1], middle=1.0)))

    return step


NORMS: dict[str, Step] = {
    "layer norm": layer_norm(False),
    "layer norm with offset": layer_norm(True),
    "layer norm of maps": layer_norm_of_maps,
    "layer norm of columns": layer_norm_of_columns,
    "rms norm": rms_norm,
    "norm of channels": by_hand((1,)),
    "instance norm": by_hand((2, 3)),
    "group norm": by_hand((1, 2, 3)),
}


def around(before: str, norm: str, behind: str, seed: int, extreme: float = 0.0) -> tuple[Graph, dict[str, Array]]:
    """A product, a step, a norm, a step, a norm and a product, and inputs for it."""
    g = Network(seed, extreme)
    x = STEPS[before](g, linear(g, g.inputs[0]))
    if g.rng.random() < 0.5:
        x = make(Add(), x, g.real(*x.shape))
    y = STEPS[behind](g, NORMS[norm](g, x))
    if g.rng.random() < 0.3 and x.shape == y.shape:
        y = make(Add(), x, y)
    last = linear(g, NORMS["layer norm"](g, y))
    outputs = (last, y) if g.rng.random() < 0.2 else (last,)
    return g.graph(*outputs), g.values()


def chain(length: int, seed: int, extreme: float = 0.0) -> tuple[Graph, dict[str, Array]]:
    """So many random steps, every third about a norm, and inputs for it."""
    g = Network(seed, extreme)
    pool = [linear(g, g.inputs[0])]
    for _ in range(length):
        kinds = NORMS if g.rng.random() < 0.35 else STEPS
        step = kinds[list(kinds)[g.rng.integers(len(kinds))]]
        made = step(g, pool[int(len(pool) * g.rng.random() ** 0.3)])
        others = [n for n in pool if n.shape == made.shape and n is not made]
        if others and g.rng.random() < 0.4:
            made = make(Add(), made, others[g.rng.integers(len(others))])
        if made.type.size <= 4000:
            pool.append(made)
    outputs = [linear(g, NORMS["layer norm"](g, pool[-1])), *(n for n in pool[1:] if g.rng.random() < 0.1)]
    return g.graph(*outputs), g.values()
