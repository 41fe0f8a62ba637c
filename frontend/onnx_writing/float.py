"""Write FLOAT operators in standard ONNX (opset 18), and the operators that only move data, at either level."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from edgewright.frontend.onnx_writing.emit import Emitter, op_of
from edgewright.frontend.onnx_writing.experts import write_moe
from edgewright.frontend.onnx_writing.hashing import write_hash_attention, write_hash_codes
from edgewright.passes import ops
from edgewright.passes.ir import Node, Op
from edgewright.passes.ops.elementwise import FUNCTIONS

Writer = Callable[[Emitter, Node, Sequence[str]], str]
FLOAT_WRITERS: dict[type[Op], Writer] = {}


def _writes(kind: type[Op]) -> Callable[[Writer], Writer]:
    def register(writer: Writer) -> Writer:
        FLOAT_WRITERS[kind] = writer
        return writer

    return register


def _named(op_type: str, *attributes: str, **fixed: Any) -> Writer:
    """Write ONNX's operator of the same meaning, with the operator's attributes of these names and `fixed` ones."""
    return lambda emit, node, operands: emit(
        op_type, *operands, **{name: getattr(node.op, name) for name in attributes}, **fixed
    )


for _kind in (
    *(ops.Add, ops.Div, ops.Erf, ops.Exp, ops.HardSwish, ops.MatMul, ops.Mul, ops.Neg, ops.Pow, ops.Reciprocal),
    *(ops.Max, ops.Min, ops.Relu, ops.Sigmoid, ops.Sign, ops.Sqrt, ops.Sub, ops.Tanh),
):
    FLOAT_WRITERS[_kind] = _named(_kind.__name__)

FLOAT_WRITERS |= {
    ops.BatchNormalization: _named("BatchNormalization", "epsilon"),
    ops.Cast: lambda emit, node, operands: emit.cast(operands[0], onnx.TensorProto.FLOAT),
    ops.Concat: _named("Concat", "axis"),
    ops.Gather: _named("Gather", "axis"),
    ops.HashAttention: write_hash_attention,
    ops.HashCodes: write_hash_codes,
    ops.LayerNormalization: _named("LayerNormalization", "epsilon", axis=-1),
    ops.MoE: lambda emit, node, operands: write_moe(emit, node, operands, FLOAT_WRITERS),
    ops.Reshape: lambda emit, node, operands: emit.reshape(operands[0], node.shape),
    ops.Silu: lambda emit, node, operands: emit("Mul", operands[0], emit("Sigmoid", operands[0])),
    ops.Softmax: _named("Softmax", "axis"),
    ops.Transpose: _named("Transpose", "perm"),
    ops.Where: lambda emit, node, operands: emit("Where", emit.cast(operands[0], onnx.TensorProto.BOOL), *operands[1:]),
}


@_writes(ops.Slice)
def _slice(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    op = op_of(node, ops.Slice)
    return emit("Slice", operands[0], *(emit.ints([i]) for i in (op.start, op.stop, op.axis, op.step)))


@_writes(ops.ReduceMean)
def write_reduction(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write ReduceMean or ReduceSum over its axes."""
    op = node.op
    assert isinstance(op, ops.ReduceMean | ops.ReduceSum)
    return emit(op.kind, operands[0], emit.ints(list(op.axes)), keepdims=int(op.keepdims))


@_writes(ops.RMSNormalization)
def _rms_normalization(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write it in elementary operators: RMSNormalization exists from opset 23."""
    x, gamma, *offset = operands
    squared = emit("ReduceMean", emit("Mul", x, x), emit.ints([-1]), keepdims=1)
    root = emit("Sqrt", emit("Add", squared, emit.real(op_of(node, ops.RMSNormalization).epsilon)))
    scaled = emit("Mul", emit("Div", x, root), gamma)
    return emit("Add", scaled, *offset) if offset else scaled


@_writes(ops.Conv)
def _conv(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    op = op_of(node, ops.Conv)
    return emit("Conv", *operands, group=op.groups, strides=op.strides, pads=op.pads, dilations=op.dilations)


@_writes(ops.ConvTranspose)
def _conv_transpose(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    op, x, w = op_of(node, ops.ConvTranspose), node.inputs[0], node.inputs[1]
    excess = [
        (n - 1) * stride + k - before - size
        for n, stride, k, before, size in zip(x.shape[2:], op.strides, w.shape[2:], op.pads, op.size, strict=True)
    ]
    pads = [*op.pads, *(max(0, n) for n in excess)]
    extra = [max(0, -n) for n in excess]
    return emit("ConvTranspose", *operands, strides=op.strides, pads=pads, output_padding=extra, group=op.groups)


@_writes(ops.Clip)
def _clip(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write a Clip; an infinite bound is omitted."""
    op = op_of(node, ops.Clip)
    bounds = ["" if math.isinf(bound) else emit.real(bound) for bound in (op.low, op.high)]
    return emit("Clip", *operands, *bounds)


@_writes(ops.Elementwise)
def _elementwise(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    op = op_of(node, ops.Elementwise)
    return emit(op.function, *operands, **dict(zip(FUNCTIONS[op.function].parameters, op.parameters, strict=True)))


@_writes(ops.Gelu)
def _gelu(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write it in elementary operators: Gelu exists from opset 20."""
    (x,) = operands
    if op_of(node, ops.Gelu).approximate == "tanh":
        cube = emit("Mul", emit.real(0.044715), emit("Mul", x, emit("Mul", x, x)))
        curve = emit("Tanh", emit("Mul", emit.real(math.sqrt(2 / math.pi)), emit("Add", x, cube)))
    else:
        curve = emit("Erf", emit("Mul", x, emit.real(math.sqrt(0.5))))
    return emit("Mul", emit("Mul", x, emit.real(0.5)), emit("Add", curve, emit.real(1.0)))


@_writes(ops.Linear)
def _linear(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    x, weight, bias = operands
    return emit("Add", emit("MatMul", x, emit.transpose(weight, 1, 0)), bias)


@_writes(ops.PatchEmbed)
def _patch_embed(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write a convolution whose stride is its kernel size, flattened to tokens."""
    op, image, (outs, _) = op_of(node, ops.PatchEmbed), node.inputs[0], node.inputs[1].shape
    kernel = emit.reshape(operands[1], (outs, image.shape[1], op.patch, op.patch))
    maps = emit("Conv", operands[0], kernel, operands[2], strides=[op.patch, op.patch])
    batch, tokens, width = node.shape
    return emit.transpose(emit.reshape(maps, (batch, width, tokens)), 0, 2, 1)


@_writes(ops.Attention)
def _attention(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write it in elementary operators: Attention exists from opset 23."""
    op, (windows, tokens, width) = op_of(node, ops.Attention), node.shape
    perms = ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
    q, k, v = (
        emit.transpose(emit.reshape(name, (windows, -1, op.heads, x.shape[2] // op.heads)), *perm)
        for name, x, perm in zip(operands[:3], node.inputs[:3], perms, strict=True)
    )
    scores = emit("Mul", emit("MatMul", q, k), emit.real(op.scale))
    for bias in operands[3:]:
        scores = emit("Add", scores, bias)
    mixed = emit("MatMul", emit("Softmax", scores, axis=-1), v)
    return emit.reshape(emit.transpose(mixed, 0, 2, 1, 3), (windows, tokens, width))


@_writes(ops.Dequantise)
def _dequantise(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write scale * (q - zero_point) in double precision, cast to float32."""
    op = op_of(node, ops.Dequantise)
    offset = emit("Sub", operands[0], emit.ints(op.zero_point))
    scale = emit.exact(np.asarray(op.scale, np.float64))
    return emit.cast(emit("Mul", emit.cast(offset, onnx.TensorProto.DOUBLE), scale), onnx.TensorProto.FLOAT)
