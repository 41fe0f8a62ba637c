"""Networks of other kinds than vision transformers read into clean graphs, with onnxruntime's values."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Graph, Node
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Attention, Constant, Input, Linear, Reshape, Transpose, Where
from edgewright.passes.pipeline import optimise
from onnx import TensorProto

from tests.frontend.float_tolerances import assert_close
from tests.frontend.onnx_networks import MASKS, dino, efficient_vit, pyramid, text_encoder
from tests.frontend.onnx_vit import Sizes
from tests.frontend.test_reader import check, kinds, random_inputs, session

PLAIN = {"MatMul", "Softmax", "BatchNormalization", "ConvTranspose", "Div", "Sub", "Pow", "Sqrt", "Cast"}


def checked(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]] | None = None) -> Graph:
    """Read and optimised, both with onnxruntime's values; the optimised graph."""
    graph = check(model, "one block", shapes)
    better = optimise(graph)[0]
    inputs = random_inputs(graph, 1)
    wanted = session(model).run(list(graph.output_names), inputs)
    for found, value in zip(interpret(better, inputs).values(), wanted, strict=True):
        assert_close(found, value, "one block")
    assert not PLAIN & set(kinds(better)), kinds(better)
    return better


def attentions(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes() if isinstance(node.op, Attention)]


def layout(graph: Graph) -> Counter[str]:
    """Transposes by what they do to images; those that channels-last storage does not make free are `other`."""
    names: dict[tuple[int, ...], str] = {(0, 2, 3, 1): "to pixels", (0, 3, 1, 2): "to image"}
    return Counter(names.get(n.op.perm, "other") for n in graph.nodes() if isinstance(n.op, Transpose))


# --- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("opset", [13, 18])
def test_a_mask_is_one_choice_that_all_attentions_share(mask: str, opset: int) -> None:
    graph = checked(text_encoder(mask, opset, Sizes(hidden=40, blocks=2)))
    biases = {node.inputs[3] for node in attentions(graph)}
    assert len(attentions(graph)) == 2 and len(biases) == 1
    (bias,) = biases
    assert isinstance(bias.op, Where) and bias.shape == (1, 1, 1, 9)
    assert isinstance(bias.inputs[0].op, Reshape) and isinstance(bias.inputs[0].inputs[0].op, Input)
    numbers = [n.op.value for n in bias.inputs[1:] if isinstance(n.op, Constant)]
    assert numbers[0] == 0 and numbers[1] <= -1e9 and np.isfinite(numbers[1])
    assert kinds(graph)["Where"] == 1 and kinds(graph)["Mul"] == 0


def test_masked_tokens_change_nothing() -> None:
    graph = read_model(text_encoder())
    inputs = random_inputs(graph)
    inputs["attention_mask"] = np.array([[1, 1, 1, 1, 1, 0, 0, 0, 0]])
    first = interpret(graph, inputs)["result"]
    inputs["input_ids"] = inputs["input_ids"].copy()
    inputs["input_ids"][0, 5:] = 0
    second = interpret(graph, inputs)["result"]
    assert np.array_equal(first[:, :5], second[:, :5]) and not np.array_equal(first[:, 5:], second[:, 5:])


def test_what_inputs_may_hold() -> None:
    graph = read_model(text_encoder())
    assert input_ranges(graph) == {"input_ids": (0, 49), "attention_mask": (0, 1), "types": (0, 1)}
    assert input_ranges(read_model(efficient_vit())) == {}


def test_constant_token_types_fold_into_the_positions() -> None:
    graph = checked(text_encoder(types=False))
    assert kinds(graph)["Gather"] == 1 and kinds(graph)["Add"] == 3


def test_ids_of_32_bits_and_an_open_length() -> None:
    model = text_encoder(ids=TensorProto.INT32, tokens="length")
    graph = read_model(model, {name: (1, 9) for name in ("input_ids", "attention_mask", "types")})
    assert [str(node.elem) for node in graph.inputs] == ["i32", "i64", "i64"]


# --- images --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [14, 18])
def test_dino(opset: int) -> None:
    """Layer scale is in the weights, positions are a constant, the decoder is four convolutions and two products."""
    graph = checked(dino(opset))
    found = kinds(graph)
    assert (found["Attention"], found["PatchEmbed"], found["Conv"], found["Relu"], found["Mul"]) == (2, 1, 4, 4, 0)
    assert found["Add"] == 5  # positions, and two in each block
    assert read_model(dino()).inputs[0].shape[0] == 1


@pytest.mark.parametrize("squeeze", [False, True])
def test_cascaded_attention(squeeze: bool) -> None:
    graph = checked(efficient_vit(windows=False, squeeze=squeeze))
    for node in attentions(graph):
        assert node.op == Attention(1, 0.5) and [n.shape for n in node.inputs[:3]] == [(1, 9, 4), (1, 9, 4), (1, 9, 8)]
        assert node.inputs[3].shape == (1, 1, 9, 9)
    assert len(attentions(graph)) == 2
    assert layout(graph)["other"] == 0


def test_attention_in_windows() -> None:
    graph = checked(efficient_vit(windows=True))
    assert [node.shape for node in attentions(graph)] == [(4, 9, 8)] * 2
    assert layout(graph)["other"] == 2  # into windows and out of them
    kernels = [n.inputs[1].shape[2:] for n in graph.nodes() if n.op.kind == "Conv"]
    assert (1, 1) not in kernels  # all are products over pixels


@pytest.mark.parametrize("opset", [13, 18])
def test_spatial_reduction(opset: int) -> None:
    graph = checked(pyramid(opset))
    (attention,) = attentions(graph)
    assert [n.shape for n in attention.inputs] == [(1, 16, 8), (1, 4, 8), (1, 4, 8)]
    assert layout(graph) == {"to pixels": 2, "to image": 2}
    assert sum(isinstance(n.op, Linear) for n in graph.nodes()) == 5
