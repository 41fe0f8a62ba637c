"""SelectExperts: one task keeps its bits, only experts that no input reaches go by themselves, usage is told."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.experts.expert_usage import expert_usage, mixtures, tasks_of, unreachable
from edgewright.passes.experts.select_experts import SelectExperts
from edgewright.passes.ir import Array, Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import LayerNormalization, Linear, MoE, Reshape, constant, graph_input, value_of
from hypothesis import given
from hypothesis import strategies as st

from tests.models import tiny_vit
from tests.moe_models import experts, moe_network, samples

FORMS = [MoE(2), MoE(2, "before", True), MoE(2, "after")]


def counts_of(graph: Graph) -> list[tuple[int, int]]:
    """(experts, K) of each layer."""
    return [(node.inputs[2].shape[0], node.op.top_k) for node in mixtures(graph) if isinstance(node.op, MoE)]


@pytest.mark.parametrize("task", ["class", "edges"])
def test_a_task_alone_keeps_its_bits(task: str) -> None:
    graph = moe_network()
    given_samples = samples(graph, 24)
    result, done = SelectExperts(task=task, samples=given_samples)(graph)
    assert result.output_names == (task,) and len(mixtures(result)) == 2
    assert {node.name.split(".")[0] for node in result.nodes() if "router" in node.name} == {task}
    assert np.array_equal(interpret(result, given_samples)[task], interpret(graph, given_samples)[task])
    counts = dict(done.counts)
    assert (counts["tasks dropped"], counts["routers dropped"], counts.get("experts dropped", 0)) == (1, 2, 0)
    assert SelectExperts(task=task).exact and not SelectExperts(usage_threshold=0.1).exact


def test_inputs_of_other_tasks_go() -> None:
    graph = moe_network()
    other = graph_input("other", (1, 5))
    second = make(Linear(), other, constant(np.ones((2, 5), np.float32)), constant(np.zeros(2, np.float32)))
    both = Graph("both", (*graph.inputs, other), (*graph.outputs, second), (*graph.output_names, "second"))
    result, _ = SelectExperts(task="edges")(both)
    assert [node.name for node in result.inputs] == ["x"]


@pytest.mark.parametrize("op", FORMS)
def test_experts_that_a_bias_holds_off_go(op: MoE) -> None:
    graph = moe_network(op, router_bias=np.array([0.0, -500, 0, 0, -1e9, 0]))
    given_samples = samples(graph, 24)
    result, done = SelectExperts(task="edges", samples=given_samples)(graph)
    assert counts_of(result) == [(4, 2), (4, 2)]
    assert dict(done.counts)["experts dropped"] == dict(done.counts)["experts unreachable"] == 4
    assert np.array_equal(interpret(result, given_samples)["edges"], interpret(graph, given_samples)["edges"])
    assert len({node.inputs[2] for node in mixtures(result)}) == 2
    kept = next(table for table in done.tables if table.name == "Experts kept")
    assert [row[1:] for row in kept.rows] == [(6, 2, 4, 4, 2), (6, 2, 4, 4, 2)]


def test_shared_weights_stay_shared() -> None:
    graph = moe_network(router_bias=np.array([0.0, -500, 0, 0, -1e9, 0]))
    result, _ = SelectExperts(usage_threshold=0.0, samples=samples(graph, 8))(graph)
    assert counts_of(result) == [(4, 2)] * 4
    assert len({node.inputs[2] for node in mixtures(result)}) == 2  # two layers, two tasks


def behind_norm(weight: Array, bias: Array, op: MoE, gamma: Array, beta: Array) -> Node:
    rng = np.random.default_rng(0)
    x = graph_input("x", (1, 3, weight.shape[1]))
    norm = make(LayerNormalization(), x, constant(gamma), constant(beta))
    flat = make(Reshape((3, weight.shape[1])), norm)
    logits = make(Linear(), flat, constant(weight), constant(bias))
    scores = make(Reshape((1, 3, len(weight))), logits)
    return make(op, norm, scores, *experts(rng, len(weight), 4, weight.shape[1], 2), origin=("moe",))


@given(st.integers(1, 6), st.sampled_from(FORMS), st.sampled_from([0.0, 1.0, 30.0]), st.integers(0, 2**32 - 1))
def test_no_input_reaches_what_is_unreachable(width: int, op: MoE, reach: float, seed: int) -> None:
    """Tokens made to please each expert choose it if any do; dropping what is never reached changes nothing."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(5, width)).astype(np.float32)
    bias = (reach * rng.normal(size=5)).astype(np.float32)
    gamma, beta = (rng.normal(size=width).astype(np.float32) for _ in range(2))
    node = behind_norm(weight, bias, op, gamma, beta)
    out = set(unreachable(node))
    graph = Graph("g", (next(n for n in Graph("", (), (node,), ("y",)).nodes() if n.name == "x"),), (node,), ("y",))
    wanted = np.concatenate([weight * gamma, -weight * gamma, rng.normal(size=(5, width))])
    tokens = np.resize(wanted, (5, 3, width)).astype(np.float32) * 10
    (usage,) = expert_usage(graph, {"x": tokens})
    assert out.isdisjoint(np.flatnonzero(usage.chosen).tolist())
    result, _ = SelectExperts()(graph)
    assert mixtures(result)[0].inputs[2].shape[0] == 5 - len(out)
    np.testing.assert_allclose(
        interpret(result, {"x": tokens})["y"], interpret(graph, {"x": tokens})["y"], rtol=1e-5, atol=1e-6
    )


def test_a_constant_router_reaches_its_best_experts() -> None:
    logits = constant(np.tile(np.array([0.0, 50, 1, 40, 2], np.float32), (1, 3, 1)))
    x = graph_input("x", (1, 3, 4))
    node = make(MoE(2), x, logits, *experts(np.random.default_rng(0), 5, 4, 4, 2), origin=("moe",))
    assert unreachable(node) == (0, 2, 4)
    graph = Graph("g", (x,), (node,), ("y",))
    result, _ = SelectExperts()(graph)
    tokens = {"x": np.random.default_rng(1).normal(size=(1, 3, 4)).astype(np.float32)}
    assert counts_of(result) == [(2, 2)]
    np.testing.assert_allclose(interpret(result, tokens)["y"], interpret(graph, tokens)["y"], rtol=1e-6)


def test_equal_logits_never_reach_the_higher_expert() -> None:
    """Experts 1 and 3 have one row of the router: with one choice a token, 3 is always second."""
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(4, 6)).astype(np.float32)
    weight[3] = weight[1]
    node = behind_norm(weight, np.zeros(4, np.float32), MoE(1, "after"), np.ones(6, np.float32), np.zeros(6, np.float32))
    assert unreachable(node) == (3,)


def test_a_threshold_drops_what_few_tokens_choose() -> None:
    graph = moe_network()
    given_samples = samples(graph, 64)
    shares = [usage.shares for usage in expert_usage(graph, given_samples)]
    assert all(abs(share.sum() - 2) < 1e-9 for share in shares)
    threshold = 0.3
    result, done = SelectExperts(usage_threshold=threshold, samples=given_samples)(graph)
    assert [n for n, _ in counts_of(result)] == [int((share >= threshold).sum()) for share in shares]
    for before, after, share in zip(mixtures(graph), mixtures(result), shares, strict=True):
        kept = np.flatnonzero(share >= threshold)
        for old, new in zip(before.inputs[2:], after.inputs[2:], strict=True):
            a, b = value_of(old), value_of(new)
            assert a is not None and b is not None and np.array_equal(a[kept], b)
    usage_table = next(table for table in done.tables if table.name == "Expert usage")
    assert usage_table.draw == "map" and len(usage_table.rows) == 4
    assert usage_table.rows[0][0] == "class: class.experts0"


def test_one_expert_stays_whatever_the_threshold() -> None:
    graph = moe_network()
    result, _ = SelectExperts(usage_threshold=0.99, samples=samples(graph, 32))(graph)
    assert all(n >= 1 and k == min(2, n) for n, k in counts_of(result))
    assert any(n == 1 for n, _ in counts_of(result))


def test_tasks_of_layers() -> None:
    assert sorted(tasks_of(moe_network()).values()) == [("class",), ("class",), ("edges",), ("edges",)]


@pytest.mark.parametrize(
    ("step", "code", "words"),
    [
        (SelectExperts(task="depth"), "E010", "class, edges"),
        (SelectExperts(task="edges", usage_threshold=0.1), "E014", "samples"),
        (SelectExperts(usage_threshold=1.5, samples={"x": np.zeros((1, 9, 16), np.float32)}), "E013", "share"),
    ],
)
def test_refusals(step: SelectExperts, code: str, words: str) -> None:
    with pytest.raises(CompileError) as caught:
        step(moe_network())
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code and words in diagnostic.because


def test_models_without_several_tasks_or_experts() -> None:
    with pytest.raises(CompileError) as caught:
        SelectExperts(task="edges")(moe_network(tasks=("class",)))
    assert [d.code for d in caught.value.diagnostics] == ["E011"]
    with pytest.raises(CompileError) as caught:
        SelectExperts(usage_threshold=0.1, samples={"image": np.zeros(1)})(tiny_vit())
    assert [d.code for d in caught.value.diagnostics] == ["E012"]
