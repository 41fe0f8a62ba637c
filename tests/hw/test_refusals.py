"""Refusals name what stands in the way, each kind once, and nothing that only stands around it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.plan import plan
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ir.types import INT16
from edgewright.passes.ops import (
    Div,
    MatMul,
    Mul,
    Slice,
    Softmax,
    Transpose,
)

from tests.hw.small_models import Model, stem


def refused(graph: Graph) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as caught:
        plan(graph, EngineConfig())
    assert caught.value.exit_code == 1
    for found in caught.value.diagnostics:
        assert found.code in ("P001", "P002", "P004") and found.at and found.because and found.help
        assert "edgewright inspect" not in found.help
    return caught.value.diagnostics


def test_many_nodes_of_a_kind_are_one_refusal_and_moves_around_them_none() -> None:
    """The first of six convolutions reads the image, whose windows the host writes."""
    (found,) = refused(stem(dilation=2))
    assert (found.code, found.message) == ("P001", "Conv cannot run on the engine")
    assert found.at == "stem.1, stem.2, stem.3 and 2 more"
    assert "pads and dilates" in found.because


def test_every_kind_is_named_at_once() -> None:
    model = Model(1, 4, 16)
    q, k = model.linear(model.start, 16), model.linear(model.start, 16)
    scores = model.scaled(make(MatMul(), q, make(Transpose((0, 2, 1)), k), origin=("scores",)), wide=True)
    gate = model.scaled(make(Mul(), model.start, model.linear(model.start, 1), origin=("gate",)))
    soft = make(Softmax(2, 40000, 20), scores, origin=("softmax",))
    last = make(Softmax(2, 40000, 20), model.linear(gate, 10, INT16), origin=("probabilities",))
    found = {d.at: d for d in refused(model.graph(last, soft))}
    assert set(found) == {"scores", "gate", "probabilities, softmax"}
    assert "repeats the channels" in found["gate"].because


def test_divisions_and_wide_norms_are_named_beside_all_else() -> None:
    """As in linear attention on a wide model: one refusal each, with the reason, and the products of two values too."""
    model = Model(1, 4, 32)
    x = model.linear(model.start, 2064, INT16)
    wide = replace(model.norm(x), origin=("wide",))
    q, k = model.linear(wide, 16), model.linear(wide, 16)
    scores = make(MatMul(), q, make(Transpose((0, 2, 1)), k), origin=("scores",))
    ratio = make(Div(20), scores, make(Slice(2, 0, 1), scores), origin=("ratio",))
    found = {d.at: d for d in refused(model.graph(model.scaled(ratio)))}
    assert set(found) == {"wide", "scores", "ratio"}
    assert "its rows hold 2,064 values" in found["wide"].because and "divides by a computed value" in found["ratio"].because


def test_a_softmax_at_the_end_can_be_cut_off() -> None:
    model = Model(1, 16)
    (found,) = refused(model.graph(make(Softmax(1, 40000, 20), model.linear(model.start, 10, INT16), origin=("p",))))
    assert found.at == "p"
    assert "remove it from the output" in found.help and "order of the classes stays the same" in found.help


@pytest.mark.parametrize("kind", ["input", "part of the input", "constant"])
def test_a_model_without_an_operation_is_refused(kind: str) -> None:
    model = Model(1, 4, 16)
    outputs = {
        "input": model.start,
        "part of the input": make(Slice(2, 3, 9), model.start),
        "constant": model.integers(-9, 9, (1, 4), "int8"),
    }
    (found,) = refused(model.graph(outputs[kind]))
    assert (found.code, found.at) == ("P004", "y0")
