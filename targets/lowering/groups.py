"""Which nodes run in one step: a product, an attention or a reduction is fused with the elementwise nodes after it."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgewright.passes.ir import Graph, Node
from edgewright.passes.ops import AddRequantised, Constant, Input, Relu
from edgewright.targets.lowering.formulas import ROW_FUNCTIONS, is_elementwise

MEMBERS_MAX = 64  # longer groups gain nothing, and compilers walk expressions recursively
TERMS_MAX = 64  # operators in the expression of one element: what two members read is expanded twice
SATURATING_TERMS = 16  # the weight of a clipped integer: TVM's simplifier takes twice as long for each one nested in another


@dataclass(eq=False, slots=True)
class Group:
    """`members` in topological order, the first may be an anchor (anything that is not elementwise); all have the
    shape of the first. `stored`: members that others read, or that leave the graph."""

    members: list[Node]
    stored: list[Node] = field(default_factory=list)
    branches: bool = False

    @property
    def anchor(self) -> Node | None:
        """The node that is not elementwise, if there is one."""
        first = self.members[0]
        return None if is_elementwise(first.op) else first

    @property
    def head(self) -> Node:
        """The anchor of a group that has one."""
        assert self.anchor is not None
        return self.anchor

    @property
    def tail(self) -> list[Node]:
        """The elementwise members."""
        return self.members if self.anchor is None else self.members[1:]

    @property
    def last(self) -> Node:
        return self.members[-1]


def group(graph: Graph, is_view: frozenset[Node]) -> list[Group]:
    """Return groups in an order in which the operands of each are computed before it; views, inputs and constants have none.

    A node joins the group of an operand that no other node reads. Where an operand has several consumers, those that need
    only it and constants join too, and from then on only such: otherwise a member could wait for a value that
    depends on an earlier member.
    """
    nodes = graph.nodes()
    position = {node: i for i, node in enumerate(nodes)}
    users = graph.users()
    group_of: dict[Node, Group] = {}
    groups: list[Group] = []
    terms: dict[Node, int] = {}  # operators in a member's expression, its group's own only
    for node in nodes:
        if isinstance(node.op, (Input, Constant)) or node in is_view:
            continue
        target = _target(node, group_of, users, graph, position) if is_elementwise(node.op) else None
        fused = target.members if target is not None else []
        weight = SATURATING_TERMS if isinstance(node.op, (AddRequantised, Relu)) and not node.type.is_float else 1
        terms[node] = 1 if type(node.op) in ROW_FUNCTIONS else weight + sum(terms[n] for n in node.inputs if n in fused)
        if target is None or len(fused) == MEMBERS_MAX or terms[node] > TERMS_MAX:
            target, terms[node] = Group([]), weight
            groups.append(target)
        target.members.append(node)
        group_of[node] = target
    for current in groups:
        inside = set(current.members)
        current.stored = [n for n in current.members if n in graph.outputs or any(u not in inside for u in users[n])]
    return sorted(groups, key=lambda current: position[current.members[0] if current.branches else current.last])


def _target(
    node: Node, group_of: dict[Node, Group], users: dict[Node, list[Node]], graph: Graph, position: dict[Node, int]
) -> Group | None:
    candidates: list[tuple[Node, Group, bool]] = []
    for operand in dict.fromkeys(node.inputs):
        candidate = group_of.get(operand)
        if candidate is None or operand.shape != node.shape:
            continue
        alone = len(set(users[operand])) == 1 and operand not in graph.outputs
        unary = all(other is operand or isinstance(other.op, Constant) for other in node.inputs)
        if candidate.branches and not unary:
            continue
        if alone and operand is candidate.last:
            candidates.append((operand, candidate, candidate.branches))
        elif unary and _unary(candidate):
            candidates.append((operand, candidate, True))
    if not candidates:
        return None
    _, chosen, branches = max(candidates, key=lambda row: position[row[0]])
    chosen.branches |= branches
    return chosen


def _unary(candidate: Group) -> bool:
    """Return whether all elementwise members need only the group and constants."""
    inside = set(candidate.members)
    return all(
        n in inside or isinstance(n.op, Constant)
        for member in candidate.tail[1 if candidate.anchor is None else 0 :]
        for n in member.inputs
    )
