"""Elementwise chains over one tensor are recognised by their values: whatever computes GELU is Gelu.

Evaluating a chain on a dense grid tells apart every activation below (GELU by erf and by tanh differ by 5e-4, the
tolerance is 2e-5), however an exporter ordered or split the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from edgewright.passes.ir import Array, Node, Op, make, merge_origins
from edgewright.passes.ops import Add, Cast, Div, Mul, Neg, Pow, Reciprocal, Relu, Sqrt, Sub, array_of, scalar_of
from edgewright.passes.ops.activations import ACTIVATIONS
from edgewright.passes.ops.groups import ELEMENTWISE
from edgewright.passes.rewriting import Rule, Uses

_LAST = (Add, Div, Mul, Reciprocal, Sub)  # what the final operator of a chain can be
_ALGEBRAIC = (Add, Cast, Div, Mul, Neg, Pow, Reciprocal, Sqrt, Sub)  # a chain of these alone is no activation
_BENT = tuple(op for op in ELEMENTWISE if op not in _ALGEBRAIC)
_LONGEST = 16
_FAR = np.array([15.0, 20, 30, 50, 80, 1e3, 1e5])  # a bound may lie there; where a chain overflows nothing is asked
_GRID: Array = np.concatenate([np.linspace(-12, 12, 2401), np.linspace(-1, 1, 501), -_FAR, _FAR]).astype(np.float32)
_NEAR = np.abs(_GRID) <= 12
_TOLERANCE = 2e-5


@dataclass(frozen=True, slots=True)
class FuseActivations(Rule):
    """Recognise an activation that is spelled as a chain of elementwise operators.

    Before: a chain from one tensor, such as x * 0.5 * (1 + Erf(x / sqrt(2))). After: Gelu, Silu, HardSwish, Sigmoid, Tanh
    or Relu of that tensor.
    Exact: to 2e-5 on a dense grid. Source: the definitions of the activations.
    """

    on = _LAST
    event = "activations"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        for root, chain in _chains(node):
            if not root.type.is_float or root.shape != node.shape or not any(isinstance(n.op, _BENT) for n in chain):
                continue
            if any(map(_is_below_tolerance, chain)):
                continue
            values = _evaluate(node, root, chain)
            for op, expected in _curves():
                if values is None or any(n.op == op and n.inputs[0] is root for n in chain):
                    continue  # what is done to an activation's result, however little that is, is not the activation
                if _agree(op, values, expected):
                    return make(op, root, origin=merge_origins(node.origin, *(n.origin for n in chain)))
        return None


@cache
def _curves() -> tuple[tuple[Op, Array], ...]:
    """Return each activation with its values on the grid."""
    return tuple((op, op.eval(_GRID)) for op in ACTIVATIONS.values())


def _agree(op: Op, values: Array, expected: Array) -> bool:
    """Compare up to rounding, and up to the digits of the constants that exporters write; a Relu has none. Far points where
    an exporter's spelling is not finite do not count."""
    finite = np.isfinite(values)
    rtol, atol = (1e-6, 0.0) if isinstance(op, Relu) else (_TOLERANCE, _TOLERANCE)
    return bool(np.allclose(values[finite], expected[finite], rtol=rtol, atol=atol))


def _is_below_tolerance(node: Node) -> bool:
    """Return whether it adds a number that the tolerance would swallow: a floor before a division or a logarithm."""
    if not isinstance(node.op, Add | Sub):
        return False
    numbers = [scalar_of(operand) for operand in node.inputs]
    return any(number is not None and 0 < abs(number) <= _TOLERANCE for number in numbers)


def _chains(node: Node) -> list[tuple[Node, list[Node]]]:
    """Return (root, nodes between root and `node` inclusive, operands first) for every single tensor the node depends on."""
    chains: list[tuple[Node, list[Node]]] = []
    inside: dict[Node, None] = {node: None}
    while len(inside) <= _LONGEST:
        border = {operand for n in inside for operand in n.inputs if operand not in inside and scalar_of(operand) is None}
        if len(border) == 1:
            (root,) = border
            chains.append((root, _ordered(node, root)))
        # Take in the border nodes that only this chain can explain; a root of two uses is tried before it is opened.
        opened = [n for n in border if n.op.facts.elementwise]
        if not opened:
            break
        inside.update(dict.fromkeys(_deepest(opened)))
    return chains


def _deepest(nodes: list[Node]) -> list[Node]:
    """Return the nodes that no other of them depends on within a few steps: open the last computed first."""
    below: set[Node] = set()
    for node in nodes:
        front = set(node.inputs)
        for _ in range(_LONGEST):
            below |= front
            front = {i for n in front if n.op.facts.elementwise for i in n.inputs} - below
    return [node for node in nodes if node not in below]


def _ordered(node: Node, root: Node) -> list[Node]:
    order: dict[Node, None] = {}

    def visit(current: Node) -> None:
        if current is root or current in order or scalar_of(current) is not None:
            return
        for operand in current.inputs:
            visit(operand)
        order[current] = None

    visit(node)
    return list(order)


def _evaluate(node: Node, root: Node, chain: list[Node]) -> Array | None:
    values: dict[Node, Array] = {root: _GRID}
    with np.errstate(all="ignore"):
        for member in chain:
            operands = (values[n] if n in values else array_of(n).reshape(()) for n in member.inputs)
            values[member] = member.op.eval(*operands)
    result = values[node]
    return result if np.isfinite(result[_NEAR]).all() else None
