"""Models of a few ONNX nodes, compared with onnxruntime in float32, and in int8 with their own integer ONNX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import interface_names, write_float, write_integer
from edgewright.passes.ir import Array, Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.pipeline import optimise, quantise
from edgewright.passes.quantisation.sqnr import decibels
from onnx import TensorProto, helper, numpy_helper

Values = Mapping[str, Array]


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Without optimisation: onnxruntime's would quantise activations beside weights that are stored in integers."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def node(op_type: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node with its operands' names in one string; `-` leaves one out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op_type, names, outputs.split(), **attributes)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, ...]],
    weights: Values | None = None,
    opset: int = 18,
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """float32 inputs of these shapes; float64 weights become float32."""
    tensors = {name: w.astype(np.float32) if w.dtype == np.float64 else w for name, w in (weights or {}).items()}
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def inputs_of(model: onnx.ModelProto, seed: int = 0) -> dict[str, Array]:
    """Normal numbers for every input, one sample."""
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in model.graph.input}
    return {name: normal(seed + i, *shape) for i, (name, shape) in enumerate(shapes.items())}


def rows_of(graph: Graph, given: Values) -> list[dict[str, Array]]:
    """What the model takes as the samples of its graph: a batch is compiled as 1, inputs without one get an axis in front."""
    shapes = {node.name: node.shape for node in graph.inputs}
    counts = {name: given[name].size // max(1, math.prod(shape)) for name, shape in shapes.items()}
    count = max(counts.values(), default=1)
    whole = {name: given[name].reshape(counts[name], *shape[1:]) for name, shape in shapes.items()}
    return [{name: array[i : i + 1] if counts[name] == count else array for name, array in whole.items()} for i in range(count)]


def joined(rows: list[dict[str, Array]]) -> dict[str, Array]:
    """The outputs of samples, one under the other."""
    return {name: np.concatenate([row[name] for row in rows]) if len(rows) > 1 else rows[0][name] for name in rows[0]}


def check_float(model: onnx.ModelProto, inputs: Values | None = None, tolerance: float = 2e-6) -> Graph:
    """The graph as read, behind the passes of either kind of target, and written again: onnxruntime's values, to
    `tolerance` of the largest."""
    given = dict(inputs or inputs_of(model))
    graph = read_model(model)
    names = list(graph.output_names)
    wanted = dict(zip(names, session(model).run(names, given), strict=True))
    written = write_float(graph)
    rows = rows_of(graph, given)
    runner = session(written)
    files, outputs = interface_names(graph)
    again = [runner.run(list(outputs), dict(zip(files, row.values(), strict=True))) for row in rows]
    found = [
        joined([interpret(one, row) for row in rows]) for one in (graph, optimise(graph)[0], optimise(graph, rms_norm=True)[0])
    ]
    again_named = joined([dict(zip(names, values, strict=True)) for values in again])
    for values in (*found, again_named):
        for name in names:
            assert values[name].reshape(wanted[name].shape).shape == wanted[name].shape
            values[name] = values[name].reshape(wanted[name].shape)
            allowed = tolerance * float(np.abs(wanted[name]).max())
            np.testing.assert_allclose(values[name], wanted[name], rtol=0, atol=allowed, err_msg=name)
    return graph


def check_int8(model: onnx.ModelProto, least_db: float, count: int = 8) -> Graph:
    """The integer graph: onnxruntime gives its bits, and its outputs are near those of the float model."""
    many = [inputs_of(model, 100 * i) for i in range(count)]
    samples = {name: np.concatenate([one[name] for one in many]) for name in many[0]}
    graph = read_model(model)
    integer = quantise(optimise(graph, rms_norm=True)[0], samples).graph
    runner, names = session(write_integer(integer)), interface_names(integer)
    real, whole = [], []
    for one in many:
        values = interpret(integer, one)
        found = runner.run(list(names[1]), dict(zip(names[0], one.values(), strict=True)))
        wanted = session(model).run(list(graph.output_names), one)
        for name, output, bits, want in zip(graph.output_names, integer.outputs, found, wanted, strict=True):
            np.testing.assert_array_equal(bits, values[name])
            assert output.quant is not None
            real.append(np.asarray(want, np.float64).reshape(-1))
            whole.append(output.quant.real(values[name]).reshape(-1))
    level = decibels(np.concatenate(real), np.concatenate(whole))
    assert level is None or level >= least_db, f"{level:.1f} dB, at least {least_db} wanted"
    return integer
