"""Check the sizes of a model's values before anything is computed: a small file can call for any amount of memory."""

from __future__ import annotations

from typing import NoReturn

from edgewright.passes.diagnostics import fail
from edgewright.passes.ir import Graph, Node
from edgewright.passes.ir.budget import alive
from edgewright.passes.ops import Constant
from edgewright.passes.ops.groups import MOVES

LARGEST_READ = 1 << 29
"""Elements of one value as exporters write it: scores of 4096 tokens and 16 heads are 2^28, and Attention never stores them."""
LARGEST_VALUE = 1 << 26
"""Elements of one value of the canonical graph: 256 MiB in float32, 512 where integers are computed."""
LARGEST_ALIVE = 1 << 27
"""Elements that are alive at the same time."""
LARGEST_FOLLOWED = 1 << 25
"""Elements of a mask, over all values that one of its elements may have."""


def check_read(node: Node) -> None:
    """Refuse (CompileError, N024) a value that is too large as the model writes it. Values that only move elements, or follow
    from constants, are computed while the model is read and may be smaller."""
    moved = isinstance(node.op, MOVES)
    known = all(isinstance(operand.op, Constant) for operand in node.inputs)
    _check_value(node, LARGEST_VALUE if moved or known else LARGEST_READ)


def check_followed(node: Node, count: int) -> None:
    """Refuse (CompileError, N024) a mask, or counts below `count`, whose uses would have to be computed for too many values."""
    elements = node.type.size * count
    if elements > LARGEST_FOLLOWED:
        because = f"{elements:,} elements of its shape {node.shape} would be computed, for {count} values of each"
        _too_large(node, because, LARGEST_FOLLOWED)


def _check_value(node: Node, largest: int) -> None:
    if not isinstance(node.op, Constant) and node.type.size > largest:
        _too_large(node, f"its shape {node.shape} has {node.type.size:,} elements", largest)


def check_values(graph: Graph) -> None:
    """Refuse (CompileError, N024) a canonical graph that cannot be computed in a few hundred MiB."""
    for node in graph.nodes():
        _check_value(node, LARGEST_VALUE)
    for node, total in alive(graph, lambda node: node.type.size):
        if total > LARGEST_ALIVE:
            _too_large(node, f"with it {total:,} elements are alive at the same time", LARGEST_ALIVE)


def _too_large(node: Node, because: str, largest: int) -> NoReturn:
    at, help_text = f"node {node.name!r} ({node.op.kind})", "use a smaller input (--shape where it is open), or fewer tokens"
    fail("N024", "a value of this model is too large", at, f"{because}, and at most {largest:,} are allowed", help_text)
