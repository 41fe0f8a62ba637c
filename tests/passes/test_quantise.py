"""Quantisation: accuracy against the float graph, the rules of the integer level, refusals, determinism."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.exact.reparameterise import ReparameteriseLayerNorm
from edgewright.passes.ir.graph import Graph, make, rewrite
from edgewright.passes.ir.interp import interpret, interpret_all
from edgewright.passes.ir.text import digest
from edgewright.passes.ir.types import INT8, INT16, Array, Int, Level, Quant
from edgewright.passes.ir.verify import accumulator_bound, verify
from edgewright.passes.ops import (
    Add,
    AddRequantised,
    Attention,
    BatchNormalization,
    Constant,
    Div,
    LayerNormalization,
    Linear,
    PatchEmbed,
    Pow,
    Quantise,
    Requantise,
    Slice,
    Table,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import Quantised, QuantiseOptions, optimise, quantise
from edgewright.passes.quantisation.calibrate import Calibration, affine_range, calibrate, quantised
from edgewright.passes.quantisation.quantise import QuantiseGraph
from edgewright.passes.quantisation.quantise_weights import integer_product
from edgewright.passes.quantisation.sqnr import decibels
from hypothesis import given
from hypothesis import strategies as st

from tests.models import ACTIVATIONS, images, tiny_vit
from tests.noise import output_sqnr, sqnr


def quantised_vit(options: QuantiseOptions | None = None, seed: int = 0, count: int = 32, **model: Any) -> Quantised:
    graph, _ = optimise(tiny_vit(seed, **model))
    return quantise(graph, {"image": images(graph, count)}, options)


def logits_db(done: Quantised, original: Graph) -> float:
    """Signal to noise of the logits on samples that calibration did not see."""
    x = {"image": images(original, 64, seed=1)}
    quant = done.graph.outputs[0].quant
    assert quant is not None
    found = decibels(interpret(original, x)["logits"], quant.real(interpret(done.graph, x)["logits"]))
    assert found is not None
    return found


MODELS: list[tuple[dict[str, Any], float]] = [
    ({"blocks": 2}, 24),
    ({"blocks": 2, "pooling": "avg"}, 27),
    ({"merged_qkv": False}, 24),
    ({"width": 48, "heads": 3, "blocks": 2, "pooling": "avg", "image": 24}, 27),
    ({"width": 64, "heads": 4, "channels": 3, "patch": 8, "blocks": 2}, 21),
    *(({"activation": name, "pooling": "avg"}, 26) for name in ACTIVATIONS),
]


@pytest.mark.parametrize(("model", "least_db"), MODELS, ids=str)
def test_logits_stay_close(model: dict[str, Any], least_db: float) -> None:
    assert logits_db(quantised_vit(**model), tiny_vit(**model)) > least_db


@pytest.mark.parametrize("method", ["mse", "percentile", "minmax"])
@pytest.mark.parametrize("clip", ["minmax", "mse"])
def test_options_work(method: str, clip: str) -> None:
    done = quantised_vit(QuantiseOptions(method=method, weight_clip=clip), pooling="avg")
    assert logits_db(done, tiny_vit(pooling="avg")) > 26


def test_reparameterisation_is_exact_in_float_and_helps_in_integers() -> None:
    graph, _ = optimise(tiny_vit(blocks=2, pooling="avg"))
    x = {"image": images(graph, 32)}
    after, statistics = ReparameteriseLayerNorm(calibrate(graph, x))(graph)
    assert dict(statistics.counts) == {"reparameterised": 5}
    found, wanted = interpret(after, x)["logits"], interpret(graph, x)["logits"]
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    seen = calibrate(after, x)
    for node in after:
        if isinstance(node.op, LayerNormalization):  # one range for all channels
            low, high = seen[node].channels.low, seen[node].channels.high
            assert np.allclose(-low, high, rtol=1e-3, atol=1e-5)
            assert np.mean(high > 0.999 * high.max()) > 0.8  # the others were too narrow to be believed
    unfolded = tiny_vit(blocks=2, pooling="avg")  # with gammas of its own, which `optimise` moves into the weights
    plain, moved = (quantise(unfolded, x, QuantiseOptions(reparameterise=wanted)) for wanted in (False, True))
    assert logits_db(moved, graph) > logits_db(plain, graph) + 1


def test_the_integer_graph_keeps_its_rules() -> None:
    graph = quantised_vit(blocks=2).graph
    verify(graph)
    assert graph.level is Level.QUANTISED
    values = interpret_all(graph, {"image": images(graph, 8, seed=3) * 3})
    for node, value in values.items():
        if isinstance(node.op, Constant) or not isinstance(node.elem, Int):
            continue
        if node.elem in (INT8, INT16):
            assert np.abs(value).max() <= (127 if node.elem == INT8 else 32767), node
            assert node.quant is not None, node
        if accumulator_bound(node):
            assert np.abs(value).max() <= accumulator_bound(node) < 1 << 26
        if isinstance(node.op, (Linear, PatchEmbed)):
            assert [n.elem for n in node.inputs] == [INT8, INT8, Int(32)]
        if isinstance(node.op, Attention):
            assert all(n.quant is not None and n.quant.zero_point == 0 for n in node.inputs)
        if isinstance(node.op, LayerNormalization):
            assert node.inputs[0].elem == INT16
        if isinstance(node.op, AddRequantised):
            assert (node.op.multiplier_b, node.op.shift_b) == (1 << 15, 15)
    assert graph.outputs[0].elem == INT16


def test_q_k_and_v_have_scales_of_their_own_in_one_tensor() -> None:
    graph = quantised_vit(pooling="avg").graph
    (attention,) = (n for n in graph if isinstance(n.op, Attention))
    sources = {n.inputs[0] for n in attention.inputs}
    assert len(sources) == 1
    assert all(isinstance(n.op, Slice) for n in attention.inputs)
    (source,) = sources
    assert isinstance(source.op, Requantise)
    assert len({n.quant.scale for n in attention.inputs if n.quant is not None}) == 3


def test_structure_is_what_the_engine_fuses() -> None:
    graph = quantised_vit(blocks=2).graph
    users = graph.users()
    for node in graph:
        if isinstance(node.op, LayerNormalization):
            assert len(users[node]) == 1, "each feeds one product"
        if isinstance(node.op, (Linear, PatchEmbed, Attention)):
            assert [type(u.op) for u in users[node]] == [Requantise]
    assert sum(isinstance(n.op, Quantise) for n in graph) == 1
    assert sum(isinstance(n.op, AddRequantised) for n in graph) == 5


def test_same_samples_same_bytes() -> None:
    first, second = (quantised_vit(blocks=2, seed=5).graph for _ in range(2))
    assert digest(first) == digest(second)
    assert digest(quantised_vit(blocks=2, seed=6).graph) != digest(first)


def test_few_samples_of_the_class_token_do_not_clip() -> None:
    graph = tiny_vit(blocks=2)
    assert logits_db(quantised_vit(blocks=2, count=4), graph) > 15


def test_sqnr_names_every_layer_in_order() -> None:
    done = quantised_vit(blocks=2)
    x = {"image": images(done.graph, 8, seed=2)}
    rows = sqnr(done.float_graph, done.graph, x)
    names = [name for name, _ in rows]
    assert names[0] == "patch_embed"
    assert names[-1] == "head"
    assert {"block0.qkv", "block0.attention", "block0.act", "block1.add2", "norm"} <= set(names)
    assert all(db is not None and db > 12 for _, db in rows), rows
    assert rows[-1][1] == pytest.approx(output_sqnr(done.float_graph, done.graph, x)[0], abs=1e-3)


def test_decibels() -> None:
    assert decibels(np.array([3.0, 4.0]), np.array([3.0, 4.5])) == pytest.approx(20)
    assert decibels(np.ones(2), np.ones(2)) is None
    assert decibels(np.zeros(2), np.ones(2)) is None


# ---- refusals


def refused(graph: Graph, samples: Array | None = None) -> list[str]:
    given = images(graph, 4) if samples is None else samples
    with pytest.raises(CompileError) as caught:
        quantise(graph, {graph.inputs[0].name: given})
    assert caught.value.exit_code == 1
    assert all(d.at and d.message for d in caught.value.diagnostics)
    return [d.code for d in caught.value.diagnostics]


def test_all_unsupported_operators_are_named_at_once() -> None:
    """Of two values: what depends on one alone is a table (tests/passes/test_compose_functions.py)."""
    x, y = graph_input("x", (1, 4, 8)), graph_input("y", (1, 4, 8))
    four = constant(np.ones(4, np.float32))
    first = make(BatchNormalization(), x, four, four, four, four, origin=("root",))  # becomes a scale and an offset
    second = make(Pow(), first, y, origin=("power",))
    third = make(Pow(), second, y, origin=("again",))
    graph = Graph("g", (x, y), (make(Div(), third, constant(np.zeros(8, np.float32)), origin=("ratio",)),), ("z",))
    with pytest.raises(CompileError) as caught:
        quantise(graph, {"x": images(graph, 1), "y": images(graph, 1)})
    assert [(d.code, d.at) for d in caught.value.diagnostics] == [("Q001", "power, again"), ("Q001", "ratio")]


def with_constants(graph: Graph, change: Any) -> Graph:
    def edit(node: Any) -> Any:
        return constant(change(node.op.value), node.origin) if isinstance(node.op, Constant) else None

    return rewrite(graph, edit)


def test_weights_that_are_not_finite_are_refused() -> None:
    broken = with_constants(tiny_vit(), lambda value: np.where(value > 1.5, np.inf, value))
    found = refused(broken)
    assert set(found) == {"Q005"}
    assert len(found) > 1
    with pytest.raises(CompileError) as caught:
        QuantiseGraph(Calibration({}, 1))(broken)
    assert [d.code for d in caught.value.diagnostics] == found


def test_samples_that_are_not_finite_are_refused() -> None:
    graph = tiny_vit()
    assert set(refused(graph, np.full_like(images(graph, 2), np.nan))) == {"Q006"}


def test_a_wide_layer_normalization_is_refused() -> None:
    width = (1 << 20) + 16
    x = graph_input("x", (1, 1, width))
    ones = constant(np.ones(width, np.float32))
    graph = Graph("g", (x,), (make(LayerNormalization(), x, ones, ones, origin=("norm",)),), ("y",))
    assert refused(graph) == ["Q004"]


def test_accumulators_that_are_too_large_are_refused() -> None:
    x = graph_input("x", (1, 1, 8192))
    w, b = constant(np.ones((2, 8192), np.float32)), constant(np.zeros(2, np.float32))
    graph = Graph("g", (x,), (make(Linear(), x, w, b, origin=("wide",)),), ("y",))
    assert refused(graph) == ["Q003"]


def test_computed_weights_are_refused() -> None:
    x = graph_input("x", (1, 8))
    w = graph_input("w", (8, 8))
    made = make(Linear(), x, w, constant(np.zeros(8, np.float32)), origin=("dynamic",))
    graph = Graph("g", (x, w), (made,), ("y",))
    samples = {"x": np.ones((1, 8), np.float32), "w": np.ones((8, 8), np.float32)}
    with pytest.raises(CompileError) as caught:
        quantise(graph, samples)
    assert [d.code for d in caught.value.diagnostics] == ["Q002"]


def test_an_unknown_method_is_refused() -> None:
    graph = tiny_vit()
    with pytest.raises(CompileError) as caught:
        quantise(graph, {"image": images(graph, 1)}, QuantiseOptions(method="best"))
    assert [d.code for d in caught.value.diagnostics] == ["U010"]


# ---- corners


def test_values_that_are_always_zero_quantise() -> None:
    graph = tiny_vit(pooling="avg")
    zeros = with_constants(graph, lambda value: value * 0)
    done = quantise(zeros, {"image": images(graph, 2)})
    assert not interpret(done.graph, {"image": images(graph, 2)})["logits"].any()


def test_zero_samples_quantise() -> None:
    graph, _ = optimise(tiny_vit())
    done = quantise(graph, {"image": np.zeros_like(images(graph, 1))})
    verify(done.graph)


def test_a_large_bias_beside_tiny_weights_fits_the_accumulator() -> None:
    weight, bias = np.full((2, 4), 1e-9, np.float32), np.array([5.0, 0.0], np.float32)
    product = integer_product(weight, bias, Quant(0.01))
    assert np.abs(product.bias).max() < 1 << 25
    assert product.bias[0] * product.scale[0] == pytest.approx(5.0, rel=1e-6)


@given(st.floats(-100, 100), st.floats(-100, 100), st.booleans(), st.floats(-1, 1))
def test_affine_range_holds_its_range_and_zero_exactly(a: float, b: float, symmetric: bool, where: float) -> None:
    low, high = min(a, b), max(a, b)
    quant = affine_range(low, high, symmetric)
    assert isinstance(quant.scale, float)
    x = np.array([0.0, low, high, low + (where + 1) / 2 * (high - low)])
    error = np.abs(quantised(x, quant) - x)
    assert error[0] == 0
    assert error.max() <= quant.scale * 1.0001 + 1e-12


def test_a_residual_that_both_forms_need() -> None:
    """A sum read by a product without LayerNorm between, by a LayerNorm, and as an output."""
    rng = np.random.default_rng(0)

    def linear(x: Any, outs: int) -> Any:
        w = constant(rng.standard_normal((outs, x.shape[-1])).astype(np.float32) / 4)
        return make(Linear(), x, w, constant(np.zeros(outs, np.float32)), origin=(f"linear{outs}",))

    x = graph_input("x", (1, 6, 16))
    total = make(Add(), linear(x, 16), linear(x, 16), origin=("sum",))
    ones = constant(np.ones(16, np.float32))
    norm = make(LayerNormalization(), total, ones, constant(np.zeros(16, np.float32)), origin=("norm",))
    outputs = (linear(total, 5), linear(norm, 3), total, norm)
    graph = Graph("g", (x,), outputs, ("a", "b", "c", "d"))
    samples = {"x": rng.standard_normal((64, 6, 16)).astype(np.float32)}
    done = quantise(graph, samples)
    assert [n.elem for n in done.graph.outputs] == [INT16, INT16, INT16, INT8]
    assert all(db is not None and db > 30 for db in output_sqnr(done.float_graph, done.graph, samples))


def test_the_table_is_the_function_at_every_integer() -> None:
    graph = quantised_vit(pooling="avg").graph
    (node,) = (n for n in graph if isinstance(n.op, Table))
    x, table = node.inputs
    assert x.quant is not None and node.quant is not None and isinstance(table.op, Constant)
    real = ACTIVATIONS["gelu"].eval(x.quant.real(np.arange(-127, 128)))
    assert isinstance(node.quant.scale, float)
    off = np.abs(node.quant.real(table.op.value[1:]) - real)
    inside = (table.op.value[1:] > -127) & (table.op.value[1:] < 127)
    assert (off[inside] <= node.quant.scale * 0.5001).all()


def test_quantised_types_carry_what_integers_mean() -> None:
    done = quantised_vit(pooling="avg")
    output = done.graph.outputs[0]
    assert output.quant is not None
    again = dataclasses.replace(output.type, quant=None)
    assert output.op.infer(*(n.type for n in output.inputs)) == again
