"""On onnx_ir: pin the inputs' shapes, expand the model's own functions, fold everything that is then constant.

The shape arithmetic that exporters leave behind (Shape, Gather, Concat, Expand, ConstantOfShape ...) disappears here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir
from edgewright.frontend.onnx_reading.stored_integers import dequantise_constants
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
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


def _spell(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))


def _usage(message: str, at: str, because: str, help_text: str) -> Diagnostic:
    return Diagnostic("N016", message, at=at, because=because, help=help_text)


def pin_shapes(graph: ir.Graph, shapes: Shapes) -> None:
    """Give every input a complete shape: from `shapes`, from the model, and 1 for an open first axis.

    Errors (CompileError): N016 (exit 2) a shape for no input, or against the model; N012 a dimension still open.
    """
    usage, open_ = [], []
    names = [value.name for value in graph.inputs]
    for name in shapes:
        if name not in names:
            text = f"the model's inputs are {', '.join(map(repr, names))}"
            usage.append(_usage(f"--shape names no input: {name!r}", "--shape", text, "use one of these names"))
    for value in graph.inputs:
        at = f"input {value.name!r}"
        declared = None if value.shape is None else tuple(d if isinstance(d, int) else None for d in value.shape)
        given = shapes.get(str(value.name))
        if given is not None:
            clash = declared is not None and (
                len(declared) != len(given) or any(d is not None and d != g for d, g in zip(declared, given, strict=True))
            )
            if clash or any(g < 1 for g in given):
                shown = "x".join("?" if d is None else str(d) for d in declared or ())
                because = f"{_spell(given)} is given, and the model says {shown}" if clash else "sizes start at 1"
                help_text = "give sizes for the open dimensions and repeat the fixed ones"
                usage.append(_usage(f"--shape does not fit input {value.name!r}", at, because, help_text))
            value.shape = ir.Shape(given)
            continue
        if declared is None:
            open_.append(
                Diagnostic(
                    "N012",
                    f"input {value.name!r} has no shape",
                    at=at,
                    because="hardware is planned for one size, and the model names none",
                    help=f"say --shape {value.name}=1,3,224,224 with the real sizes",
                )
            )
            continue
        pinned = tuple(1 if i == 0 and d is None else d for i, d in enumerate(declared))
        if None in pinned:
            names_of = [str(d) for d, p in zip(value.shape or (), pinned, strict=True) if p is None]
            example = ",".join("N" if p is None else str(p) for p in pinned)
            open_.append(
                Diagnostic(
                    "N012",
                    f"input {value.name!r} has open dimensions: {', '.join(names_of)}",
                    at=at,
                    because="hardware is planned for one size; only an open batch (first axis) becomes 1 by itself",
                    help=f"say --shape {value.name}={example} with numbers for each N",
                )
            )
        elif any(p is not None and p < 1 for p in pinned):
            open_.append(Diagnostic("N011", f"input {value.name!r} is empty", at, f"its shape is {pinned}", "export it again"))
        value.shape = ir.Shape([p or 1 for p in pinned])
    if usage:
        raise CompileError(usage, Exit.USAGE)
    if open_:
        raise CompileError(open_, Exit.MODEL)


def _inline_functions(model: ir.Model) -> None:
    """Expand the model's own functions, after bounding what they expand to."""
    if not model.functions:
        return
    size: dict[ir.OperatorIdentifier, int] = {}

    def expanded(identifier: ir.OperatorIdentifier, path: tuple[ir.OperatorIdentifier, ...]) -> int:
        if identifier in path or len(path) > 100:
            raise _too_large(f"function {identifier[1]!r} calls itself")
        if identifier not in size:
            inner = (*path, identifier)
            size[identifier] = sum(
                expanded(node.op_identifier(), inner) if node.op_identifier() in model.functions else 1
                for node in model.functions[identifier]
            )
        return size[identifier]

    total = sum(expanded(node.op_identifier(), ()) if node.op_identifier() in model.functions else 1 for node in model.graph)
    if total > _EXPANDED_NODES_MAX:
        raise _too_large(f"they expand to {total:,} nodes, more than {_EXPANDED_NODES_MAX:,}")
    InlinePass()(model)


def _too_large(because: str) -> CompileError:
    help_text = "export the model again without nested functions"
    return CompileError([Diagnostic("N011", "the model's functions cannot be expanded", "functions", because, help_text)])


def _work(node: ir.Node) -> int:
    """Products of a contraction, at most: the sizes of all operands multiplied. 0 for other operations."""
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
    """Says for each node whether it may be folded: a known operation, of known size and work, within totals."""

    def __init__(self) -> None:
        self.left = _FOLDED_ELEMENTS_MAX
        self.work_left = _FOLDED_PRODUCTS_MAX

    def __call__(self, node: ir.Node) -> bool:
        if node.domain not in ("", "ai.onnx") or node.op_type not in FOLDABLE:
            return False
        if any(value is not None and value.const_value is None for value in node.inputs) and node.op_type != "Shape":
            return True  # not computed now, whatever its size
        needed = 0
        for output in node.outputs:
            sizes = [] if output.shape is None else [d for d in output.shape if isinstance(d, int)]
            if output.shape is None or len(sizes) != len(output.shape):
                return False
            needed += math.prod(sizes)
        work = _work(node)
        if needed > self.left or work > self.work_left:
            return False
        self.left -= needed
        self.work_left -= work
        return True


def fold(model: ir.Model, shapes: Shapes) -> None:
    """Pin, expand and fold `model` in place; what nothing reads is removed. Errors as in `pin_shapes`, and N011."""
    pin_shapes(model.graph, shapes)
    _inline_functions(model)
    for node in model.graph:
        for value in node.outputs:
            value.shape = None  # recomputed: what the file says may be stale or wrong
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
