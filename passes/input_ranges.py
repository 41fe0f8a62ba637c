"""What the integer inputs of a graph may hold: token ids index a table, masks are 0 or 1.

The ranges follow from how the graph uses its inputs. Code that takes values from a caller checks them against these ranges
before a run, because the compiled code does not check its indices.
"""

from __future__ import annotations

from edgewright.passes.ir import Graph, Int, Node
from edgewright.passes.ops import Gather, Input, Where
from edgewright.passes.ops.groups import MOVES

Range = tuple[int, int]
MASK: Range = (0, 1)


def input_ranges(graph: Graph) -> dict[str, Range]:
    """Return (lowest, highest) allowed value, both inclusive, of each integer input by name."""
    allowed: dict[str, Range] = {}
    for node, uses in input_uses(graph).items():
        op, elem = node.op, node.elem
        assert isinstance(op, Input) and isinstance(elem, Int)
        ranges = [MASK if isinstance(use, Where) else (0, use - 1) for use in uses] if op.allowed is None else [op.allowed]
        allowed[op.name] = max([elem.lowest, *(r[0] for r in ranges)]), min([elem.highest, *(r[1] for r in ranges)])
    return allowed


def input_uses(graph: Graph) -> dict[Node, list[int | Where]]:
    """Return for each integer input what reads its elements: the number of rows of a table, or the `Where` of a mask."""
    uses: dict[Node, list[int | Where]] = {n: [] for n in graph.inputs if isinstance(n.elem, Int)}
    sources: dict[Node, set[Node]] = {node: {node} for node in uses}  # value -> inputs whose elements it holds
    for node in graph.nodes():
        for position, operand in enumerate(node.inputs):
            for source in sources.get(operand, ()):
                if isinstance(node.op, Gather) and position == 1:
                    data = node.inputs[0]
                    uses[source].append(data.shape[node.op.axis % data.type.rank])
                elif isinstance(node.op, Where) and position == 0:
                    uses[source].append(node.op)
                elif isinstance(node.op, (*MOVES, Where)):
                    sources.setdefault(node, set()).add(source)
    return uses
