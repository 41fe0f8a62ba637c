"""The trained example models from file to integers: accuracy stays, and every exporter gives the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.text import digest
from edgewright.passes.pipeline import Quantised, optimise, quantise

from tests.noise import sqnr

EXAMPLES = Path(__file__).parents[2] / "examples"
EXPORTERS = ("ts17", "dynamo18", "dynamo23")
SMALL_LOSS = 0.005


def quantised(model: str, exporter: str, count: int = 64) -> tuple[Quantised, np.lib.npyio.NpzFile]:
    data = np.load(EXAMPLES / "data" / f"{model}.npz")
    graph, _ = optimise(read_model(EXAMPLES / "models" / f"vit_{model}.{exporter}.onnx"))
    name = graph.inputs[0].name
    return quantise(graph, {name: data["calib"][:count]}), data


@pytest.mark.long
@pytest.mark.parametrize("model", ["fashion", "digits"])
@pytest.mark.parametrize("count", [8, 64])
def test_accuracy_is_kept(model: str, count: int) -> None:
    done, data = quantised(model, "dynamo18", count)
    inputs, labels = {done.graph.inputs[0].name: data["images"]}, data["labels"]
    floats, integers = (next(iter(interpret(g, inputs).values())) for g in (done.float_graph, done.graph))
    right_float, right = ((logits.argmax(1) == labels).mean() for logits in (floats, integers))
    assert right_float > 0.85
    one_image = 1 / len(labels)
    assert right >= right_float - max(SMALL_LOSS, 2 * one_image)
    assert (floats.argmax(1) == integers.argmax(1)).mean() > 0.98


@pytest.mark.long
@pytest.mark.parametrize("model", ["fashion", "digits"])
def test_every_exporter_gives_the_same_logits(model: str) -> None:
    results = []
    for exporter in EXPORTERS:
        done, data = quantised(model, exporter, 32)
        x = {done.graph.inputs[0].name: data["images"][:64]}
        results.append(next(iter(interpret(done.graph, x).values())))
    for other in results[1:]:
        assert (other.argmax(1) == results[0].argmax(1)).mean() > 0.98


def test_every_layer_is_reported_and_none_is_broken() -> None:
    done, data = quantised("fashion", "dynamo18")
    rows = sqnr(done.float_graph, done.graph, {done.graph.inputs[0].name: data["images"][:32]})
    assert len(rows) > 50
    assert min(db for _, db in rows if db is not None) > 15


def test_the_same_file_gives_the_same_bytes() -> None:
    first, second = (quantised("digits", "ts17", 16)[0].graph for _ in range(2))
    assert digest(first) == digest(second)
