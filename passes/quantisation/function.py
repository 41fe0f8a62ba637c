from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Op
from edgewright.passes.ir.facts import AS_TABLE, activation
from edgewright.passes.ops.numeric import float32
from edgewright.passes.ops.unary import Unary

Step = tuple[Op, tuple[int | float, ...]]


@dataclass(frozen=True, slots=True)
class Function(Unary):
    """Function(x): elementwise operators in a row on one value and scalars; a Table in integers.

    steps: operators with their operands, where an int is a value (0: x, n: what step n gave) and a float is itself.
    Where they are not defined (the root of a negative number) the result is 0. It exists only between a float graph and its
    integers, never in a file.
    """

    facts = activation((7.8, AS_TABLE))  # never a step of a program

    steps: tuple[Step, ...]

    def f(self, x: Array) -> Array:
        values = [float32(x)]
        with np.errstate(all="ignore"):
            for op, operands in self.steps:
                read = (values[n] if isinstance(n, int) else np.asarray(n, np.float32) for n in operands)
                values.append(op.eval(*read))
        return np.asarray(np.nan_to_num(values[-1], nan=0.0, posinf=np.inf, neginf=-np.inf))
