"""The normalisation in front of a patch embedding goes into its weights, whatever its spelling; anything else stays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.plan import plan
from edgewright.passes.exact.fold_image_affine import FoldImageAffine
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Add, Div, Mul, PatchEmbed, Relu, Sub, constant, graph_input
from edgewright.passes.pipeline import optimise, quantise

RNG = np.random.default_rng(0)
MEAN = np.array([0.48, 0.45, 0.4], np.float32).reshape(1, 3, 1, 1)
STD = np.array([0.2, 0.22, 0.23], np.float32).reshape(3, 1, 1)


def of(value: Array | float | list[float]) -> Node:
    return constant(np.asarray(value, np.float32))


SPELLINGS: dict[str, Callable[[Node], Node]] = {
    "minus mean, by deviation": lambda x: make(Div(), make(Sub(), x, of(MEAN)), of(STD)),
    "by 255 first": lambda x: make(Div(), make(Sub(), make(Mul(), x, of(1 / 255)), of(MEAN)), of(STD)),
    "one number for all": lambda x: make(Div(), make(Sub(), x, of(0.5)), of([0.5])),
    "times and plus": lambda x: make(Add(), of(MEAN), make(Mul(), of(STD), x)),
    "from white": lambda x: make(Sub(), of(1.0), x),
}


def embedded(change: Callable[[Node], Node]) -> Graph:
    x = graph_input("x", (1, 3, 8, 8))
    weight, bias = (of(RNG.standard_normal(shape) / 4) for shape in ((16, 48), 16))
    return Graph("g", (x,), (make(PatchEmbed(4), change(x), weight, bias),), ("y",))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_it_goes_into_the_patch_embedding_and_the_engine_runs_it(spelling: str) -> None:
    graph = embedded(SPELLINGS[spelling])
    after, _ = FoldImageAffine()(graph)
    assert after.outputs[0].inputs[0] is after.inputs[0]
    images = {"x": RNG.uniform(0, 1, (4, 3, 8, 8)).astype(np.float32)}
    one = {"x": images["x"][:1]}
    wanted, found = interpret(graph, one)["y"], interpret(after, one)["y"]
    assert np.abs(found - wanted).max() <= 2e-5 * np.abs(wanted).max()
    assert len(plan(quantise(optimise(graph)[0], images).graph, EngineConfig()).steps) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda x: make(Relu(), x),
        lambda x: make(Add(), x, x),
        lambda x: make(Mul(), x, of(RNG.standard_normal((1, 1, 8, 8)))),
        lambda x: make(Div(), of(1.0), x),
        lambda x: make(Div(), x, of(0.0)),
        lambda x: make(Mul(), make(Mul(), x, of(3e38)), of(3e38)),
    ],
)
def test_what_is_not_affine_in_each_plane_stays(change: Callable[[Node], Node]) -> None:
    graph = embedded(change)
    after, _ = FoldImageAffine()(graph)
    assert after.outputs[0].inputs[0] is not after.inputs[0]
