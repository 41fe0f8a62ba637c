"""Rules that hold for every operator: constants are computed now, equal values are one node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from edgewright.passes.ir import Graph, Node, make, merge_origins, rewrite
from edgewright.passes.ops import Add, Constant, Div, Gather, Input, Mul, Sub, constant, value_of
from edgewright.passes.ops.groups import BROADCASTING

_SMALL_BYTES = 4096
_LARGEST_FOLD = 1 << 26  # elements


def scalar_of(node: Node) -> float | None:
    """The number in a constant of one element, else None."""
    value = value_of(node)
    return float(value.reshape(())) if value is not None and value.size == 1 else None


def rebuild(graph: Graph, change: Callable[[Node, Node, Callable[[Node], int]], Node | None]) -> Graph:
    """Like `passes.ir.rewrite`, for rules that ask who reads a value.

    `change(old, new, uses)` gets the node as it was and with rewritten operands; `uses(operand)` is how often a
    rewritten operand is read, graph outputs included.
    """
    count: dict[Node, int] = {}
    for node in graph.nodes():
        for operand in node.inputs:
            count[operand] = count.get(operand, 0) + 1
    for output in graph.outputs:
        count[output] = count.get(output, 0) + 1
    done: dict[Node, Node] = {}
    rewritten: dict[Node, int] = {}
    for old in graph.nodes():
        operands = tuple(done[operand] for operand in old.inputs)
        same = all(a is b for a, b in zip(operands, old.inputs, strict=True))
        new = old if same else old.with_inputs(operands)
        done[old] = change(old, new, lambda operand: rewritten.get(operand, 0)) or new
        rewritten[done[old]] = rewritten.get(done[old], 0) + count.get(old, 0)
    return replace(graph, inputs=tuple(done[n] for n in graph.inputs), outputs=tuple(done[n] for n in graph.outputs))


def fold_constants(graph: Graph) -> Graph:
    """Nodes of constants become constants; x + 0, x - 0, x * 1, x / 1 become x."""

    def change(node: Node) -> Node | None:
        if isinstance(node.op, Constant | Input):
            return None
        if all(isinstance(operand.op, Constant) for operand in node.inputs):
            if not node.inputs or node.type.size > _LARGEST_FOLD:
                return None
            arrays = [operand.op.value for operand in node.inputs if isinstance(operand.op, Constant)]
            return make(Constant(node.op.eval(*arrays)), origin=node.origin)
        return _neutral(node)

    return rewrite(graph, change)


def _neutral(node: Node) -> Node | None:
    if not isinstance(node.op, Add | Sub | Mul | Div):
        return None
    a, b = node.inputs
    neutral = 0.0 if isinstance(node.op, Add | Sub) else 1.0
    if scalar_of(b) == neutral and a.shape == node.shape:
        return a
    if isinstance(node.op, Add | Mul) and scalar_of(a) == neutral and b.shape == node.shape:
        return b
    return None


def drop_expansions(graph: Graph) -> Graph:
    """An operand that is repeated along an axis of 1 is not, where the other operand's shape makes up for it."""

    def change(node: Node) -> Node | None:
        if not isinstance(node.op, BROADCASTING):
            return None
        operands = list(node.inputs)
        for i, operand in enumerate(operands):
            while (inner := _expanded(operand)) is not None:
                others = [other.shape for j, other in enumerate(operands) if j != i]
                if np.broadcast_shapes(inner.shape, *others) != node.shape:
                    break
                operands[i] = operand = inner
        return node.with_inputs(tuple(operands)) if tuple(operands) != node.inputs else None

    return rewrite(graph, change)


def _expanded(node: Node) -> Node | None:
    """x where node is x repeated along an axis of 1."""
    if not isinstance(node.op, Gather) or node.inputs[0].shape[node.op.axis] != 1:
        return None
    which = value_of(node.inputs[1])
    return node.inputs[0] if which is not None and which.ndim == 1 else None


def join_constants(graph: Graph) -> Graph:
    """(x + a) + b -> x + (a + b) for constants, where nothing else reads the sum inside."""

    def change(old: Node, node: Node, uses: Callable[[Node], int]) -> Node | None:
        for inner, last in _sides(node):
            if not isinstance(inner.op, Add) or uses(inner) != 1 or inner.shape != node.shape:
                continue
            for x, first in _sides(inner):
                if x.shape == node.shape:
                    both = constant(np.add(first.op.eval(), last.op.eval()), merge_origins(first.origin, last.origin))
                    return make(Add(), x, both, origin=merge_origins(inner.origin, node.origin))
        return None

    return rebuild(graph, change)


def _sides(node: Node) -> list[tuple[Node, Node]]:
    """(x, constant) where node is their sum."""
    if not isinstance(node.op, Add):
        return []
    a, b = node.inputs
    return [(x, c) for x, c in ((a, b), (b, a)) if isinstance(c.op, Constant) and not isinstance(x.op, Constant)]


def share_equal(graph: Graph) -> Graph:
    """Nodes with the same operator on the same operands become one (constants up to 4 KiB too)."""
    seen: dict[object, Node] = {}

    def change(node: Node) -> Node | None:
        if isinstance(node.op, Input):
            return None
        key: object
        if isinstance(node.op, Constant):
            array = node.op.value
            if array.nbytes > _SMALL_BYTES:
                return None
            key = (array.dtype.str, array.shape, array.tobytes())
        else:
            key = (node.op, node.inputs, node.type)
        return seen.setdefault(key, node)

    return rewrite(graph, change)
