"""Sets of operators, derived from the facts that the operators declare, so that a new operator joins them by itself.

A rule that means other operators than one of these sets lists them in its own file, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from edgewright.passes import ops
from edgewright.passes.ir import Level, Op
from edgewright.passes.ir.facts import Facts

Group: TypeAlias = tuple[type[Op], ...]

OPERATORS: Group = tuple(value for value in vars(ops).values() if isinstance(value, type) and issubclass(value, Op))


def _with(holds: Callable[[Facts], bool]) -> Group:
    return tuple(op for op in OPERATORS if holds(op.facts))


ELEMENTWISE = _with(lambda facts: facts.elementwise)
UNARY = _with(lambda facts: facts.unary)
BROADCASTING = _with(lambda facts: facts.elementwise and not facts.unary)
AFFINE = _with(lambda facts: facts.affine)
PER_TOKEN = _with(lambda facts: facts.per_token)
CHOOSING = _with(lambda facts: facts.chooses)
MOVES = _with(lambda facts: facts.chooses and not facts.elementwise)
WINDOWS = _with(lambda facts: facts.window)
NORMS = _with(lambda facts: facts.normalises)
WEIGHTED = _with(lambda facts: facts.weighted)

ON_HOST = _with(lambda facts: facts.on_host)
CARRYING_INTEGERS = _with(lambda facts: facts.carries_integers)
ACCUMULATING = _with(lambda facts: facts.accumulates)
TABLES = _with(lambda facts: facts.table)
FLOAT_LEVEL = _with(lambda facts: Level.FLOAT in facts.levels)
QUANTISED_LEVEL = _with(lambda facts: Level.QUANTISED in facts.levels)
ONLY_QUANTISED = _with(lambda facts: Level.FLOAT not in facts.levels)
