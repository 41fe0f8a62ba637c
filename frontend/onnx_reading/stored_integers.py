"""Replace constants that are stored as integers before a DequantizeLinear (compressed weights) by their float32 values."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from edgewright.frontend.onnx_reading.checks import STANDARD_DOMAINS
from edgewright.frontend.onnx_reading.site import integer_of
from edgewright.passes.ir import Array


def dequantise_constants(graph: ir.Graph) -> bool:
    """Replace every DequantizeLinear of constants; return whether there was one. Nodes that break ONNX's definition stay.

    The result has at most 8 times the bytes that are in the file, so no budget is needed.
    """
    replaced = False
    for node in list(graph):
        if node.op_type != "DequantizeLinear" or node.domain not in STANDARD_DOMAINS:
            continue
        operands = [value for value in node.inputs if value is not None]
        arrays = [value.const_value.numpy() for value in operands if value.const_value is not None]
        if len(arrays) != len(operands) or len(arrays) < 2 or None in node.inputs[:2]:
            continue
        stored, scale, *zero = arrays
        axis, block = integer_of(node, "axis", 1), integer_of(node, "block_size", 0)
        value = dequantised(stored, scale, zero[0] if zero else None, axis, block)
        if value is None:
            continue
        output = node.outputs[0]
        constant = ir.Value(name=output.name, const_value=ir.tensor(value), type=ir.TensorType(ir.DataType.FLOAT))
        constant.shape = ir.Shape(value.shape)
        output.name = f"{output.name}/stored"
        graph.register_initializer(constant)
        ir.convenience.replace_all_uses_with(output, constant, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        replaced = True
    return replaced


def dequantised(stored: Array, scale: Array, zero: Array | None, axis: int, block: int) -> Array | None:
    """Return (stored - zero) * scale in float32: one scale, one for each index of `axis`, or one for each block of them."""
    rank = stored.ndim
    values = stored.astype(np.float32)
    factors, offsets = scale.astype(np.float32), np.zeros_like(scale, np.float32) if zero is None else zero.astype(np.float32)
    if offsets.shape != factors.shape:
        return None
    if factors.size == 1 and not block:
        factors, offsets = factors.reshape(()), offsets.reshape(())
    elif not -rank <= axis < rank:
        return None
    elif block:
        count = math.ceil(stored.shape[axis % rank] / block)
        if factors.ndim != rank or factors.shape[axis % rank] != count:
            return None
        places = np.arange(stored.shape[axis % rank]) // block
        factors, offsets = (x.take(places, axis=axis % rank) for x in (factors, offsets))
    else:
        along = [1] * rank
        along[axis % rank] = stored.shape[axis % rank]
        if factors.size != stored.shape[axis % rank]:
            return None
        factors, offsets = factors.reshape(along), offsets.reshape(along)
    if np.broadcast_shapes(values.shape, factors.shape) != values.shape:
        return None
    result: Array = (values - offsets) * factors
    return result
