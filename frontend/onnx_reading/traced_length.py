"""Find a length that an export wrote into the model as a number, although the input leaves that axis open.

Tracing fixes some sizes of its example: a Reshape to (20, heads, dim), positions cut to 20. The model then works at that
length only, and every other one fails at some operator. Reading the model at the lengths that occur in that operator shows
which one it was traced for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import onnx
from edgewright.frontend.onnx_reading.fold import Shapes
from edgewright.passes.diagnostics import CompileError, Diagnostic, fail

_TRIED = 6


class DoesNotFit(CompileError):
    """Operators refuse their operands. `lengths`: sizes of these operands, and numbers in those that are shapes."""

    def __init__(self, diagnostics: Iterable[Diagnostic], lengths: Iterable[int]) -> None:
        super().__init__(diagnostics)
        self.lengths = tuple(lengths)


def refuse_traced_length(model: onnx.ModelProto, shapes: Shapes, error: DoesNotFit, readable: Callable[[Shapes], bool]) -> None:
    """Raise one N026 instead of `error` if the model is readable with another length of its open axes."""
    complete, open_sizes = _pinned(model, shapes)
    candidates = [n for n, _ in Counter(error.lengths).most_common() if n > 1 and n not in open_sizes]
    for size in sorted(open_sizes, reverse=True):
        for length in candidates[:_TRIED]:
            other = {name: tuple(length if o and n == size else n for n, o in dims) for name, dims in complete.items()}
            if not readable(other):
                continue
            changed = [name for name, dims in complete.items() if any(o and n == size for n, o in dims)]
            options = " ".join(f"--shape {name}={','.join(map(str, other[name]))}" for name in changed)
            first = error.diagnostics[0]
            message = f"the model was traced for a length of {length}, and {size} is requested"
            because = f"the model contains {length} as a number although the input leaves the axis open; {first.because}"
            help_text = f"use {options}, or export the model again at {size} or with that axis dynamic throughout"
            fail("N026", message, first.at, because, help_text)


def _pinned(model: onnx.ModelProto, shapes: Shapes) -> tuple[dict[str, tuple[tuple[int, bool], ...]], set[int]]:
    """Return for each input its sizes, with whether the model leaves them open; and the sizes of open axes."""
    inputs = {}
    for value in model.graph.input:
        chosen = shapes.get(value.name)
        dims = []
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            is_open = not dim.HasField("dim_value")
            size = chosen[axis] if chosen is not None and axis < len(chosen) else 1 if is_open else dim.dim_value
            dims.append((size, is_open))
        inputs[value.name] = tuple(dims)
    return inputs, {size for dims in inputs.values() for size, is_open in dims if is_open}
