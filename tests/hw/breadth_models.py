"""Small networks of every architecture that the engine runs beside plain vision transformers, with random weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ops import (
    Add,
    Attention,
    Concat,
    Gelu,
    HardSwish,
    Mul,
    ReduceMean,
    Relu,
    Reshape,
    Sigmoid,
    Slice,
    Transpose,
    constant,
    graph_input,
)

from tests.mixed_models import Layers


def named(op: object, *inputs: Node, name: str) -> Node:
    """Return a node with a name."""
    return make(op, *inputs, origin=(name,))  # type: ignore[arg-type]


def rolled(x: Node, by: int, name: str) -> Node:
    """Return a map (1, H, W, C), rolled back by ``by`` pixels along both axes."""
    for axis in (1, 2):
        size = x.shape[axis]
        parts = (
            named(Slice(axis, by % size, size), x, name=f"{name}a{axis}"),
            named(Slice(axis, 0, by % size), x, name=f"{name}b{axis}"),
        )
        x = named(Concat(axis), *parts, name=f"{name}{axis}")
    return x


def windows_of(x: Node, side: int, name: str) -> Node:
    """Return a map (1, H, W, C) as windows (n, side * side, C)."""
    _, height, width, channels = x.shape
    split = named(Reshape((1, height // side, side, width // side, side, channels)), x, name=f"{name}split")
    turned = named(Transpose((0, 1, 3, 2, 4, 5)), split, name=f"{name}turned")
    return named(Reshape((height * width // side**2, side * side, channels)), turned, name=f"{name}windows")


def map_of(x: Node, height: int, width: int, side: int, name: str) -> Node:
    """Invert ``windows_of``."""
    channels = x.shape[2]
    split = named(Reshape((1, height // side, width // side, side, side, channels)), x, name=f"{name}split")
    turned = named(Transpose((0, 1, 3, 2, 4, 5)), split, name=f"{name}turned")
    return named(Reshape((1, height, width, channels)), turned, name=f"{name}map")


def rows_of_map(x: Node, name: str) -> Node:
    """Return a map (1, C, H, W) as (1, H, W, C)."""
    return named(Transpose((0, 2, 3, 1)), x, name=name)


def swin(seed: int = 0, width: int = 32, heads: int = 2, side: int = 4, size: int = 8) -> Graph:
    """Two blocks of windows, the second shifted and masked, with biases per head, then patch merging and pooling."""
    layers = Layers(seed)
    image = graph_input("image", (1, 3, 2 * size, 2 * size))
    x = rows_of_map(layers.conv(image, width, "stem", 2 + 1, 2), "rows")
    tokens = side * side
    for block in range(2):
        shift = block * side // 2
        y = layers.norm(x, f"norm{block}")
        if shift:
            y = rolled(y, shift, f"roll{block}")
        y = windows_of(y, side, f"w{block}")
        qkv = layers.linear(y, 3 * width, f"qkv{block}")
        q, k, v = (named(Slice(2, n * width, (n + 1) * width), qkv, name=f"{n}{block}") for n in range(3))
        bias = layers.rng.normal(0, 1, (1, heads, tokens, tokens)).astype(np.float32)
        if shift:
            away = layers.rng.random((y.shape[0], 1, tokens, tokens)) < 0.3
            away &= ~np.eye(tokens, dtype=bool)
            bias = bias + np.where(away, np.float32(-100), np.float32(0)).astype(np.float32)
        mixed = named(Attention(heads, (width // heads) ** -0.5), q, k, v, constant(bias), name=f"attention{block}")
        y = map_of(layers.linear(mixed, width, f"project{block}"), size, size, side, f"m{block}")
        if shift:
            y = rolled(y, size - shift, f"back{block}")
        x = named(Add(), x, y, name=f"sum{block}")
        hidden = named(Gelu(), layers.linear(layers.norm(x, f"ffn{block}"), 2 * width, f"up{block}"), name=f"gelu{block}")
        x = named(Add(), x, layers.linear(hidden, width, f"down{block}"), name=f"add{block}")
    corners = [
        named(Slice(2, dx, size, 2), named(Slice(1, dy, size, 2), x, name=f"y{dx}{dy}"), name=f"x{dx}{dy}")
        for dx in (0, 1)
        for dy in (0, 1)
    ]
    merged = layers.norm(named(Concat(3), *corners, name="corners"), "merging")
    x = layers.norm(layers.linear(merged, 2 * width, "merge"), "last")
    flat = named(Reshape((1, size * size // 4, 2 * width)), x, name="flat")
    return Graph("swin", (image,), (layers.linear(named(ReduceMean((1,), False), flat, name="pool"), 10, "head"),), ("logits",))


def pyramid(seed: int = 0, width: int = 32, heads: int = 1, size: int = 8) -> Graph:
    """Attention to a map that a strided convolution makes smaller, and a depthwise convolution within the feed-forward part."""
    layers = Layers(seed)
    image = graph_input("image", (1, 3, 4 * size, 4 * size))
    x = rows_of_map(layers.conv(image, width, "stem", 7, 4), "stem_rows")
    x = named(Reshape((1, size * size, width)), x, name="tokens")
    x = layers.norm(x, "stem_norm")
    for block in range(2):
        normed = layers.norm(x, f"norm{block}")
        q = layers.linear(normed, width, f"q{block}")
        grid = named(Reshape((1, size, size, width)), normed, name=f"grid{block}")
        planes = named(Transpose((0, 3, 1, 2)), grid, name=f"planes{block}")
        small = rows_of_map(layers.conv(planes, width, f"reduce{block}", 3, 2), f"small{block}")
        small = named(Reshape((1, size * size // 4, width)), small, name=f"keys{block}")
        kv = layers.linear(layers.norm(small, f"small_norm{block}"), 2 * width, f"kv{block}")
        k, v = (named(Slice(2, n * width, (n + 1) * width), kv, name=f"{n}{block}") for n in range(2))
        mixed = named(Attention(heads, (width // heads) ** -0.5), q, k, v, name=f"attention{block}")
        x = named(Add(), x, layers.linear(mixed, width, f"project{block}"), name=f"sum{block}")
        hidden = layers.linear(layers.norm(x, f"ffn{block}"), 2 * width, f"up{block}")
        hidden = named(Reshape((1, size, size, 2 * width)), hidden, name=f"hidden{block}")
        hidden = named(Transpose((0, 3, 1, 2)), hidden, name=f"turned{block}")
        hidden = layers.conv(hidden, 2 * width, f"depthwise{block}", 3, 1, 2 * width)
        hidden = named(Reshape((1, size * size, 2 * width)), rows_of_map(hidden, f"rows{block}"), name=f"flat{block}")
        hidden = named(Gelu(), hidden, name=f"gelu{block}")
        x = named(Add(), x, layers.linear(hidden, width, f"down{block}"), name=f"add{block}")
    pooled = named(ReduceMean((1,), False), layers.norm(x, "last"), name="pool")
    return Graph("pyramid", (image,), (layers.linear(pooled, 10, "head"),), ("logits",))


def mobile(seed: int = 0, width: int = 16, size: int = 12) -> Graph:
    """Inverted bottlenecks with depthwise convolutions, squeeze and excite, strides and residual sums of maps."""
    layers = Layers(seed)
    image = graph_input("image", (1, 3, 2 * size, 2 * size))
    x = named(HardSwish(), layers.conv(image, width, "stem", 3, 2), name="stem_act")
    for block, stride in enumerate((1, 2)):
        y = named(HardSwish(), layers.conv(x, 3 * width, f"expand{block}"), name=f"expand_act{block}")
        y = named(
            HardSwish(), layers.conv(y, 3 * width, f"depthwise{block}", 5, stride, 3 * width), name=f"depthwise_act{block}"
        )
        gate = named(ReduceMean((2, 3)), y, name=f"squeeze{block}")
        gate = named(Relu(), layers.conv(gate, 8, f"reduce{block}"), name=f"reduce_act{block}")
        gate = named(Sigmoid(), layers.conv(gate, 3 * width, f"excite{block}"), name=f"gate{block}")
        y = layers.conv(named(Mul(), y, gate, name=f"gated{block}"), width, f"narrow{block}")
        x = named(Add(), x, y, name=f"sum{block}") if stride == 1 else y
    x = named(Relu(), layers.conv(x, 2 * width, "grouped", 3, 1, 2), name="grouped_act")
    pooled = named(ReduceMean((2, 3), False), x, name="pool")
    return Graph("mobile", (image,), (layers.linear(pooled, 10, "head"),), ("logits",))


def convnext(seed: int = 0, width: int = 24, size: int = 8) -> Graph:
    """Wide depthwise convolutions before a LayerNorm whose rows are not whole words, layer scale, patches that merge."""
    layers = Layers(seed)
    image = graph_input("image", (1, 3, 4 * size, 4 * size))
    x = named(Reshape((1, size, size, width)), rows_of_map(layers.conv(image, width, "stem", 5, 4), "rows"), name="map")
    x = layers.norm(x, "stem_norm")
    for block in range(2):
        y = layers.conv(named(Transpose((0, 3, 1, 2)), x, name=f"planes{block}"), width, f"depthwise{block}", 7, 1, width)
        y = layers.norm(rows_of_map(y, f"rows{block}"), f"norm{block}")
        y = named(Gelu(), layers.linear(y, 4 * width, f"up{block}"), name=f"gelu{block}")
        y = named(Mul(), layers.linear(y, width, f"down{block}"), layers.normal(width), name=f"scaled{block}")
        x = named(Add(), x, y, name=f"sum{block}")
    planes = named(Transpose((0, 3, 1, 2)), layers.norm(x, "merging"), name="planes")
    x = rows_of_map(layers.conv(planes, 2 * width, "merge", 3, 2), "merged")
    x = named(Reshape((1, size * size // 4, 2 * width)), x, name="flat")
    return Graph(
        "convnext", (image,), (layers.linear(named(ReduceMean((1,), False), x, name="pool"), 10, "head"),), ("logits",)
    )


def cascaded(seed: int = 0, size: int = 6, side: int = 3) -> Graph:
    """Heads one after the other in windows of a map, each fed by the one before, queries through a depthwise convolution,
    values wider than keys, a bias per position."""
    layers = Layers(seed)
    image = graph_input("image", (1, 3, 2 * size, 2 * size))
    x = layers.conv(image, 64, "stem", 3, 2)
    x = named(Add(), x, layers.conv(x, 64, "local", 3, 1, 64), name="mixed")
    tiles = windows_of(rows_of_map(x, "rows"), side, "w")
    count = tiles.shape[0]
    parts: list[Node] = []
    for head in range(2):
        part = named(Slice(2, 32 * head, 32 * head + 32), tiles, name=f"part{head}")
        part = named(Add(), part, parts[-1], name=f"cascade{head}") if parts else part
        qkv = layers.linear(part, 64, f"qkv{head}")
        q, k, v = (named(Slice(2, a, b), qkv, name=f"{n}{head}") for n, a, b in (("q", 0, 16), ("k", 16, 32), ("v", 32, 64)))
        planes = named(Reshape((count, side, side, 16)), q, name=f"grid{head}")
        planes = layers.conv(named(Transpose((0, 3, 1, 2)), planes, name=f"planes{head}"), 16, f"queries{head}", 3, 1, 16)
        q = named(Reshape((count, side * side, 16)), rows_of_map(planes, f"back{head}"), name=f"q_rows{head}")
        parts.append(named(Attention(1, 0.25), q, k, v, layers.normal(side**2, side**2), name=f"attention{head}"))
    joined = named(Relu(), named(Concat(2), *parts, name="joined"), name="relu")
    y = map_of(layers.linear(joined, 64, "project"), size, size, side, "m")
    x = named(Add(), rows_of_map(x, "again"), y, name="sum")
    flat = named(Reshape((1, size * size, 64)), x, name="flat")
    return Graph("cascaded", (image,), (layers.linear(layers.norm(flat, "last"), 10, "head"),), ("logits",))


def odd_heads(seed: int = 0, width: int = 40, heads: int = 4, tokens: int = 13) -> Graph:
    """Heads of 10 channels, fewer keys than queries, and values of another width."""
    layers = Layers(seed)
    x = graph_input("tokens", (1, tokens, width))
    x = layers.linear(x, width, "embed")
    other = named(Slice(1, 2, tokens - 2), x, name="memory")
    for block in range(2):
        y = layers.norm(x, f"norm{block}")
        q = layers.linear(y, width, f"q{block}")
        k = layers.linear(layers.norm(other, f"memory_norm{block}"), width, f"k{block}")
        v = layers.linear(layers.norm(other, f"memory_norm_v{block}"), 2 * width, f"v{block}")
        mixed = named(Attention(heads, 0.3), q, k, v, name=f"attention{block}")
        x = named(Add(), x, layers.linear(mixed, width, f"project{block}"), name=f"sum{block}")
    return Graph("odd", (x_input(x),), (layers.linear(layers.norm(x, "last"), 10, "head"),), ("logits",))


def x_input(node: Node) -> Node:
    """Return the input that a node comes from."""
    while node.inputs:
        node = node.inputs[0]
    return node


NETWORKS: dict[str, Callable[..., Graph]] = {
    "swin": swin,
    "pyramid": pyramid,
    "mobile": mobile,
    "convnext": convnext,
    "cascaded": cascaded,
    "odd heads": odd_heads,
}
