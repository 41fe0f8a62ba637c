"""Elementwise operators that depend on one value alone become one function: in integers one table instead of several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from edgewright.passes.ir import Graph, Node, Op, make, merge_origins, moved, rebuild
from edgewright.passes.ops import Div, Mul, scalar_of, value_of
from edgewright.passes.ops.groups import AFFINE, CHOOSING, ELEMENTWISE, FLOAT_LEVEL, WEIGHTED
from edgewright.passes.quantisation.function import Function
from edgewright.passes.quantisation.lowering_structure import ACTIVATIONS, CLIPPING, hosted
from edgewright.passes.transform import Note, Pass

# all but what has an integer form of more than 8 bits: sums and scales, rectifications, choices between values
CURVED = tuple(op for op in ELEMENTWISE if op in FLOAT_LEVEL and op not in (*AFFINE, *CHOOSING, *CLIPPING))
COMPOSED = (*AFFINE, *CURVED, *CLIPPING)
LONGEST = 64  # operators in one function


@dataclass(frozen=True, slots=True)
class ComposeFunctions(Pass):
    """Elementwise operators on one tensor and scalars (x * sigmoid(1.702 x), relu(x)^2), each a Function of that tensor.

    Before: single operators, each of which an integer graph would round, or could not express. After: one Function, which
    calibration, range search and tables treat as any activation. An operator that stands alone and has a table of its
    own stays. Sums, scales and rectifications alone stay as well: they have integer forms of more than 8 bits; so do
    products of a value with itself, unless a product stands before them and only 8 bits are read.
    Exact: yes, the same operators are evaluated.
    Source: a function of one int8 is a table of 256 entries (Jacob et al., CVPR 2018, section 2).
    """

    exact: ClassVar[bool] = True

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()
        known = hosted(graph)
        inside: set[Node] = set()
        functions: dict[Node, tuple[Node, Function, tuple[str, ...]]] = {}
        for node in reversed(graph.nodes()):
            if node in inside or node in known or not isinstance(node.op, COMPOSED):
                continue
            composed = _source(node, users, graph)
            if composed is None:
                continue
            source, members = composed
            if source in known or not _needs_table(node, source, members, users[node], node in graph.outputs):
                continue
            ordered = _ordered(node, members)
            origin = merge_origins(*(member.origin for member in reversed(ordered)))
            functions[node] = source, _composed(source, ordered), origin
            inside |= members
            note.count("functions")

        done: dict[Node, Node] = {}

        def change(old: Node, operands: tuple[Node, ...]) -> Node:
            done[old] = moved(old, operands)
            if old in functions:
                source, function, origin = functions[old]
                done[old] = make(function, done[source], origin=origin)
            return done[old]

        return rebuild(graph, change)


def _varying(node: Node) -> list[Node]:
    return [operand for operand in node.inputs if scalar_of(operand) is None]


def _source(exit_: Node, users: dict[Node, list[Node]], graph: Graph) -> tuple[Node, set[Node]] | None:
    """Return (the one tensor that a value depends on, the operators between): as far up as only the value reads them."""
    inside = {exit_}
    border = set(_varying(exit_))
    best: tuple[Node, set[Node]] | None = None
    while len(inside) <= LONGEST:
        if len(border) == 1:
            (source,) = border
            if source.type.is_float and source.shape == exit_.shape and value_of(source) is None:
                best = source, set(inside)
        opened = {
            node
            for node in border
            if isinstance(node.op, COMPOSED)
            and node.shape == exit_.shape
            and node not in graph.outputs
            and all(user in inside for user in users[node])
        }
        if not opened:
            break
        inside |= opened
        border = (border | {operand for node in opened for operand in _varying(node)}) - inside
    return best


def _needs_table(node: Node, source: Node, members: set[Node], readers: Iterable[Node], is_output: bool) -> bool:
    if members == {node} and isinstance(node.op, ACTIVATIONS):
        return False
    if any(isinstance(m.op, CURVED) or (isinstance(m.op, Div) and scalar_of(m.inputs[1]) is None) for m in members):
        return True
    multiplied = any(isinstance(m.op, Mul) and len(_varying(m)) == 2 for m in members)
    narrow = not is_output and all(isinstance(reader.op, (*WEIGHTED, *ACTIVATIONS)) for reader in readers)
    return multiplied and narrow and isinstance(source.op, WEIGHTED)


def _composed(source: Node, members: list[Node]) -> Function:
    position = {source: 0}
    steps: list[tuple[Op, tuple[int | float, ...]]] = []
    for member in members:
        operands = [position.get(operand, scalar_of(operand)) for operand in member.inputs]
        assert None not in operands
        steps.append((member.op, tuple(operand for operand in operands if operand is not None)))
        position[member] = len(steps)
    return Function(tuple(steps))


def _ordered(node: Node, members: set[Node]) -> list[Node]:
    """Return the members, operands before their users."""
    order: dict[Node, None] = {}
    waiting = [node]
    while waiting:
        missing = [operand for operand in waiting[-1].inputs if operand in members and operand not in order]
        waiting += missing
        if not missing:
            order[waiting.pop()] = None
    return list(order)
