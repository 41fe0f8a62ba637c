"""Write a graph as standard ONNX at either level, so that it can be run by onnxruntime and shown by Netron.

`write_float` writes FLOAT graphs in operators of opset 18; `write_integer` writes QUANTISED graphs in integer
operators that give the same bits in onnxruntime as in `passes.ir.interp`.
"""

from __future__ import annotations

import onnx
from edgewright.frontend.onnx_writing.emit import Emitter
from edgewright.frontend.onnx_writing.float import FLOAT_WRITERS
from edgewright.frontend.onnx_writing.integer import INTEGER_WRITERS, write_quantise
from edgewright.passes.ir import F32, Float32, Graph, Level, Node
from edgewright.passes.names import plain, safe_identifier
from edgewright.passes.ops import Constant, Input, Quantise, value_of

OPSET = 18
IR_VERSION = 9


def tensor_names(graph: Graph) -> dict[Node, str]:
    """Return the name of each value in the written model: its position in topological order, and a safe form of its origin.

    `interface_names` has the names of inputs and outputs.
    """
    order = enumerate(graph.nodes())
    return {node: safe_identifier(node.name, prefix=f"t{position:04d}_{node.op.kind}_") for position, node in order}


def interface_names(graph: Graph) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of inputs and outputs in the written model."""
    inputs = tuple(safe_identifier(node.name, prefix=f"in{i}_") for i, node in enumerate(graph.inputs))
    return inputs, tuple(safe_identifier(name, prefix=f"out{i}_") for i, name in enumerate(graph.output_names))


def write_float(graph: Graph) -> onnx.ModelProto:
    """Return a FLOAT graph in float32 operators. Inputs and outputs are named by `interface_names`."""
    if graph.level is not Level.FLOAT:
        raise ValueError(f"graph {graph.name} is {graph.level.value}")
    return _write(graph, every_tensor=False)


def with_own_names(model: onnx.ModelProto, graph: Graph) -> onnx.ModelProto:
    """Rename the inputs and outputs of a model written from `graph` to their names in the graph, so that data and tasks still
    fit; a name that is taken, or is not a line of plain text, stays that of `interface_names`. In place."""
    proto = model.graph
    original = (*(node.op.name for node in graph.inputs if isinstance(node.op, Input)), *graph.output_names)
    written = [value.name for value in (*proto.input, *proto.output)]
    taken = {*written, *(t.name for t in proto.initializer), *(n for node in proto.node for n in (*node.input, *node.output))}
    new = {
        old: name
        for old, name in zip(written, original, strict=True)
        if name and plain(name) == name and name not in taken and original.count(name) == 1
    }
    for value in (*proto.input, *proto.output):
        value.name = new.get(value.name, value.name)
    for node in proto.node:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
    return model


def write_integer(graph: Graph, every_tensor: bool = False) -> onnx.ModelProto:
    """Return a QUANTISED graph in integer operators: float32 inputs, integer outputs as int64 (exact values).

    With `every_tensor`, each value that is not a constant is an output as well, named by `tensor_names`.
    """
    if graph.level is not Level.QUANTISED:
        raise ValueError(f"graph {graph.name} is {graph.level.value}")
    return _write(graph, every_tensor)


def _declared(name: str, node: Node) -> onnx.ValueInfoProto:
    kind = onnx.TensorProto.FLOAT if isinstance(node.elem, Float32) else onnx.TensorProto.INT64
    return onnx.helper.make_tensor_value_info(name, kind, node.shape)


def _write(graph: Graph, every_tensor: bool) -> onnx.ModelProto:
    names, emit = tensor_names(graph), Emitter()
    input_names, output_names = interface_names(graph)
    inputs = [_declared(name, node) for name, node in zip(input_names, graph.inputs, strict=True)]
    for name, node in zip(input_names, graph.inputs, strict=True):
        emit.rename(name, names[node])
    for node in graph.nodes():
        if not isinstance(node.op, Input):
            _write_node(emit, node, names)
    outputs = []
    for name, node in zip(output_names, graph.outputs, strict=True):
        emit.rename(names[node], name)
        outputs.append(_declared(name, node))
    if every_tensor:
        outputs += [_declared(names[node], node) for node in graph.nodes() if not isinstance(node.op, Constant | Input)]
    used = {name for node in emit.nodes for name in node.input}
    tensors = [tensor for tensor in emit.tensors if tensor.name in used]  # some constants are written in another form
    proto = onnx.helper.make_graph(emit.nodes, safe_identifier(graph.name, prefix="g_"), inputs, outputs, initializer=tensors)
    return onnx.helper.make_model(
        proto, producer_name="edgewright", ir_version=IR_VERSION, opset_imports=[onnx.helper.make_opsetid("", OPSET)]
    )


def _write_node(emit: Emitter, node: Node, names: dict[Node, str]) -> None:
    operands = [names[operand] for operand in node.inputs]
    value = value_of(node)
    if value is not None:
        emit.constant_as(names[node], value)
        return
    kind = type(node.op)
    if isinstance(node.op, Quantise):
        result = write_quantise(emit, node, operands)
    elif node.type.is_float and node.elem == F32 and kind in FLOAT_WRITERS:
        result = FLOAT_WRITERS[kind](emit, node, operands)
    elif kind in INTEGER_WRITERS and not node.type.is_float:
        result = INTEGER_WRITERS[kind](emit, node, operands)
    else:
        raise TypeError(f"no ONNX form of {kind.__name__} on {node.type}")
    emit.rename(result, names[node])
