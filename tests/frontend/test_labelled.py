"""Samples to learn from and to measure on are told apart, and never shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright.frontend.samples.calibrating import load_calibration
from edgewright.frontend.samples.labelled import Material, load_material
from edgewright.frontend.samples.scores import agreements, outputs_of, scores, targets_of
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ops import Linear, Reshape, constant, graph_input
from hypothesis import given
from hypothesis import strategies as st


def two_heads() -> Graph:
    """ "logits" copies three of four inputs; "mask" is all four as a map, on the right side where they are positive."""
    x = graph_input("x", (1, 4))
    logits = make(Linear(), x, constant(np.eye(4, dtype=np.float32)[:3]), constant(np.zeros(3, np.float32)))
    return Graph("two", (x,), (make(Reshape((1, 1, 2, 2)), x), logits), ("mask", "logits"))


def rows(count: int, first: int = 0) -> np.ndarray[Any, Any]:
    """Every row another, so that samples can be told apart by their values."""
    return (np.arange(4 * count).reshape(count, 4) + 4 * first).astype(np.float32)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


def disjoint(material: Material) -> bool:
    seen = {row.tobytes() for row in material.learn.inputs["x"]}
    return not any(row.tobytes() in seen for row in material.measure.inputs["x"])


@given(st.integers(4, 60), st.integers(0, 5))
def test_a_share_is_held_out_by_the_seed(count: int, seed: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = saved(Path(folder), images=rows(count), labels=np.arange(count) % 3)
        material, again = load_material(path, two_heads(), seed), load_material(path, two_heads(), seed)
    assert disjoint(material) and material.learn.count + material.measure.count == count
    assert material.measure.count == max(1, round(count / 4))
    assert np.array_equal(material.learn.inputs["x"], again.learn.inputs["x"])
    for part in (material.learn, material.measure):  # labels go with their samples
        assert np.array_equal(part.targets["labels"], part.inputs["x"][:, 0] // 4 % 3)
    assert f"seed {seed}" in material.how


def test_training_arrays_are_learned_from_and_the_others_measured_on(tmp_path: Path) -> None:
    path = saved(
        tmp_path, train_images=rows(5), train_labels=np.arange(5) % 3, images=rows(6, 5), labels=np.zeros(6, int), calib=rows(2)
    )
    material = load_material(path, two_heads())
    assert (material.learn.count, material.measure.count) == (5, 6) and disjoint(material)
    assert np.array_equal(material.learn.targets["labels"], np.arange(5) % 3)
    assert "train_images" in material.how
    measured = load_calibration(path, two_heads())[1]
    assert measured is not None and measured.count == 6


def test_calib_is_learned_from(tmp_path: Path) -> None:
    path = saved(tmp_path, calib=rows(5), images=rows(6, 5), labels=np.zeros(6, int))
    material = load_material(path, two_heads())
    assert (material.learn.count, material.measure.count) == (5, 6) and not material.learn.targets
    only = load_material(path, two_heads(), labelled=True)  # nothing says what is right in calib
    assert (only.learn.count, only.measure.count) == (4, 2) and disjoint(only) and len(only.learn.targets["labels"]) == 4
    told = saved(tmp_path, calib=rows(5), calib_labels=np.zeros(5, int), images=rows(6, 5), labels=np.zeros(6, int))
    assert load_material(told, two_heads(), labelled=True).learn.count == 5
    assert load_calibration(saved(tmp_path, calib=rows(5)), two_heads())[1] is None
    assert load_material(tmp_path / "data.npz", two_heads()).learn.count == 4


def test_labels_find_their_output_and_targets_theirs(tmp_path: Path) -> None:
    graph, x = two_heads(), np.array([[3, 1, 2, -1], [-1, 2, -3, 4]], np.float32)
    x = np.concatenate([x, x])
    mask = (x > 0).reshape(4, 1, 2, 2).astype(np.uint8)
    mask[0, 0, 0, 0] = 0
    path = saved(tmp_path, x=x, labels=np.array([0, 1, 0, 2]), mask=mask, calib=x[:1])
    data = load_calibration(path, graph)[1]
    assert data is not None and list(targets_of(graph, data)) == ["mask", "logits"]
    found = outputs_of(graph, data.inputs)
    assert [(s.output, s.metric, s.value) for s in scores(graph, found, data)] == [
        ("logits", "top-1", 0.75),
        ("mask", "values right", 15 / 16),
    ]
    other = {name: -value for name, value in found.items()}
    assert [(a.output, a.how, a.value) for a in agreements(graph, graph, found, found, data)] == [
        ("mask", "same side", 1.0),
        ("logits", "same class", 1.0),
    ]
    assert all(a.value == 0 for a in agreements(graph, graph, found, other, data))


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"labels": np.array([0, 1, 2, 3])}, "L004"),
        ({"mask": np.zeros((4, 1, 2, 3))}, "L010"),
        ({"mask": np.full((4, 1, 2, 2), 0.5)}, "L010"),
        ({"logits": np.array([0, 1, 2, 3])}, "L010"),
        ({"mask": np.full((4, 1, 2, 2), np.nan)}, "D005"),
        ({"mask": np.zeros((3, 1, 2, 2))}, "D005"),
    ],
)
def test_targets_that_fit_nothing(arrays: dict[str, Any], code: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        data = load_calibration(saved(tmp_path, x=rows(4), **arrays), two_heads())[1]
        assert data is not None
        targets_of(two_heads(), data)
    assert [one.code for one in caught.value.diagnostics] == [code]
