"""Group elementwise values of one shape into an unrolled loop; those used only inside it become scalars there."""

from __future__ import annotations

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp_values import Values, is_elementwise
from edgewright.hw.kernel.types import shape_of


class Groups:
    """Elementwise array variables that are not printed yet, all of one shape."""

    def __init__(self, nodes: list[ir.Node]) -> None:
        self.members: list[ir.Node] = []
        self.users: dict[ir.Node, list[ir.Node]] = {}
        for node in nodes:
            for arg in set(node.args):
                self.users.setdefault(arg, []).append(node)

    def reaches(self, node: ir.Node, values: Values) -> set[ir.Node]:
        """Return the members that the text of a node would mention."""
        members: set[ir.Node] = set()
        stack, seen = list(node.args), set()
        while stack:
            at = stack.pop()
            if at in seen or at in values.base:
                continue
            seen.add(at)
            if at in self.members:
                members.add(at)
            else:
                stack += at.args
        return members

    def in_step(self, node: ir.Node, values: Values) -> bool:
        """Return whether a node uses members only at its own index, so that it can share their loop."""
        shape = shape_of(node.type)
        if shape != shape_of(self.members[0].type):
            return False
        for arg in node.args:
            if arg in values.base or not (arg in self.members or self.reaches(arg, values)):
                continue
            if shape_of(arg.type) != shape:
                return False
            if arg not in self.members and not (is_elementwise(arg) and self.in_step(arg, values)):
                return False
        return True

    def local(self, member: ir.Node, printed: set[ir.Node]) -> bool:
        """Return whether a member is used only inside the loop. `printed`: nodes with a text of their own."""
        group = set(self.members)
        stack = list(self.users.get(member, ()))
        while stack:
            user = stack.pop()
            if user in group:
                continue
            if user in printed or not is_elementwise(user) or shape_of(user.type) != shape_of(member.type):
                return False
            stack += self.users.get(user, ())
        return True
