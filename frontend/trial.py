"""A model quantised on made-up samples, for what does not depend on ranges: whether a target runs it, and what it costs."""

from __future__ import annotations

from functools import lru_cache

from edgewright.frontend.samples.data import input_shapes, random_samples
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Graph
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise

_FEW = 2


@lru_cache(maxsize=2)
def quantised_on_random(graph: Graph, method: str = "mse", passes: bool = True) -> Graph:
    """Return the integer graph of a float graph as `compile` makes it for every target; ``passes``: run the exact ones first.

    Ranges come from two random samples: what they decide is only whether scales lie within the arithmetic (Q007)."""
    optimised = optimise(graph)[0] if passes else graph
    samples = random_samples(input_shapes(graph), _FEW, ranges=input_ranges(graph))
    return quantise(optimised, samples.inputs, QuantiseOptions(method=method)).graph
