"""Small networks with mixtures of experts, made by code: random weights, no training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgewright.passes.ir import Array, Graph, Node, make
from edgewright.passes.ops import Add, LayerNormalization, Linear, MoE, ReduceMean, constant, graph_input


def weight(rng: np.random.Generator, *shape: int) -> Array:
    """Normal values that keep a product's variance."""
    found: Array = (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)
    return found


def linear(rng: np.random.Generator, x: Node, outs: int, name: str) -> Node:
    """A Linear with random weights."""
    bias = 0.1 * rng.normal(size=outs).astype(np.float32)
    return make(Linear(), x, constant(weight(rng, outs, x.shape[-1])), constant(bias), origin=(name,))


def experts(rng: np.random.Generator, count: int, hidden: int, width: int, outs: int) -> list[Node]:
    """Constants w1, b1, w2, b2."""
    parts = [
        weight(rng, count, hidden, width),
        0.2 * rng.normal(size=(count, hidden)).astype(np.float32),
        weight(rng, count, outs, hidden),
        0.2 * rng.normal(size=(count, outs)).astype(np.float32),
    ]
    return [constant(part, (f"experts.{name}",)) for part, name in zip(parts, ("w1", "b1", "w2", "b2"), strict=True)]


def moe_network(
    op: MoE | None = None,
    tasks: Sequence[str] = ("class", "edges"),
    experts_count: int = 6,
    tokens: int = 9,
    width: int = 16,
    layers: int = 2,
    router_bias: Array | None = None,
    seed: int = 0,
) -> Graph:
    """Tokens x (1, tokens, width); per task `layers` residual mixtures with the task's own routers and the experts that all
    tasks share, then a head over the mean of the tokens."""
    rng = np.random.default_rng(seed)
    op = op or MoE(2)
    x = graph_input("x", (1, tokens, width))
    entry = linear(rng, x, width, "entry")
    shared = [experts(rng, experts_count, 24, width, width) for _ in range(layers)]
    norms = [
        (
            constant(1 + 0.1 * rng.normal(size=width).astype(np.float32)),
            constant(0.1 * rng.normal(size=width).astype(np.float32)),
        )
        for _ in range(layers)
    ]
    outputs = []
    for task in tasks:
        stream = entry
        for layer in range(layers):
            normal = make(LayerNormalization(), stream, *norms[layer], origin=(f"{task}.norm{layer}",))
            bias = np.zeros(experts_count, np.float32) if router_bias is None else router_bias.astype(np.float32)
            router = constant(2 * weight(rng, experts_count, width), (f"{task}.router{layer}.weight",))
            logits = make(Linear(), normal, router, constant(bias), origin=(f"{task}.router{layer}",))
            mixed = make(op, normal, logits, *shared[layer], origin=(f"{task}.experts{layer}",))
            stream = make(Add(), stream, mixed, origin=(f"{task}.add{layer}",))
        pooled = make(ReduceMean((1,)), stream, origin=(f"{task}.mean",))
        outputs.append(linear(rng, pooled, 5, f"{task}.head"))
    return Graph("moe", (x,), tuple(outputs), tuple(tasks))


def samples(graph: Graph, count: int, seed: int = 1) -> dict[str, Array]:
    """Normal values for the one input."""
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(size=(count, *graph.inputs[0].shape[1:])).astype(np.float32)}
