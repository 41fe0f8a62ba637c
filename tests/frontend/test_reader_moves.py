"""Padding by own values, GatherND, LogSoftmax, Softplus with a linear end: onnxruntime's values, in plain operators."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.ir.interp import interpret
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.frontend.bad_models import codes, refusal
from tests.frontend.test_reader import session
from tests.frontend.test_reader_spatial import model, normal

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(SIZES, st.sampled_from(["reflect", "edge", "wrap"]), st.data())
@settings(max_examples=60, deadline=None)
def test_padding_by_own_values(shape: list[int], mode: str, data: st.DataObject) -> None:
    """Negative padding removes first; onnxruntime is asked for positive padding alone, of which all agree what it means."""
    shape = [1, *shape]  # of a larger leading axis each sample would be read by itself
    most = [0, *(n - 1 if mode == "reflect" else n for n in shape[1:])]
    before, after = ([data.draw(st.integers(0, n)) for n in most] for _ in range(2))
    pads = np.array([*before, *after], np.int64)
    network = model([helper.make_node("Pad", ["x", "p"], ["y"], mode=mode)], tuple(shape), 19, p=pads)
    x = normal(*shape)
    (wanted,) = session(network).run(None, {"x": x})
    found = interpret(read_model(network), {"x": x})["y"]
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(found, np.pad(x, list(zip(before, after, strict=True)), mode=mode))  # type: ignore[call-overload]


def test_padding_by_more_than_there_is_is_refused() -> None:
    for mode, count in (("reflect", 4), ("wrap", 5)):
        pads = np.array([0, 0, 0, count], np.int64)
        error = refusal(model([helper.make_node("Pad", ["x", "p"], ["y"], mode=mode)], (1, 4), 19, p=pads))
        assert codes(error) == ["N018"] and f"an axis of 4 by {count}" in str(error)


@given(SIZES, st.data())
@settings(max_examples=60, deadline=None)
def test_rows_at_constant_places(shape: list[int], data: st.DataObject) -> None:
    """Indices from either end, of any depth and number of axes."""
    shape = [1, *shape]
    depth = data.draw(st.integers(1, len(shape)))
    outer = tuple(data.draw(st.lists(st.integers(1, 3), max_size=2)))
    columns = [data.draw(st.lists(st.integers(-n, n - 1), min_size=9, max_size=9)) for n in shape[:depth]]
    indices = np.array(columns, np.int64).T[: int(np.prod(outer))].reshape(*outer, depth)
    network = model([helper.make_node("GatherND", ["x", "i"], ["y"])], tuple(shape), i=indices)
    x = normal(*shape)
    (wanted,) = session(network).run(None, {"x": x})
    np.testing.assert_array_equal(interpret(read_model(network), {"x": x})["y"], wanted)


@pytest.mark.parametrize(("indices", "attributes"), [([[4, 0]], {}), ([[0]], {"batch_dims": 1})])
def test_places_outside_and_batches_of_places_are_refused(indices: list[list[int]], attributes: dict[str, int]) -> None:
    node = helper.make_node("GatherND", ["x", "i"], ["y"], **attributes)  # type: ignore[arg-type]
    assert set(codes(refusal(model([node], (1, 4), i=np.array(indices, np.int64))))) <= {"N018", "N009", "N010"}


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("reach", [1.0, 100.0, 3e4])
def test_log_softmax(axis: int, reach: float) -> None:
    """Also where the probabilities themselves are 0 in float32."""
    network = model([helper.make_node("LogSoftmax", ["x"], ["y"], axis=axis)], (1, 5, 7))
    x = normal(1, 5, 7) * np.float32(reach)
    (wanted,) = session(network).run(None, {"x": x})
    found = interpret(read_model(network), {"x": x})["y"]
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6 * reach)


@pytest.mark.parametrize("bound", [20.0, 17.0])
def test_softplus_with_its_linear_end(bound: float) -> None:
    """As torch.onnx spells it."""
    nodes = [
        helper.make_node("Softplus", ["x"], ["curved"]),
        helper.make_node("Greater", ["x", "bound"], ["beyond"]),
        helper.make_node("Where", ["beyond", "x", "curved"], ["y"]),
    ]
    network = model(nodes, (1, 5, 200), bound=np.array(bound, np.float32))
    x = np.linspace(-120, 120, 1000, dtype=np.float32).reshape(1, 5, 200)
    (wanted,) = session(network).run(None, {"x": x})
    np.testing.assert_allclose(interpret(read_model(network), {"x": x})["y"], wanted, rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize(
    ("bound", "chosen", "reason"),
    [(5.0, "curved", "Softplus(x) is not x from 5.0 on"), (20.0, "other", "only that of Where(x > c, x, Softplus(x))")],
)
def test_other_comparisons_of_computed_values_are_refused(bound: float, chosen: str, reason: str) -> None:
    nodes = [
        helper.make_node("Softplus", ["x"], ["curved"]),
        helper.make_node("Neg", ["x"], ["other"]),
        helper.make_node("Greater", ["x", "bound"], ["beyond"]),
        helper.make_node("Where", ["beyond", "x", chosen], ["a"]),
        helper.make_node("Add", ["a", "curved"], ["y"]),
    ]
    error = refusal(model(nodes, (1, 8), bound=np.array(bound, np.float32)))
    assert codes(error) == ["N018"] and reason in str(error)
