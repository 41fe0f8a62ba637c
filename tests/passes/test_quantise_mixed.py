"""Quantisation beyond the plain ViT: accuracy, forms of values, masks, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.checkpoint import load, save
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.text import digest
from edgewright.passes.ir.types import INT8, INT16, Int, Level
from edgewright.passes.ir.verify import problems, verify
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Cast,
    Constant,
    Conv,
    Div,
    Gather,
    LayerNormalization,
    Linear,
    Pow,
    Quantise,
    Relu,
    Requantise,
    Slice,
    Table,
    Where,
    constant,
    graph_input,
)
from edgewright.passes.ops.arith import SCORE_BIAS_MAX
from edgewright.passes.pipeline import Quantised, optimise, quantise
from edgewright.passes.quantisation.sqnr import decibels

from tests.form_models import linear_attention_network, normed_maps_network
from tests.mixed_models import gated_network, plain_attention, samples, text_network, windows_network
from tests.noise import sqnr

NETWORKS: dict[str, tuple[Callable[[], Graph], float]] = {
    "gated": (gated_network, 25),
    "windows": (windows_network, 27),
    "text": (text_network, 26),
    "text with a computed mask": (lambda: text_network(arithmetic_mask=True), 26),
    "plain attention": (plain_attention, 30),
    "linear attention": (linear_attention_network, 28),
    "normed maps": (normed_maps_network, 25),
}


def quantised(graph: Graph, count: int = 32) -> Quantised:
    return quantise(optimise(graph)[0], samples(graph, count))


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_stay_close(name: str) -> None:
    make_graph, least_db = NETWORKS[name]
    graph = make_graph()
    done = quantised(graph)
    verify(done.graph)
    x = samples(graph, 32, seed=1)
    wanted, found = interpret(graph, x), interpret(done.graph, x)
    for output, node in zip(done.graph.output_names, done.graph.outputs, strict=True):
        assert node.quant is not None
        db = decibels(wanted[output], node.quant.real(found[output]))
        assert db is not None and db > least_db


@pytest.mark.parametrize("name", NETWORKS)
def test_checkpoints_keep_every_bit(name: str, tmp_path: Any) -> None:
    graph = quantised(NETWORKS[name][0](), 4).graph
    save(graph, tmp_path / "graph.npz")
    assert digest(load(tmp_path / "graph.npz")) == digest(graph)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_layer_is_lost(name: str) -> None:
    graph = NETWORKS[name][0]()
    done = quantised(graph)
    rows = sqnr(done.float_graph, done.graph, {key: value[:1] for key, value in samples(graph, 1, seed=3).items()})
    assert len(rows) > 8 or name == "plain attention"
    assert all(db is None or db > 14 for _, db in rows), rows


def of(graph: Graph, kind: type) -> list[Node]:
    return [node for node in graph if isinstance(node.op, kind)]


def test_padding_holds_the_zero_point() -> None:
    done = quantised(gated_network())
    for node in of(done.graph, Conv):
        x, w, b = node.inputs
        assert isinstance(node.op, Conv) and x.quant is not None
        assert (x.elem, w.elem, b.elem) == (INT8, INT8, Int(32))
        assert node.op.pad_value == x.quant.zero_point
    assert any(isinstance(n.op, Conv) and n.op.pad_value == -127 for n in done.graph), "a Relu before a convolution"


def test_relu_is_part_of_the_step_before_it() -> None:
    """Behind products it costs nothing, or a clip at 0 where the readers want zero points of 0; never a table."""
    graph = quantised(gated_network()).graph
    tables = {node.name for node in of(graph, Table)}
    assert tables == {"gate", "side_silu"}
    assert {node.name for node in of(graph, Relu)} == {"stem_relu", "depthwise2_relu"}
    assert all(node.quant is not None and node.quant.zero_point == 0 for node in of(graph, Relu))


def test_sums_are_read_at_16_bits() -> None:
    text = quantised(text_network()).graph
    assert all(n.elem == INT16 for node in of(text, AddRequantised) for n in node.inputs)
    assert {node.elem for node in of(text, LayerNormalization)[:-1]} == {INT16}
    (rows,) = of(text, Gather)
    assert rows.elem == INT16 and rows.inputs[1].elem == Int(64)


def test_slices_of_a_sum_are_taken_before_they_are_narrowed() -> None:
    graph = quantised(windows_network()).graph
    sliced = [node for node in of(graph, Slice) if node.name.startswith("part")]
    assert sliced and all(node.elem == INT16 for node in sliced)


def test_a_mask_silences_its_keys() -> None:
    """What stands at masked places changes nothing, to the bit."""
    graph = text_network()
    done = quantised(graph)
    x = samples(graph, 8, seed=2)
    other = {**x, "ids": np.where(x["mask"] == 1, x["ids"], (x["ids"] + 7) % 29)}
    assert not np.array_equal(x["ids"], other["ids"])
    found, again = (interpret(done.graph, given)["states"] for given in (x, other))
    kept = x["mask"] == 1
    assert np.array_equal(found[kept], again[kept])


def test_a_chosen_mask_needs_no_floats() -> None:
    graph = quantised(text_network()).graph
    assert not of(graph, Quantise) and len(of(graph, Where)) == 2
    for node in of(graph, Attention):
        bias = node.inputs[3]
        assert bias.elem == Int(32)
        values = [n.op.value for n in bias.inputs if isinstance(n.op, Constant)]
        assert [int(v.min()) for v in values] == [0, -SCORE_BIAS_MAX]


def test_a_position_bias_fits_its_range_beside_tiny_scores() -> None:
    q, k, v = (graph_input(name, (1, 4, 8)) for name in "qkv")
    bias = constant(np.full((4, 4), 50, np.float32) * np.eye(4, dtype=np.float32))
    graph = Graph("tiny", (q, k, v), (make(Attention(1, 1e-9), q, k, v, bias, origin=("a",)),), ("y",))
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal((8, 4, 8)).astype(np.float32) for name in "qkv"}
    done = quantise(graph, x)
    found, wanted = interpret(done.graph, x)["y"], interpret(graph, x)["y"]
    quant = done.graph.outputs[0].quant
    db = decibels(wanted, quant.real(found)) if quant is not None else None
    assert db is not None and db > 35


# ---- refusals and the verifier


def refused(graph: Graph, given: dict[str, Any]) -> list[str]:
    with pytest.raises(CompileError) as caught:
        quantise(graph, given)
    assert all(d.at and d.message for d in caught.value.diagnostics)
    return [d.code for d in caught.value.diagnostics]


def test_what_has_no_integer_form_is_refused() -> None:
    x, ids, other = graph_input("x", (1, 4, 8)), graph_input("ids", (1, 4), Int(64)), graph_input("other", (1, 4, 8))
    given = {"x": np.ones((1, 4, 8), np.float32), "ids": np.zeros((1, 4), np.int64), "other": np.ones((1, 4, 8), np.float32)}
    for node in (make(Pow(), x, other, origin=("p",)), make(Gather(1), x, ids, origin=("g",))):
        assert refused(Graph("g", (x, ids, other), (node,), ("y",)), given) == ["Q001"]
    zero = make(Div(), x, constant(np.zeros(8, np.float32)), origin=("z",))
    assert refused(Graph("g", (x,), (zero,), ("y",)), {"x": given["x"]}) == ["Q001"]


def test_a_value_that_vanishes_is_named_with_its_cause() -> None:
    """The difference of two channels that are nearly equal."""
    x = graph_input("x", (1, 4, 2))
    difference = make(Linear(), x, constant(np.array([[1, -1]], np.float32)), constant(np.zeros(1, np.float32)), origin=("d",))
    values = np.linspace(1, 2, 32, dtype=np.float32).reshape(8, 4, 1)
    with pytest.raises(CompileError) as caught:
        quantise(Graph("g", (x,), (difference,), ("y",)), {"x": np.concatenate([values, values * np.float32(1 + 1e-6)], 2)})
    (found,) = caught.value.diagnostics
    assert (found.code, found.at) == ("Q007", "d") and "needs a factor of" in found.message
    assert "of what" not in found.because and "one integer step of its accumulators" in found.because
    assert "find out why d is nearly 0" in found.help


def test_convolutions_with_unsound_weights_are_refused() -> None:
    x = graph_input("x", (1, 2, 4, 4))
    w = constant(np.full((2, 2, 1, 1), np.nan, np.float32))
    node = make(Conv(), x, w, origin=("c",))
    assert refused(Graph("g", (x,), (node,), ("y",)), {"x": np.ones((1, 2, 4, 4), np.float32)}) == ["Q005"]


def found_in(node: Node, *inputs: Node) -> list[str]:
    return [d.code for d in problems(Graph("g", inputs, (node,), ("y",), Level.QUANTISED))]


def test_the_verifier_sees_sums_that_are_too_large() -> None:
    x = graph_input("x", (1, 4200, 1, 1), INT8)
    w = constant(np.full((1, 4200, 1, 1), 127, np.int8))
    assert found_in(make(Conv(), x, w), x) == ["Q003"]
    assert found_in(make(Conv(), x, constant(np.ones((1, 4200, 1, 1), np.int8))), x) == []
    assert found_in(make(Conv(), x, constant(np.full((1, 4200, 1, 1), -128, np.int8))), x) == ["Q003", "G005"]


def test_the_verifier_keeps_floats_on_the_host() -> None:
    mask = graph_input("mask", (1, 4), Int(64))
    real = make(Cast(), mask, origin=("cast",))
    assert found_in(make(Quantise(0.1), real), mask) == []
    x = graph_input("x", (1, 4, 8))
    product = make(Linear(), x, constant(np.ones((2, 8), np.float32)), constant(np.zeros(2, np.float32)))
    assert found_in(make(Quantise(0.1), product), x) == ["G004"]


def test_the_verifier_sees_a_bias_that_is_too_large() -> None:
    q = graph_input("q", (1, 4, 8), INT8)
    bias = constant(np.full((4, 4), SCORE_BIAS_MAX + 1, np.int32))
    op = Attention(1, score_multiplier=40000, score_shift=20)
    assert found_in(make(op, q, q, q, bias), q) == ["G005"]
    assert found_in(make(Requantise(), make(op, q, q, q), constant(np.array([40000])), constant(np.array([9]))), q) == []
