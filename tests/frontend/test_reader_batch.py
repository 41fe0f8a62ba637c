"""Fixed batches, first axes that are no batch, and scalars: read so that every later stage sees samples along axis 0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
import pytest
from edgewright.frontend.files.npz import npz
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.samples.data import input_shapes, load_samples, unbatched_inputs
from edgewright.passes.ir import Array, Graph
from edgewright.passes.ir.interp import interpret
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.bad_models import codes, refusal
from tests.frontend.onnx_vit import Spelling, vit

RNG = np.random.default_rng(3)


def model(
    nodes: list[onnx.NodeProto], inputs: Mapping[str, tuple[int | str, ...]], constants: Mapping[str, Array] | None = None
) -> onnx.ModelProto:
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    held = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", made, [output], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def onnx_runs(proto: onnx.ModelProto, inputs: dict[str, Array]) -> Array:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["y"], inputs)
    return np.asarray(found)


def samples(graph: Graph, arrays: dict[str, Array], folder: Path) -> dict[str, Array]:
    """As a user's file gives them."""
    (folder / "data.npz").write_bytes(npz(arrays))
    return load_samples(folder / "data.npz", input_shapes(graph), unbatched=unbatched_inputs(graph)).inputs


WEIGHT = RNG.standard_normal((6, 6)).astype(np.float32)
TOKENS = [
    helper.make_node("MatMul", ["x", "w"], ["h"]),
    helper.make_node("Softmax", ["h"], ["s"], axis=1),
    helper.make_node("ReduceMean", ["s", "axes"], ["m"], keepdims=0),
]
FLAT = [*TOKENS, helper.make_node("Reshape", ["m", "shape"], ["y"])]
CONSTANTS: dict[str, Array] = {"w": WEIGHT, "axes": np.array([1], np.int64)}


@pytest.mark.parametrize("batch", [2, 3, 4, 64])
@pytest.mark.parametrize("front", ["batch", -1])
def test_a_fixed_batch_becomes_one(batch: int, front: int | str, tmp_path: Path) -> None:
    shape = np.array([batch if front == "batch" else -1, 6], np.int64)
    proto = model(FLAT, {"x": (batch, 5, 6)}, {**CONSTANTS, "shape": shape})
    graph = read_model(proto)
    assert graph.inputs[0].shape == (1, 5, 6) and not unbatched_inputs(graph) and str(batch) in graph.notes[0]
    x = RNG.standard_normal((2 * batch, 5, 6)).astype(np.float32)
    wanted = np.concatenate([onnx_runs(proto, {"x": part}) for part in np.split(x, 2)])
    np.testing.assert_allclose(interpret(graph, samples(graph, {"x": x}, tmp_path))["y"], wanted, atol=1e-6)


def test_an_open_batch_that_the_user_fixes_is_one_too() -> None:
    proto = model(FLAT, {"x": ("n", 5, 6)}, {**CONSTANTS, "shape": np.array([-1, 6], np.int64)})
    assert read_model(proto, {"x": (4, 5, 6)}).inputs[0].shape == (1, 5, 6)


ACROSS: dict[str, tuple[list[onnx.NodeProto], dict[str, tuple[int, ...]], dict[str, Array]]] = {
    "tokens first": ([helper.make_node("Softmax", ["x"], ["y"], axis=0)], {"x": (7, 1, 6)}, {}),
    "tokens first, hidden by a reshape": (
        [helper.make_node("Reshape", ["x", "s"], ["a"]), helper.make_node("Softmax", ["a"], ["y"], axis=1)],
        {"x": (7, 1, 6)},
        {"s": np.array([1, -1, 6], np.int64)},
    ),
    "rows that differ": (
        [helper.make_node("Add", ["x", "c"], ["y"])],
        {"x": (4, 6)},
        {"c": RNG.standard_normal((4, 6)).astype(np.float32)},
    ),
    "several first axes": ([helper.make_node("Concat", ["x", "z"], ["y"], axis=0)], {"x": (4, 6), "z": (2, 6)}, {}),
    "a vector": ([helper.make_node("Softmax", ["x"], ["y"], axis=0)], {"x": (6,)}, {}),
    "a scalar": ([helper.make_node("Mul", ["x", "t"], ["y"])], {"x": (1, 6), "t": ()}, {}),
    "an unused scalar": ([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 6), "t": ()}, {}),
    "a cache of layers": (
        [helper.make_node("Slice", ["x", "one", "two", "nought"], ["a"]), helper.make_node("Relu", ["a"], ["y"])],
        {"x": (3, 1, 2, 6)},
        {"one": np.array([1], np.int64), "two": np.array([2], np.int64), "nought": np.array([0], np.int64)},
    ),
}


@pytest.mark.parametrize("name", ACROSS)
@pytest.mark.parametrize("count", [1, 3])
def test_other_first_axes_stay_behind_an_axis_of_samples(name: str, count: int, tmp_path: Path) -> None:
    nodes, shapes, constants = ACROSS[name]
    proto = model(nodes, shapes, constants)
    graph = read_model(proto)
    assert all(node.shape[0] == 1 for node in graph.inputs)
    given = [{n: RNG.standard_normal(s).astype(np.float32) for n, s in shapes.items()} for _ in range(count)]
    wanted = np.concatenate([onnx_runs(proto, one) for one in given])
    stacked = {n: (np.concatenate if s[:1] == (1,) else np.stack)([one[n] for one in given]) for n, s in shapes.items()}
    np.testing.assert_allclose(interpret(graph, samples(graph, stacked, tmp_path))["y"], wanted, atol=1e-6)
    if all(shapes.values()):  # as the model itself takes them, joined
        joined = {n: np.concatenate([one[n] for one in given]) for n in shapes}
        np.testing.assert_allclose(interpret(graph, samples(graph, joined, tmp_path))["y"], wanted, atol=1e-6)
    elif count == 1:
        np.testing.assert_allclose(interpret(graph, samples(graph, given[0], tmp_path))["y"], wanted, atol=1e-6)


def test_a_scalar_result_is_a_vector_of_samples() -> None:
    graph = read_model(model([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], {"x": (1, 6)}))
    x = RNG.standard_normal((5, 6)).astype(np.float32)
    np.testing.assert_allclose(interpret(graph, {"x": x})["y"], x.mean(axis=1), atol=1e-6)


def test_a_batch_of_one_that_the_model_forbids() -> None:
    proto = model(*ACROSS["rows that differ"])
    error = refusal(proto, {"x": (1, 6)})
    assert codes(error) == ["N025"] and "batch 1" in error.diagnostics[0].help
    proto = model(FLAT, {"x": (4, 5, 6)}, {**CONSTANTS, "shape": np.array([4, 6], np.int64)})
    assert read_model(proto, {"x": (1, 5, 6)}).inputs[0].shape == (1, 5, 6)
    proto = model(FLAT, {"x": (4, 5, 6)}, {**CONSTANTS, "shape": np.array([2, 12], np.int64)})
    error = refusal(proto, {"x": (1, 5, 6)})
    assert codes(error) == ["N025"] and "Reshape" in error.diagnostics[0].at


@pytest.mark.parametrize("qkv", ["split", "gather", "unstack_first", "interleaved", "three"])
@pytest.mark.parametrize("pool", ["gather", "mean"])
def test_transformers_of_a_fixed_batch(qkv: str, pool: str, tmp_path: Path) -> None:
    """Their heads and the parts of a joined projection move the batch to other axes on the way."""
    proto = vit(Spelling(batch=4, qkv=qkv, pool=pool))
    graph = read_model(proto)
    assert graph.inputs[0].shape == (1, 3, 8, 8) and graph.notes
    x = RNG.standard_normal((8, 3, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"x": part})[0] for part in np.split(x, 2)])
    np.testing.assert_allclose(interpret(graph, samples(graph, {"x": x}, tmp_path))["logits"], wanted, atol=1e-4)
