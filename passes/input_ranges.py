"""What the integer inputs of a graph may hold: token ids index a table, masks are 0 or 1.

The graph says it by what it does with them. Whoever takes values from a caller checks them against this before a run:
the compiled code indexes without looking.
"""

from __future__ import annotations

from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import Int
from edgewright.passes.ops.concat import Concat
from edgewright.passes.ops.gather import Gather
from edgewright.passes.ops.input import Input
from edgewright.passes.ops.reshape import Reshape
from edgewright.passes.ops.slice import Slice
from edgewright.passes.ops.transpose import Transpose
from edgewright.passes.ops.where import Where

Range = tuple[int, int]
MASK: Range = (0, 1)


def input_ranges(graph: Graph) -> dict[str, Range]:
    """Lowest and highest value allowed, both included, of each integer input by name."""
    found: dict[str, Range] = {}
    for node, uses in input_uses(graph).items():
        op, elem = node.op, node.elem
        assert isinstance(op, Input) and isinstance(elem, Int)
        ranges = [MASK if isinstance(use, Where) else (0, use - 1) for use in uses] if op.allowed is None else [op.allowed]
        found[op.name] = max([elem.lowest, *(r[0] for r in ranges)]), min([elem.highest, *(r[1] for r in ranges)])
    return found


def input_uses(graph: Graph) -> dict[Node, list[int | Where]]:
    """For each integer input, what reads its elements: the number of rows of a table, or the choice of a mask."""
    uses: dict[Node, list[int | Where]] = {n: [] for n in graph.inputs if isinstance(n.elem, Int)}
    sources: dict[Node, set[Node]] = {node: {node} for node in uses}  # value -> inputs whose elements it holds
    for node in graph.nodes():
        for position, operand in enumerate(node.inputs):
            for source in sources.get(operand, ()):
                if isinstance(node.op, (Reshape, Slice, Transpose, Concat)):
                    sources.setdefault(node, set()).add(source)
                elif isinstance(node.op, Gather):
                    data = node.inputs[0]
                    if position == 0:
                        sources.setdefault(node, set()).add(source)
                    else:
                        uses[source].append(data.shape[node.op.axis % data.type.rank])
                elif isinstance(node.op, Where) and position == 0:
                    uses[source].append(node.op)
                elif isinstance(node.op, Where):
                    sources.setdefault(node, set()).add(source)
    return uses
