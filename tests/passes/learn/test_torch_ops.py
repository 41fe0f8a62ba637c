"""Every operator with a float form, alone and on batches, equals the interpreter; graphs that move the leading axis too."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes import ops
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array, Shape, elem_of
from edgewright.passes.ops import constant, elementwise, graph_input
from edgewright.passes.ops.groups import BROADCASTING, ONLY_QUANTISED
from edgewright.passes.ops.groups import OPERATORS as CLASSES
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.learn.operands import CASES, Sizes, factored
from tests.passes.learn.reference import assert_close, drawn, sample_by_sample

pytestmark = pytest.mark.train

NO_FUNCTIONS: set[type[Op]] = {ops.Input, ops.Constant, *ONLY_QUANTISED}


def outputs_by_torch(graph: Graph, inputs: dict[str, Array]) -> list[Array]:
    import torch
    from edgewright.passes.learn.torch_graph import TorchGraph

    torch.set_num_threads(1)
    with torch.no_grad():
        found = TorchGraph(graph)({name: torch.from_numpy(value) for name, value in inputs.items()})
    return [found[name].numpy() for name in graph.output_names]


def test_every_operator_has_a_torch_form_or_is_of_the_integer_level() -> None:
    from edgewright.passes.learn import torch_elementwise
    from edgewright.passes.learn.torch_ops import FUNCTIONS, function_of

    lacking = {op.__name__ for op in {*CLASSES} - {*FUNCTIONS} - NO_FUNCTIONS}
    assert not lacking, f"FUNCTIONS of passes/learn/torch_ops.py: missing {lacking}"
    assert set(FUNCTIONS) == set(CASES), "a case for each in tests/passes/learn/operands.py"
    assert set(torch_elementwise.FUNCTIONS) == set(elementwise.FUNCTIONS), "passes/learn/torch_elementwise.py"
    with pytest.raises(TypeError, match="Requantise has no float form"):
        function_of(ops.Requantise())


def test_what_broadcasts_takes_a_batch_at_once() -> None:
    """Max and Min went sample by sample: a list of names lacked them."""
    from edgewright.passes.learn.torch_batch import TRANSLATIONS
    from edgewright.passes.learn.torch_ops import FUNCTIONS

    assert set(BROADCASTING) & set(FUNCTIONS) <= set(TRANSLATIONS)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in NO_FUNCTIONS], ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_operator_equals_the_interpreter(kind: type[Op], data: st.DataObject) -> None:
    """Any operand may come from an input, so have a batch, or be a constant."""
    op, operands = CASES[kind](Sizes(data.draw))
    given_ones = {i for i in range(len(operands)) if data.draw(st.booleans())} or {0}
    nodes = [
        graph_input(f"x{i}", x.shape, elem_of(x.dtype)) if i in given_ones else constant(x) for i, x in enumerate(operands)
    ]
    graph = Graph("one", tuple(nodes[i] for i in sorted(given_ones)), (make(op, *nodes),), ("y",))
    count = data.draw(st.integers(1, 3))
    inputs = drawn(graph, count, 1, {f"x{i}": operands[i] for i in given_ones})
    (found,) = outputs_by_torch(graph, inputs)
    assert_close(found, sample_by_sample(graph, inputs, count)[graph.outputs[0]])


def spreads(small: Shape, large: Shape) -> bool:
    """Whether a shape broadcasts to another."""
    return len(small) <= len(large) and all(n in (1, m) for n, m in zip(small[::-1], large[::-1], strict=False))


def moved(s: Sizes, values: list[Node]) -> Node:
    """One more value: some move, reduction or sum of what is there, whatever it does to the leading axis."""
    x = values[s.size(0, len(values) - 1)]
    rank = x.type.rank
    axis = s.size(0, rank - 1) if rank else 0
    kind = s.size(0, 6) if rank else 0
    if kind == 0:
        return make(ops.Reshape(factored(s, x.type.size)), x)
    if kind == 1:
        return make(ops.Transpose(tuple(int(i) for i in s.rng.permutation(rank))), x)
    if kind == 2:
        return make(ops.Slice(axis, 0, max(1, x.shape[axis] // 2)), x)
    if kind == 3:
        return make(ops.Concat(axis), x, constant(s.normal(*x.shape)), x)
    if kind == 4:
        return make(ops.ReduceMean((axis,), s.flag()), x)
    if kind == 5:
        return make(ops.Softmax(axis), x)
    fits = [y for y in values if spreads(y.shape, x.shape)]
    return make(ops.Add(), x, fits[s.size(0, len(fits) - 1)])


@settings(max_examples=80)
@given(data=st.data())
def test_a_batch_passes_whatever_moves_the_leading_axis(data: st.DataObject) -> None:
    s = Sizes(data.draw)
    x = graph_input("x", (s.size(1, 3), 4, 6)[: s.size(1, 3)])
    values: list[Node] = [x]
    for _ in range(s.size(1, 8)):
        values.append(moved(s, values))
    graph = Graph("moves", (x,), tuple(values), tuple(f"y{i}" for i in range(len(values))))
    count = s.size(1, 3)
    inputs = drawn(graph, count, 2)
    wanted = sample_by_sample(graph, inputs, count)
    for node, found in zip(values, outputs_by_torch(graph, inputs), strict=True):
        assert_close(found, wanted[node])


def test_bits_of_hash_codes_are_equal() -> None:
    rng = np.random.default_rng(0)
    u = graph_input("u", (1, 50, 32))
    shapes = [(2, 25, 16), (2, 16, 25), (2, 16)]
    codes = make(ops.HashCodes(2, 0.5), u, *(constant(rng.standard_normal(s)) for s in shapes))
    graph = Graph("codes", (u,), (codes,), ("y",))
    inputs = drawn(graph, 4, 3)
    (found,) = outputs_by_torch(graph, inputs)
    assert np.array_equal(found, sample_by_sample(graph, inputs, 4)[codes])
    assert set(np.unique(found)) == {-1.0, 1.0}
