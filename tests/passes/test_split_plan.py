"""What a split is before anything is trained: classes, shapes, costs, devices, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Reshape, Softmax
from edgewright.passes.splitting.assign_devices import Place, assign_devices
from edgewright.passes.splitting.partition_classes import confusion_of, partition_by_confusion, partition_even
from edgewright.passes.splitting.split_classes import SplitClasses
from edgewright.passes.structure.classifier import collapsed, find_classifier, keep_classes, relabelled
from edgewright.passes.structure.prune_structure import prune, structure_of
from edgewright.passes.structure.sub_model_shape import Footprint, SubShape, footprint, full_shape, ladder, shaped
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import images, tiny_vit


def refused(call: object) -> tuple[str, ...]:
    """Codes of the error that a call raises."""
    with pytest.raises(CompileError) as error:
        call()  # type: ignore[operator]
    return tuple(one.code for one in error.value.diagnostics)


# ---- classes


@given(st.integers(1, 40), st.data())
def test_even_parts_differ_by_one_at_most(classes: int, data: st.DataObject) -> None:
    parts = partition_even(classes, data.draw(st.integers(1, classes)))
    sizes = [len(part) for part in parts]
    assert [c for part in parts for c in part] == list(range(classes)) and max(sizes) - min(sizes) <= 1


def inside(partition: tuple[tuple[int, ...], ...], confusion: np.ndarray) -> float:
    return float(sum(confusion[a][b] for part in partition for a in part for b in part if a != b))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.data())
def test_confused_classes_stay_together(classes: int, data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, classes))
    confusion = np.random.default_rng(data.draw(st.integers(0, 99))).random((classes, classes))
    found = partition_by_confusion(confusion, parts)
    assert sorted(c for part in found for c in part) == list(range(classes))
    assert sorted(map(len, found)) == sorted(map(len, partition_even(classes, parts)))
    for i, j in itertools.combinations(range(parts), 2):  # no exchange would keep more together
        for a, b in itertools.product(found[i], found[j]):
            swapped = [set(part) for part in found]
            swapped[i] ^= {a, b}
            swapped[j] ^= {a, b}
            assert inside(tuple(map(tuple, swapped)), confusion) <= inside(found, confusion) + 1e-9


def test_the_pairs_of_a_plain_case_are_found() -> None:
    confusion = np.eye(6)
    for a, b in ((0, 5), (1, 3), (2, 4)):
        confusion[a, b] = confusion[b, a] = 0.4
    assert partition_by_confusion(confusion, 3) == ((0, 5), (1, 3), (2, 4))


def test_confusion_is_the_mean_probability_by_label() -> None:
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    np.testing.assert_allclose(confusion_of(probabilities, np.array([0, 0, 1])), [[0.7, 0.3], [0.1, 0.9]])


# ---- the classifier


@pytest.mark.parametrize("pooling", ["cls", "avg"])
def test_the_classifier_is_found_behind_a_softmax(pooling: str) -> None:
    graph = tiny_vit(image=8, classes=5, pooling=pooling)
    soft = make(Reshape((5,)), make(Softmax(-1), graph.outputs[0]))
    found = find_classifier(Graph("soft", graph.inputs, (soft,), ("p",)))
    assert found.classes == 5 and found.head is graph.outputs[0] and found.output == "p"


def test_models_without_one_classifier_are_refused() -> None:
    graph = tiny_vit(image=8)
    tokens = next(n for n in graph.nodes() if n.name == "block0.add2")
    assert refused(lambda: find_classifier(Graph("t", graph.inputs, (tokens,), ("tokens",)))) == ("K001",)
    twice = Graph("two", graph.inputs, graph.outputs * 2, ("a", "b"))
    assert refused(lambda: find_classifier(twice)) == ("K001",)


def test_some_classes_keep_their_scores_and_the_rest_is_other() -> None:
    graph = tiny_vit(image=8, classes=6)
    small = keep_classes(graph, (4, 1))
    x = images(graph, 3)
    whole, part = interpret(graph, {"image": x}), interpret(small, {"image": x})
    assert part["features"].shape == (3, 32) and part["logits"].shape == (3, 3)
    np.testing.assert_allclose(part["logits"][:, :2], whole["logits"][:, [4, 1]], atol=1e-5)
    rest = whole["logits"][:, [0, 2, 3, 5]].mean(axis=1) + np.log(4)
    np.testing.assert_allclose(part["logits"][:, 2], rest, atol=1e-4)
    every = interpret(keep_classes(graph, range(6)), {"image": x})["logits"]
    np.testing.assert_allclose(every, whole["logits"], atol=1e-5)
    for wrong in ((), (1, 1), (6,), (-1,)):
        with pytest.raises(ValueError, match="classes"):
            keep_classes(graph, wrong)


def test_answers_and_labels_of_a_part() -> None:
    scores = np.array([[0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(collapsed(scores, (2, 0)), [[0.3, 0.1, 0.6]])
    np.testing.assert_allclose(collapsed(scores, (3, 1, 0, 2)), [[0.4, 0.2, 0.1, 0.3]])
    assert relabelled(np.array([0, 1, 2, 3]), (2, 0)).tolist() == [1, 2, 0, 2]
    assert relabelled(np.array([0, 1]), (3, 1)).tolist() == [2, 1]


# ---- shapes and costs


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.sampled_from([8, 16, 24]), st.integers(20, 70), st.sampled_from([4, 8, 16]))
def test_the_ladder_falls_in_steps_of_the_grain(heads: int, each: int, hidden: int, grain: int) -> None:
    graph = tiny_vit(image=8, heads=heads, width=heads * each, hidden=hidden, blocks=2)
    full = full_shape(structure_of(graph))
    assert full == SubShape(heads * each, heads, hidden)
    steps = ladder(full, grain)
    sizes = [footprint(shaped(graph, shape)).parameters for shape in steps]
    assert steps[0] == full and all(a > b for a, b in itertools.pairwise(sizes))
    for shape in steps[1:]:
        assert shape.hidden % grain == 0 and (shape.width % grain == 0 or shape.width == full.width)
        assert 1 <= shape.heads <= heads


def test_a_footprint_counts_what_is_alive() -> None:
    graph = tiny_vit(image=8, width=32, heads=2, blocks=1)
    found = footprint(graph)
    assert found.weight_bytes == 4 * found.parameters
    assert found.macs == sum(n.work.macs for n in graph)
    qkv, stream = 5 * 96 * 4, 5 * 32 * 4
    assert found.activation_bytes == stream + 2 * qkv  # while the merged product is cut into its three parts


def test_unequal_blocks_are_refused_by_name() -> None:
    graph = tiny_vit(image=8, blocks=3)
    structure = structure_of(graph)
    fewer = prune(structure, structure.hidden[1][:5])
    with pytest.raises(CompileError) as error:
        full_shape(structure_of(fewer))
    (one,) = error.value.diagnostics
    assert one.code == "K006" and "block 1" in one.at and "59 hidden units" in one.because


def test_a_model_without_blocks_has_nothing_to_lose() -> None:
    graph = tiny_vit(image=8)
    head = find_classifier(graph).head
    plain = Graph("plain", graph.inputs, (head,), ("logits",))
    assert full_shape(structure_of(plain)).width == 32
    patches = next(n for n in graph.nodes() if n.name == "position")
    assert refused(lambda: full_shape(structure_of(Graph("p", graph.inputs, (patches,), ("p",))))) == ("K007",)


# ---- devices


def costs(*levels: tuple[int, int]) -> list[Footprint]:
    """(memory, macs) of each level."""
    return [Footprint(memory, macs, memory, 0) for memory, macs in levels]


def test_the_heaviest_gets_the_device_with_the_most_energy() -> None:
    ladders = [costs((10, 5)), costs((10, 50)), costs((10, 20))]
    places = [Place("a", 100, energy_mj=3.0), Place("b", 100, energy_mj=9.0), Place("c", 100, energy_mj=6.0)]
    assert assign_devices(ladders, 0, places, lambda device, level: 1.0).devices == (0, 1, 2)


def test_memory_computing_and_energy_are_limits() -> None:
    ladders = [costs((10, 5)), costs((40, 5))]
    assert assign_devices(ladders, 0, [Place("a", 50), Place("b", 20)]).devices == (1, 0)
    assert assign_devices([costs((1, 5)), costs((1, 9))], 0, [Place("a", 9, macs=5), Place("b", 9)]).devices == (0, 1)
    limited = [Place("a", 9, energy_mj=1.0), Place("b", 9, energy_mj=3.0)]
    assert assign_devices([costs((1, 5))] * 2, 0, limited, lambda device, level: 0.5 + device).devices == (1, 0)


def test_a_device_takes_two_where_another_takes_none() -> None:
    found = assign_devices([costs((10, 5)), costs((10, 5))], 0, [Place("a", 5), Place("b", 25)])
    assert found.devices == (1, 1) and found.harder == 0


def test_the_heaviest_is_made_smaller_until_all_fit() -> None:
    ladder_ = costs((40, 40), (30, 30), (20, 20), (10, 10))
    found = assign_devices([ladder_, ladder_], 1, [Place("a", 30), Place("b", 15)])
    assert sorted(found.levels) == [2, 3] or found.levels == (3, 3) or found.levels == (1, 3)
    for device, limit in ((0, 30), (1, 15)):
        used = sum(ladder_[level].memory_bytes for level, d in zip(found.levels, found.devices, strict=True) if d == device)
        assert used <= limit
    assert found.harder == sum(found.levels) - 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(5, 60), min_size=1, max_size=4), st.integers(1, 4))
def test_an_assignment_never_exceeds_a_device(memories: list[int], parts: int) -> None:
    ladder_ = costs((40, 40), (20, 20), (10, 10), (6, 6))
    places = [Place(str(i), memory) for i, memory in enumerate(memories)]
    try:
        found = assign_devices([ladder_] * parts, 0, places)
    except CompileError as error:
        assert sum(memory // 6 for memory in memories) < parts
        assert error.diagnostics[0].code == "K005"
        return
    for i, memory in enumerate(memories):
        used = sum(ladder_[level].memory_bytes for level, d in zip(found.levels, found.devices, strict=True) if d == i)
        assert used <= memory


def test_where_nothing_fits_the_smallest_that_would_is_named() -> None:
    with pytest.raises(CompileError) as error:
        assign_devices([costs((9000, 5), (4096, 2_000_000))] * 2, 0, [Place("shelf", 1024), Place("desk", 2048, 10)])
    (one,) = error.value.diagnostics
    assert one.code == "K005" and "shelf: 1 KiB" in one.at
    assert "4 KiB of memory and 2 million multiply-adds" in one.because and "2 devices with 4 KiB" in one.help


# ---- the plan


def test_a_plan_follows_size_and_parts() -> None:
    graph = tiny_vit(image=8, classes=6, blocks=2, width=48, heads=3, hidden=96)
    plan = SplitClasses(3, size=0.2, grain=16).plan(graph)
    assert plan.partition == ((0, 1), (2, 3), (4, 5)) and plan.devices == (0, 1, 2) and plan.harder == 0
    assert all(cost.parameters <= 0.2 * plan.whole.parameters for cost in plan.costs)
    assert SplitClasses(1).plan(graph).shapes == (SubShape(48, 3, 96),)
    third = SplitClasses(3, grain=4).plan(graph)
    assert 0.28 < third.costs[0].parameters / third.whole.parameters <= 1 / 3
    small = SplitClasses(2, size=1e-9, grain=16).plan(graph)
    assert small.shapes[0] == SubShape(16, 1, 16)


def test_plans_that_cannot_be() -> None:
    graph = tiny_vit(image=8, classes=3)
    assert refused(lambda: SplitClasses(4).plan(graph)) == ("K004",)
    assert refused(lambda: SplitClasses(2, size=0.0).plan(graph)) == ("K013",)
    assert refused(lambda: SplitClasses(2, size=float("nan")).plan(graph)) == ("K013",)
    assert refused(lambda: SplitClasses(2).plan(graph, [Place("a", 10), Place("b", 10)])) == ("K005",)
