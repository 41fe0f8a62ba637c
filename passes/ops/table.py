from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import INT8, Allowed, Array, Op, TensorType, expect, fixed
from edgewright.passes.ir.facts import AS_TABLE, INTEGERS_ONLY, of_rows
from edgewright.passes.ops.arith import int64
from edgewright.passes.ops.numeric import expect_count


@dataclass(frozen=True, slots=True)
class Table(Op):
    """Table(x int8, table int8[256]) = table[x + 128]: any function of one int8, output scale included."""

    facts = of_rows(per_token=True, accumulates=False, on_host=False, levels=INTEGERS_ONLY, instructions=(AS_TABLE, AS_TABLE))

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        x, table = types
        expect(x.elem == INT8 and table.elem == INT8, f"needs int8, got {x} and {table}")
        expect(table.shape == (256,), f"the table has shape {table.shape}")
        return TensorType(x.shape, INT8)

    def eval(self, *arrays: Array) -> Array:
        x, table = arrays
        return np.asarray(int64(table)[int64(x) + 128])

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        yield fixed("entry", values[1], -127, 127)
