"""Pin the inputs' shapes, inline the model's functions and fold everything that is then constant, on onnx_ir.

This removes the shape arithmetic of exporters (Shape, Gather, Concat, Expand, ConstantOfShape ...).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NoReturn

import onnx_ir as ir
from edgewright.frontend.onnx_reading.checks import STANDARD_DOMAINS
from edgewright.frontend.onnx_reading.stored_integers import dequantise_constants
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail
from onnx_ir.passes.common import InlinePass
from onnxscript import optimizer

_EXPANDED_NODES_MAX = 200_000
_FOLDED_ELEMENTS_MAX = 1 << 27  # half a GiB of float32, over all folded tensors together
_FOLDED_PRODUCTS_MAX = 1 << 33  # a few seconds
# fmt: off
FOLDABLE = frozenset((
    "Abs", "Acos", "Add", "And", "ArgMax", "ArgMin", "Asin", "Atan", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
    "Cast", "CastLike", "Ceil", "Clip", "Concat", "ConstantOfShape", "Cos", "CumSum", "DequantizeLinear", "Div",
    "Einsum", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements",
    "GatherND", "Greater", "GreaterOrEqual", "Identity", "IsInf", "IsNaN", "Less", "LessOrEqual", "Log", "MatMul",
    "Max", "Min", "Mod", "Mul", "Neg", "Not", "OneHot", "Or", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal",
    "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Round",
    "ScatterElements", "ScatterND", "Shape", "Sigmoid", "Sign", "Sin", "Size", "Slice", "Softmax", "Softplus",
    "Split", "Sqrt", "Squeeze", "Sub", "Tan", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
))
# fmt: on

Shapes = Mapping[str, tuple[int, ...]]


def pin_shapes(graph: ir.Graph, shapes: Shapes) -> None:
    """Give every input a complete shape: from `shapes`, from the model, and 1 for an open first axis.

    Errors (CompileError): N016 (exit 2) a shape that names no input, or contradicts the model; N012 an open dimension.
    """
    names = [value.name for value in graph.inputs]
    wrong_shapes: list[Diagnostic] = []
    wrong_inputs: list[Diagnostic] = []
    for name in shapes:
        if name not in names:
            because = f"the model's inputs are {', '.join(map(repr, names))}"
            message = f"--shape names no input: {name!r}"
            wrong_shapes.append(Diagnostic("N016", message, "--shape", because, "use one of these names"))
    for value in graph.inputs:
        chosen = shapes.get(str(value.name))
        refusal = _pin_to_model(value) if chosen is None else _pin_to_choice(value, chosen)
        if refusal is not None:
            (wrong_inputs if chosen is None else wrong_shapes).append(refusal)
    if wrong_shapes:
        raise CompileError(wrong_shapes, Exit.USAGE)
    if wrong_inputs:
        raise CompileError(wrong_inputs)


def _declared(value: ir.Value) -> tuple[int | None, ...] | None:
    return None if value.shape is None else tuple(d if isinstance(d, int) else None for d in value.shape)


def _pin_to_choice(value: ir.Value, chosen: tuple[int, ...]) -> Diagnostic | None:
    declared = _declared(value)
    contradicts = declared is not None and (
        len(declared) != len(chosen) or any(d is not None and d != c for d, c in zip(declared, chosen, strict=True))
    )
    value.shape = ir.Shape(chosen)
    if not contradicts and all(size >= 1 for size in chosen):
        return None
    shown = "x".join("?" if d is None else str(d) for d in declared or ())
    because = f"{','.join(map(str, chosen))} is given, and the model has {shown}" if contradicts else "sizes start at 1"
    help_text = "give sizes for the open dimensions and repeat the fixed ones"
    return Diagnostic("N016", f"--shape does not fit input {value.name!r}", f"input {value.name!r}", because, help_text)


def _pin_to_model(value: ir.Value) -> Diagnostic | None:
    declared, at = _declared(value), f"input {value.name!r}"
    if declared is None:
        because = "hardware is planned for one size, and the model has none"
        help_text = f"add --shape {value.name}=1,3,224,224 with the real sizes"
        return Diagnostic("N012", f"{at} has no shape", at, because, help_text)
    pinned = tuple(1 if i == 0 and d is None else d for i, d in enumerate(declared))
    unknown = [str(d) for d, p in zip(value.shape or (), pinned, strict=True) if p is None]
    value.shape = ir.Shape([p or 1 for p in pinned])
    if unknown:
        because = "hardware is planned for one size; only an open batch (first axis) becomes 1 by itself"
        help_text = f"add --shape {value.name}={','.join('N' if p is None else str(p) for p in pinned)} with numbers for each N"
        return Diagnostic("N012", f"{at} has open dimensions: {', '.join(unknown)}", at, because, help_text)
    if any(p is not None and p < 1 for p in pinned):
        return Diagnostic("N011", f"{at} is empty", at, f"its shape is {pinned}", "export it again")
    return None


def _inline_functions(model: ir.Model) -> None:
    """Inline the model's functions, after bounding the number of nodes that results."""
    if not model.functions:
        return
    sizes: dict[ir.OperatorIdentifier, int] = {}

    def expanded(node: ir.Node, path: tuple[ir.OperatorIdentifier, ...] = ()) -> int:
        identifier = node.op_identifier()
        function = model.functions.get(identifier)
        if function is None:
            return 1
        if identifier in path or len(path) > 100:
            _cannot_inline(f"function {identifier[1]!r} calls itself")
        if identifier not in sizes:
            sizes[identifier] = sum(expanded(inner, (*path, identifier)) for inner in function)
        return sizes[identifier]

    total = sum(map(expanded, model.graph))
    if total > _EXPANDED_NODES_MAX:
        _cannot_inline(f"they expand to {total:,} nodes, more than {_EXPANDED_NODES_MAX:,}")
    InlinePass()(model)


def _cannot_inline(because: str) -> NoReturn:
    help_text = "export the model again without nested functions"
    fail("N011", "the model's functions cannot be expanded", "functions", because, help_text)


def _products(node: ir.Node) -> int:
    """Return an upper bound of a contraction's products: the sizes of all its labels multiplied. 0 for other operators."""
    if node.op_type == "MatMul":
        shape = node.inputs[1].shape if node.inputs[1] is not None else None
        inner = shape[-2 if len(shape) > 1 else 0] if shape is not None and len(shape) else 1
        output = node.outputs[0].shape or ()
        return math.prod(d for d in output if isinstance(d, int)) * (inner if isinstance(inner, int) else 1)
    if node.op_type != "Einsum":
        return 0
    labels: dict[str, int] = {}
    equation = node.attributes["equation"].as_string().replace(" ", "").split("->")[0]
    for term, value in zip(equation.split(","), node.inputs, strict=False):
        for label, size in zip(term, (value.shape if value is not None else None) or (), strict=False):
            labels[label] = max(labels.get(label, 1), size if isinstance(size, int) else 1)
    return math.prod(labels.values())


class _Budget:
    """Decides for each node whether it may be folded: a known operator, of known size and work, within totals."""

    def __init__(self) -> None:
        self.elements_left = _FOLDED_ELEMENTS_MAX
        self.products_left = _FOLDED_PRODUCTS_MAX

    def __call__(self, node: ir.Node) -> bool:
        if node.domain not in STANDARD_DOMAINS or node.op_type not in FOLDABLE:
            return False
        if any(value is not None and value.const_value is None for value in node.inputs) and node.op_type != "Shape":
            return True  # not computed now, whatever its size
        needed = 0
        for output in node.outputs:
            sizes = [] if output.shape is None else [d for d in output.shape if isinstance(d, int)]
            if output.shape is None or len(sizes) != len(output.shape):
                return False
            needed += math.prod(sizes)
        products = _products(node)
        if needed > self.elements_left or products > self.products_left:
            return False
        self.elements_left -= needed
        self.products_left -= products
        return True


def fold(model: ir.Model, shapes: Shapes) -> None:
    """Pin, inline and fold `model` in place, and remove what nothing uses. Errors as in `pin_shapes`, and N011."""
    pin_shapes(model.graph, shapes)
    _inline_functions(model)
    for node in model.graph:
        for value in node.outputs:
            value.shape = None  # recomputed: that of the file may be stale or wrong
    budget = _Budget()
    for _ in range(4):
        dequantised = dequantise_constants(model.graph)
        result = optimizer.fold_constants(
            model,
            onnx_shape_inference=True,
            input_size_limit=_FOLDED_ELEMENTS_MAX,
            output_size_limit=_FOLDED_ELEMENTS_MAX,
            should_fold=budget,
        )
        optimizer.remove_unused_nodes(model)
        if not result.modified and not dequantised:
            break
