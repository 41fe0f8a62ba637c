"""The interpreter: what a graph computes. On integers every machine is compared with it bit for bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from edgewright.passes import ops
from edgewright.passes.blas import one_thread
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import Array, Int
from edgewright.passes.ops.groups import BROADCASTING

CACHED_ELEMENTS = 1 << 17  # values of the largest tensor in one run: a megabyte of int64 stays in cache


def interpret(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs by name. Inputs by name, of the graph's shapes, or with B samples in place of the leading 1
    (outputs then lead with B too). ValueError for a missing, superfluous or misshapen input."""
    outputs: dict[str, list[Array]] = {name: [] for name in graph.output_names}
    for parts in _runs(graph, inputs):
        with one_thread():
            values = _evaluate(graph, parts, keep=False)
        named = {n.op.name: n.shape for n in graph.inputs if isinstance(n.op, ops.Input)}
        samples = max((len(parts[name]) // shape[0] for name, shape in named.items() if shape), default=1)
        for name, node in zip(graph.output_names, graph.outputs, strict=True):
            outputs[name].append(for_each(samples, node, values[node]))
    return {name: np.concatenate(parts) if len(parts) > 1 else parts[0] for name, parts in outputs.items()}


def for_each(samples: int, node: Node, value: Array) -> Array:
    """Return an output's value with so many samples along axis 0: one that depends on no input is computed once for all."""
    return np.concatenate([value] * samples) if samples > 1 and value.shape == node.shape else value


def interpret_all(graph: Graph, inputs: Mapping[str, Array]) -> dict[Node, Array]:
    """Return every node's value, constants included. A batch needs a `batchable` graph."""
    runs = _runs(graph, inputs, whole=True)
    if len(runs) > 1:
        raise ValueError(f"graph {graph.name} takes one sample at a time")
    with one_thread():
        return _evaluate(graph, runs[0], keep=True)


def visit(graph: Graph, inputs: Mapping[str, Array], see: Callable[[Node, Array], None]) -> None:
    """Call `see` with every node and its value in topological order, keeping only the values that are still needed.

    Many samples may take several runs; `see` is then called once per run for each node.
    """
    for parts in _runs(graph, inputs):
        with one_thread():
            _evaluate(graph, parts, keep=False, see=see)


def batchable(graph: Graph) -> bool:
    """Return True when B samples may take the place of the leading 1 in one run: no op moves or reduces axis 0."""
    return all(_keeps_batch(node) for node in graph.nodes())


def _keeps_batch(node: Node) -> bool:
    op = node.op
    if isinstance(op, ops.Constant):
        return True
    if node.shape[:1] != (1,):
        return False
    if isinstance(op, ops.Transpose):
        return op.perm[0] == 0
    if isinstance(op, (ops.Softmax, ops.Slice)):
        return op.axis % node.type.rank != 0
    if isinstance(op, (ops.ReduceMean, ops.ReduceSum)):
        return all(axis % node.inputs[0].type.rank for axis in op.axes)
    if isinstance(op, ops.Reshape):
        return node.inputs[0].shape[:1] == (1,)
    if isinstance(op, ops.Gather):
        data, indices = node.inputs
        if isinstance(data.op, ops.Constant):  # rows of a table: the batch is that of the indices
            return op.axis % data.type.rank == 0 and not isinstance(indices.op, ops.Constant)
        return op.axis % data.type.rank != 0 and isinstance(indices.op, ops.Constant)
    if isinstance(op, ops.MatMul):
        a, b = node.inputs
        return a.type.rank >= b.type.rank and (a.type.rank == b.type.rank or isinstance(b.op, ops.Constant))
    if isinstance(op, ops.Attention):
        return all(bias.type.rank == 4 or isinstance(bias.op, ops.Constant) for bias in node.inputs[3:])
    if isinstance(op, (ops.Concat, *BROADCASTING)):
        return {n.type.rank for n in node.inputs if not isinstance(n.op, ops.Constant)} == {node.type.rank}
    return True


def run_size(graph: Graph) -> int:
    """Return how many samples `interpret` and `visit` take at a time."""
    if not batchable(graph):
        return 1
    largest = max((n.type.size for n in graph.nodes() if not isinstance(n.op, ops.Constant)), default=1)
    return max(1, CACHED_ELEMENTS // largest)


def _runs(graph: Graph, inputs: Mapping[str, Array], whole: bool = False) -> list[dict[str, Array]]:
    """Return the inputs checked, and split into runs (one run if `whole` and the graph is batchable)."""
    expected = {node.op.name: node for node in graph.inputs if isinstance(node.op, ops.Input)}
    if set(inputs) != set(expected):
        raise ValueError(f"graph {graph.name} takes inputs {sorted(expected)}, got {sorted(inputs)}")
    batches = set()
    arrays: dict[str, Array] = {}
    for name, node in expected.items():
        value = np.asarray(inputs[name])
        if value.shape[1:] != node.shape[1:] or value.ndim != len(node.shape):
            raise ValueError(f"input {name} has shape {value.shape}, the graph takes {node.shape}")
        arrays[name] = value.astype(np.int64 if isinstance(node.elem, Int) else np.float32)
        batches.add(value.shape[0] // node.shape[0] if node.shape else 1)
    batch = max(batches, default=1)
    if batch == 1:
        return [arrays]
    if len(batches) > 1:
        raise ValueError(f"inputs of graph {graph.name} hold different numbers of samples")
    step = batch if whole and batchable(graph) else run_size(graph)
    lead = {name: node.shape[0] for name, node in expected.items()}
    return [
        {name: value[i * lead[name] : (i + step) * lead[name]] for name, value in arrays.items()} for i in range(0, batch, step)
    ]


def _evaluate(
    graph: Graph, inputs: Mapping[str, Array], keep: bool, see: Callable[[Node, Array], None] | None = None
) -> dict[Node, Array]:
    nodes = graph.nodes()
    readers = Counter((*graph.outputs, *(operand for node in nodes for operand in node.inputs)))
    values: dict[Node, Array] = {}
    for node in nodes:
        op = node.op
        value = inputs[op.name] if isinstance(op, ops.Input) else op.eval(*(values[n] for n in node.inputs))
        _check_range(node, value)
        values[node] = value
        if see is not None:
            see(node, value)
        if keep:
            continue
        for operand in node.inputs:
            readers[operand] -= 1
            if readers[operand] == 0:
                values.pop(operand, None)
    return values


def _check_range(node: Node, value: Array) -> None:
    """An integer outside its type is a bug in the pass that chose the type, and must not pass silently."""
    elem = node.elem
    if not isinstance(elem, Int) or isinstance(node.op, ops.Constant) or value.size == 0:
        return
    low, high = int(value.min()), int(value.max())
    if low < elem.lowest or high > elem.highest:
        raise OverflowError(f"{node.op.kind} {node.name}: [{low}, {high}] does not fit {elem}")
