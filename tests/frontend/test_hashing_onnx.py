"""Hashed attention in ONNX: onnxruntime computes what we mean, and what we write is read back as what it was."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgewright.frontend.inspect_model import inspect
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import interface_names, write_float, write_integer
from edgewright.frontend.report.render import consoles, inspection
from edgewright.frontend.report.render_hashing import verdict
from edgewright.passes.hashing.energy import hashing_outlook
from edgewright.passes.ir import Array, Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Constant, HashAttention, HashCodes, Input, Linear, constant, graph_input
from edgewright.passes.pipeline import optimise, quantise

from tests.frontend.test_writer_integer import run
from tests.models import tiny_vit

SHAPES = [
    *((1, 1, 1, 1, 1, 1, 1), (1, 7, 3, 5, 2, 5, 3), (1, 33, 2, 16, 16, 16, 25)),
    *((1, 20, 1, 8, 4, 3, 7), (4, 9, 2, 8, 8, 16, 5)),
]


def hashed_layer(shape: tuple[int, ...], form: str, seed: int = 0) -> Graph:
    """Projections, codes, attention and a projection behind: (windows, tokens, heads, dk, dv, bits, supports)."""
    windows, tokens, heads, dk, dv, bits, supports = shape
    rng = np.random.default_rng(seed)

    def real(*size: int) -> Node:
        return constant(rng.standard_normal(size).astype(np.float32))

    x = graph_input("x", (windows, tokens, 11))
    u, v = (make(Linear(), x, real(heads * n, 11), real(heads * n), origin=(name,)) for name, n in (("u", dk), ("v", dv)))
    anchors = rng.standard_normal((heads, supports, dk))
    anchors /= np.linalg.norm(anchors, axis=-1, keepdims=True)
    functions = constant(anchors.astype(np.float32)), real(heads, bits, supports), real(heads, bits)
    codes = make(HashCodes(heads, 0.9), u, *functions, origin=("codes",))
    mixed = make(HashAttention(heads, bits, form), codes, v, origin=("mixed",))
    return Graph("layer", (x,), (make(Linear(), mixed, real(3, heads * dv), real(3), origin=("out",)),), ("y",))


def operators(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes() if not isinstance(node.op, Constant | Input)]


def sample(graph: Graph, seed: int = 1, count: int = 1) -> Array:
    shape = graph.inputs[0].shape
    return np.random.default_rng(seed).standard_normal((count * shape[0], *shape[1:])).astype(np.float32)


@pytest.mark.parametrize("form", ["sum", "own"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float_onnx_runs_and_is_read_back(shape: tuple[int, ...], form: str) -> None:
    graph = hashed_layer(shape, form)
    x, model = sample(graph), write_float(graph)
    wanted = interpret(graph, {"x": x})["y"]
    (found,) = run(model, {interface_names(graph)[0][0]: x}).values()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    again = read_model(model)
    assert operators(again) == operators(graph)
    ops = [[n.op for n in g.nodes() if isinstance(n.op, HashCodes | HashAttention)] for g in (graph, again)]
    assert ops[0][1] == ops[1][1] and ops[1][0].heads == ops[0][0].heads
    assert ops[1][0].sigma == pytest.approx(0.9, rel=1e-6)  # type: ignore[union-attr]
    same = interpret(again, {again.inputs[0].name: x})[again.output_names[0]]
    np.testing.assert_allclose(same, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["sum", "own"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_integer_onnx_has_the_interpreters_bits(shape: tuple[int, ...], form: str) -> None:
    graph = hashed_layer(shape, form, seed=2)
    done = quantise(optimise(graph)[0], {"x": sample(graph, 3, 4)}).graph
    assert operators(done).count("HashCodes") == operators(done).count("HashAttention") == 1
    x = sample(graph, 4)
    found = run(write_integer(done, every_tensor=True), {interface_names(done)[0][0]: x})
    assert np.array_equal(found[interface_names(done)[1][0]], interpret(done, {"x": x})["y"])


@pytest.mark.parametrize("change", ["sigma", "constant", "count", "anchor"])
def test_what_only_looks_like_it_is_left_as_it_is(change: str) -> None:
    """A computed sigma, another constant term, another divisor, lengths that are not the anchors'."""
    graph = hashed_layer((1, 6, 2, 4, 4, 5, 3), "sum")
    model = write_float(graph)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    numbers = [(_number(tensors, n.input[1]), n) for n in model.graph.node if n.op_type == "Mul"]
    by_value = {value: node for value, node in numbers if value is not None}
    if change == "sigma":
        node = next(n for value, n in by_value.items() if value < 0)
        node.input[1] = node.input[0]
    elif change == "constant":
        by_value[6.0].input[1] = _real(model, 7.0)
    elif change == "count":
        added = next(n for n in model.graph.node if n.op_type == "Add" and _number(tensors, n.input[1]) == 36.0)
        added.input[1] = _real(model, 35.0)
    else:
        by_value[2.0].input[1] = _real(model, 1.5)
    found = operators(read_model(model))
    lost = "HashCodes" if change in ("sigma", "anchor") else "HashAttention"
    assert lost not in found
    assert ("HashCodes" in found) == (lost == "HashAttention")


def _real(model: onnx.ModelProto, number: float) -> str:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(number, np.float32), "other"))
    return "other"


def _number(tensors: dict[str, onnx.TensorProto], name: str) -> float | None:
    value = onnx.numpy_helper.to_array(tensors[name]) if name in tensors else None
    return float(value.reshape(())) if value is not None and value.size == 1 else None


def test_the_centre_may_be_taken_off_the_kernels_and_a_sign_may_stand_alone() -> None:
    """(kernels - centre) A, and sign without the half that decides zero: threshold = centre A."""
    graph = hashed_layer((1, 6, 2, 4, 4, 5, 3), "sum")
    model = write_float(graph)
    signs = [node for node in model.graph.node if node.op_type == "Sign"]
    (less,) = [node for node in model.graph.node if node.op_type == "Sub" and signs[0].input[0] in node.output]
    product = next(node for node in model.graph.node if less.input[0] in node.output)
    centre = np.random.default_rng(0).random((2, 1, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(centre, "centre"))
    kernels = product.input[0]
    at = list(model.graph.node).index(product)
    model.graph.node.insert(at, onnx.helper.make_node("Sub", [kernels, "centre"], ["centred"]))
    product.input[0] = "centred"
    signs[0].input[0] = product.output[0]
    signs[1].input[0] = signs[0].output[0]
    again = read_model(model)
    codes = next(node for node in again.nodes() if isinstance(node.op, HashCodes))
    threshold, weights = (np.asarray(codes.inputs[i].op.eval()) for i in (3, 2))
    np.testing.assert_allclose(threshold, np.einsum("hrm,hm->hr", weights, centre[:, 0]), rtol=1e-5)


def test_inspect_says_where_hashing_does_not_pay(capsys: pytest.CaptureFixture[str]) -> None:
    deit = tiny_vit(0, image=224, patch=16, channels=3, width=192, heads=3, blocks=1, hidden=768)
    out, _ = consoles()
    inspection(out, "deit.onnx", inspect(write_float(deit)))
    text = " ".join(capsys.readouterr().out.split())
    assert "hashed attention does not pay: scores and their sums" in text and "times less at best" in text
    long = tiny_vit(0, image=56, patch=2, blocks=2, hidden=32)
    assert verdict(hashing_outlook(long)).startswith("pays in layers 0, 1")
    assert verdict(hashing_outlook(tiny_vit(0, blocks=0))) == "does not apply: no layer can be hashed."
