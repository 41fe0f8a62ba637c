"""The noise of a quantised graph, as tests ask for it."""

from __future__ import annotations

from collections.abc import Mapping

from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array
from edgewright.passes.quantisation.sqnr import decibels, sqnr_rows


def sqnr(float_graph: Graph, integer_graph: Graph, inputs: Mapping[str, Array]) -> list[tuple[str, float | None]]:
    """(layer's name, dB) in execution order."""
    return [(name, db) for name, _, db in sqnr_rows(float_graph, integer_graph, inputs)]


def output_sqnr(float_graph: Graph, integer_graph: Graph, inputs: Mapping[str, Array]) -> list[float | None]:
    """dB of each output."""
    reals, floats = interpret_all(integer_graph, inputs), interpret_all(float_graph, inputs)
    noise = []
    for original, integer in zip(float_graph.outputs, integer_graph.outputs, strict=True):
        assert integer.quant is not None
        noise.append(decibels(floats[original], integer.quant.real(reals[integer])))
    return noise
