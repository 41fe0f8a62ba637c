"""Changes to the structure of an ONNX model, drawn from a generator: what damaged, hand-edited or strange files hold."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.fuzz.consistent_mutations import CONSISTENT_MUTATIONS

INTERESTING = (
    *(0, 1, -1, 2, 3, 5, 7, 16, -2, 255, 256, 65536, 1 << 20, 400_000_000),
    *((1 << 31) - 1, -(1 << 31), 1 << 62, -(1 << 63)),
)
REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e-7, 1e4, -65504.0, 3.4e38, -3.4e38, float("inf"), float("-inf"), float("nan"))
KINDS = (1, 2, 3, 5, 6, 7, 9, 10, 11, 8, 16, 0, 99)
OPERATORS = (
    *("Relu", "Add", "Sub", "Mul", "Div", "MatMul", "Softmax", "Transpose", "Reshape", "Identity", "Cast", "Concat", "Slice"),
    *("Gather", "Sqrt", "Exp", "Pow", "Clip", "ReduceMean", "ReduceSum", "Unsqueeze", "Squeeze", "Expand", "Tile", "Where"),
    *("Equal", "Less", "Not", "TopK", "NonZero", "ConstantOfShape", "Range", "Pad", "Resize", "Split", "Flatten", "Gemm"),
    *("LayerNormalization", "Max", "Min", "Mod", "CumSum", "OneHot", "Shape", "Erf", "If", "Loop", "NoSuchOperator"),
)
Mutation = Callable[[onnx.ModelProto, random.Random], None]


def _value(draw: random.Random) -> int:
    return draw.choice(INTERESTING) if draw.random() < 0.5 else draw.randrange(-4, 20)


def _names(graph: onnx.GraphProto) -> list[str]:
    found = [value.name for value in graph.input] + [tensor.name for tensor in graph.initializer]
    return found + [name for node in graph.node for name in node.output]


def _node(model: onnx.ModelProto, draw: random.Random) -> onnx.NodeProto:
    nodes: list[onnx.NodeProto] = list(model.graph.node)
    return draw.choice(nodes)


def drop_node(model: onnx.ModelProto, draw: random.Random) -> None:
    """One node less; its result is undefined, or another's."""
    node = _node(model, draw)
    model.graph.node.remove(node)
    if draw.random() < 0.7 and node.input and node.output:
        for other in model.graph.node:
            other.input[:] = [node.input[0] if name == node.output[0] else name for name in other.input]


def repeat_node(model: onnx.ModelProto, draw: random.Random) -> None:
    """A second copy, under the same or another name."""
    copy = onnx.NodeProto()
    copy.CopyFrom(_node(model, draw))
    if draw.random() < 0.8 and copy.output:
        copy.output[0] += "_again"
        reader = _node(model, draw)
        if reader.input:
            reader.input[draw.randrange(len(reader.input))] = copy.output[0]
    model.graph.node.insert(draw.randrange(len(model.graph.node) + 1), copy)


def swap_nodes(model: onnx.ModelProto, draw: random.Random) -> None:
    """Two nodes change their operators, or their places."""
    a, b = _node(model, draw), _node(model, draw)
    if draw.random() < 0.5:
        a.op_type, b.op_type = b.op_type, a.op_type
        return
    held = onnx.NodeProto()
    held.CopyFrom(a)
    a.CopyFrom(b)
    b.CopyFrom(held)


def change_operator(model: onnx.ModelProto, draw: random.Random) -> None:
    """Another operator on the same operands, with its attributes or without."""
    node = _node(model, draw)
    node.op_type = draw.choice(OPERATORS)
    if draw.random() < 0.3:
        del node.attribute[:]
    if draw.random() < 0.05:
        node.domain = draw.choice(("com.microsoft", "ai.onnx.ml", "x"))


def rewire(model: onnx.ModelProto, draw: random.Random) -> None:
    """An operand is another value, missing, or one more."""
    node = _node(model, draw)
    name = draw.choice([*_names(model.graph), "", "undefined"])
    if node.input and draw.random() < 0.8:
        node.input[draw.randrange(len(node.input))] = name
    else:
        node.input.append(name)


def drop_operand(model: onnx.ModelProto, draw: random.Random) -> None:
    """One operand or result less."""
    node = _node(model, draw)
    names = node.input if draw.random() < 0.7 else node.output
    if names:
        del names[draw.randrange(len(names))]


def change_attribute(model: onnx.ModelProto, draw: random.Random) -> None:
    """An attribute's number, its length, its name, or none of it."""
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return
    node = draw.choice(nodes)
    attribute = draw.choice(list(node.attribute))
    kind = draw.random()
    if kind < 0.1:
        node.attribute.remove(attribute)
    elif kind < 0.15:
        attribute.name += "x"
    elif attribute.type == onnx.AttributeProto.INTS and attribute.ints:
        position = draw.randrange(len(attribute.ints))
        if draw.random() < 0.3:
            del attribute.ints[position]
        else:
            attribute.ints[position] = _value(draw)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = _value(draw)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = draw.choice(REALS)
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = draw.choice((b"", b"tanh", b"nearest", b"SAME_UPPER", b"linear", b"\xff\xfe"))
    elif attribute.type == onnx.AttributeProto.TENSOR:
        _change_tensor(attribute.t, draw)


def add_attribute(model: onnx.ModelProto, draw: random.Random) -> None:
    """An attribute that the operator may have, or not."""
    name = draw.choice(("axis", "axes", "keepdims", "perm", "alpha", "to", "mode", "pads", "strides", "epsilon", "allowzero"))
    value = draw.choice((_value(draw), [_value(draw), _value(draw)], draw.choice(REALS), "constant"))
    _node(model, draw).attribute.append(helper.make_attribute(name, value))


def _change_tensor(tensor: onnx.TensorProto, draw: random.Random) -> None:
    kind = draw.random()
    try:
        array = numpy_helper.to_array(tensor).copy()
    except Exception:  # damaged before
        return
    if kind < 0.2 and tensor.dims:
        tensor.dims[draw.randrange(len(tensor.dims))] = _value(draw)
    elif kind < 0.3:
        tensor.data_type = draw.choice(KINDS)
    elif kind < 0.4:
        other = draw.choice((np.float64, np.float16, np.int32, np.int64, np.bool_, np.uint8))
        with np.errstate(all="ignore"):
            tensor.CopyFrom(numpy_helper.from_array(np.nan_to_num(array).astype(other), tensor.name))
    elif kind < 0.55 and array.ndim:
        shaped = draw.choice((array.reshape(-1), array[None], np.concatenate([array, array]), array[:1], array[:0], array.T))
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(shaped), tensor.name))
    elif array.size and array.dtype.kind in "fiu":
        flat = array.reshape(-1)
        chosen = slice(None) if draw.random() < 0.2 else draw.randrange(flat.size)
        with np.errstate(all="ignore"):
            drawn = draw.choice(REALS) if array.dtype.kind == "f" else _value(draw)
            flat[chosen] = np.array(drawn).astype(array.dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    if draw.random() < 0.05:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        tensor.external_data.add(key="location", value=draw.choice(("w.bin", "../w", "/etc/passwd", ".", "")))
        tensor.external_data.add(key="offset", value=draw.choice(("0", "-1", "x", str(1 << 70))))


def change_weight(model: onnx.ModelProto, draw: random.Random) -> None:
    """A weight's shape, type, values, or where its bytes are."""
    if model.graph.initializer:
        _change_tensor(draw.choice(list(model.graph.initializer)), draw)


def change_value(model: onnx.ModelProto, draw: random.Random) -> None:
    """The declared type of an input or output."""
    value = draw.choice([*model.graph.input, *model.graph.output])
    tensor = value.type.tensor_type
    kind = draw.random()
    if kind < 0.25:
        tensor.elem_type = draw.choice(KINDS)
    elif kind < 0.7 and tensor.shape.dim:
        dim = tensor.shape.dim[draw.randrange(len(tensor.shape.dim))]
        if draw.random() < 0.2:
            dim.dim_param = draw.choice(("n", "batch", ""))
        else:
            dim.dim_value = _value(draw)
    elif kind < 0.8:
        tensor.shape.dim.add(dim_value=draw.choice((1, 2, 4)))
    elif kind < 0.9 and tensor.shape.dim:
        del tensor.shape.dim[draw.randrange(len(tensor.shape.dim))]
    else:
        tensor.ClearField("shape")


def rename(model: onnx.ModelProto, draw: random.Random) -> None:
    """A value, everywhere or in one place, gets a name that something else has, or that is strange."""
    names = _names(model.graph)
    old, new = draw.choice(names), draw.choice([*names, "file", "self", "a\0b", "", "x" * 300, "ü/../\n", "allow_pickle"])
    everywhere = draw.random() < 0.7
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        if value.name == old:
            value.name = new
    if everywhere:
        for node in model.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]


def change_outputs(model: onnx.ModelProto, draw: random.Random) -> None:
    """None, one more, twice the same, an input or a weight."""
    graph = model.graph
    if draw.random() < 0.3 and graph.output:
        del graph.output[draw.randrange(len(graph.output))]
        return
    graph.output.append(helper.make_empty_tensor_value_info(draw.choice(_names(graph))))


def change_inputs(model: onnx.ModelProto, draw: random.Random) -> None:
    """One less, one more, or a weight as an input."""
    graph = model.graph
    if draw.random() < 0.3 and graph.input:
        del graph.input[draw.randrange(len(graph.input))]
    elif draw.random() < 0.5 and graph.initializer:
        tensor = draw.choice(list(graph.initializer))
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        if draw.random() < 0.7:
            graph.initializer.remove(tensor)
    else:
        shape = [draw.choice((1, 1, 2, 4, "n")) for _ in range(draw.randrange(4))]
        graph.input.append(helper.make_tensor_value_info(f"extra{len(graph.input)}", draw.choice(KINDS[:9]), shape))


def change_opset(model: onnx.ModelProto, draw: random.Random) -> None:
    """Another version."""
    for entry in model.opset_import:
        entry.version = draw.choice((*range(9, 25), 0, -1, 1 << 40))


def extend(model: onnx.ModelProto, draw: random.Random) -> None:
    """A node behind a value, whose result is an output."""
    graph = model.graph
    names = _names(graph)
    op_type = draw.choice(OPERATORS)
    operands = [draw.choice(names) for _ in range(draw.choice((1, 1, 2, 3)))]
    name = f"more{len(graph.node)}"
    graph.node.append(helper.make_node(op_type, operands, [name]))
    graph.output.append(helper.make_empty_tensor_value_info(name))


MUTATIONS: tuple[Mutation, ...] = (
    *(drop_node, repeat_node, swap_nodes, change_operator, rewire, drop_operand, change_attribute, change_attribute),
    *(change_operator, rewire, extend, change_weight, change_attribute, change_weight, change_value),
    *(add_attribute, change_weight, change_weight, change_value, rename, change_outputs, change_inputs, change_opset, extend),
)
BYTES, CONSISTENT = 0.05, 0.5  # shares: of damaged files, and of models that mostly stay valid


def damaged_bytes(data: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, a piece cut out or put in twice."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(len(found))
        kind = draw.random()
        if kind < 0.7:
            found[at] = draw.randrange(256)
        elif kind < 0.85:
            del found[at : at + draw.choice((1, 2, 16, 400))]
        else:
            found[at:at] = found[at : at + draw.choice((1, 4, 64))]
        if not found:
            return b"\0"
    return bytes(found)


def mutated(base: bytes, seed: int) -> tuple[bytes, str]:
    """A changed model, and what was done to it."""
    draw = random.Random(seed)
    kind = draw.random()
    if kind < BYTES:
        return damaged_bytes(base, draw), "bytes"
    mutations = CONSISTENT_MUTATIONS if kind < BYTES + CONSISTENT else MUTATIONS
    model = onnx.ModelProto.FromString(base)
    done = []
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 5))):
        mutation = draw.choice(mutations)
        if not model.graph.node:
            break
        mutation(model, draw)
        done.append(mutation.__name__)
    return bytes(model.SerializeToString()), ", ".join(done)
