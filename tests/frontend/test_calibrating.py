"""Calibration draws over the classes, accuracy is of other samples, and warnings say what looks wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgewright.frontend.samples.calibrating import digests, load_calibration
from edgewright.frontend.samples.data import Samples
from edgewright.frontend.samples.draw import divided, drawn
from edgewright.frontend.samples.normalisation import guessing, unlike_normalised
from edgewright.frontend.samples.preprocess import Preprocess
from edgewright.passes.ir import Array, Graph, make
from edgewright.passes.ops import Div, Linear, Reshape, Sub, constant, graph_input
from hypothesis import given
from hypothesis import strategies as st

from tests.frontend.test_media import classifier


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(1, 40), st.integers(0, 3))
def test_a_draw_is_even_over_the_classes(given_labels: list[int], wanted: int, seed: int) -> None:
    labels = np.array(given_labels)
    chosen = drawn(len(labels), wanted, labels, seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(wanted, len(labels))
    assert np.array_equal(chosen, drawn(len(labels), wanted, labels, seed))
    counts = {label: int((labels[chosen] == label).sum()) for label in set(given_labels)}
    open_classes = [n for label, n in counts.items() if n < int((labels == label).sum())]
    assert all(n <= min(open_classes, default=n) + 1 for n in counts.values()), "a class gave more, though others had some left"
    first = labels[chosen[: len(set(given_labels))]]
    assert len(set(first.tolist())) == len(first), "the first few are of different classes"


@given(st.integers(2, 60), st.integers(1, 40), st.integers(0, 3))
def test_what_calibrates_is_never_measured_on(count: int, wanted: int, seed: int) -> None:
    labels = np.arange(count) % 3
    calibrates, measured = divided(count, wanted, labels, seed)
    assert not set(calibrates.tolist()) & set(measured.tolist())
    assert len(calibrates) + len(measured) == count and 1 <= len(calibrates) <= min(wanted, count // 2)


def rows(count: int) -> Array:
    return np.random.default_rng(count).normal(size=(count, 1, 4, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("arrays", "calibrating", "measured"),
    [
        ({"images": rows(40), "labels": np.arange(40) % 3}, 8, 32),
        ({"images": rows(9), "labels": np.arange(9) % 3}, 4, 5),
        ({"images": rows(1), "labels": np.arange(1)}, 1, None),
        ({"images": rows(40)}, 8, None),
        ({"images": rows(9), "labels": np.arange(9) % 3, "calib": rows(20)}, 8, 9),
        ({"calib": rows(5)}, 5, None),
        ({"train_images": rows(30), "train_labels": np.arange(30) % 3}, 8, None),
    ],
)
def test_which_samples_calibrate_and_which_are_measured_on(
    arrays: dict[str, Any], calibrating: int, measured: int | None
) -> None:
    chosen = load_calibration(arrays, classifier(), 8)
    assert chosen.samples.count == calibrating
    assert (None if chosen.measure is None else chosen.measure.count) == measured
    assert "calibrated" in chosen.how and ("others" in chosen.how) == (measured is not None)
    if chosen.measure is not None and chosen.measure.targets:
        assert not set(digests(chosen.samples.inputs)) & set(digests(chosen.measure.inputs))
        limited = load_calibration(arrays, classifier(), 8, most=3)
        assert limited.measure is not None and limited.measure.count == 3
        assert sorted(limited.measure.targets["labels"].tolist()) == [0, 1, 2], (
            "the few that are measured on are of all classes"
        )


def test_a_model_of_floats_is_measured_on_all_samples() -> None:
    arrays = {"images": rows(40), "labels": np.arange(40) % 3}
    chosen = load_calibration(arrays, classifier(), 8, calibrates=False)
    assert chosen.samples.count == 8 and chosen.measure is not None and chosen.measure.count == 40 and not chosen.how


def sums_its_own(first: str) -> Graph:
    """A model of pictures that normalises them itself by a division, by a subtraction, or not at all."""
    x = graph_input("x", (1, 3, 4, 4))
    entry = {"divides": Div, "subtracts": Sub}.get(first)
    node = x if entry is None else make(entry(), x, constant(np.full((1, 3, 1, 1), 255.0, np.float32)))
    flat = make(Reshape((1, 48)), node)
    out = make(Linear(), flat, constant(np.ones((2, 48), np.float32)), constant(np.zeros(2, np.float32)))
    return Graph("own", (x,), (out,), ("y",))


def warned(values: Array, rule: Preprocess | None = None, first: str = "nothing") -> bool:
    return bool(unlike_normalised(sums_its_own(first), Samples({"x": values.astype(np.float32)}, None, "test"), rule))


def test_data_that_looks_unlike_the_model_s_normalisation() -> None:
    random = np.random.default_rng(0)
    normal, raw = random.normal(size=(4, 3, 4, 4)), random.integers(0, 256, (4, 3, 4, 4))
    assert not warned(normal) and not warned(random.uniform(0, 1, (4, 3, 4, 4)))
    assert warned(raw) and warned(normal * 100) and warned(normal + 9) and warned(normal / 1000)
    assert not warned(raw, first="divides") and not warned(raw, first="subtracts")
    rule = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert not warned((raw / 255 - 0.45) / 0.226, rule) and warned(raw, rule) and warned(normal * 3, rule)
    assert warned(np.full((4, 3, 4, 4), -2.0), rule), "black pictures"
    assert not unlike_normalised(sums_its_own("nothing"), Samples({"x": raw}, None, "random"), None)
    texts = unlike_normalised(sums_its_own("nothing"), Samples({"x": raw.astype(np.float32)}, None, "test"), None)
    assert "from 0 to 254" in texts[0] and "--preprocess" in texts[0]


def test_a_float_model_that_guesses() -> None:
    assert guessing(0.1, 10, 200) is not None and guessing(0.13, 10, 100) is not None
    assert guessing(0.3, 10, 200) is None and guessing(0.1, 10, 10) is None
    assert "2 classes" in (guessing(0.5, 2, 1000) or "")
