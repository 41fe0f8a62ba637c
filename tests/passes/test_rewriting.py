"""Rules and groups: what the driver counts, skips, verifies and refuses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.passes.ir import Node, Op, make
from edgewright.passes.ir.types import F32, TensorType
from edgewright.passes.ops import Add, Neg, Relu, Tanh
from edgewright.passes.rewriting import Rule, RuleGroup, Uses
from edgewright.passes.transform import run_passes

from tests.graph_text import parse

GRAPH = parse("""
graph small (float)
  %0 = Input['x'] : f32[1,2]
  %1 = Relu(%0)
  %2 = Relu(%1)
  %3 = Add(%1, %2)
  return y = %3
""")


@dataclass(frozen=True, slots=True)
class Swap(Rule):
    """One function for another."""

    old: type[Op]
    new: Op
    event = "swapped"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        return make(self.new, *node.inputs) if isinstance(node.op, self.old) else None


ASKED: list[str] = []


@dataclass(frozen=True, slots=True)
class Asking(Rule):
    """Keeps everything, and looks at how often the operands of a sum are read."""

    on = (Add, Tanh)

    def replace(self, node: Node, uses: Uses) -> Node | None:
        ASKED.append(f"{node.op.kind} {[uses(operand) for operand in node.inputs] if isinstance(node.op, Add) else ''}")
        return None


@dataclass(frozen=True, slots=True)
class Lie(Rule):
    """A node whose type is not what its operator makes of its operands."""

    on = (Add,)

    def replace(self, node: Node, uses: Uses) -> Node | None:
        return replace(node, type=TensorType((1, 3), F32))


def test_a_rule_counts_what_it_replaces_and_an_unchanged_graph_is_the_same_object() -> None:
    graph, done = Swap(Relu, Tanh())(GRAPH)
    assert done.counts == (("swapped", 2),) and [n.op.kind for n in graph] == ["Input", "Tanh", "Tanh", "Add"]
    again, done = Swap(Relu, Tanh())(graph)
    assert again is graph and not done.counts


def test_a_group_runs_until_nothing_changes_and_adds_up_its_rounds() -> None:
    # the second rule makes work for the first one, which has to run again
    group = RuleGroup("functions", (Swap(Tanh, Neg()), Swap(Relu, Tanh())))
    graph, done = group(GRAPH)
    assert [n.op.kind for n in graph] == ["Input", "Neg", "Neg", "Add"]
    assert [part.counts for part in done.parts] == [(("swapped", 2),), (("swapped", 2),)]
    assert (done.nodes_before, done.nodes_after) == (4, 4)
    nested, outer = RuleGroup("outer", (group,))(GRAPH)
    assert [n.op.kind for n in nested] == ["Input", "Neg", "Neg", "Add"]
    assert [part.name for part in outer.parts[0].parts] == ["Swap", "Swap"]


def test_rules_that_undo_each_other_are_an_error_of_ours() -> None:
    with pytest.raises(CompileError) as caught:
        RuleGroup("circle", (Swap(Relu, Tanh()), Swap(Tanh, Relu())), rounds_max=8)(GRAPH)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "G007" and "circle" in diagnostic.message and caught.value.exit_code == Exit.BUG


def test_a_settled_node_is_looked_at_again_only_if_its_readers_matter() -> None:
    ASKED.clear()
    RuleGroup("asking", (Asking(), Swap(Relu, Tanh())))(GRAPH)
    # the first value is read twice, by the second one and the sum; what Tanh computes does not depend on its readers
    assert ASKED.count("Add [2, 1]") == 2 and ASKED.count("Tanh ") == 2


def test_what_a_rule_makes_is_verified_after_it_also_inside_a_group() -> None:
    for step in (Lie(), RuleGroup("outer", (Swap(Relu, Tanh()), Lie()))):
        with pytest.raises(CompileError) as caught:
            run_passes(GRAPH, (Swap(Neg, Tanh()), step))
        assert {d.code for d in caught.value.diagnostics} == {"G003"}
        assert all("after Lie" in d.at for d in caught.value.diagnostics)
