"""What passes and machines need to know of an operator without naming it; `passes/ops/groups.py` derives sets from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from edgewright.passes.ir.types import Level

Instructions: TypeAlias = tuple[float, float]  # per element, on vectors of 128 bits: (float32, integers)

FLOAT_ONLY = frozenset({Level.FLOAT})
INTEGERS_ONLY = frozenset({Level.QUANTISED})
BOTH_LEVELS = frozenset(Level)

AS_TABLE = 0.84  # instructions per element of any function of one int8
ONE_OPERATION: Instructions = (0.75, 0.5)  # load, operation and store


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Every operator declares all of them: none has a default, so none is forgotten.

    elementwise: each element of the result depends only on the operands' elements at its position (numpy broadcasting).
    unary: elementwise, and a function of one operand and attributes.
    per_token: each row along the last axis depends on that row of the first operand and on parameters, whatever the rank.
    affine: elementwise, and of first degree in each operand while the others are constant (a divisor excepted).
    chooses: each element of the result is an element of an operand, so that integers keep their scale.
    window: the operand's memory with another offset or other strides.
    carries_integers: moves token ids and masks through a float graph.
    normalises: each row to a mean square of 1. weighted: a product with a constant weight, one filter per channel.
    accumulates: in an integer graph, the value is an int32 accumulator with its own scale.
    table: in an integer graph, a table from int8 to int8.
    on_host: the host may compute it from masks alone, before any integer.
    levels: of the graphs that may contain it (`on_host` excepted).
    instructions: what an estimate counts for it; None where no CPU runs a step of that name.
    """

    elementwise: bool
    unary: bool
    per_token: bool
    affine: bool
    chooses: bool
    window: bool
    carries_integers: bool
    normalises: bool
    weighted: bool
    accumulates: bool
    table: bool
    on_host: bool
    levels: frozenset[Level]
    instructions: Instructions | None

    def __post_init__(self) -> None:
        assert self.elementwise or not (self.unary or self.affine), "unary and affine operators are elementwise"
        assert self.unary or not self.table, "a table has one operand"
        assert self.chooses or not self.window, "a window consists of elements of its operand"
        assert self.levels, "no graph may contain it"


_NONE = Facts(
    elementwise=False,
    unary=False,
    per_token=False,
    affine=False,
    chooses=False,
    window=False,
    carries_integers=False,
    normalises=False,
    weighted=False,
    accumulates=False,
    table=False,
    on_host=False,
    levels=BOTH_LEVELS,
    instructions=None,
)  # for the kinds below, each of which says which facts its operators declare themselves


def of_one_value(
    *, affine: bool, accumulates: bool, table: bool, on_host: bool, levels: frozenset[Level], instructions: Instructions
) -> Facts:
    """Return the facts of an elementwise operator with one operand."""
    return replace(
        _NONE,
        elementwise=True,
        unary=True,
        per_token=True,
        affine=affine,
        accumulates=accumulates,
        table=table,
        on_host=on_host,
        levels=levels,
        instructions=instructions,
    )


def activation(instructions: Instructions) -> Facts:
    """Return the facts of a non-linear function of one value that is defined everywhere: in integers a table."""
    return of_one_value(
        affine=False, accumulates=False, table=True, on_host=False, levels=FLOAT_ONLY, instructions=instructions
    )


def of_two_numbers(
    *, affine: bool, accumulates: bool, on_host: bool, levels: frozenset[Level], instructions: Instructions
) -> Facts:
    """Return the facts of an elementwise operator that computes a number of operands that broadcast."""
    return replace(
        _NONE,
        elementwise=True,
        affine=affine,
        accumulates=accumulates,
        on_host=on_host,
        levels=levels,
        instructions=instructions,
    )


def of_a_choice(*, carries_integers: bool) -> Facts:
    """Return the facts of an elementwise operator whose result is one of its operands' elements."""
    chosen = replace(_NONE, elementwise=True, chooses=True, on_host=True, instructions=ONE_OPERATION)
    return replace(chosen, carries_integers=carries_integers)


def of_a_product(*, per_token: bool, weighted: bool, levels: frozenset[Level], instructions: Instructions | None) -> Facts:
    """Return the facts of an operator that multiplies and adds up: in integers an accumulator."""
    adds = Level.QUANTISED in levels
    return replace(_NONE, per_token=per_token, weighted=weighted, accumulates=adds, levels=levels, instructions=instructions)


def of_a_move(*, window: bool, instructions: Instructions | None) -> Facts:
    """Return the facts of an operator that moves elements of its operands: of any type, at both levels and on the host."""
    return replace(_NONE, chooses=True, window=window, carries_integers=True, on_host=True, instructions=instructions)


def of_a_source() -> Facts:
    """Return the facts of an operator without operands."""
    return replace(_NONE, carries_integers=True)


def of_a_norm(instructions: Instructions) -> Facts:
    """Return the facts of a normalisation of rows."""
    return replace(_NONE, per_token=True, normalises=True, instructions=instructions)


def of_rows(
    *, per_token: bool, accumulates: bool, on_host: bool, levels: frozenset[Level], instructions: Instructions | None
) -> Facts:
    """Return the facts of any other operator: neither elementwise nor a product, a move or a norm."""
    return replace(
        _NONE, per_token=per_token, accumulates=accumulates, on_host=on_host, levels=levels, instructions=instructions
    )
