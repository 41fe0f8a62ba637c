"""When two float graphs compute the same: the second differs from the first by no more than rounding does.

How much rounding does depends on the graph (a difference of nearly equal numbers, a norm of rows that are nearly
constant), so it is measured: every value is changed by a few units in its last place, and the outputs move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Constant, Erf, Gelu, Input, Sigmoid, Silu, Tanh

POLYNOMIALS = (Erf, Gelu, Sigmoid, Silu, Tanh)
NOISE = 2.0**-22  # relative; two units of float32's last place
RUNS = 3
MARGIN = 16.0  # of what the noise moves, for sums in another order
AGAINST_ONNXRUNTIME = 4.0  # of what rounding does to our graph: its kernels round in other places
ROUNDING = 2e-6  # of an output's largest value, where noise moves nothing


def outputs_under_noise(
    graph: Graph, inputs: Mapping[str, Array], rng: np.random.Generator, noise: float, absolute: float = 0.0
) -> list[Array]:
    """Every float value, constants and inputs too, times 1 + noise * normal; absolute: added to what kernels compute by
    polynomials, which have no relative precision near 0."""
    values: dict[Node, Array] = {}
    for node in graph.nodes():
        op = node.op
        value = inputs[op.name] if isinstance(op, Input) else op.eval(*(values[n] for n in node.inputs))
        if isinstance(op, Input | Constant) and value.dtype.kind != "f":
            values[node] = np.asarray(value, np.int64)
        elif value.dtype.kind == "f" and noise:
            added = absolute * rng.standard_normal(value.shape) if isinstance(op, POLYNOMIALS) else 0.0
            values[node] = np.asarray(value * (1 + noise * rng.standard_normal(value.shape)) + added, np.float32)
        else:
            values[node] = value
    return [values[node] for node in graph.outputs]


def tolerances(graph: Graph, inputs: Mapping[str, Array], seed: int = 0, absolute: float = 0.0) -> list[float]:
    """For each output, how far its values may lie from the graph's; infinite where rounding decides everything."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        exact = outputs_under_noise(graph, inputs, rng, 0.0)
        found = [ROUNDING * float(np.abs(value).max(initial=0)) for value in exact]
        for _ in range(RUNS):
            for i, value in enumerate(outputs_under_noise(graph, inputs, rng, NOISE, absolute)):
                moved = np.abs(value.astype(np.float64) - exact[i])
                worst = float(moved.max(initial=0)) if np.isfinite(moved).all() else math.inf
                found[i] = max(found[i], MARGIN * worst)
    return found


def difference(wanted: Array, found: Array) -> float:
    """The largest; infinite where one of the two is not finite and the other is another number."""
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(found)) or not np.array_equal(wanted[~finite], found[~finite], equal_nan=True):
        return math.inf
    return float(np.abs(wanted[finite].astype(np.float64) - found[finite]).max(initial=0))
