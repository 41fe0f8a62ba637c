"""Sums and means over axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, INT32, Array, Int, Op, TensorType, expect
from edgewright.passes.ir.facts import FLOAT_ONLY, INTEGERS_ONLY, ONE_OPERATION, of_rows
from edgewright.passes.ops.arith import limit
from edgewright.passes.ops.numeric import expect_count, expect_float, float32, reduced_shape


@dataclass(frozen=True, slots=True)
class ReduceMean(Op):
    """Mean over axes, accumulated in float64."""

    facts = of_rows(per_token=False, accumulates=True, on_host=True, levels=FLOAT_ONLY, instructions=ONE_OPERATION)

    axes: tuple[int, ...]
    keepdims: bool = True

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        (x,) = types
        return TensorType(reduced_shape(x, self.axes, self.keepdims), F32)

    def eval(self, *arrays: Array) -> Array:
        return float32(arrays[0].mean(axis=self.axes, keepdims=self.keepdims, dtype=np.float64))


@dataclass(frozen=True, slots=True)
class ReduceSum(Op):
    """Sum of integers over axes into int32; with a Requantise after it, the mean."""

    facts = of_rows(per_token=False, accumulates=False, on_host=False, levels=INTEGERS_ONLY, instructions=ONE_OPERATION)

    axes: tuple[int, ...]
    keepdims: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        (x,) = types
        expect(not x.is_float, f"needs an integer, got {x}")
        return TensorType(reduced_shape(x, self.axes, self.keepdims), INT32)

    def eval(self, *arrays: Array) -> Array:
        result: Array = arrays[0].sum(axis=self.axes, keepdims=self.keepdims, dtype=np.int64)
        return result

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        (x,) = types
        return x.size // self.infer(x).size * (limit(x.elem) if isinstance(x.elem, Int) else 0)
