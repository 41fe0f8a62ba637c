"""Graphs whose values do not fit memory are refused by their shapes, before anything is evaluated."""

from __future__ import annotations

import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.budget import PEAK_BYTES_MAX, check_budget, peak_bytes
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ops import Attention, Concat, ReduceMean, Relu, graph_input


def doubled(times: int) -> Graph:
    x = y = graph_input("x", (1, 4, 8))
    for i in range(times):
        y = make(Concat(2), y, y, origin=(f"twice{i}",))
    return Graph("doubled", (x,), (make(ReduceMean((2,)), y, origin=("mean",)),), ("y",))


def test_a_value_that_doubles_is_refused_with_its_place_and_size() -> None:
    for graph in (doubled(24), doubled(40)):
        with pytest.raises(CompileError) as caught:
            check_budget(graph)
        (found,) = caught.value.diagnostics
        assert found.code == "Q010" and "GiB" in found.message and found.help
        assert any(name in found.at for name in ("twice", "mean"))
        with pytest.raises(CompileError, match="N024"):  # the reader stops at the first value that is too large
            read_model(write_float(graph))
    assert read_model(write_float(doubled(6)))


def test_only_what_is_alive_counts() -> None:
    x = y = graph_input("x", (1, 1 << 10))
    for i in range(50):
        y = make(Relu(), y, origin=(f"r{i}",))
    assert peak_bytes(Graph("chain", (x,), (y,), ("y",)))[0] == 2 * 4 << 10


def test_scores_count() -> None:
    tokens = 1 << 14
    x = graph_input("x", (1, tokens, 16))
    graph = Graph("long", (x,), (make(Attention(4, 0.5), x, x, x, origin=("a",)),), ("y",))
    assert peak_bytes(graph)[0] > 4 * 4 * tokens * tokens > PEAK_BYTES_MAX
    with pytest.raises(CompileError, match="Q010"):
        check_budget(graph)
