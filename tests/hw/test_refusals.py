"""Refusals name what stands in the way, each kind once, and nothing that only stands around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.plan import plan
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import INT8, INT16, Level
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    Conv,
    Div,
    LayerNormalization,
    Linear,
    MatMul,
    Mul,
    Quantise,
    Requantise,
    Reshape,
    Slice,
    Softmax,
    Transpose,
    constant,
    graph_input,
)

from tests.hw.integer_models import IDENTITY, Builder


class Model(Builder):
    """A chain on one int8 image or token input, every node under a name of its own."""

    def __init__(self, *shape: int) -> None:
        super().__init__(1)
        self.x = graph_input("x", shape)
        self.start = make(Quantise(0.02, 0), self.x, origin=("x",))

    def scaled(self, acc: Node, wide: bool = False) -> Node:
        """Requantised under the accumulators' name."""
        factors = constant(np.array([40000], np.int32)), constant(np.array([20], np.int8))
        return make(Requantise(0, INT16 if wide else INT8), acc, *factors, origin=acc.origin)

    def conv(self, x: Node, name: str, wide: bool = False) -> Node:
        """A 3 x 3 convolution that keeps the size."""
        channels = x.shape[1]
        weight = self.integers(-9, 9, (channels, channels, 3, 3), "int8")
        acc = make(Conv(pads=(1, 1, 1, 1)), x, weight, self.integers(-9, 9, channels, "int32"), origin=(name,))
        return self.scaled(acc, wide=wide)

    def tokens(self, maps: Node) -> Node:
        """(1, C, H, W) -> (1, H W, C)."""
        _, channels, height, width = maps.shape
        moved = make(Transpose((0, 2, 3, 1)), maps, origin=("to tokens",))
        return make(Reshape((1, height * width, channels)), moved, origin=("flatten",))

    def graph(self, *outputs: Node) -> Graph:
        """The graph."""
        return Graph("g", (self.x,), outputs, tuple(f"y{i}" for i in range(len(outputs))), Level.QUANTISED)


def refused(graph: Graph) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as caught:
        plan(graph, EngineConfig())
    assert caught.value.exit_code == 1
    for found in caught.value.diagnostics:
        assert found.code in ("P001", "P002", "P004") and found.at and found.because and found.help
        assert "edgewright inspect" not in found.help
    return caught.value.diagnostics


def test_many_nodes_of_a_kind_are_one_refusal_and_moves_around_them_none() -> None:
    """A stem of convolutions, a transpose to tokens, and a sum that has lost its product."""
    model = Model(1, 16, 4, 4)
    maps = model.start
    for layer in range(6):
        maps = model.conv(maps, f"stem.{layer}", wide=layer == 5)
    position = model.integers(-9, 9, (1, 16, 16), "int16")
    stream = make(AddRequantised(*IDENTITY, *IDENTITY), model.tokens(maps), position, origin=("add",))
    (found,) = refused(model.graph(model.linear(model.norm(stream), 10, INT16)))
    assert (found.code, found.message) == ("P001", "Conv cannot run on the engine")
    assert found.at == "stem.0, stem.1, stem.2 and 3 more"
    assert "convolution" in found.because and "overlap" in found.help


def test_every_kind_is_named_at_once() -> None:
    model = Model(1, 4, 16)
    q, k = model.linear(model.start, 16), model.linear(model.start, 16)
    scores = model.scaled(make(MatMul(), q, make(Transpose((0, 2, 1)), k), origin=("scores",)), wide=True)
    gate = model.scaled(make(Mul(), model.linear(model.start, 16), model.start, origin=("gate",)))
    soft = make(Softmax(2, 40000, 20), scores, origin=("softmax",))
    last = make(Softmax(2, 40000, 20), model.linear(gate, 10, INT16), origin=("probabilities",))
    found = {d.at: d for d in refused(model.graph(last, soft))}
    assert set(found) == {"scores", "gate", "probabilities, softmax"}
    assert "rotary" in found["gate"].because


def test_divisions_and_wide_norms_are_named_beside_all_else() -> None:
    """As in linear attention on a wide model: one refusal each, with the reason, and the products of two values too."""
    model = Model(1, 4, 32)
    x = model.linear(model.start, 1040, INT16)
    wide = replace(model.norm(x), origin=("wide",))
    q, k = model.linear(wide, 16), model.linear(wide, 16)
    scores = make(MatMul(), q, make(Transpose((0, 2, 1)), k), origin=("scores",))
    ratio = make(Div(20), scores, make(Slice(2, 0, 1), scores), origin=("ratio",))
    found = {d.at: d for d in refused(model.graph(model.scaled(ratio)))}
    assert set(found) == {"wide", "scores", "ratio"}
    assert "its rows hold 1,040 values" in found["wide"].because and "divides by a computed value" in found["ratio"].because


def test_a_softmax_at_the_end_can_be_cut_off() -> None:
    model = Model(1, 16)
    (found,) = refused(model.graph(make(Softmax(1, 40000, 20), model.linear(model.start, 10, INT16), origin=("p",))))
    assert found.at == "p"
    assert "remove it from the output" in found.help and "order of the classes stays the same" in found.help


def test_rotary_positions_are_named_not_the_heads_around_them() -> None:
    """Heads in front of tokens, turned by a table of angles, and attention in two windows."""
    model = Model(1, 6, 32)
    qkv = [model.linear(model.start, 32) for _ in range(3)]
    split = [make(Reshape((1, 6, 2, 16)), x, origin=("split",)) for x in qkv]
    heads = [make(Reshape((2, 6, 16)), make(Transpose((0, 2, 1, 3)), x, origin=("heads",)), origin=("heads",)) for x in split]
    turned = []
    for x in heads[:2]:
        halves = make(Concat(2), make(Slice(2, 8, 16), x), make(Slice(2, 0, 8), x), origin=("halves",))
        parts = [
            model.scaled(make(Mul(), part, model.integers(-9, 9, (1, 6, 16), "int8"), origin=("angle",)), wide=True)
            for part in (x, halves)
        ]
        total = make(AddRequantised(*IDENTITY, *IDENTITY), *parts, origin=("rotated",))
        turned.append(model.scaled(total))
    mixed = make(Attention(1, 1.0, score_multiplier=50000, score_shift=19), *turned, heads[2], origin=("attention",))
    back = make(Reshape((1, 6, 32)), make(Transpose((1, 0, 2)), model.scaled(mixed), origin=("back",)), origin=("back",))
    found = refused(model.graph(model.linear(back, 10, INT16)))
    assert {d.message for d in found} == {"Mul cannot run on the engine"}
    assert "rotary positions" in found[0].because


def test_a_sum_read_in_8_bits_is_named_itself() -> None:
    model = Model(1, 4, 16)
    position = model.integers(-9, 9, (1, 4, 16), "int16")
    stream = make(AddRequantised(*IDENTITY, *IDENTITY), model.linear(model.start, 16, INT16), position)
    narrow = model.scaled(stream)
    (found,) = refused(model.graph(model.linear(narrow, 10, INT16)))
    assert found.message.startswith("Requantise") and "LayerNorm" in found.help


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


def test_heads_and_widths_still_have_their_reasons() -> None:
    model = Model(1, 4, 48)
    stream = model.linear(model.start, 24, INT16)
    affine = (model.integers(1, 9, 24, kind) for kind in ("int32", "int64"))
    normed = make(LayerNormalization(1e-6, 1, 9, 0, INT8), stream, *affine)
    weight = model.integers(-9, 9, (8, 24), "int8")
    (found,) = refused(model.graph(model.scaled(make(Linear(), normed, weight, model.integers(0, 1, 8, "int32")), wide=True)))
    assert (found.code, found.because) == ("P002", "LayerNorm over 24 channels")
