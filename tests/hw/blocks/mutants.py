"""A part with one operation of one process changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgewright.hw.kernel import ir

Change = Callable[[ir.Node, tuple[ir.Node, ...]], ir.Node | None]
"""Given a node and its arguments in the mutant: what stands in its place, or None to leave it."""


def mutant(program: ir.Program, name: str, change: Change) -> ir.Program:
    """`change` is asked for every node of process `name`, arguments first, until it answers; it must do so once."""
    process = next(p for p in program.processes if p.name == name)
    new: dict[ir.Node, ir.Node] = {}
    done = False
    bounds = [loop.bound for loop in process.loops if isinstance(loop.bound, ir.Node)]
    for node in ir.topological([*process.effects, *bounds, *(loop.counter for loop in process.loops)]):
        args = tuple(new[a] for a in node.args)
        found = None if done else change(node, args)
        done = done or found is not None
        new[node] = found or (node if args == node.args else replace(node, args=args))
    if not done:
        raise ValueError(f"nothing to change in process {name}")
    loops = tuple(
        replace(loop, bound=new[loop.bound] if isinstance(loop.bound, ir.Node) else loop.bound, counter=new[loop.counter])
        for loop in process.loops
    )
    effects = tuple(new[e] for e in process.effects)
    names = {new[node]: text for node, text in process.names.items() if node in new}
    changed = ir.Process(name, process.command, loops, effects, process.locks, names, process.doc)
    return replace(program, processes=[changed if p is process else p for p in program.processes])
