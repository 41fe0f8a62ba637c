"""Convolutions and pooling of one and two dimensions with any attributes: onnxruntime's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.frontend.small_models import check_float, check_int8, model_of, node, normal
from tests.frontend.test_reader import kinds


@st.composite
def windows(draw: st.DrawFn, largest_pad: int = 2) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Sides of an image, and attributes of a window that fits."""
    rank = draw(st.integers(1, 2))
    sides = tuple(draw(st.integers(1, 9)) for _ in range(rank))
    kernel = [draw(st.integers(1, 4)) for _ in range(rank)]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [draw(st.integers(1, 3)) for _ in range(rank)]}
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    pads = [0] * (2 * rank)
    if mode == "NOTSET":
        pads = [draw(st.integers(0, min(largest_pad, k - 1))) for k in (*kernel, *kernel)]
        attributes["pads"] = pads
        attributes["dilations"] = dilations
    else:
        attributes["auto_pad"] = mode
        dilations = [1] * rank
    if mode.startswith("SAME"):  # with larger strides onnxruntime pads by negative amounts, ONNX by none
        assume(all(s <= k for s, k in zip(attributes["strides"], kernel, strict=True)))
    else:
        ends = zip(sides, kernel, dilations, pads[:rank], pads[rank:], strict=True)
        assume(all(n + a + b >= d * (k - 1) + 1 for n, k, d, a, b in ends))
    return sides, attributes


@given(windows(), st.sampled_from([1, 2]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_convolutions(drawn: tuple[tuple[int, ...], dict[str, Any]], groups: int, bias: bool) -> None:
    sides, attributes = drawn
    weights = {"w": normal(0, 6, 4 // groups, *attributes["kernel_shape"])} | ({"b": normal(1, 6)} if bias else {})
    conv = node("Conv", "x w b" if bias else "x w", group=groups, **attributes)
    check_float(model_of([conv], {"x": (1, 4, *sides)}, weights))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_convolutions_of_one_dimension(stride: int) -> None:
    attributes: dict[str, Any] = {"strides": [stride], "pads": [1, 1]}
    attributes["output_padding"] = [0 if stride == 1 else (2 - 4) % stride]
    weights = {"w": normal(0, 4, 3, 4 if stride > 1 else 3), "b": normal(1, 3)}
    check_float(model_of([node("ConvTranspose", "x w b", **attributes)], {"x": (1, 4, 9)}, weights))


@given(windows(), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_largest_value_of_a_window(drawn: tuple[tuple[int, ...], dict[str, Any]], up: bool, negative: bool) -> None:
    sides, attributes = drawn
    x = normal(2, 1, 3, *sides) - np.float32(5 * negative)
    model = model_of([node("MaxPool", "x", ceil_mode=int(up), **attributes)], {"x": (1, 3, *sides)})
    try:
        check_float(model, {"x": x}, 0)
    except CompileError as refused:  # nothing but padding under a window
        assert "a window lies outside the image" in str(refused)


@given(windows(), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_mean_of_a_window(drawn: tuple[tuple[int, ...], dict[str, Any]], up: bool, padded: bool) -> None:
    sides, attributes = drawn
    attributes = {key: value for key, value in attributes.items() if key != "dilations"}
    pool = node("AveragePool", "x", ceil_mode=int(up), count_include_pad=int(padded), **attributes)
    check_float(model_of([pool], {"x": (1, 3, *sides)}, opset=19))


def test_a_stem_of_one_dimension_in_int8() -> None:
    """Whisper's: two convolutions along time, then tokens."""
    nodes = [
        node("Conv", "x w1 b1", "a", pads=[1, 1], kernel_shape=[3]),
        node("Gelu", "a", "g1"),
        node("Conv", "g1 w2 b2", "c", pads=[1, 1], strides=[2], kernel_shape=[3]),
        node("Gelu", "c", "g2"),
        node("Transpose", "g2", "t", perm=[0, 2, 1]),
        node("Add", "t pos", "p"),
        node("MatMul", "p w3"),
    ]
    weights = {"w1": normal(1, 16, 8, 3) / 5, "b1": normal(2, 16), "w2": normal(3, 16, 16, 3) / 7, "b2": normal(4, 16)}
    weights |= {"pos": normal(5, 1, 10, 16), "w3": normal(6, 16, 4)}
    check_int8(model_of(nodes, {"x": (1, 8, 20)}, weights, opset=20), 28)


def test_pooling_in_int8() -> None:
    front = [node("Conv", "x w b", "c", pads=[1] * 4)]
    front += [node("MaxPool", "c", "m", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)]
    front += [node("AveragePool", "m", "a", kernel_shape=[2, 2]), node("GlobalMaxPool", "a", "g"), node("Flatten", "g", "f")]
    weights = {"w": normal(1, 8, 3, 3, 3) / 4, "b": normal(2, 8), "v": normal(3, 8, 5)}
    integer = check_int8(model_of([*front, node("MatMul", "f v")], {"x": (1, 3, 12, 12)}, weights), 26)
    assert kinds(integer)["Max"] > 2
