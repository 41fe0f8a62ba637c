"""How much memory the evaluation of a graph takes, computed beforehand."""

from __future__ import annotations

from edgewright.passes.diagnostics import fail
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ops.attention import Attention
from edgewright.passes.ops.constant import Constant

PEAK_BYTES_MAX = 2 << 30  # of one sample's values alive at once, as float32 or int64


def peak_bytes(graph: Graph) -> tuple[int, Node | None]:
    """Return the largest sum of values alive at once in the order of `graph.nodes()`, except constants, and the value that
    reaches it. An attention's scores count while it is evaluated."""
    nodes = graph.nodes()
    last = {operand: i for i, node in enumerate(nodes) for operand in node.inputs}
    last.update(dict.fromkeys(graph.outputs, len(nodes)))
    ending: dict[int, list[Node]] = {}
    for node, position in last.items():
        ending.setdefault(position, []).append(node)
    alive = peak = 0
    at: Node | None = None
    for i, node in enumerate(nodes):
        if not isinstance(node.op, Constant):
            alive += _bytes(node)
        if alive + _scores(node) > peak:
            peak, at = alive + _scores(node), node
        alive -= sum(_bytes(n) for n in ending.get(i, ()) if not isinstance(n.op, Constant))
    return peak, at


def check_budget(graph: Graph) -> None:
    """Raise CompileError Q010 when one sample's values take more than PEAK_BYTES_MAX at once."""
    peak, node = peak_bytes(graph)
    if peak > PEAK_BYTES_MAX:
        assert node is not None
        fail(
            "Q010",
            f"the model's values take {peak / 2**30:,.1f} GiB at once",
            node.name,
            f"{node.op.kind} gives {node.type}, and with what else is alive this is more than "
            f"{PEAK_BYTES_MAX >> 30} GiB for one sample",
            "export the model for a smaller input (--shape NAME=... where the file leaves it open)",
        )


def _bytes(node: Node) -> int:
    return node.type.size * (4 if node.type.is_float else 8)


def _scores(node: Node) -> int:
    if not isinstance(node.op, Attention):
        return 0
    windows, queries = node.inputs[0].shape[:2]
    return 4 * windows * node.op.heads * queries * node.inputs[1].shape[1]
