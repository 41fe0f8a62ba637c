"""What the recorded tokens are good for: they reach every branch, and parts reproduce them."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.hw.cost import program_of
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.evaluate import spread
from edgewright.hw.kernel.interp import interpret
from edgewright.hw.kernel.nest import control, expand
from edgewright.hw.kernel.tokens import Rows, encode
from edgewright.hw.kernel.types import elem_of, leaves

from tests.hw.blocks.recorded import count, differences
from tests.hw.blocks.recordings import CONFIG, PARTS, inputs_of, outputs_of, recording

PROCESSES = program_of(CONFIG).processes


def test_every_stream_has_tokens() -> None:
    assert not [name for name, tokens in recording().items() if not count(tokens)]


def test_every_process_is_in_one_part() -> None:
    inside = [process for part in PARTS.values() for process in part.processes]
    assert len(inside) == len(set(inside)) == len(PROCESSES)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_a_part_alone_sends_what_it_sent_inside(part: ir.Program) -> None:
    assert not differences(outputs_of(part), interpret(part, inputs_of(part)))


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)
def test_every_condition_is_met_both_ways(process: ir.Process) -> None:
    """Each flag of a command, and each condition of a read, write, store or choice that is known at issue."""
    command: list[Rows] = []
    constant = []
    if process.command is not None:
        kind = process.command.type
        command = encode(kind, recording()[process.command.name], process.command.name)
        for (path, leaf, _), rows in zip(leaves(kind), command, strict=True):
            if elem_of(leaf).bits == 1 and len(np.unique(rows)) < 2:
                constant.append(f"command.{'.'.join(path)}")
    plan = expand(process, command, len(command[0]) if command else 1)
    for node in process.nodes():
        when = condition(node)
        if when is None or not ir.is_control(when):
            continue
        rows = spread(control(process, [when], plan.flags(), plan.command, plan.count)[when], plan.count)
        if len(np.unique(rows)) < 2:
            constant.append(f"{type(node.op).__name__} at {node.where}")
    assert not constant


def condition(node: ir.Node) -> ir.Node | None:
    """What decides whether a node acts, or which value it takes. A bit of a number (a shift amount, an index) is not a
    decision: the kernel's tests try every amount."""
    if isinstance(node.op, ir.Select) and isinstance(node.args[0].op, ir.Bits):
        return None
    if isinstance(node.op, ir.Select) or (isinstance(node.op, ir.Read) and node.args):
        return node.args[0]
    if isinstance(node.op, ir.Write):
        return ir.write_parts(node).when
    return ir.store_parts(node).when if isinstance(node.op, ir.Store) else None
