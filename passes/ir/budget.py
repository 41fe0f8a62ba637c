"""How much memory the evaluation of a graph takes, computed beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgewright.passes.diagnostics import fail
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ops import Attention, Constant

PEAK_BYTES_MAX = 2 << 30  # of one sample's values alive at once, as float32 or int64


def alive(graph: Graph, size: Callable[[Node], int]) -> Iterator[tuple[Node, int]]:
    """Yield each node in the order of `graph.nodes()`, and the total size of the values that are alive once it is computed.
    Constants do not count."""
    nodes = graph.nodes()
    last = {operand: i for i, node in enumerate(nodes) for operand in node.inputs}
    last.update(dict.fromkeys(graph.outputs, len(nodes)))
    ending: dict[int, list[Node]] = {}
    for node, position in last.items():
        ending.setdefault(position, []).append(node)
    total = 0
    for i, node in enumerate(nodes):
        if not isinstance(node.op, Constant):
            total += size(node)
        yield node, total
        total -= sum(size(n) for n in ending.get(i, ()) if not isinstance(n.op, Constant))


def peak_bytes(graph: Graph) -> tuple[int, Node | None]:
    """Return the largest total of `alive` in bytes, and the value that reaches it. The scores of an attention count while
    it is evaluated."""
    peak = 0
    at: Node | None = None
    for node, total in alive(graph, _bytes):
        if total + _scores(node) > peak:
            peak, at = total + _scores(node), node
    return peak, at


def check_budget(graph: Graph) -> None:
    """Raise CompileError Q010 when one sample's values take more than PEAK_BYTES_MAX at once."""
    peak, node = peak_bytes(graph)
    if peak > PEAK_BYTES_MAX:
        assert node is not None
        message, limit = f"the model's values take {peak / 2**30:,.1f} GiB at once", f"{PEAK_BYTES_MAX >> 30} GiB"
        because = f"{node.op.kind} gives {node.type}, and with the other values alive this is more than {limit} for one sample"
        help_text = "export the model for a smaller input (--shape NAME=... where the file leaves it open)"
        fail("Q010", message, node.name, because, help_text)


def _bytes(node: Node) -> int:
    return node.type.size * (4 if node.type.is_float else 8)


def _scores(node: Node) -> int:
    if not isinstance(node.op, Attention):
        return 0
    windows, queries = node.inputs[0].shape[:2]
    return 4 * windows * node.op.heads * queries * node.inputs[1].shape[1]
