"""Expand com.microsoft::MoE, onnxruntime's operator of a mixture of experts, into standard operators: every expert
computes every token, masked by gates. `canonical.experts` then recognises that as it recognises an exporter's own.

Inputs: tokens (..., d), logits (M, N), w1 (N, h, d), b1 (N, h), w2 (N, d, h), b2 (N, d); before onnxruntime 1.23 the weights
were (N, d, h) and (N, h, d). The gates are a softmax over all N logits, of which the K largest are used as they are, or
divided by their sum with normalize_routing_weights; "gelu" is the one by tanh. Source: onnxruntime's documentation of the
operator, and its results (tests/frontend/test_reader_experts.py).
"""

from __future__ import annotations

import math
from functools import partial

import onnx
from edgewright.frontend.onnx_reading.checks import place_of
from edgewright.frontend.onnx_reading.expansion import Expansion, attributes_of, expand
from edgewright.passes.diagnostics import Diagnostic

_ACTIVATIONS = ("relu", "gelu", "silu")
_HELP = "export the model with its experts in standard operators"
_Shapes = dict[str, tuple[int, ...]]  # of constants, by name


def is_runtime_experts(node: onnx.NodeProto) -> bool:
    """Return whether the node is the operator that is expanded here."""
    return bool(node.domain == "com.microsoft" and node.op_type == "MoE" and any(node.output[:1]))


def expand_runtime_experts(model: onnx.ModelProto) -> list[Diagnostic]:
    """Expand the operator in the main graph, in place; return E001, E002 and E004 for nodes that cannot be, which stay."""
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    constants = [node for node in graph.node if node.op_type == "Constant"]
    shapes |= {node.output[0]: tuple(a.t.dims) for node in constants for a in node.attribute if a.name == "value"}
    producers = {name: node for node in graph.node for name in node.output}
    refusals = [_refusal(node, shapes, producers) for node in graph.node if is_runtime_experts(node)]

    def applies(node: onnx.NodeProto) -> bool:
        return is_runtime_experts(node) and _refusal(node, shapes, producers) is None

    expand(model, applies, partial(_write, shapes=shapes))
    return [refusal for refusal in refusals if refusal is not None]


def _activation(node: onnx.NodeProto) -> str:
    value = attributes_of(node).get("activation_type", b"relu")
    return value.decode() if isinstance(value, bytes) else str(value)


def _refusal(node: onnx.NodeProto, shapes: _Shapes, producers: dict[str, onnx.NodeProto]) -> Diagnostic | None:
    """Return why the operator cannot be expanded, or None."""
    at, attributes, operands = place_of(node), attributes_of(node), [*node.input, *[""] * 6]
    title = "a mixture of experts is not recognised"
    w1, w2 = shapes.get(operands[2], ()), shapes.get(operands[4], ())
    if len(w1) != 3 or len(w2) != 3:
        return Diagnostic("E004", title, at, "its weights are not constants with three axes", _HELP)
    if _activation(node) not in _ACTIVATIONS:
        because = f"its activation is {_activation(node)!r}"
        return Diagnostic("E004", title, at, because, f"{', '.join(_ACTIVATIONS)} are read; {_HELP}")
    if attributes.get("use_sparse_mixer", 0):
        return Diagnostic("E004", title, at, "its gates are those of the sparse mixer", _HELP)
    if any(node.input[6:]):
        return Diagnostic("E004", title, at, "its experts have a third product", _HELP)
    if w1[0] != w2[0] or w1[1:] != w2[:0:-1]:
        because = f"weights {w1} and {w2} are not those of one set of experts"
        return Diagnostic("E001", "experts do not match each other", at, because, "export the model again")
    chosen, experts = int(attributes.get("k", 1)), w1[0]
    if not 1 <= chosen <= experts:
        because = f"k is {chosen}, and there are {experts} experts"
        return Diagnostic("E002", "a token chooses more experts than there are", at, because, "export with k from 1 to N")
    outputs = _router_outputs(operands[1], shapes, producers)
    if outputs is not None and outputs != experts:
        because = f"its router has {outputs} outputs, and there are {experts} experts"
        help_text = "export as many experts as the router has outputs"
        return Diagnostic("E001", "a router does not match its experts", at, because, help_text)
    return None


def _router_outputs(name: str, shapes: _Shapes, producers: dict[str, onnx.NodeProto]) -> int | None:
    """Return how many logits the product before them has, if its weight is a constant."""
    for _ in range(8):
        node = producers.get(name)
        if node is None or not node.input:
            return None
        if node.op_type in ("MatMul", "Gemm"):
            shape = shapes.get(node.input[1], ())
            transposed = node.op_type == "Gemm" and attributes_of(node).get("transB", 0)
            return shape[0 if transposed else -1] if len(shape) == 2 else None
        if node.op_type not in ("Add", "Reshape", "Identity", "Cast"):
            return None
        computed = [operand for operand in node.input if operand in producers and producers[operand].op_type != "Constant"]
        name = computed[0] if computed else ""
    return None


def _write(emit: Expansion, shapes: _Shapes) -> None:
    x, logits, w1, b1, w2, b2 = (emit.operand(i) for i in range(6))
    experts, first, second = shapes[w1]
    bias, last = shapes.get(b1, ()), shapes.get(b2, ())
    transposed = (len(bias) == 2 and bias[1] != first) or (len(bias) != 2 and len(last) == 2 and last[1] != second)
    hidden, width = (second, first) if transposed else (first, second)

    def product(rows: str, weight: str, bias: str, columns: int) -> str:
        result = emit("MatMul", rows, weight if transposed else emit("Transpose", weight, perm=[0, 2, 1]))
        return emit("Add", result, emit("Reshape", bias, emit.ints(experts, 1, columns))) if bias else result

    shares = emit("Softmax", logits, axis=-1)
    gates = emit("TopK", shares, emit.ints(emit.attributes.get("k", 1)), axis=-1)
    chosen = f"{gates}/chosen"
    emit.nodes[-1].output.append(chosen)
    if emit.attributes.get("normalize_routing_weights", 0):
        gates = emit("Div", gates, emit.reduce("ReduceSum", gates, -1, 1))
    masked = emit("ScatterElements", emit("Mul", shares, emit.real(0.0)), chosen, gates, axis=1)
    weights = emit("Reshape", emit("Transpose", masked, perm=[1, 0]), emit.ints(experts, -1, 1))
    hidden_sums = product(emit("Reshape", x, emit.ints(1, -1, width)), w1, b1, hidden)
    outputs = product(_activated(emit, hidden_sums), w2, b2, width)
    total = emit.reduce("ReduceSum", emit("Mul", outputs, weights), 0, 0)
    emit("Reshape", total, emit("Shape", x), to=emit.node.output[0])


def _activated(emit: Expansion, x: str) -> str:
    kind = _activation(emit.node)
    if kind == "relu":
        return emit("Relu", x)
    if kind == "silu":
        return emit("Mul", x, emit("Sigmoid", x))
    cube = emit("Mul", x, emit("Mul", x, x))
    inner = emit("Add", x, emit("Mul", cube, emit.real(0.044715)))
    tanh = emit("Tanh", emit("Mul", inner, emit.real(math.sqrt(2 / math.pi))))
    return emit("Mul", emit("Mul", x, emit.real(0.5)), emit("Add", tanh, emit.real(1.0)))
