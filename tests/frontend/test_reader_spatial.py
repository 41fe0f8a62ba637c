"""Convolutions that enlarge, interpolation and padding: onnxruntime's values, in plain operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.ir import Array
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Constant, Conv
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.bad_models import codes, refusal
from tests.frontend.float_tolerances import assert_close
from tests.frontend.test_reader import check, kinds, session


def model(nodes: list[onnx.NodeProto], shape: tuple[int, ...], opset: int = 18, **weights: Array) -> onnx.ModelProto:
    """From x to y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


PAIR = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(PAIR, PAIR, PAIR, st.integers(0, 2), st.sampled_from([1, 2]), st.booleans())
@settings(max_examples=60)
def test_transposed_convolutions(
    image: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], pad: int, groups: int, bent: bool
) -> None:
    """Any kernel, stride and padding, with normalisation and activation behind, as Convs alone."""
    pads = [min(pad, k - 1) for k in kernel]
    sides = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(image, strides, kernel, pads, strict=True)]
    more = [-side % s for side, s in zip(sides, strides, strict=True)]
    assume(min(side + m for side, m in zip(sides, more, strict=True)) > 0)
    attributes: dict[str, Any] = {"strides": strides, "pads": [*pads, *pads], "output_padding": more, "group": groups}
    outs = 3 * groups
    norm = {f"n{i}": np.abs(normal(outs)) + np.float32(i == 3) for i in range(4)}
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w", "b"], ["a"], **attributes),
        helper.make_node("BatchNormalization", ["a", *norm], ["c"]),
        helper.make_node("Relu" if bent else "Identity", ["c"], ["y"]),
    ]
    weights = {"w": normal(4, 3, *kernel), "b": normal(outs), **norm}
    network = model(nodes, (1, 4, *image), 18, **weights)
    x = normal(1, 4, *image)
    graph = read_model(network)
    (wanted,) = session(network).run(None, {"x": x})
    found = interpret(graph, {"x": x})["y"]
    assert np.abs(found - wanted).max() <= 1e-5 * max(1.0, float(np.abs(wanted).max()))
    assert not {"ConvTranspose", "BatchNormalization"} & set(kinds(graph))
    assert kinds(graph)["Relu"] == (kinds(graph)["Conv"] if bent else 0) and kinds(graph)["Conv"] <= 16


COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


def resize(shape: tuple[int, ...], to: tuple[int, ...] | None, factors: Array | None, **how: Any) -> onnx.ModelProto:
    given_sizes = {"sizes": np.asarray(to, np.int64)} if to else {"factors": np.asarray(factors, np.float32)}
    inputs = ["x", "", "", "sizes"] if to else ["x", "", "factors"]
    return model([helper.make_node("Resize", inputs, ["y"], **how)], shape, 13, **given_sizes)


@given(
    st.tuples(st.integers(1, 6), st.integers(2, 6)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(["linear", "cubic"]),
    st.sampled_from(COORDINATES),
    st.sampled_from([-0.5, -0.75]),
)
@settings(max_examples=60)
def test_interpolation(old: tuple[int, int], new: tuple[int, int], mode: str, coordinates: str, a: float) -> None:
    assume(coordinates != "align_corners" or 1 not in new)
    network = resize((1, 2, *old), (1, 2, *new), None, mode=mode, coordinate_transformation_mode=coordinates, cubic_coeff_a=a)
    x = normal(1, 2, *old)
    (wanted,) = session(network).run(None, {"x": x})
    assert_close(interpret(read_model(network), {"x": x})["y"], wanted, "one block")


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
def test_nearest_pixels_are_picked(nearest: str, coordinates: str) -> None:
    how = {"mode": "nearest", "nearest_mode": nearest, "coordinate_transformation_mode": coordinates}
    found = kinds(check(resize((1, 2, 3, 5), (1, 2, 6, 7), None, **how), "one block"))
    assert set(found) == {"Gather"}
    check(resize((1, 2, 3, 4), None, np.array([1, 1, 2, 2.5]), **how), "one block")


def test_padding_in_front_of_a_convolution_is_its_own() -> None:
    pads = np.array([0, 0, 1, 2, 0, 0, 0, 3], np.int64)
    nodes = [helper.make_node("Pad", ["x", "p"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"], pads=[1, 0, 0, 0])]
    graph = check(model(nodes, (1, 2, 5, 5), p=pads, w=normal(3, 2, 3, 3)), "one block")
    (conv,) = (node for node in graph.nodes() if isinstance(node.op, Conv))
    assert conv.op == Conv(pads=(2, 2, 0, 3)) and kinds(graph) == {"Conv": 1}


def test_padding_with_another_value_stays() -> None:
    pads, one = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), np.asarray(1, np.float32)
    nodes = [helper.make_node("Pad", ["x", "p", "v"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"])]
    graph = check(model(nodes, (1, 2, 5, 5), p=pads, v=one, w=normal(3, 2, 3, 3)), "one block")
    assert kinds(graph)["Concat"] == 2


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"strides": [2, 2]}, "multiple of its strides"),
        ({"dilations": [2, 2]}, "dilated"),
        ({"auto_pad": "SAME_UPPER"}, "automatic padding"),
        ({"output_shape": [9, 9]}, "automatic padding"),
    ],
)
def test_transposed_convolutions_that_are_refused(attributes: dict[str, Any], why: str) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", **attributes)
    error = refusal(model([node], (1, 2, 4, 4), w=normal(2, 3, 3, 3)))
    assert codes(error) == ["N018"] and why in error.diagnostics[0].because and "up" in error.diagnostics[0].at


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"mode": "linear", "antialias": 1}, "antialias"),
        ({"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize"),
        ({"mode": "linear", "keep_aspect_ratio_policy": "not_larger"}, "aspect ratio"),
    ],
)
def test_interpolation_that_is_refused(how: dict[str, Any], why: str) -> None:
    network = resize((1, 2, 4, 4), (1, 2, 8, 8), None, **how)
    network.opset_import[0].version = 18
    error = refusal(network)
    assert codes(error) == ["N018"] and why in error.diagnostics[0].because


def test_interpolation_of_too_much_is_refused() -> None:
    error = refusal(resize((1, 256, 512, 512), (1, 256, 1024, 1024), None, mode="linear"))
    assert codes(error) == ["N018"] and "products" in error.diagnostics[0].because


def test_a_constant_is_interpolated_once() -> None:
    nodes = [
        helper.make_node("Resize", ["t", "", "", "s"], ["a"], mode="cubic"),
        helper.make_node("Add", ["x", "a"], ["y"]),
    ]
    network = model(nodes, (1, 2, 4, 4), t=normal(1, 2, 7, 7), s=np.array([1, 2, 4, 4], np.int64))
    graph = check(network, "one block")
    assert kinds(graph) == {"Add": 1}
    assert sum(isinstance(n.op, Constant) for n in graph.nodes()) == 1


@given(PAIR, PAIR, PAIR, st.integers(0, 2), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_blocks_laid_over_each_other(
    image: tuple[int, int], block: tuple[int, int], strides: tuple[int, int], pad: int, channels: int
) -> None:
    """Col2Im with blocks that overlap, touch or leave gaps; images that are no multiple of the strides."""
    pads = [min(pad, k - 1) for k in block]
    places = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(image, pads, block, strides, strict=True)]
    assume(min(places) > 0)
    node = helper.make_node("Col2Im", ["x", "image", "block"], ["y"], strides=strides, pads=[*pads, *pads])
    shape = (1, channels * block[0] * block[1], places[0] * places[1])
    network = model([node], shape, image=np.array(image), block=np.array(block))
    x = normal(*shape)
    (wanted,) = session(network).run(None, {"x": x})
    graph = read_model(network)
    np.testing.assert_allclose(interpret(graph, {"x": x})["y"], wanted, rtol=1e-6, atol=1e-6)
    assert not {"ConvTranspose", "Col2Im"} & set(kinds(graph))


def test_blocks_that_do_not_fit_are_refused() -> None:
    node = helper.make_node("Col2Im", ["x", "image", "block"], ["y"])
    error = refusal(model([node], (1, 8, 5), image=np.array([4, 4]), block=np.array([2, 2])))
    assert codes(error) == ["N018"] and "is not 3 x 3 blocks of 2 x 2" in str(error)
