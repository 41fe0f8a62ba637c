"""Structured pruning: what goes together, that it changes nothing where it should not, and shapes that stay valid."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.ir.graph import Graph, Node, make, rebuild
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.ir.verify import verify
from edgewright.passes.ops import Add, Constant, Conv, Gelu, Input, Linear, Relu, Slice, constant, graph_input, value_of
from edgewright.passes.pipeline import optimise
from edgewright.passes.structure.channel_labels import label_channels
from edgewright.passes.structure.prune_structure import Structure, Unit, prune, structure_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import ACTIVATIONS, images, tiny_vit


def vit(draw: st.DrawFn) -> Graph:
    """Any of the forms that exporters leave."""
    heads = draw(st.integers(1, 3))
    return tiny_vit(
        draw(st.integers(0, 99)),
        image=8,
        patch=4,
        heads=heads,
        width=heads * draw(st.sampled_from([4, 6])),
        blocks=draw(st.integers(1, 2)),
        hidden=draw(st.integers(5, 12)),
        classes=4,
        pooling=draw(st.sampled_from(["cls", "avg"])),
        merged_qkv=draw(st.booleans()),
        activation=draw(st.sampled_from(sorted(set(ACTIVATIONS) - {"sigmoid"}))),
    )


vits = st.composite(vit)()


def answers(graph: Graph, count: int = 3) -> Array:
    """Logits on random images."""
    return interpret(graph, {graph.inputs[0].name: images(graph, count)})["logits"]


def zeroed(structure: Structure, units: list[Unit]) -> Graph:
    """The graph with the columns of every product that reads these units' channels set to 0."""
    gone = {label for unit in units for label in unit.labels}
    columns: dict[Node, list[int]] = {}
    for node in structure.graph.nodes():
        if isinstance(node.op, Linear):
            weight = node.inputs[1]
            labels = structure.labels.ties[weight, 1]
            columns[weight] = [i for i, label in enumerate(labels.tolist()) if label in gone]

    def change(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if not columns.get(node):
            return None
        value = np.array(value_of(node))
        value[:, columns[node]] = 0
        return constant(value)

    return rebuild(structure.graph, change)


@settings(max_examples=25, deadline=None)
@given(vits, st.data())
def test_heads_and_hidden_units_whose_readers_are_zero_change_nothing(graph: Graph, data: st.DataObject) -> None:
    structure = structure_of(graph)
    units = [
        unit
        for group in (*structure.heads, *structure.hidden)
        for unit in data.draw(st.permutations(group))[: data.draw(st.integers(0, len(group) - 1))]
    ]
    silent = zeroed(structure, units)
    small = prune(structure_of(silent), [Unit(u.kind, u.group, u.index, u.labels) for u in units])
    verify(small)
    np.testing.assert_allclose(answers(small), answers(silent), atol=2e-5)
    assert sum(n.work.macs for n in small) < sum(n.work.macs for n in graph) or not units


@settings(max_examples=25, deadline=None)
@given(vits, st.booleans(), st.data())
def test_any_units_leave_a_valid_graph_of_the_shape_wanted(graph: Graph, folded: bool, data: st.DataObject) -> None:
    graph = optimise(graph)[0] if folded else graph
    structure = structure_of(graph)
    units: list[Unit] = []
    left = []
    for group in (structure.channels, *structure.heads, *structure.hidden):
        count = data.draw(st.integers(0, len(group) - 1))
        units += data.draw(st.permutations(group))[:count]
        left.append(len(group) - count)
    small = prune(structure, units)
    verify(small)
    found = structure_of(small)
    assert [len(group) for group in (found.channels, *found.heads, *found.hidden)] == left
    assert answers(small).shape == (3, 4) and np.isfinite(answers(small)).all()
    assert [n.shape for n in small.outputs] == [n.shape for n in graph.outputs]


def without_norm(rng: np.random.Generator, silent: int) -> Graph:
    """x + f(x) twice on 6 channels; nothing writes to channel `silent`, and its readers do not matter."""
    x = graph_input("x", (1, 5, 3))

    def linear(value: Node, outs: int, quiet: bool) -> Node:
        w, b = rng.standard_normal((outs, value.shape[-1])), rng.standard_normal(outs)
        if quiet:
            w[silent], b[silent] = 0, 0
        return make(Linear(), value, constant(w.astype(np.float32)), constant(b.astype(np.float32)), origin=("linear",))

    stream = linear(x, 6, True)
    for _ in range(2):
        stream = make(Add(), stream, linear(make(Gelu(), linear(stream, 4, False)), 6, True), origin=("add",))
    logits = linear(make(Relu(), stream), 3, False)
    return Graph("plain", (x,), (logits,), ("logits",))


@pytest.mark.parametrize("silent", [0, 3, 5])
def test_a_channel_that_nothing_writes_to_changes_nothing(silent: int) -> None:
    graph = without_norm(np.random.default_rng(silent), silent)
    structure = structure_of(graph)
    assert len(structure.channels) == 6 and [len(group) for group in structure.hidden] == [4, 4]
    x = np.random.default_rng(9).standard_normal((2, 5, 3)).astype(np.float32)
    small = prune(structure, [structure.channels[silent]])
    np.testing.assert_allclose(interpret(small, {"x": x})["logits"], interpret(graph, {"x": x})["logits"], atol=1e-5)
    other = prune(structure, [structure.channels[(silent + 1) % 6]])
    assert not np.allclose(interpret(other, {"x": x})["logits"], interpret(graph, {"x": x})["logits"], atol=1e-3)


def test_channels_are_cut_from_everything_on_the_stream() -> None:
    graph = tiny_vit(blocks=2, width=32, heads=2, image=8)
    structure = structure_of(graph)
    small = prune(structure, [structure.channels[i] for i in (1, 2, 30)])
    kept = [i for i in range(32) if i not in (1, 2, 30)]
    before = [value_of(n) for n in graph.nodes() if isinstance(n.op, Constant)]
    after = [value_of(n) for n in small.nodes() if isinstance(n.op, Constant)]
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert old is not None and new is not None
        wanted = old
        for axis, (n, m) in enumerate(zip(old.shape, new.shape, strict=True)):
            if n != m:
                assert (n, m) == (32, 29)
                wanted = np.take(wanted, kept, axis)
        assert np.array_equal(wanted, new)
    table = next(v for v in after if v is not None and v.ndim == 3 and v.shape[1] == 5)
    assert table.shape == (1, 5, 29)


def test_heads_go_with_their_queries_keys_values_and_projection() -> None:
    graph = tiny_vit(blocks=1, width=24, heads=3, image=8)
    structure = structure_of(graph)
    small = prune(structure, [structure.heads[0][1]])
    attention = next(n for n in small.nodes() if n.op.kind == "Attention")
    old = next(n for n in graph.nodes() if n.op.kind == "Attention")
    assert attention.op.heads == 2 and attention.op.scale == old.op.scale  # type: ignore[attr-defined]
    bounds = [(n.op.start, n.op.stop) for n in small.nodes() if isinstance(n.op, Slice) and n.op.axis == 2]
    assert bounds == [(0, 16), (16, 32), (32, 48)]
    assert attention.shape == (1, 5, 16)


def test_a_layer_never_loses_everything() -> None:
    structure = structure_of(tiny_vit(image=8))
    for group in (structure.channels, structure.heads[0], structure.hidden[0]):
        with pytest.raises(ValueError, match="nothing would be left"):
            prune(structure, group)


def test_outputs_keep_their_channels_unless_they_may_shrink() -> None:
    graph = tiny_vit(image=8)
    features = next(n for n in graph.nodes() if n.op.kind == "Reshape")
    both = Graph("two", graph.inputs, (features, *graph.outputs), ("features", "logits"))
    assert structure_of(both).channels == ()
    assert len(structure_of(both, ("features",)).channels) == 32
    labels = label_channels(both)
    assert set(labels.of[features].tolist()) <= labels.fixed  # type: ignore[union-attr]


def test_an_operator_it_does_not_know_keeps_its_operands_whole() -> None:
    x = graph_input("x", (1, 4, 6, 6))
    w = constant(np.ones((4, 4, 1, 1), np.float32))
    hidden = make(Conv((1, 1), (0, 0, 0, 0)), x, w, constant(np.zeros(4, np.float32)), origin=("conv",))
    graph = Graph("conv", (x,), (hidden,), ("y",))
    structure = structure_of(graph)
    assert structure.channels == () and structure.heads == () and structure.hidden == ()
    assert isinstance(graph.inputs[0].op, Input)


def test_units_of_every_kind_are_pruned_together() -> None:
    structure = structure_of(tiny_vit(image=8, blocks=2))
    units = [*structure.channels[:2], structure.heads[1][0], structure.hidden[0][3], structure.hidden[1][4]]
    small = prune(structure, units)
    found = structure_of(small)
    assert len(found.channels) == 30 and [len(g) for g in found.heads] == [2, 1] and [len(g) for g in found.hidden] == [63, 63]
