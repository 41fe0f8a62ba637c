"""Signal to quantisation noise per layer: which layer hurts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.interp import interpret_all, visit
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Constant, Input
from edgewright.passes.ops.arith import SCORE_BIAS


def decibels(signal: Array, approximation: Array) -> float | None:
    """10 log10(sum signal^2 / sum error^2); None when there is no error, or no signal."""
    signal = signal.astype(np.float64)
    power, noise = float((signal**2).sum()), float(((approximation - signal) ** 2).sum())
    return 10 * math.log10(power / noise) if power > 0 and noise > 0 else None


def sqnr(float_graph: Graph, integer_graph: Graph, inputs: Mapping[str, Array]) -> list[tuple[str, float | None]]:
    """(layer's name, dB) in execution order: each value of the integer graph in real numbers against the float
    value of the same origin and size. Errors of earlier layers are included."""
    return [(name, db) for name, _, db in sqnr_rows(float_graph, integer_graph, inputs)]


def sqnr_rows(float_graph: Graph, integer_graph: Graph, inputs: Mapping[str, Array]) -> list[tuple[str, str, float | None]]:
    """As `sqnr`, with the float op's kind in the middle."""
    wanted = {key: node for key, node in _last_of_each_origin(integer_graph).items() if not node.type.is_float}
    originals = _last_of_each_origin(float_graph)
    pairs = {originals[key]: (key, node) for key, node in wanted.items() if key in originals}
    integers: dict[Node, Array] = {}
    keep = {node for _, node in pairs.values()}

    def see_integer(node: Node, value: Array) -> None:
        if node in keep:
            assert node.quant is not None
            real = node.quant.real(value).astype(np.float32).reshape(-1)  # samples along any axis, and scalars
            integers[node] = np.concatenate([integers[node], real]) if node in integers else real

    visit(integer_graph, inputs, see_integer)
    values: dict[Node, Array] = {}

    def see_float(node: Node, value: Array) -> None:
        if node in pairs:
            flat = value.reshape(-1)
            values[node] = np.concatenate([values[node], flat]) if node in values else flat

    visit(float_graph, inputs, see_float)
    return [
        (pairs[node][0][0], node.op.kind, decibels(values[node], integers[pairs[node][1]]))
        for node in float_graph.nodes()
        if node in pairs
    ]


def output_sqnr(float_graph: Graph, integer_graph: Graph, inputs: Mapping[str, Array]) -> list[float | None]:
    """dB of each output."""
    reals = interpret_all(integer_graph, inputs)
    floats = interpret_all(float_graph, inputs)
    found = []
    for original, integer in zip(float_graph.outputs, integer_graph.outputs, strict=True):
        assert integer.quant is not None
        found.append(decibels(floats[original], integer.quant.real(reals[integer])))
    return found


def _last_of_each_origin(graph: Graph) -> dict[tuple[str, int], Node]:
    """The last value of each (first origin, size): behind it come only moves under other names."""
    return {
        (node.name, node.type.size): node
        for node in graph.nodes()
        if node.origin and not isinstance(node.op, (Constant, Input)) and (node.type.is_float or _means(node))
    }


def _means(node: Node) -> bool:
    """Whether an integer stands for the float value; a mask only has to be large."""
    return node.quant is not None and node.elem != SCORE_BIAS
