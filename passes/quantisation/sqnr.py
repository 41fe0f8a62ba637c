"""Signal to quantisation noise ratio per layer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from edgewright.passes.ir import Array, Graph, Node, Op, Shape
from edgewright.passes.ir.interp import visit
from edgewright.passes.ops import Constant, Input
from edgewright.passes.ops.arith import SCORE_BIAS
from edgewright.passes.quantisation.lowering_structure import VIEWS, carried


def decibels(signal: Array, approximation: Array) -> float | None:
    """10 log10(sum signal^2 / sum error^2); None when there is no error, or no signal."""
    signal = signal.astype(np.float64)
    power, noise = float((signal**2).sum()), float(((approximation - signal) ** 2).sum())
    return 10 * math.log10(power / noise) if power > 0 and noise > 0 else None


def sqnr_rows(float_graph: Graph, integer_graph: Graph, inputs: Mapping[str, Array]) -> list[tuple[str, str, float | None]]:
    """Return (layer's name, kind of the float operator, dB) in execution order: each value of the integer graph in real
    numbers against the float value of the same origin and size. Errors of earlier layers are included."""
    pairs = _pairs(float_graph, integer_graph)
    integers: dict[Node, Array] = {}
    paired = set(pairs.values())

    def see_integer(node: Node, value: Array) -> None:
        if node in paired:
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
        (node.name, node.op.kind, decibels(values[node], integers[pairs[node]]))
        for node in float_graph.nodes()
        if node in pairs
    ]


def _pairs(float_graph: Graph, integer_graph: Graph) -> dict[Node, Node]:
    """Map float values to the integers that stand for them: the last of each (first origin, size), since after it come only
    moves under other names. Of values with one origin (an image and its transpose) the one that was moved alike."""
    originals: dict[tuple[str, Shape, tuple[Op, ...]], Node] = {}
    shaped: dict[tuple[str, Shape], list[Node]] = {}
    for node in filter(_has_origin, float_graph.nodes()):
        originals[node.name, node.shape, _moves(node)] = node
        shaped.setdefault((node.name, node.shape), []).append(node)
    last: dict[tuple[str, int], tuple[Node, Node]] = {}
    for node in filter(_has_origin, integer_graph.nodes()):
        moves, alike = _moves(node), shaped.get((node.name, node.shape), [])
        original = originals.get((node.name, node.shape, moves))
        if original is None and moves and len(alike) == 1 and not _moves(alike[0]):
            (original,) = alike  # a Relu after moves: its integers are moved under its name
        if original is not None and not node.type.is_float:
            last[node.name, node.type.size] = original, node
    return dict(last.values())


def _has_origin(node: Node) -> bool:
    return bool(node.origin) and not isinstance(node.op, (Constant, Input)) and (node.type.is_float or _means(node))


def _moves(node: Node) -> tuple[Op, ...]:
    """Return the moves under this name, the last one first."""
    moves: list[Op] = []
    name = node.name
    while isinstance(node.op, VIEWS) and node.name == name:
        moves.append(node.op)
        node = node.inputs[carried(node)[0]]
    return tuple(moves)


def _means(node: Node) -> bool:
    """Return whether an integer stands for the float value; a mask only has to be large."""
    return node.quant is not None and node.elem != SCORE_BIAS
