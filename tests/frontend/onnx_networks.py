"""Small networks of other kinds than `onnx_vit`, as exporters spell them: text encoders, DINO, EfficientViT, PVT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.frontend.onnx_vit import Builder, Sizes, Spelling

LOWEST = float(np.finfo(np.float32).min)


@dataclass
class Network(Builder):
    """Builder of one network; `done` gives the model."""

    inputs: list[tuple[str, int, tuple[int | str, ...]]] = field(default_factory=list)

    def take(self, name: str, shape: tuple[int | str, ...], kind: int = TensorProto.FLOAT) -> str:
        self.inputs.append((name, kind, shape))
        return name

    def done(self, result: str) -> onnx.ModelProto:
        self.op("Identity", result)
        self.nodes[-1].output[0] = "result"
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(name, kind, list(shape)) for name, kind, shape in self.inputs],
            [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
            self.tensors,
        )
        opset = helper.make_opsetid("", self.spelling.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=11 if self.spelling.opset >= 23 else 9)

    def conv(self, x: str, ins: int, outs: int, side: int = 1, norm: bool = False, **attributes: Any) -> str:
        groups = attributes.get("group", 1)
        weight = self.value(self.normal(outs, ins // groups, side, side, scale=(ins // groups * side**2) ** -0.5))
        x = self.op("Conv", x, weight, self.value(self.normal(outs, scale=0.2)), kernel_shape=[side] * 2, **attributes)
        return self.batch_norm(x, outs) if norm else x

    def batch_norm(self, x: str, width: int) -> str:
        parts = [1 + self.normal(width, scale=0.2), self.normal(width), self.normal(width, scale=0.2)]
        variance = np.abs(self.normal(width)) + np.float32(0.5)
        return str(self.op("BatchNormalization", x, *map(self.value, (*parts, variance)), epsilon=1e-3))

    def unsqueeze(self, x: str, *axes: int) -> str:
        if self.spelling.opset >= 13:
            return str(self.op("Unsqueeze", x, self.ints(*axes)))
        return str(self.op("Unsqueeze", x, axes=list(axes)))


MASKS = ("subtract", "subtract_integers", "fill", "choose", "choose_expanded", "guarded", "compared", "gathered")


def _mask_bias(n: Network, mask: str, kind: str, tokens: int) -> str:
    """What is added to the scores: zero where mask is 1, and next to minus infinity where it is 0."""
    four = n.unsqueeze(mask, 1, 2)
    if kind == "subtract":  # transformers 4, eager
        return str(n.op("Mul", n.op("Sub", n.real(1.0), n.op("Cast", four, to=1)), n.real(LOWEST)))
    if kind == "subtract_integers":
        inverted = n.op("Sub", n.value(np.asarray(1, np.int64)), four)
        return str(n.op("Mul", n.op("Cast", inverted, to=1), n.real(-1e9)))
    if kind in ("choose", "guarded"):  # scaled_dot_product_attention with a mask of booleans
        return str(n.op("Where", n.op("Cast", four, to=TensorProto.BOOL), n.real(0.0), n.real(-np.inf)))
    if kind == "choose_expanded":  # expanded to all queries, inverted, filled
        whole = n.op("Expand", four, n.ints(1, 1, tokens, tokens))
        inverted = n.op("Sub", n.real(1.0), n.op("Cast", whole, to=1))
        return str(n.op("Where", n.op("Cast", inverted, to=TensorProto.BOOL), n.real(LOWEST), inverted))
    if kind == "gathered":  # transformers 5: one lookup for every pair of query and key, and a mask that forbids nothing
        pairs = np.zeros((1, 1, tokens, tokens, 2), np.int64)
        pairs[..., 1] = np.arange(tokens)
        seen = n.op("GatherND", n.op("Cast", mask, to=TensorProto.BOOL), n.value(pairs))
        kept = n.op("And", n.value(np.ones((1, 1, tokens, 1), np.bool_)), seen)
        return str(n.op("Where", kept, n.real(0.0), n.real(LOWEST)))
    assert kind == "compared"
    return str(n.op("Where", n.op("Equal", four, n.ints(0)), n.real(LOWEST), n.real(0.0)))


def text_encoder(
    mask: str = "subtract",
    opset: int = 17,
    sizes: Sizes | None = None,
    types: bool = True,
    ids: int = TensorProto.INT64,
    tokens: int | str = 9,
) -> onnx.ModelProto:
    """BERT: ids, mask and (if `types`) token types -> (1, tokens, width). `mask` is one of MASKS."""
    s = sizes or Sizes(hidden=40)
    n = Network(Spelling(opset=opset, norm="fused" if opset >= 17 else "div", gelu="erf_half_last"), s)
    count = tokens if isinstance(tokens, int) else 9
    table, positions = n.value(n.normal(50, s.width)), n.normal(1, count, s.width)
    picked = n.op("Gather", table, n.take("input_ids", (1, tokens), ids))
    keep = n.take("attention_mask", (1, tokens), TensorProto.INT64)
    if types:
        picked = n.op("Add", picked, n.op("Gather", n.value(n.normal(2, s.width)), n.take("types", (1, tokens), 7)))
    else:  # constant ids of constant tables fold away
        rows = n.op("ConstantOfShape", n.ints(1, count), value=helper.make_tensor("z", TensorProto.INT64, [1], [0]))
        picked = n.op("Add", picked, n.op("Gather", n.value(n.normal(2, s.width)), rows))
    x = n.norm(n.op("Add", picked, n.value(positions)))
    bias = "" if mask == "fill" else _mask_bias(n, keep, mask, count)
    for _ in range(s.blocks):
        x = n.norm(n.op("Add", _attend(n, x, bias, keep, mask, count), x))
        wide = n.gelu(n.linear(x, s.width, s.hidden, 1.5))
        x = n.norm(n.op("Add", n.linear(wide, s.hidden, s.width), x))
    return n.done(x)


def _attend(n: Network, x: str, bias: str, keep: str, mask: str, tokens: int) -> str:
    width, heads = n.sizes.width, n.sizes.heads
    parts = [n.reshape(n.linear(x, width, width, 1.5), 1, tokens, heads, width // heads) for _ in range(3)]
    q, k, v = n.transpose(parts[0], 0, 2, 1, 3), n.transpose(parts[1], 0, 2, 3, 1), n.transpose(parts[2], 0, 2, 1, 3)
    scores = n.op("Div", n.op("MatMul", q, k), n.real((width // heads) ** 0.5))
    if mask == "fill":  # masked_fill
        never = n.op("Expand", n.op("Equal", n.unsqueeze(keep, 1, 2), n.ints(0)), n.op("Shape", scores))
        scores = n.op("Where", never, n.real(LOWEST), scores)
    else:
        scores = n.op("Add", scores, bias)
    weights = n.op("Softmax", scores, axis=3)
    if mask == "guarded":
        weights = n.op("Where", n.op("IsNaN", weights), n.real(0.0), weights)
    mixed = n.transpose(n.op("MatMul", weights, v), 0, 2, 1, 3)
    return n.linear(n.reshape(mixed, 1, tokens, width), width, width)


def dino(opset: int = 14) -> onnx.ModelProto:
    """DINOv2 with a decoder: interpolated positions, layer scale, norms written out, transposed convolution, resizing."""
    s = Sizes(image=12, patch=2, blocks=2)
    n = Network(Spelling(opset=opset, norm="div", layer_scale=True), s)
    image = n.take("image", ("batch", s.channels, s.image, s.image))
    x = n.embed(image)
    grid = s.image // s.patch
    table = n.transpose(n.reshape(n.value(n.normal(1, 81, s.width)), 1, 9, 9, s.width), 0, 3, 1, 2)
    rows = n.op("Resize", table, "", "", n.ints(1, s.width, grid, grid), mode="cubic", cubic_coeff_a=-0.75)
    places = n.reshape(n.transpose(rows, 0, 2, 3, 1), 1, grid * grid, s.width)
    places = n.op("Concat", n.value(n.normal(1, 1, s.width)), places, axis=1)
    batch = n.op("Slice", n.op("Shape", image), n.ints(0), n.ints(1))
    row = n.op("Expand", n.value(n.normal(1, 1, s.width)), n.op("Concat", batch, n.ints(1, s.width), axis=0))
    x = n.op("Add", n.op("Concat", row, x, axis=1), places)
    for _ in range(s.blocks):
        x = n.residual(x, n.linear(n.attend(n.norm(x)), s.width, s.width))
        wide = n.gelu(n.linear(n.norm(x), s.width, s.hidden, 1.5))
        x = n.residual(x, n.linear(wide, s.hidden, s.width))
    tokens = n.op("Slice", n.norm(x), n.ints(1), n.ints(1 << 62), n.ints(1))
    maps = n.reshape(n.transpose(tokens, 0, 2, 1), -1, s.width, grid, grid)
    weight = n.value(n.normal(s.width, 6, 4, 4, scale=0.1))
    up = n.op("ConvTranspose", maps, weight, n.value(n.normal(6)), strides=[2, 2], pads=[1, 1, 1, 1])
    up = n.conv(n.op("Relu", n.batch_norm(up, 6)), 6, 1)
    larger = n.op("Resize", up, "", "", n.ints(1, 1, 20, 20), mode="linear")
    return n.done(n.op("Sigmoid", larger))


def efficient_vit(windows: bool = True, squeeze: bool = True) -> onnx.ModelProto:
    """One EfficientViT block: depthwise convolution, cascaded attention with a position bias (in 2 x 2 windows), and
    a squeeze-and-excitation; everything in (channels, rows, columns)."""
    n = Network(Spelling(opset=18))
    side, width, heads, dim, value_dim = 3, 16, 2, 4, 8
    whole = 2 * side if windows else side
    x = n.conv(n.take("image", (1, 3, whole, whole)), 3, width, 3, norm=True, pads=[1] * 4)
    x = n.op("Add", x, n.conv(x, width, width, 3, norm=True, pads=[1] * 4, group=width))
    inside, count = x, 4 if windows else 1
    if windows:
        cut = n.reshape(n.transpose(x, 0, 2, 3, 1), 1, 2, side, 2, side, width)
        inside = n.transpose(n.reshape(n.transpose(cut, 0, 1, 3, 2, 4, 5), 4, side, side, width), 0, 3, 1, 2)
    chunks = n.split(inside, 1, heads, width // heads)
    outs: list[str] = []
    for i in range(heads):
        part = chunks[i] if i == 0 else n.op("Add", outs[-1], chunks[i])
        merged = n.conv(part, width // heads, 2 * dim + value_dim, norm=True)
        q, k, v = n.op("Split", merged, n.ints(dim, dim, value_dim), outputs=3, axis=1)
        q = n.conv(q, dim, dim, 3, norm=True, pads=[1] * 4, group=dim)
        q, k = (n.reshape(p, count, dim, side * side) for p in (q, k))
        v = n.reshape(v, count, value_dim, side * side)
        scores = n.op("MatMul", n.transpose(n.op("Mul", q, n.real(dim**-0.5)), 0, 2, 1), k)
        weights = n.op("Softmax", n.op("Add", scores, n.value(n.normal(side * side, side * side))), axis=-1)
        mixed = n.op("MatMul", v, n.transpose(weights, 0, 2, 1))
        outs.append(n.reshape(mixed, count, value_dim, side, side))
    y = n.conv(n.op("Relu", n.op("Concat", *outs, axis=1)), heads * value_dim, width, norm=True)
    if windows:
        back = n.reshape(n.transpose(y, 0, 2, 3, 1), 1, 2, 2, side, side, width)
        y = n.transpose(n.reshape(n.transpose(back, 0, 1, 3, 2, 4, 5), 1, whole, whole, width), 0, 3, 1, 2)
    x = n.op("Add", x, y)
    x = n.op("Add", x, n.conv(n.op("Relu", n.conv(x, width, 2 * width)), 2 * width, width))
    if squeeze:
        gate = n.conv(n.op("Relu", n.conv(n.reduce_mean(x, [2, 3]), width, 4)), 4, width)
        x = n.op("Mul", x, n.op("Sigmoid", gate))
    return n.done(n.reduce_mean(x, [2, 3], keepdims=0))


def pyramid(opset: int = 18) -> onnx.ModelProto:
    """One PVT block: spatial reduction of keys and values, a depthwise convolution in the feed-forward part."""
    n = Network(Spelling(opset=opset, norm="fused" if opset >= 17 else "div"), Sizes(width=8, heads=2))
    side, width, heads, reduction = 4, 8, 2, 2
    count, few = side * side, (side // reduction) ** 2
    maps = n.conv(n.take("image", (1, 3, 2 * side, 2 * side)), 3, width, 3, strides=[2, 2], pads=[1] * 4)
    x = n.transpose(n.reshape(maps, 1, width, count), 0, 2, 1)
    normal = n.norm(x)
    image = n.reshape(n.transpose(normal, 0, 2, 1), 1, width, side, side)
    reduced = n.conv(image, width, width, reduction, strides=[reduction] * 2)
    fewer = n.norm(n.transpose(n.reshape(reduced, 1, width, few), 0, 2, 1))
    q = n.transpose(n.reshape(n.linear(normal, width, width), 1, count, heads, width // heads), 0, 2, 1, 3)
    both = n.reshape(n.linear(fewer, width, 2 * width), 1, few, 2, heads, width // heads)
    k, v = (n.squeeze(p, 0) for p in n.split(n.transpose(both, 2, 0, 3, 1, 4), 0, 2, 1))
    scores = n.op("Mul", n.op("MatMul", q, n.transpose(k, 0, 1, 3, 2)), n.real((width // heads) ** -0.5))
    mixed = n.transpose(n.op("MatMul", n.op("Softmax", scores, axis=-1), v), 0, 2, 1, 3)
    x = n.op("Add", x, n.linear(n.reshape(mixed, 1, count, width), width, width))
    wide = n.linear(n.norm(x), width, 2 * width)
    image = n.reshape(n.transpose(wide, 0, 2, 1), 1, 2 * width, side, side)
    image = n.conv(image, 2 * width, 2 * width, 3, pads=[1] * 4, group=2 * width)
    back = n.transpose(n.reshape(image, 1, 2 * width, count), 0, 2, 1)
    x = n.op("Add", x, n.linear(n.gelu(back), 2 * width, width))
    return n.done(n.reduce_mean(x, [1], keepdims=0))
