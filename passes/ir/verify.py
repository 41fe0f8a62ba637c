"""What must hold for a graph at its level. G-codes are our bugs, Q-codes come from the model."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.op import InferError
from edgewright.passes.ir.types import Array, Int, Level, TensorType
from edgewright.passes.ops import Constant, Dequantise, Input, arith, value_of
from edgewright.passes.ops.groups import ON_HOST, ONLY_QUANTISED, QUANTISED_LEVEL


def verify(graph: Graph, after: str = "", verified: Collection[Node] = ()) -> None:
    """Raise CompileError with all `problems` of the graph; `after` names the pass that made it."""
    diagnostics = list(problems(graph, after, verified))
    if diagnostics:
        ours = any(d.code.startswith("G") for d in diagnostics)
        raise CompileError(diagnostics, Exit.BUG if ours else Exit.MODEL)


def problems(graph: Graph, after: str = "", verified: Collection[Node] = ()) -> Iterator[Diagnostic]:
    """Yield every broken rule: structure, types, levels, and on integers the ranges the hardware relies on.

    verified: nodes of a float graph that was checked before; nodes never change, so they are not checked again.
    """
    where = f" (after {after})" if after else ""
    try:
        nodes = graph.nodes()
    except ValueError as error:
        yield Diagnostic("G001", f"the graph has a {error}", graph.name + where)
        return
    yield from _interface(graph, nodes, where)
    outside: set[Node] = set()  # floats that come from inputs alone
    for node in nodes:
        if node in verified:
            continue
        at = f"{node.name}{where}"
        try:
            inferred = node.op.infer(*(n.type for n in node.inputs))
        except InferError as error:
            yield Diagnostic("G003", f"{node.op.kind} does not fit its operands", at, str(error))
            continue
        if (inferred.shape, inferred.elem) != (node.shape, node.elem):
            yield Diagnostic("G003", f"{node.op.kind} has type {node.type}", at, f"its operands give {inferred}")
        if graph.level is Level.FLOAT:
            if isinstance(node.op, ONLY_QUANTISED) or not (node.type.is_float or node.op.facts.carries_integers):
                yield Diagnostic("G004", f"{node.op.kind} of type {node.type} in a float graph", at)
        else:
            if node.type.is_float and isinstance(node.op, (Input, Constant)):
                outside.add(node)
            elif (
                node.type.is_float
                and isinstance(node.op, ON_HOST)
                and all(n in outside or _is_known_integer(n) for n in node.inputs)
            ):
                outside.add(node)
                continue
            yield from _integers(node, at)


def _is_known_integer(node: Node) -> bool:
    """Return whether the node is an integer input or constant, or a move of such values."""
    op = node.op
    moves = op.facts.carries_integers and all(_is_known_integer(n) for n in node.inputs)
    return isinstance(node.elem, Int) and (isinstance(op, (Input, Constant)) or moves)


def _interface(graph: Graph, nodes: list[Node], where: str) -> Iterator[Diagnostic]:
    if len(graph.outputs) != len(graph.output_names) or len(set(graph.output_names)) != len(graph.outputs):
        yield Diagnostic("G002", f"outputs {graph.output_names} do not name each output once", graph.name + where)
    inputs = [node for node in nodes if isinstance(node.op, Input)]
    names = [node.op.name for node in inputs if isinstance(node.op, Input)]
    if set(inputs) != set(graph.inputs) or len(set(names)) != len(names):
        yield Diagnostic("G002", f"inputs {names} are not the graph's inputs, each once", graph.name + where)


def _integers(node: Node, at: str) -> Iterator[Diagnostic]:
    op = node.op
    if not isinstance(op, QUANTISED_LEVEL):
        yield Diagnostic("G004", f"{op.kind} in a quantised graph", at)
        return
    if node.type.is_float and not isinstance(op, (Input, Dequantise, Constant)):  # floats at the boundary
        yield Diagnostic("G004", f"{op.kind} is float in a quantised graph", at)
        return
    bound = accumulator_bound(node)
    if bound >= arith.ACCUMULATOR_LIMIT:
        yield Diagnostic(
            "Q003",
            f"accumulators of {op.kind} may reach {bound}",
            at,
            "the engine keeps 27 bits, so their magnitude must stay below 2^26 = 67108864",
            "make the layer narrower, or split its sum",
        )
    for name, value, low, high in op.check(*_operands(node)):
        if value.size and (int(value.min()) < low or int(value.max()) > high):
            yield Diagnostic("G005", f"{name} of {op.kind} outside [{low}, {high}]", at)


def accumulator_bound(node: Node) -> int:
    """Return the largest magnitude that a node's int32 accumulators can take; 0 for one without, or in float."""
    return 0 if node.type.is_float else node.op.accumulator_bound(*_operands(node))


def _operands(node: Node) -> tuple[list[TensorType], list[Array | None]]:
    return [n.type for n in node.inputs], [value_of(n) for n in node.inputs]
