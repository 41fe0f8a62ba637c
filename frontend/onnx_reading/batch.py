"""Models whose inputs do not start with a batch of 1: a fixed batch, and first axes that are not a batch at all.

Samples are compiled one at a time, so a fixed batch becomes 1, as an open one does, if every operator works on single rows.
Any other input keeps its shape after an axis of samples (`Input.unbatched`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import numpy as np
import onnx
from edgewright.frontend.onnx_reading.fold import Shapes
from edgewright.passes.diagnostics import CompileError, fail

_SHAPE_INPUT = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}  # which input of an operator is a shape


def fixed_batch(model: onnx.ModelProto, shapes: Shapes) -> int | None:
    """Return the length above 1 of the first axis that all inputs share, by the model or by `shapes`; None if there is none.
    The model's length has priority over that of `shapes`."""
    lengths = set()
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        declared = dims[0].dim_value if len(dims) and dims[0].HasField("dim_value") else None
        chosen = shapes.get(value.name)
        lengths.add(declared or (chosen[0] if chosen else None))
    (batch, *others) = lengths or {None}
    return batch if not others and batch is not None and batch > 1 else None


def asks_for_one(shapes: Shapes) -> bool:
    """Return whether the user sets every first axis to 1."""
    return bool(shapes) and all(shape[:1] == (1,) for shape in shapes.values())


def with_batch_of_one(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return the model with 1 in place of every input's first axis, and in constant shapes that start with `batch`.

    Declared shapes of other values are removed, to be inferred again. `rows` decides whether the result computes a row of
    the model.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for value in graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    known = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            known[node.output[0]] = node.attribute[0].t
    for index, node in enumerate(graph.node):
        position = _SHAPE_INPUT.get(node.op_type, len(node.input))
        if position >= len(node.input) or node.input[position] not in known:
            continue
        shape = onnx.numpy_helper.to_array(known[node.input[position]]).astype(np.int64)
        if shape.ndim == 1 and shape.size and shape[0] == batch:
            name = f"{node.input[position]}/batch_of_one/{index}"
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, *shape[1:]], np.int64), name))
            node.input[position] = name
    return changed


def with_first_axis(batch: int, shapes: Shapes) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes with another first axis."""
    return {name: (batch, *shape[1:]) for name, shape in shapes.items()}


def batch_note(batch: int) -> str:
    """Return the report's note on a batch that was removed."""
    return f"The model's batch of {batch} is compiled as 1: every row of the data is a separate sample."


def refuse_batch_of_one(batch: int, error: CompileError | None) -> NoReturn:
    """Refuse (CompileError, N025) a batch of 1 that the model does not allow; `error`: why it cannot be read with 1."""
    first = None if error is None else error.diagnostics[0]
    because = "its operators work across the first axis" if first is None else f"with 1 there, {first.because}"
    help_text = f"omit --shape to compile all {batch} rows as one sample, or export the model with batch 1"
    at = "--shape" if first is None else first.at
    fail("N025", f"the model's first axis of {batch} cannot become 1", at, because, help_text)
