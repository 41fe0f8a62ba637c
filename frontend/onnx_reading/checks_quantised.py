"""Refuse a model that another tool has quantised: once, with its quantising operators, before operators are checked singly."""

from __future__ import annotations

from collections import Counter

import onnx
from edgewright.frontend.onnx_reading.checks import STANDARD_DOMAINS
from edgewright.passes.diagnostics import fail
from edgewright.passes.names import plain

_OF_VALUES = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_STANDARD = frozenset((*_OF_VALUES, "QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger"))
_PREFIXES = ("Q", "Quant", "Dequantize", "DynamicQuantize", "MatMulInteger", "ConvInteger", "MatMulNBits", "FakeQuantize")
_OF_OTHERS = frozenset(("IntQuant", "FloatQuant", "BipolarQuant", "Trunc"))  # QONNX and Brevitas
_QUANTISING_DOMAINS = ("com.microsoft", "qonnx", "finn", "onnx.brevitas", "org.openvinotoolkit")


def refuse_quantised(model: onnx.ModelProto) -> None:
    """Refuse (CompileError, N020) a model in which values that depend on an input are quantised.

    Weights stored as integers and followed by a DequantizeLinear are constants like any others, and are read.
    """
    if not any(_quantises(node) for node in model.graph.node):
        return
    computed = _computed(model.graph)
    counts = Counter(
        node.op_type
        for node in model.graph.node
        if _quantises(node) and (node.domain not in STANDARD_DOMAINS or not computed.isdisjoint(node.input[:1]))
    )
    if not counts:
        return
    shown = [f"{plain(kind)[:40]} ({count:,})" for kind, count in counts.most_common(6)]
    more = ", and others" if len(counts) > len(shown) else ""
    producer = plain(" ".join(part for part in (model.producer_name, model.producer_version) if part))[:60]
    message = "the model is quantised already" + (f" (made by {producer})" if producer else "")
    because = "integers are chosen here, for the target, from the float model and calibration samples"
    help_text = "give the float model that this one was made from"
    fail("N020", message, f"{sum(counts.values()):,} operators: {', '.join(shown)}{more}", because, help_text)


def _quantises(node: onnx.NodeProto) -> bool:
    if node.domain in STANDARD_DOMAINS:
        return node.op_type in _STANDARD
    if not node.domain.startswith(_QUANTISING_DOMAINS):
        return False
    return node.op_type.startswith(_PREFIXES) or node.op_type in _OF_OTHERS


def _computed(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the values that depend on an input, whatever the order of the nodes."""
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    weights = {tensor.name for tensor in graph.initializer}
    waiting = [value.name for value in graph.input if value.name not in weights]
    computed = set(waiting)
    while waiting:
        for node in consumers.get(waiting.pop(), []):
            new = [name for name in node.output if name and name not in computed]
            computed.update(new)
            waiting += new
    return computed
