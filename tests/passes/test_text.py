"""Graphs as text: what is printed is read back as the same graph, and what is not a graph is refused with its line."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.text import digest, to_text
from edgewright.passes.pipeline import optimise, quantise

from tests import mixed_models
from tests.graph_text import TextError, constants_of, parse
from tests.models import images, tiny_vit

SMALL = """
graph small (float)
  %0 = Input['x'] : f32[1,2,3]
  %1 = Linear(%0, f32[2,3]{1, 0, 0, 0, 1, 0}, f32[2]{0.5})
  %2 = Relu(%1) : f32[1,2,2]  # act, fc
  %3 = Concat[axis=1](%2, f32[1,1,2]{-1.0, 2.0})
  return y = %3
"""


def test_a_text_is_a_graph() -> None:
    graph = parse(SMALL)
    x = np.array([[[1, 2, 3], [-4, -5, -6]]], np.float32)
    (y,) = interpret(graph, {"x": x}).values()
    assert np.array_equal(y, np.array([[[1.5, 2.5], [0, 0], [-1, 2]]], np.float32))
    assert graph.outputs[0].inputs[0].origin == ("act", "fc")


NETWORKS = {
    "vit": lambda: tiny_vit(),
    "gated": mixed_models.gated_network,
    "windows": mixed_models.windows_network,
    "text": mixed_models.text_network,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("literals", [0, 8])
def test_what_is_printed_is_read_back(name: str, literals: int) -> None:
    for graph in (NETWORKS[name](), optimise(NETWORKS[name]())[0]):
        again = parse(to_text(graph, literals), constants_of(graph))
        assert digest(again) == digest(graph)


def test_integer_graphs_are_read_back() -> None:
    graph = tiny_vit()
    done = quantise(optimise(graph)[0], {"image": images(graph, 2)}).graph
    assert digest(parse(to_text(done, literals=1), constants_of(done))) == digest(done)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  %1 = Linear(%0, f32[2,3]#w, f32[2]{0})", "w"),
        ("  %1 = Swirl(%0)", "no operator Swirl"),
        ("  %1 = Relu(%7)", "7"),
        ("  %1 = Relu(%0) : f32[1,2,2]", "it says f32\\[1,2,2\\], and Relu makes f32\\[1,2,3\\]"),
        ("  %0 = Relu(%0)", "%0 is defined twice"),
        ("  %1 = Concat[axes=1](%0)", "axes"),
        ("  %1 = Relu %0", "operands stand in parentheses"),
        ("  one = Relu(%0)", "a value is"),
        ("  %1 = Add(%0 %0)", "follows an operand"),
        ("  %1 = Add(%0, f32[2]{1, 2, 3})", "reshape"),
    ],
)
def test_what_is_not_a_graph_is_refused_with_its_line(line: str, message: str) -> None:
    with pytest.raises(TextError, match=rf"line 3, .*{message}"):
        parse(f"graph g (float)\n  %0 = Input['x'] : f32[1,2,3]\n{line}\n  return y = %0\n")
