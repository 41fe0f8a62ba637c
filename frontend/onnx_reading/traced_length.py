"""A length that an export wrote into the model as a number, although the input leaves that axis open.

Tracing keeps some sizes of its example: a Reshape to (20, heads, dim), positions cut to 20. The model then works at that
length only, and every other one fails somewhere inside. Reading the model at the lengths that stand where it failed
shows which one it was traced for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import onnx
from edgewright.frontend.onnx_reading.fold import Shapes
from edgewright.passes.diagnostics import CompileError, Diagnostic

_TRIED = 6


class DoesNotFit(CompileError):
    """Operators refuse their operands. `lengths`: sizes in what they were given and in shapes they were told."""

    def __init__(self, diagnostics: Iterable[Diagnostic], lengths: Iterable[int]) -> None:
        super().__init__(diagnostics)
        self.lengths = tuple(lengths)


def traced_length(
    model: onnx.ModelProto, shapes: Shapes, error: DoesNotFit, readable: Callable[[Shapes], bool]
) -> Diagnostic | None:
    """One diagnostic (N026) in place of `error` where the model reads with another length in its open axes."""
    complete, open_sizes = _pinned(model, shapes)
    found = [n for n, _ in Counter(error.lengths).most_common() if n > 1 and n not in open_sizes]
    for size in sorted(open_sizes, reverse=True):
        for length in found[:_TRIED]:
            other = {name: tuple(length if o and n == size else n for n, o in dims) for name, dims in complete.items()}
            if not readable(other):
                continue
            changed = [name for name, dims in complete.items() if any(o and n == size for n, o in dims)]
            spelt = " ".join(f"--shape {name}={','.join(map(str, other[name]))}" for name in changed)
            first = error.diagnostics[0]
            return Diagnostic(
                "N026",
                f"the model was traced for a length of {length}, and {size} is asked for",
                at=first.at,
                because=f"{length} stands in the model as a number although the input leaves the axis open; {first.because}",
                help=f"say {spelt}, or export the model again at {size} or with that axis dynamic throughout",
            )
    return None


def _pinned(model: onnx.ModelProto, shapes: Shapes) -> tuple[dict[str, tuple[tuple[int, bool], ...]], set[int]]:
    """For each input its sizes, with whether the model leaves them open; and the sizes of open axes."""
    found = {}
    for value in model.graph.input:
        given = shapes.get(value.name)
        dims = []
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            is_open = not dim.HasField("dim_value")
            size = given[axis] if given is not None and axis < len(given) else 1 if is_open else dim.dim_value
            dims.append((size, is_open))
        found[value.name] = tuple(dims)
    return found, {size for dims in found.values() for size, is_open in dims if is_open}
