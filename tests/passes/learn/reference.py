"""What TorchGraph is compared with: the interpreter, one sample at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array, Float32

TOLERANCE = 2e-5  # of the largest value: float32 sums in another order, beside float64 of the interpreter


def sample_by_sample(graph: Graph, inputs: Mapping[str, Array], count: int) -> dict[Node, Array]:
    """Every node's values over all samples; what depends on no input appears once a sample."""
    runs = []
    for i in range(count):
        one = {n.name: inputs[n.name][i * n.shape[0] : (i + 1) * n.shape[0]] for n in graph.inputs}
        runs.append(interpret_all(graph, one))
    return {node: np.concatenate([run[node].reshape(node.shape or (1,)) for run in runs]) for node in graph.nodes()}


def drawn(graph: Graph, count: int, seed: int, given: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Inputs for so many samples, the first as given, the others normal (integers: the given ones in another order)."""
    rng = np.random.default_rng(seed)
    found = {}
    for node in graph.inputs:
        first = (given or {}).get(node.name)
        parts = [] if first is None else [first]
        while len(parts) < count:
            if isinstance(node.elem, Float32):
                parts.append(np.abs(rng.standard_normal(node.shape)).astype(np.float32) + np.float32(0.1))
            else:
                assert first is not None
                parts.append(rng.permutation(first.reshape(-1)).reshape(first.shape))
        found[node.name] = np.concatenate(parts)
    return found


def assert_close(found: Array, wanted: Array) -> None:
    assert found.shape == wanted.shape
    largest = float(np.abs(wanted).max(initial=1.0))
    assert np.allclose(found, wanted, rtol=0, atol=TOLERANCE * largest), float(np.abs(found - wanted).max())
