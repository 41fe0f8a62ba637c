"""What passes and machines want to know of an operator without naming it. `passes/ops/groups.py` makes sets of it."""

from __future__ import annotations

from dataclasses import dataclass
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

    elementwise: an element of the result depends on the elements of the operands at its place alone (numpy broadcasting).
    unary: elementwise, and a function of one operand and attributes.
    per_token: a row along the last axis depends on that row of the first operand and on parameters, whatever the rank.
    affine: elementwise, and of first degree in each operand while the others stand still (a divisor apart).
    chooses: each element of the result is an element of an operand, so that integers keep their scale.
    window: the operand's memory under another offset or other strides.
    carries_integers: moves token ids and masks through a float graph.
    normalises: each row to a mean square of 1. weighted: a product with a constant weight of one filter per channel.
    accumulates: in an integer graph, a value that arrives as an int32 accumulator with a scale of its own.
    table: in an integer graph, a table of its own between int8 and int8.
    on_host: the host may apply it to what comes from masks alone, before any integer.
    levels: of the graphs that may hold it (`on_host` apart).
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
        assert self.elementwise or not (self.unary or self.affine), "both are kinds of elementwise"
        assert self.unary or not self.table, "a table has one operand"
        assert self.chooses or not self.window, "a window holds elements of its operand"
        assert self.levels, "no graph may hold it"


def of_one_value(
    *, affine: bool, accumulates: bool, table: bool, on_host: bool, levels: frozenset[Level], instructions: Instructions
) -> Facts:
    """Facts of an elementwise operator with one operand."""
    return Facts(
        elementwise=True,
        unary=True,
        per_token=True,
        affine=affine,
        chooses=False,
        window=False,
        carries_integers=False,
        normalises=False,
        weighted=False,
        accumulates=accumulates,
        table=table,
        on_host=on_host,
        levels=levels,
        instructions=instructions,
    )


def activation(instructions: Instructions) -> Facts:
    """Facts of a curved function of one value that is defined everywhere: in integers a table of its own."""
    return of_one_value(
        affine=False, accumulates=False, table=True, on_host=False, levels=FLOAT_ONLY, instructions=instructions
    )


def of_several_values(
    *,
    affine: bool,
    chooses: bool,
    carries_integers: bool,
    accumulates: bool,
    on_host: bool,
    levels: frozenset[Level],
    instructions: Instructions,
) -> Facts:
    """Facts of an elementwise operator whose operands broadcast."""
    return Facts(
        elementwise=True,
        unary=False,
        per_token=False,
        affine=affine,
        chooses=chooses,
        window=False,
        carries_integers=carries_integers,
        normalises=False,
        weighted=False,
        accumulates=accumulates,
        table=False,
        on_host=on_host,
        levels=levels,
        instructions=instructions,
    )


def of_a_product(*, per_token: bool, weighted: bool, levels: frozenset[Level], instructions: Instructions | None) -> Facts:
    """Facts of what multiplies and adds up: in integers an accumulator."""
    return Facts(
        elementwise=False,
        unary=False,
        per_token=per_token,
        affine=False,
        chooses=False,
        window=False,
        carries_integers=False,
        normalises=False,
        weighted=weighted,
        accumulates=Level.QUANTISED in levels,
        table=False,
        on_host=False,
        levels=levels,
        instructions=instructions,
    )


def of_a_move(*, window: bool, instructions: Instructions | None) -> Facts:
    """Facts of what takes elements of operands to other places: of any type, at both levels and on the host."""
    return Facts(
        elementwise=False,
        unary=False,
        per_token=False,
        affine=False,
        chooses=True,
        window=window,
        carries_integers=True,
        normalises=False,
        weighted=False,
        accumulates=False,
        table=False,
        on_host=True,
        levels=BOTH_LEVELS,
        instructions=instructions,
    )


def of_rows(
    *,
    per_token: bool,
    normalises: bool,
    accumulates: bool,
    carries_integers: bool,
    on_host: bool,
    levels: frozenset[Level],
    instructions: Instructions | None,
) -> Facts:
    """Facts of what is neither elementwise nor a product nor a move: norms, sums along axes, what enters the graph."""
    return Facts(
        elementwise=False,
        unary=False,
        per_token=per_token,
        affine=False,
        chooses=False,
        window=False,
        carries_integers=carries_integers,
        normalises=normalises,
        weighted=False,
        accumulates=accumulates,
        table=False,
        on_host=on_host,
        levels=levels,
        instructions=instructions,
    )
