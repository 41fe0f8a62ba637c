"""Graphs survive being saved: same structure, same values, same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir import checkpoint
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.text import to_text
from edgewright.passes.ops import Clip, graph_input

from tests.hw.integer_models import random_image, random_vit
from tests.models import tiny_vit


@pytest.mark.parametrize("graph", [random_vit(), random_vit(pool=True), tiny_vit(0)], ids=["class", "pool", "float"])
def test_round_trip(graph: Graph, tmp_path: Path) -> None:
    checkpoint.save(graph, tmp_path / "a.npz")
    loaded = checkpoint.load(tmp_path / "a.npz")
    checkpoint.save(loaded, tmp_path / "b.npz")
    assert to_text(loaded) == to_text(graph)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_values(tmp_path: Path) -> None:
    graph = random_vit(3)
    checkpoint.save(graph, tmp_path / "a.npz")
    image = random_image(graph)
    assert np.array_equal(interpret(graph, image)["logits"], interpret(checkpoint.load(tmp_path / "a.npz"), image)["logits"])


@pytest.mark.parametrize("op", [Clip(), Clip(low=0.0), Clip(high=6.0), Clip(-1.0, 1.0)], ids=str)
def test_bounds_that_are_infinite(op: Clip, tmp_path: Path) -> None:
    """JSON has no numbers for them."""
    x = graph_input("x", (1, 4))
    y = make(op, x)
    checkpoint.save(Graph("one", (x,), (y,), ("y",)), tmp_path / "a.npz")
    assert checkpoint.load(tmp_path / "a.npz").outputs[0].op == op


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"\x93NUMPY"])
def test_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(CompileError) as caught:
        checkpoint.load(tmp_path / "a.npz")
    assert caught.value.diagnostics[0].code == "G090"
