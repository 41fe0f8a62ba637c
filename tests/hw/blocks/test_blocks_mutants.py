"""One operation of a process changed: the comparison with the recorded tokens must notice at RTL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.types import shape_of

from tests.hw.blocks.mutants import Change, mutant
from tests.hw.blocks.recorded import differences
from tests.hw.blocks.recordings import PARTS, inputs_of, outputs_of
from tests.hw.kernel.kernel_bench import trace_rtl

pytestmark = pytest.mark.sim


def subtract(node: ir.Node, args: tuple[ir.Node, ...]) -> ir.Node | None:
    """The first sum of two vectors becomes their difference."""
    if not isinstance(node.op, ir.Add) or not all(shape_of(a.type) for a in args):
        return None
    return ir.Node(ir.Sub(), args, node.type, node.where)


def truncate(node: ir.Node, args: tuple[ir.Node, ...]) -> ir.Node | None:
    """A rounded shift loses its rounding."""
    if not isinstance(node.op, ir.Add) or not isinstance(args[1].op, ir.Const):
        return None
    zero = replace(args[1], op=ir.Const((0,) * len(args[1].op.values)))
    return replace(node, args=(args[0], zero))


def invert(node: ir.Node, args: tuple[ir.Node, ...]) -> ir.Node | None:
    """A token is written where it was not to be."""
    if not isinstance(node.op, ir.Write) or not node.op.guarded:
        return None
    flipped = ir.Node(ir.Not(), (args[-1],), args[-1].type, node.where)
    return replace(node, args=(*args[:-1], flipped))


def one_place(node: ir.Node, args: tuple[ir.Node, ...]) -> ir.Node | None:
    """A memory is read at its first element only."""
    if not isinstance(node.op, ir.Load):
        return None
    return replace(node, args=(ir.Node(ir.Const((0,)), (), args[0].type), *args[1:]))


MUTANTS = {
    "turn_out: the same row again": ("engine_turn_out", "turn_out", one_place),
    "epilogue: bias subtracted": ("engine_store_words", "epilogue", subtract),
    "norm_scale: no rounding": ("engine_norm_scale", "norm_scale", truncate),
    "epilogue: entries where there is no table": ("engine_store_words", "epilogue", invert),
}


@pytest.mark.parametrize(("name", "process", "change"), MUTANTS.values(), ids=MUTANTS.keys())
def test_noticed(name: str, process: str, change: Change) -> None:
    part = PARTS[name]
    found = trace_rtl(mutant(part, process, change), inputs_of(part), optimise=False).outputs
    assert differences(outputs_of(part), found)
