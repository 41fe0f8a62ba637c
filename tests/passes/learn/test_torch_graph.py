"""Whole graphs as modules: equal values, what learns, values in the middle, and the way back."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
from edgewright.passes import ops
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import constant, graph_input

from tests.form_models import linear_attention_network, normed_maps_network
from tests.mixed_models import gated_network, plain_attention, samples, text_network, windows_network
from tests.models import tiny_vit
from tests.passes.learn.reference import assert_close, sample_by_sample

pytestmark = pytest.mark.train

MODELS: dict[str, Callable[[], Graph]] = {
    "vit": lambda: tiny_vit(1, blocks=2),
    "vit_apart": lambda: tiny_vit(2, pooling="avg", merged_qkv=False),
    "gated": gated_network,
    "windows": windows_network,
    "linear attention": linear_attention_network,
    "normed maps": normed_maps_network,
    "text": text_network,
    "text_arithmetic": lambda: text_network(1, True),
    "attention": plain_attention,
}


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_every_value_before_and_after_a_step_equals_the_interpreter(name: str) -> None:
    import torch
    from edgewright.passes.learn.torch_graph import TorchGraph

    torch.set_num_threads(1)
    graph, count = MODELS[name](), 3
    module, inputs = TorchGraph(graph), samples(graph, count)
    assert module.to_graph() == graph, "nothing learned, nothing changed"
    tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
    torch.autograd.backward(sum(value.square().mean() for value in module(tensors).values()))
    assert all(module.parameter(node).grad is not None for node in module.learned)
    torch.optim.SGD(module.parameters(), 0.05).step()
    trained = module.to_graph()
    assert [n.op.kind for n in trained] == [n.op.kind for n in graph] and trained.outputs != graph.outputs
    for each in (graph, trained):
        values = [n for n in each.nodes() if not isinstance(n.op, (ops.Constant, ops.Input))]
        wanted = sample_by_sample(each, inputs, count)
        with torch.no_grad():
            found = TorchGraph(each).evaluate(tensors, values)
        for node, value in zip(values, found, strict=True):
            assert_close(np.nan_to_num(value.numpy(), neginf=0), np.nan_to_num(wanted[node], neginf=0))
    with torch.no_grad():
        for key, value in module(tensors).items():
            assert_close(value.numpy(), interpret(trained, inputs)[key])


def test_what_learns_by_default() -> None:
    from edgewright.passes.learn.torch_graph import TorchGraph

    x = graph_input("x", (1, 3, 4))
    mask = constant(np.where(np.eye(3), 0.0, -100.0))
    weight, bias, position = constant(normal(4, 4)), constant(normal(4)), constant(normal(1, 3, 4))
    table, gamma = constant(normal(5, 4)), constant(normal(4, seed=1))
    rows = make(ops.Add(), make(ops.Add(), x, position), make(ops.Gather(0), table, constant(np.arange(3))))
    y = make(ops.Linear(), make(ops.RMSNormalization(), rows, gamma), make(ops.Transpose((1, 0)), weight), bias)
    y = make(ops.Attention(1), y, y, y, mask)
    hashed = [constant(normal(*shape)) for shape in ((1, 2, 4), (1, 3, 2), (1, 3))]
    codes = make(ops.HashCodes(1), y, *hashed)
    y = make(ops.Mul(), make(ops.HashAttention(1, 3), codes, y), constant(np.array(2.0)))
    image = make(ops.Reshape((1, 4, 3)), y)
    scale, shift, mean, variance = (constant(np.abs(normal(4, seed=s))) for s in range(4))
    y = make(ops.BatchNormalization(), image, scale, shift, mean, variance)
    module = TorchGraph(Graph("all", (x,), (make(ops.Pow(), y, constant(np.array([1.0, 2.0, 3.0]))),), ("y",)))
    assert set(module.learned) == {weight, bias, position, table, gamma, scale, shift}
    assert [id(p) for p in module.matrices()] == [id(module.parameter(weight))]
    with pytest.raises(KeyError, match="does not learn"):
        module.parameter(mean)
    chosen = TorchGraph(module.graph, lambda node: node is mean)
    assert chosen.learned == (mean,) and [p.shape for p in chosen.parameters()] == [(4,)]


def test_constants_that_are_shared_stay_shared_and_others_the_same_nodes() -> None:
    import torch
    from edgewright.passes.learn.torch_graph import TorchGraph

    x = graph_input("x", (1, 4))
    shared, other, bias = constant(normal(4, 4), ("shared",)), constant(normal(4, 4, seed=1)), constant(np.zeros(4))
    first = make(ops.Linear(), x, shared, bias)
    side = make(ops.Linear(), x, other, bias, origin=("side",))
    graph = Graph("tied", (x,), (make(ops.Linear(), first, shared, bias), side), ("y", "side"))
    module = TorchGraph(graph)
    with torch.no_grad():
        module.parameter(shared).add_(1)
    after = module.to_graph()
    second = after.outputs[0]
    assert second.inputs[1] is second.inputs[0].inputs[1] is not shared
    assert second.inputs[1].name == "shared" and np.array_equal(second.inputs[1].op.eval(), shared.op.eval() + 1)
    assert after.outputs[1] is side


def middle() -> tuple[Graph, Node, Node, Node]:
    """A graph, its weight, a value in the middle, and one behind it that also reads the input."""
    x = graph_input("x", (2, 3))
    weight = constant(normal(3, 3))
    hidden = make(ops.Linear(), x, weight, constant(np.zeros(3)))
    behind = make(ops.Add(), make(ops.Relu(), hidden), x)
    return Graph("middle", (x,), (make(ops.Neg(), behind),), ("y",)), weight, hidden, behind


def test_values_in_the_middle_are_given_and_wanted() -> None:
    import torch
    from edgewright.passes.learn.torch_graph import TorchGraph

    graph, _, hidden, behind = middle()
    module, x = TorchGraph(graph), torch.from_numpy(normal(4, 3))
    value = torch.from_numpy(normal(4, 3, seed=1))
    found, same = module.evaluate({"x": x}, [behind, hidden], {hidden: value})
    assert torch.equal(found, value.relu() + x) and same is value
    (found,) = module.evaluate({}, graph.outputs, {behind: value})  # the input is not needed
    assert torch.equal(found, -value)
    with pytest.raises(ValueError, match="needs input x"):
        module.evaluate({}, [behind], {hidden: value})


def test_a_constant_computed_elsewhere_receives_the_gradient() -> None:
    import torch
    from edgewright.passes.learn.torch_graph import TorchGraph

    graph, weight, *_ = middle()
    module, factor = TorchGraph(graph), torch.ones(1, requires_grad=True)
    product = factor * module.parameter(weight).detach()
    found = module({"x": torch.from_numpy(normal(2, 3))}, {weight: product})["y"]
    assert torch.equal(found, module({"x": torch.from_numpy(normal(2, 3))})["y"])
    torch.autograd.backward(found.sum())
    assert factor.grad is not None and float(factor.grad) != 0 and module.parameter(weight).grad is None


def test_copies_learn_apart_on_the_same_nodes() -> None:
    import torch
    from edgewright.passes.learn.torch_graph import TorchGraph

    graph, weight, *_ = middle()
    module = TorchGraph(graph)
    module.parameter(weight).requires_grad_(False)
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.parameter(weight).zero_()
    assert other.graph is graph and not other.parameter(weight).requires_grad
    assert float(module.parameter(weight).detach().abs().sum()) > 0


def test_wrong_inputs_and_levels() -> None:
    import torch
    from edgewright.passes.ir.types import Level
    from edgewright.passes.learn.torch_graph import TorchGraph

    graph = middle()[0]
    for shape in ((3, 3), (2, 4), (2,)):
        with pytest.raises(ValueError, match=r"input x has shape .*, the graph takes \(2, 3\)"):
            TorchGraph(graph)({"x": torch.zeros(shape)})
    with pytest.raises(ValueError, match="only float graphs learn"):
        TorchGraph(Graph("q", graph.inputs, graph.outputs, ("y",), Level.QUANTISED))


def test_slices_that_divide_a_value_are_one_split() -> None:
    import torch
    from edgewright.passes.learn.torch_graph import TorchGraph

    x = graph_input("x", (1, 6))
    y = make(ops.Linear(), x, constant(normal(6, 6)), constant(np.zeros(6)))
    parts = [make(ops.Slice(1, *bounds), y) for bounds in ((0, 2), (4, 6), (2, 4), (0, 2), (1, 5))]
    for chosen in (parts[:3], parts[:4], parts, parts[:2]):
        graph = Graph("parts", (x,), tuple(chosen), tuple(f"y{i}" for i in range(len(chosen))))
        module, value = TorchGraph(graph), torch.from_numpy(normal(5, 6))
        wanted = interpret(graph, {"x": value.numpy()})
        found = module({"x": value})
        for name in wanted:
            assert_close(found[name].detach().numpy(), wanted[name])
        whole = {id(f.grad_fn.next_functions) for f in found.values() if "Split" in type(f.grad_fn).__name__}
        assert bool(whole) == (chosen in (parts[:3], parts[:4]))
