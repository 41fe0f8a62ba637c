"""Outputs, accuracy and agreement over many samples by torch: fast enough to judge every step of a pass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from edgewright.passes.ir import Array, Graph
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.torch_graph import TorchGraph
from edgewright.passes.learn.torch_import import Tensor, torch

BATCH = 64  # the values of this many samples still lie in the cache


def outputs(model: Graph | TorchGraph, data: LearningData | Mapping[str, Array], batch: int = BATCH) -> dict[str, Array]:
    """Return the outputs by name over all samples, as `interpret` gives them up to float32 rounding."""
    module = TorchGraph(model) if isinstance(model, Graph) else model
    inputs = data.inputs if isinstance(data, LearningData) else data
    leads = {node.name: node.shape[0] if node.shape else 1 for node in module.graph.inputs}
    count = min((len(value) // leads[name] for name, value in inputs.items() if name in leads), default=1)
    parts: list[dict[str, Tensor]] = []
    with torch.inference_mode():
        for start in range(0, count, batch):
            stop = min(start + batch, count)
            rows = {n: np.array(inputs[n][start * lead : stop * lead]) for n, lead in leads.items() if n in inputs}
            parts.append(module({name: torch.from_numpy(value) for name, value in rows.items()}))
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


def top1(model: Graph | TorchGraph, data: LearningData, output: str | None = None, batch: int = BATCH) -> float:
    """Return share of labels, 0 to 1, that the largest value along the last axis of an output (the first, if none is
    named) meets.

    CompileError L007 without labels.
    """
    data.check(labelled=True, purpose="to measure accuracy")
    assert data.labels is not None
    return float((_chosen(model, data, output, batch) == data.labels).mean())


def agreement(
    a: Graph | TorchGraph, b: Graph | TorchGraph, data: LearningData, output: str | None = None, batch: int = BATCH
) -> float:
    """Return share of samples, 0 to 1, for which two models choose the same class. Needs no labels."""
    return float((_chosen(a, data, output, batch) == _chosen(b, data, output, batch)).mean())


def _chosen(model: Graph | TorchGraph, data: LearningData, output: str | None, batch: int) -> Array:
    graph = model if isinstance(model, Graph) else model.graph
    return np.asarray(outputs(model, data, batch)[output or graph.output_names[0]].argmax(-1))
