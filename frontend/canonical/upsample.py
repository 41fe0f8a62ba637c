"""Transposed convolutions become plain ones: one for each place that a result has between the pixels it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.frontend.canonical.axes import CHANNELS_FIRST, CHANNELS_LAST
from edgewright.passes.ir import Array, Graph, Node, Op, make, merge_origins, rebuild
from edgewright.passes.ops import Concat, Conv, ConvTranspose, Reshape, Transpose, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class SplitTransposed(Pass):
    """Compute a transposed convolution as plain ones.

    Before: ConvTranspose with strides (s, t), and an activation of it that nothing else reads. After: s t Convs side by
    side, each with the activation, where it can fuse with the product; their pixels are interleaved.
    Exact: up to the order of float sums. Source: sub-pixel convolution (Shi et al., CVPR 2016), section 3.2.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        activations: dict[Node, Node] = {}
        for node, readers in graph.users().items():
            only = readers[0] if len(readers) == 1 and node not in graph.outputs else None
            if isinstance(node.op, ConvTranspose) and only is not None and only.op.facts.unary:
                activations[node] = only
        ends = set(activations.values())

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            result = None
            if isinstance(old.op, ConvTranspose) and old not in activations:
                result = _split(old.with_inputs(operands), None, old.origin)
            elif old in ends:
                result = _split(operands[0], old.op, merge_origins(operands[0].origin, old.origin))
            note.count("split", result is not None)
            return result

        return rebuild(graph, change)


def _split(node: Node, activation: Op | None, origin: tuple[str, ...]) -> Node | None:
    op, weight = node.op, value_of(node.inputs[1])
    assert isinstance(op, ConvTranspose)
    if weight is None:
        return None
    x, (rows, columns) = node.inputs[0], op.strides
    kernel = _as_conv(weight, op.groups)
    outs = len(kernel)
    bias = node.inputs[2] if len(node.inputs) == 3 else constant(np.zeros(outs, np.float32))
    height, width = op.size[0] // rows, op.size[1] // columns
    parts = []
    for a in range(rows):
        down, top, bottom = _phase(kernel, 2, a, rows, op.pads[0], x.shape[2], height)
        for b in range(columns):
            across, left, right = _phase(down, 3, b, columns, op.pads[1], x.shape[3], width)
            conv = Conv(pads=(top, left, bottom, right), groups=op.groups)
            part = make(conv, x, constant(across, node.inputs[1].origin), bias, origin=origin)
            parts.append(part if activation is None else make(activation, part, origin=origin))
    if len(parts) == 1:
        return parts[0]
    result = make(Concat(1), *parts, origin=origin)
    batch = x.shape[0]
    divided = Reshape((batch, height, width, rows, columns, outs))
    joined = Reshape((batch, height * rows, width * columns, outs))
    steps = (Transpose(CHANNELS_LAST), divided, Transpose((0, 1, 3, 2, 4, 5)), joined, Transpose(CHANNELS_FIRST))
    for step in steps:
        result = make(step, result, origin=origin)
    return result


def _as_conv(weight: Array, groups: int) -> Array:
    """Reorder (C, O / groups, KH, KW) -> (O, C / groups, KH, KW), the layout of Conv; taps stay in their order."""
    ins, outs, *kernel = weight.shape
    split = weight.reshape(groups, ins // groups, outs, *kernel).swapaxes(1, 2)
    return split.reshape(groups * outs, ins // groups, *kernel)


def _phase(kernel: Array, axis: int, phase: int, stride: int, pad: int, ins: int, outs: int) -> tuple[Array, int, int]:
    """Return (kernel, padding before, padding after) along one axis of the Conv that gives results phase, phase + stride, ...

    Result stride * m + phase takes input m + base - t through tap first + stride * t, with base and first the
    quotient and remainder of (phase + pad) / stride: a Conv with those taps in reverse.
    """
    base, first = divmod(phase + pad, stride)
    taps = kernel.take(range(first, kernel.shape[axis], stride), axis=axis)
    taps = np.flip(taps, axis)
    before, after = taps.shape[axis] - 1 - base, outs - ins + base
    missing = max(0, -before), max(0, -after)  # inputs that are left out on a side are multiplied by zero
    widths = [(0, 0)] * kernel.ndim
    widths[axis] = missing
    return np.pad(taps, widths), before + missing[0], after + missing[1]
