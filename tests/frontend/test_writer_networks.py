"""Whole quantised networks, written as integer ONNX: onnxruntime gives every tensor of the interpreter, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import interface_names, tensor_names, write_float, write_integer
from edgewright.frontend.samples.data import input_shapes, load_samples, random_samples
from edgewright.passes.ir import Array, Graph
from edgewright.passes.ir.interp import interpret, interpret_all
from edgewright.passes.ops import Constant, Input
from edgewright.passes.pipeline import optimise, quantise

from tests.form_models import linear_attention_network, normed_maps_network
from tests.frontend.float_tolerances import assert_close
from tests.frontend.onnx_vit import Sizes, Spelling, vit
from tests.frontend.test_reader import session
from tests.mixed_models import gated_network, plain_attention, samples, text_network, windows_network
from tests.models import tiny_vit

EXAMPLES = Path(__file__).parents[2] / "examples"
POOLS = ("gather", "mean")


def assert_same_tensors(graph: Graph, inputs: dict[str, Array], count: int) -> None:
    """Each of the first `count` samples by itself: all values, then the outputs under their own names."""
    model = write_integer(graph, every_tensor=True)
    onnx.checker.check_model(model, full_check=True)
    engine, names = session(model), tensor_names(graph)
    input_names, output_names = interface_names(graph)
    nodes = [node for node in names if not isinstance(node.op, Constant | Input)]
    for i in range(count):
        sample = {name: array[i : i + 1] for name, array in inputs.items()}
        feeds = dict(zip(input_names, sample.values(), strict=True))
        wanted = interpret_all(graph, sample)
        for node, found in zip(nodes, engine.run([names[node] for node in nodes], feeds), strict=True):
            np.testing.assert_array_equal(found, wanted[node], err_msg=f"{node.op.kind} {node.name}")
        for node, found in zip(graph.outputs, engine.run(list(output_names), feeds), strict=True):
            np.testing.assert_array_equal(found, wanted[node])


@pytest.mark.parametrize("pool", POOLS)
def test_read_quantise_write(pool: str) -> None:
    graph = read_model(vit(Spelling(pool=pool), Sizes(width=32, heads=2, hidden=64)))
    samples = random_samples(input_shapes(graph), count=6)
    assert_same_tensors(quantise(optimise(graph)[0], samples.inputs).graph, samples.inputs, 3)


@pytest.mark.parametrize("pooling", ["cls", "avg"])
@pytest.mark.parametrize("activation", ["gelu", "relu", "hard_swish"])
def test_graphs_made_by_code(pooling: str, activation: str) -> None:
    graph = tiny_vit(3, pooling=pooling, activation=activation, channels=3, merged_qkv=activation == "gelu")
    samples = random_samples(input_shapes(graph), count=4)
    assert_same_tensors(quantise(optimise(graph)[0], samples.inputs).graph, samples.inputs, 2)


@pytest.mark.parametrize(
    "made", [gated_network, windows_network, text_network, plain_attention, linear_attention_network, normed_maps_network]
)
def test_networks_beyond_the_plain_vit(made: Callable[[], Graph]) -> None:
    graph = made()
    given = samples(graph, 4)
    assert_same_tensors(quantise(optimise(graph)[0], given).graph, given, 2)


@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_trained_networks(name: str) -> None:
    """Trained weights, real images."""
    graph = read_model(EXAMPLES / "models" / f"vit_{name}.ts17.onnx")
    data = EXAMPLES / "data" / f"{name}.npz"
    calibration = load_samples(data, input_shapes(graph), calibration=True).first(8)
    tested = load_samples(data, input_shapes(graph))
    assert_same_tensors(quantise(optimise(graph)[0], calibration.inputs).graph, tested.inputs, 4)


def test_optimised_float_graphs_are_written_too() -> None:
    graph = optimise(tiny_vit(1))[0]
    inputs = random_samples(input_shapes(graph), count=1).inputs
    (name,), (output,) = interface_names(graph)
    (found,) = session(write_float(graph)).run([output], {name: inputs["image"]})
    assert_close(np.asarray(found), interpret(graph, inputs)["logits"], "one block")


def test_writing_is_deterministic() -> None:
    first, second = (write_float(tiny_vit(1)).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
