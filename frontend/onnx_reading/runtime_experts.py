"""com.microsoft::MoE, onnxruntime's operator of a mixture of experts, written out in standard operators: every expert
computes every token, masked by gates. `canonical.experts` then reads that as it reads an exporter's own.

Inputs: tokens (..., d), logits (M, N), w1 (N, h, d), b1 (N, h), w2 (N, d, h), b2 (N, d); before onnxruntime 1.23 the weights
lay as (N, d, h) and (N, h, d). The gates are a softmax over all N logits, of which the K largest are kept as they are, or
divided by their sum with normalize_routing_weights; "gelu" is the one by tanh. Source: onnxruntime's documentation of the
operator, and its results (tests/frontend/test_reader_experts.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx
from edgewright.passes.diagnostics import Diagnostic
from onnx import helper, numpy_helper

_ACTIVATIONS = ("relu", "gelu", "silu")
_HELP = "export the model with its experts in standard operators"


def is_runtime_experts(node: onnx.NodeProto) -> bool:
    """Whether it is the operator that is written out here."""
    return bool(node.domain == "com.microsoft" and node.op_type == "MoE")


def expand_runtime_experts(model: onnx.ModelProto) -> list[Diagnostic]:
    """Replaces the operator in the main graph, in place; E001, E002 and E004 for those that cannot be, which stay."""
    graph = model.graph
    if not any(is_runtime_experts(node) for node in graph.node):
        return []
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes |= {
        n.output[0]: tuple(a.t.dims) for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"
    }
    producers = {name: node for node in graph.node for name in node.output}
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    nodes: list[onnx.NodeProto] = []
    found: list[Diagnostic] = []
    for index, node in enumerate(graph.node):
        refusal = _refusal(node, shapes, producers) if is_runtime_experts(node) else None
        if refusal is not None:
            found.append(refusal)
        if refusal is not None or not is_runtime_experts(node):
            nodes.append(node)
        else:
            nodes += _expanded(node, f"{node.output[0]}/{index}", shapes, bool(versions) and max(versions) >= 13)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return found


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _activation(node: onnx.NodeProto) -> str:
    value = _attributes(node).get("activation_type", b"relu")
    return value.decode() if isinstance(value, bytes) else str(value)


def _operand(node: onnx.NodeProto, index: int) -> str:
    return str(node.input[index]) if index < len(node.input) else ""


def _refusal(
    node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], producers: dict[str, onnx.NodeProto]
) -> Diagnostic | None:
    """Why the operator cannot be written out."""
    at, attributes = f"node {node.name or node.output[0]!r} (MoE)", _attributes(node)
    title = "a mixture of experts is not recognised"
    w1, w2 = (shapes.get(_operand(node, i), ()) for i in (2, 4))
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
    chosen, experts = int(attributes.get("k", 1)), w1[0]  # type: ignore[call-overload]
    if not 1 <= chosen <= experts:
        because = f"k is {chosen}, and there are {experts} experts"
        return Diagnostic("E002", "a token chooses more experts than there are", at, because, "export with k from 1 to N")
    outputs = _router_outputs(_operand(node, 1), shapes, producers)
    if outputs is not None and outputs != experts:
        because = f"its router has {outputs} outputs, and there are {experts} experts"
        help_text = "export as many experts as the router has outputs"
        return Diagnostic("E001", "a router does not match its experts", at, because, help_text)
    return None


def _router_outputs(name: str, shapes: dict[str, tuple[int, ...]], producers: dict[str, onnx.NodeProto]) -> int | None:
    """How many logits the product in front has, where its weight is a constant."""
    for _ in range(8):
        node = producers.get(name)
        if node is None or not node.input:
            return None
        if node.op_type in ("MatMul", "Gemm"):
            shape = shapes.get(node.input[1], ())
            turned = node.op_type == "Gemm" and _attributes(node).get("transB", 0)
            return shape[0 if turned else -1] if len(shape) == 2 else None
        if node.op_type not in ("Add", "Reshape", "Identity", "Cast"):
            return None
        computed = [operand for operand in node.input if operand in producers and producers[operand].op_type != "Constant"]
        name = computed[0] if computed else ""
    return None


def _expanded(
    node: onnx.NodeProto, prefix: str, shapes: dict[str, tuple[int, ...]], axes_are_input: bool
) -> Iterator[onnx.NodeProto]:
    x, logits, w1, b1, w2, b2 = (_operand(node, i) for i in range(6))
    attributes = _attributes(node)
    experts, first, second = shapes[w1]
    bias, last = shapes.get(b1, ()), shapes.get(b2, ())
    turned = (len(bias) == 2 and bias[1] != first) or (len(bias) != 2 and len(last) == 2 and last[1] != second)
    hidden, width = (second, first) if turned else (first, second)
    made_up = 0

    def made(op_type: str, *inputs: str, to: str = "", **values: object) -> onnx.NodeProto:
        nonlocal made_up
        made_up += 1
        name = to or f"{prefix}/{made_up}"
        return helper.make_node(op_type, list(inputs), [name], name=node.name or node.output[0], **values)  # type: ignore[arg-type]

    def constant(values: object, kind: type) -> onnx.NodeProto:
        return made("Constant", value=numpy_helper.from_array(np.asarray(values, dtype=kind)))

    def reshaped(value: str, *shape: int) -> Iterator[onnx.NodeProto]:
        wanted = constant(shape, np.int64)
        yield wanted
        yield made("Reshape", value, wanted.output[0])

    def summed(value: str, axis: int, keepdims: int) -> Iterator[onnx.NodeProto]:
        if axes_are_input:
            axes = constant([axis], np.int64)
            yield axes
            yield made("ReduceSum", value, axes.output[0], keepdims=keepdims)
        else:
            yield made("ReduceSum", value, axes=[axis], keepdims=keepdims)

    def number(op_type: str, value: str, real: float) -> Iterator[onnx.NodeProto]:
        factor = constant(real, np.float32)
        yield factor
        yield made(op_type, value, factor.output[0])

    def product(value: str, weight: str, bias: str, outs: int) -> Iterator[onnx.NodeProto]:
        if not turned:
            columns = made("Transpose", weight, perm=[0, 2, 1])
            yield columns
            weight = columns.output[0]
        result = made("MatMul", value, weight)
        yield result
        if bias:
            steps = [*reshaped(bias, experts, 1, outs)]
            yield from steps
            yield made("Add", result.output[0], steps[-1].output[0])

    def then(steps: Iterator[onnx.NodeProto]) -> str:
        """Emits, and gives the name of the last."""
        found = list(steps)
        emitted.extend(found)
        return str(found[-1].output[0])

    emitted: list[onnx.NodeProto] = []
    shares = then(iter([made("Softmax", logits, axis=-1)]))
    count = then(iter([constant([attributes.get("k", 1)], np.int64)]))
    best = helper.make_node(
        "TopK", [shares, count], [f"{prefix}/gates", f"{prefix}/chosen"], name=node.name or node.output[0], axis=-1
    )
    emitted.append(best)
    gates = str(best.output[0])
    if attributes.get("normalize_routing_weights", 0):
        gates = then(iter([made("Div", gates, then(summed(gates, -1, 1)))]))
    nothing = then(number("Mul", shares, 0.0))
    masked = then(iter([made("ScatterElements", nothing, str(best.output[1]), gates, axis=1)]))
    weights = then(reshaped(then(iter([made("Transpose", masked, perm=[1, 0])])), experts, -1, 1))
    entered = then(product(then(reshaped(x, 1, -1, width)), w1, b1, hidden))
    kind = _activation(node)
    if kind == "relu":
        active = then(iter([made("Relu", entered)]))
    elif kind == "silu":
        active = then(iter([made("Mul", entered, then(iter([made("Sigmoid", entered)])))]))
    else:
        cube = then(iter([made("Mul", entered, then(iter([made("Mul", entered, entered)])))]))
        inner = then(iter([made("Add", entered, then(number("Mul", cube, 0.044715)))]))
        bent = then(iter([made("Tanh", then(number("Mul", inner, math.sqrt(2 / math.pi))))]))
        active = then(iter([made("Mul", then(number("Mul", entered, 0.5)), then(number("Add", bent, 1.0)))]))
    outputs = then(product(active, w2, b2, width))
    total = then(summed(then(iter([made("Mul", outputs, weights)])), 0, 0))
    shape = then(iter([made("Shape", x)]))
    emitted.append(made("Reshape", total, shape, to=str(node.output[0])))
    yield from emitted
