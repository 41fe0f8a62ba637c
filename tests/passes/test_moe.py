"""Mixtures of experts: float against the formula written out, integers against Python's, the written ONNX in onnxruntime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
from edgewright.frontend.onnx_writing.writer import interface_names, write_float, write_integer
from edgewright.hw.fuse import fuse
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.experts.select_experts import SelectExperts
from edgewright.passes.ir import Array, Graph, Level, Node, TensorType, make
from edgewright.passes.ir.interp import interpret, interpret_all
from edgewright.passes.ir.op import InferError
from edgewright.passes.ir.types import INT8, INT16
from edgewright.passes.ops import Linear, MoE, Slice, constant, graph_input
from edgewright.passes.ops.activations import ACTIVATIONS
from edgewright.passes.ops.arith import multiplier_shift
from edgewright.passes.pipeline import optimise, quantise
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.moe_models import moe_network, samples
from tests.noise import output_sqnr, sqnr

FORMS = [("before", False), ("before", True), ("after", False)]
KINDS = ("random", "ties", "one expert", "an expert nobody chooses")


def formula(op: MoE, x: Array, logits: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> Array:
    """sum_k p_k (w2_k act(w1_k x + b1_k) + b2_k), token by token."""
    out = np.zeros((*x.shape[:2], w2.shape[1]))
    for b, t in np.ndindex(*x.shape[:2]):
        row = logits[b, t].astype(np.float64)
        chosen = sorted(range(len(row)), key=lambda e: (-row[e], e))[: op.top_k]
        p = np.exp(row - row.max())
        p /= p.sum() if op.softmax == "before" and not op.renormalise else p[chosen].sum()
        for e in chosen:
            hidden = ACTIVATIONS[op.activation].eval((w1[e] @ x[b, t] + b1[e]).astype(np.float32))
            out[b, t] += p[e] * (w2[e] @ hidden + b2[e])
    return out


def routed(kind: str, rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Logits of one of KINDS."""
    logits = rng.normal(size=shape)
    if kind == "ties":
        logits = np.round(logits)
    elif kind == "one expert":
        logits[..., -1] = 50
    elif kind == "an expert nobody chooses":
        logits[..., 0] = -50
    return logits.astype(np.float32)


@given(
    st.integers(1, 5),
    st.integers(1, 9),
    st.data(),
    st.sampled_from(FORMS),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from(KINDS),
    st.integers(0, 2**32 - 1),
)
def test_float(
    experts: int, tokens: int, data: st.DataObject, form: tuple[str, bool], activation: str, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    op = MoE(data.draw(st.integers(1, experts)), *form, activation)
    width, hidden, outs = rng.integers(1, 6, 3)
    shapes = [(experts, hidden, width), (experts, hidden), (experts, outs, hidden), (experts, outs)]
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((2, tokens, width), *shapes)]
    logits = routed(kind, rng, (2, tokens, experts))
    got = op.eval(arrays[0], logits, *arrays[1:])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, formula(op, arrays[0], logits, *arrays[1:]), rtol=1e-4, atol=1e-4)


def integer_operands(rng: np.random.Generator, experts: int, tokens: int, kind: str) -> tuple[MoE, list[Array]]:
    width, hidden, outs = (int(n) for n in rng.integers(1, 20, 3))
    first, second = (multiplier_shift(1 / (127 * n)) for n in (width**0.5 * 10, hidden**0.5))
    w1, w2 = rng.integers(-127, 128, (experts, hidden, width)), rng.integers(-127, 128, (experts, outs, hidden))
    scaling = [np.full((experts, hidden), first[0]), np.full((experts, hidden), first[1])]
    scaling += [rng.integers(-127, 128, 256), np.full((experts, outs), second[0]), np.full((experts, outs), second[1])]
    dtypes = (np.int32, np.int8, np.int8, np.int32, np.int8)
    multiplier, shift = multiplier_shift(0.11)
    op = MoE(
        int(rng.integers(1, experts + 1)), gate_multiplier=multiplier, gate_shift=shift, zero_point=int(rng.integers(-127, 128))
    )
    logits = np.clip(np.round(routed(kind, rng, (1, tokens, experts)) * 300), -32767, 32767).astype(np.int16)
    operands: list[Array] = [
        rng.integers(-127, 128, (1, tokens, width)).astype(np.int8),
        logits,
        w1.astype(np.int8),
        rng.integers(-9000, 9000, (experts, hidden)).astype(np.int32),
        w2.astype(np.int8),
        rng.integers(-9000, 9000, (experts, outs)).astype(np.int32),
        *(x.astype(t) for x, t in zip(scaling, dtypes, strict=True)),
    ]
    return op, operands


def whole_numbers(op: MoE, operands: list[Array]) -> list[list[int]]:
    """The integer form in Python's integers."""
    x, logits, w1, b1, w2, b2, m1, s1, table, m2, s2 = (operand.tolist() for operand in operands)

    def shifted(value: int, shift: int) -> int:
        return (value + (1 << shift >> 1)) >> shift

    def clipped(value: int, high: int) -> int:
        return max(-high, min(high, value))

    def gates(row: list[int]) -> list[int]:
        e = []
        for value in row:
            u = min(shifted((max(row) - value) * op.gate_multiplier, op.gate_shift), 4095)
            e.append(round(2**15 * 2 ** (-(u & 255) / 256)) >> (u >> 8))
        n = sum(e).bit_length()
        return [clipped(shifted(v * ((1 << (n + 15)) // sum(e)), n), 32767) for v in e]

    rows = []
    for token, row in zip(x[0], logits[0], strict=True):
        chosen = sorted(range(len(row)), key=lambda e: (-row[e], e))[: op.top_k]
        share = gates([row[e] for e in chosen]) if op.over_chosen else [gates(row)[e] for e in chosen]
        total = [0] * len(b2[0])
        for e, gate in zip(chosen, share, strict=True):
            hidden = []
            for weights, bias, m, s in zip(w1[e], b1[e], m1[e], s1[e], strict=True):
                acc = sum(w * v for w, v in zip(weights, token, strict=True)) + bias
                hidden.append(table[clipped(shifted(acc * m, s) + op.zero_point, 127) + 128])
            for o, (weights, bias, m, s) in enumerate(zip(w2[e], b2[e], m2[e], s2[e], strict=True)):
                acc = sum(w * v for w, v in zip(weights, hidden, strict=True)) + bias
                total[o] += gate * clipped(shifted(acc * m, s), 32767)
        rows.append([shifted(value, 7) for value in total])
    return rows


@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from(FORMS), st.sampled_from(KINDS), st.integers(0, 2**32 - 1))
def test_integers(experts: int, tokens: int, form: tuple[str, bool], kind: str, seed: int) -> None:
    op, operands = integer_operands(np.random.default_rng(seed), experts, tokens, kind)
    op = replace(op, softmax=form[0], renormalise=form[1])
    assert op.eval(*operands)[0].tolist() == whole_numbers(op, operands)


def ran(graph: Graph, inputs: dict[str, Array]) -> dict[str, Array]:
    """onnxruntime's results of the written model."""
    model = write_float(graph) if graph.level is Level.FLOAT else write_integer(graph)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = dict(zip(interface_names(graph)[0], inputs.values(), strict=True))
    return dict(zip(graph.output_names, session.run(None, given), strict=True))


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from(FORMS), st.sampled_from(KINDS), st.integers(0, 2**32 - 1))
def test_integers_in_onnxruntime(experts: int, tokens: int, form: tuple[str, bool], kind: str, seed: int) -> None:
    op, operands = integer_operands(np.random.default_rng(seed), experts, tokens, kind)
    op = replace(op, softmax=form[0], renormalise=form[1])
    x, logits = graph_input("x", operands[0].shape, INT8), graph_input("l", operands[1].shape, INT16)
    node = make(op, x, logits, *(constant(operand) for operand in operands[2:]))
    graph = Graph("g", (x, logits), (node,), ("y",), Level.QUANTISED)
    given = {"x": operands[0].astype(np.int64), "l": operands[1].astype(np.int64)}
    assert np.array_equal(ran(graph, given)["y"], op.eval(*operands))


@pytest.mark.parametrize("form", FORMS)
def test_float_in_onnxruntime(form: tuple[str, bool]) -> None:
    graph = moe_network(MoE(3, *form))
    given = samples(graph, 1)
    want, got = interpret(graph, given), ran(graph, given)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tokens", [1, 9])
def test_quantised_networks_keep_their_bits_in_onnxruntime(form: tuple[str, bool], tokens: int) -> None:
    graph, _ = optimise(moe_network(MoE(2, *form), tokens=tokens))
    found = quantise(graph, samples(graph, 96))
    for seed in range(3):
        one = samples(graph, 1, seed)
        want, got = interpret(found.graph, one), ran(found.graph, one)
        assert all(np.array_equal(want[name], got[name]) for name in want)
    # a token near the border between two experts may go to the other one: all experts, where none has a border
    every, _ = optimise(moe_network(MoE(6, *form), tokens=tokens))
    found = quantise(every, samples(every, 96))
    assert min(db or 99.0 for db in output_sqnr(found.float_graph, found.graph, samples(every, 16))) > 22
    assert sum(name.endswith("experts0") for name, _ in sqnr(found.float_graph, found.graph, samples(every, 1))) == 2


def test_an_expert_that_no_sample_chose_works() -> None:
    """Calibrated where expert 0 is never chosen, run where it is."""
    bias = np.array([0.0, 0, 0, 0, 0, -60])
    graph, _ = optimise(moe_network(MoE(2, "after"), router_bias=bias, tasks=("class",), layers=1))
    found = quantise(graph, samples(graph, 64))
    (seen,) = found.calibration.experts.values()
    assert seen.tokens[5] == 0 and (seen.tokens[:5] > 0).all() and seen.tokens.sum() == 64 * 9 * 2
    mixed = next(n for n in found.graph.nodes() if isinstance(n.op, MoE))
    values = interpret_all(found.graph, samples(graph, 1))
    x = values[mixed.inputs[0]]
    logits = np.full((1, 9, 6), -3000, np.int16)
    logits[..., 5] = 3000
    out = mixed.op.eval(x, logits, *(values[n] for n in mixed.inputs[2:]))
    assert len(np.unique(out)) > 20 and np.abs(out).max() < 1 << 26


def test_a_router_that_holds_experts_off_keeps_its_resolution() -> None:
    """A bias of -1e9 is no reason to coarsen the other logits: integers are as good as without that expert."""
    off, _ = optimise(moe_network(MoE(5, "after"), tasks=("class",), router_bias=np.array([0.0, 0, -1e9, 0, 0, 0])))
    without, done = SelectExperts()(off)
    assert dict(done.counts)["experts dropped"] == 2
    noise = []
    for graph in (off, without):
        found = quantise(graph, samples(graph, 64))
        noise.append(dict(sqnr(found.float_graph, found.graph, samples(graph, 16)))["class.experts0"] or 0.0)
    assert abs(noise[0] - noise[1]) < 1.0 and noise[0] > 15


def test_what_does_not_fit_is_named() -> None:
    shapes = [(1, 4, 3), (1, 4, 5), (5, 6, 3), (5, 6), (5, 2, 6), (5, 2)]
    assert MoE(2).infer(*(TensorType(s) for s in shapes)) == TensorType((1, 4, 2))
    broken = {
        "router's logits (1, 4, 6)": (MoE(2), 1, (1, 4, 6)),
        "tokens (1, 4, 2)": (MoE(2), 0, (1, 4, 2)),
        "second weight": (MoE(2), 4, (5, 2, 7)),
        "bias (4, 6)": (MoE(2), 3, (4, 6)),
        "chooses 6 of 5": (MoE(6), 1, (1, 4, 5)),
        "chooses 0 of 5": (MoE(0), 1, (1, 4, 5)),
        "unknown activation": (MoE(2, activation="Sine"), 1, (1, 4, 5)),
        "neither before nor after": (MoE(2, "during"), 1, (1, 4, 5)),
    }
    for words, (op, place, shape) in broken.items():
        with pytest.raises(InferError, match=words.replace("(", r"\(").replace(")", r"\)")):
            op.infer(*(TensorType(shape if i == place else s) for i, s in enumerate(shapes)))


def test_work_counts_the_experts_a_token_chooses() -> None:
    node = next(n for n in moe_network(MoE(2)).nodes() if isinstance(n.op, MoE))
    assert node.work.macs == 9 * 2 * (24 * 16 + 16 * 24)


def test_the_engine_refuses_experts_by_name() -> None:
    graph, _ = optimise(moe_network(tasks=("class",), layers=1))
    with pytest.raises(CompileError) as caught:
        fuse(quantise(graph, samples(graph, 16)).graph)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "P001" and "MoE" in diagnostic.message and "run" in diagnostic.because


def test_computed_weights_have_no_integer_form() -> None:
    graph = moe_network(tasks=("class",), layers=1)
    mixed = next(n for n in graph.nodes() if isinstance(n.op, MoE))
    w1: Node = graph_input("w1", mixed.inputs[2].shape)
    node = make(mixed.op, *mixed.inputs[:2], w1, *mixed.inputs[3:])
    with pytest.raises(CompileError) as caught:
        quantise(Graph("g", (*graph.inputs, w1), (node,), ("y",)), {})
    assert [d.code for d in caught.value.diagnostics] == ["Q002"]


def test_only_the_tokens_that_are_read_are_routed() -> None:
    """A head on the first token: the last mixture computes that token alone."""
    graph = moe_network(tasks=("class",))
    head = graph.outputs[0]
    stream = head.inputs[0].inputs[0]
    first = make(Slice(1, 0, 1), stream)
    short = replace(graph, outputs=(make(Linear(), first, *head.inputs[1:]),))
    better, _ = optimise(short)
    assert [n.shape[1] for n in better.nodes() if isinstance(n.op, MoE)] == [1, 1]
    one = samples(short, 4)
    np.testing.assert_allclose(interpret(better, one)["class"], interpret(short, one)["class"], rtol=1e-5, atol=1e-6)
