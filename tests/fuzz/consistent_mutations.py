"""Changes to an ONNX model that keep its shapes: what other exporters, other trainings and other options would give.

Most of them leave a valid model that onnxruntime runs, so that values are compared; `mutations` has those that damage.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Mutation = Callable[[onnx.ModelProto, random.Random], None]
FUNCTIONS = (
    *("Relu", "Sigmoid", "Tanh", "Erf", "Neg", "Abs", "HardSwish", "Identity", "Softmax", "Exp", "Sqrt", "Floor", "Softplus"),
    *("LeakyRelu", "Elu", "HardSigmoid", "Sign", "Sin", "Cos", "Round", "Reciprocal"),
)
PAIRS = ("Add", "Sub", "Mul", "Div", "Max", "Min")
REALS = (0.0, 1.0, -1.0, 0.5, 1e-30, 1e-7, 1e-3, 30.0, 1e4, -65504.0, 1e10, 3.4e38)


def _floats(model: onnx.ModelProto) -> dict[str, tuple[int, ...] | None]:
    """Shapes of the float values that nodes compute; empty where the model is not sound."""
    try:
        found = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    except Exception:  # changed before
        return {}
    shapes: dict[str, tuple[int, ...] | None] = {}
    for value in [*found.value_info, *found.output]:
        tensor = value.type.tensor_type
        if tensor.elem_type == TensorProto.FLOAT:
            known = tensor.HasField("shape") and all(dim.dim_value > 0 for dim in tensor.shape.dim)
            shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim) if known else None
    return {name: shapes.get(name) for node in model.graph.node for name in node.output if name in shapes}


def _fresh(model: onnx.ModelProto) -> str:
    taken = {name for node in model.graph.node for name in node.output}
    return next(name for i in range(len(taken) + 1) if (name := f"between{i}") not in taken)


def _insert(model: onnx.ModelProto, name: str, made: list[onnx.NodeProto], result: str) -> None:
    """Nodes behind a value; `result` takes the value's place for whoever read it, but for a graph output."""
    graph = model.graph
    at = next(i for i, node in enumerate(graph.node) if name in node.output)
    for node in list(graph.node)[at + 1 :]:
        node.input[:] = [result if operand == name else operand for operand in node.input]
    for i, node in enumerate(made):
        graph.node.insert(at + 1 + i, node)


def _weight(model: onnx.ModelProto, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    name = f"{_fresh(model)}_w{len(model.graph.initializer)}"
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def insert_function(model: onnx.ModelProto, draw: random.Random) -> None:
    """A function of one value behind some value."""
    if names := list(_floats(model)):
        name, fresh = draw.choice(names), _fresh(model)
        _insert(model, name, [helper.make_node(draw.choice(FUNCTIONS), [name], [fresh])], fresh)


def insert_constant(model: onnx.ModelProto, draw: random.Random) -> None:
    """A sum or product with a constant of the value's axes, some of them 1 long."""
    shapes = {name: shape for name, shape in _floats(model).items() if shape is not None}
    if not shapes:
        return
    name, fresh = draw.choice(list(shapes)), _fresh(model)
    axes = [n if draw.random() < 0.5 else 1 for n in shapes[name] or ()][draw.randrange(3) :]
    rng = np.random.default_rng(draw.randrange(1 << 30))
    array = rng.uniform(0.5, 2, axes) * rng.choice([-1, 1], axes)
    operands = [name, _weight(model, np.asarray(array, np.float32))]
    if draw.random() < 0.3:
        operands.reverse()
    _insert(model, name, [helper.make_node(draw.choice(PAIRS), operands, [fresh])], fresh)


def insert_detour(model: onnx.ModelProto, draw: random.Random) -> None:
    """Transposed there and back, reshaped there and back, or with an axis more for a while."""
    shapes = {name: shape for name, shape in _floats(model).items() if shape}
    if not shapes:
        return
    name, fresh = draw.choice(list(shapes)), _fresh(model)
    shape = shapes[name] or ()
    there = f"{fresh}_there"
    if draw.random() < 0.5:
        perm = draw.sample(range(len(shape)), len(shape))
        made = [helper.make_node("Transpose", [name], [there], perm=perm)]
        made.append(helper.make_node("Transpose", [there], [fresh], perm=[perm.index(i) for i in range(len(shape))]))
    else:
        flat = _weight(model, np.array(draw.choice(([-1], [1, -1], [shape[0], 1, -1])), np.int64))
        made = [helper.make_node("Reshape", [name, flat], [there])]
        made.append(helper.make_node("Reshape", [there, _weight(model, np.array(shape, np.int64))], [fresh]))
    _insert(model, name, made, fresh)


def join(model: onnx.ModelProto, draw: random.Random) -> None:
    """A value and an earlier one of the same shape, added or multiplied."""
    shapes = _floats(model)
    names = list(shapes)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[:i] if shapes[a] is not None and shapes[a] == shapes[b]]
    if pairs:
        (name, other), fresh = draw.choice(pairs), _fresh(model)
        _insert(model, name, [helper.make_node(draw.choice(PAIRS[:3]), [name, other], [fresh])], fresh)


def show(model: onnx.ModelProto, draw: random.Random) -> None:
    """A value that is computed becomes an output too."""
    if names := [name for name in _floats(model) if name not in {value.name for value in model.graph.output}]:
        model.graph.output.append(helper.make_tensor_value_info(draw.choice(names), TensorProto.FLOAT, None))


def change_function(model: onnx.ModelProto, draw: random.Random) -> None:
    """Another function in the place of one, another pair's operator in the place of one."""
    nodes = [node for node in model.graph.node if node.op_type in FUNCTIONS or node.op_type in PAIRS]
    if nodes:
        node = draw.choice(nodes)
        node.op_type = draw.choice(FUNCTIONS if node.op_type in FUNCTIONS else PAIRS)
        del node.attribute[:]


def change_number(model: onnx.ModelProto, draw: random.Random) -> None:
    """One number, one row or all of a float weight."""
    tensors = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) > 0]
    if not tensors:
        return
    tensor = draw.choice(tensors)
    array = numpy_helper.to_array(tensor).copy()
    flat = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
    row = draw.randrange(len(flat))
    kind, real = draw.random(), draw.choice(REALS)
    if kind < 0.4:
        flat[row, draw.randrange(flat.shape[1])] = real
    elif kind < 0.6:
        flat[row] = real
    elif kind < 0.7:
        flat[:] = flat[row].copy()
    else:
        with np.errstate(over="ignore"):
            flat *= np.float32(draw.choice((-1.0, 0.0, 1e-3, 3.0, 100.0)))
    tensor.CopyFrom(numpy_helper.from_array(np.nan_to_num(array), tensor.name))


def change_float_attribute(model: onnx.ModelProto, draw: random.Random) -> None:
    """An epsilon, alpha or beta."""
    found = [a for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.FLOAT]
    if found:
        draw.choice(found).f = draw.choice((1e-12, 1e-5, 1e-3, 0.5, 1.0, 2.0, 10.0))


CONSISTENT_MUTATIONS: tuple[Mutation, ...] = (
    insert_function,
    insert_constant,
    insert_constant,
    insert_detour,
    join,
    show,
    change_function,
    change_number,
    change_number,
    change_float_attribute,
)
