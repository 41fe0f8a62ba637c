"""What routers of experts are exported as (TopK, comparisons, NonZero, scatters), kept as ONNX until it is recognised.

`Routed` is an ONNX node that the graph has no operator for, evaluated by ONNX's reference implementation. Rows that a
mask picks (NonZero, then Gather, then a scatter) are computed for every row instead: their number is then known, and the
scatter adds only those of the mask (`Spread`). Both exist only between reading and `canonical.experts`, which turns
them into MoE; what is left of them is refused with the reason that each carries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import onnx
import onnx_ir as ir
from edgewright.frontend.onnx_reading.result_size import result_elements
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir import Array, Graph, Node, Op, TensorType, elem_of, make
from edgewright.passes.ir.facts import FLOAT_ONLY, of_rows
from edgewright.passes.ir.types import F32, Int
from edgewright.passes.ops import Add, Constant, Gather, Reshape, constant, value_of
from onnx.reference import ReferenceEvaluator

_LARGEST = 1 << 24  # elements of a result
_PICKING = ("Gather", "GatherND")
_SCATTERING = ("ScatterND", "ScatterElements")

# no pass meets these operators: what routes becomes a MoE, anything else is refused
WHILE_READING = of_rows(per_token=False, accumulates=False, on_host=False, levels=FLOAT_ONLY, instructions=None)


@dataclass(frozen=True, slots=True)
class Routed(Op):
    """One result of an ONNX node. `operands`: for each of its inputs the dtype of a computed one, or the tensor of an
    integer that is known (axes, counts, depths)."""

    facts = WHILE_READING

    proto: bytes
    opset: int
    output: int
    operands: tuple[str | bytes, ...]
    refusal: Diagnostic = field(compare=False)

    def infer(self, *types: TensorType) -> TensorType:
        arrays = [np.zeros(t.shape, np.float32 if t.is_float else np.int64) for t in types]
        with np.errstate(all="ignore"):
            result = self._run(arrays)
        return TensorType(result.shape, elem_of(result.dtype))

    def eval(self, *arrays: Array) -> Array:
        result = self._run(arrays)
        return result.astype(np.float32 if result.dtype.kind == "f" else np.int64)

    def _run(self, arrays: Sequence[Array]) -> Array:
        node = onnx.NodeProto.FromString(self.proto)
        computed = iter(arrays)
        given = [
            onnx.numpy_helper.to_array(onnx.TensorProto.FromString(operand))
            if isinstance(operand, bytes)
            else np.asarray(next(computed)).astype(operand)
            for operand in self.operands
        ]
        if node.op_type == "TopK":
            return _top_k(node, given)[self.output]
        return evaluate_node(node, self.opset, given)[self.output]

    @property
    def op_type(self) -> str:
        """The ONNX operator."""
        return str(onnx.NodeProto.FromString(self.proto).op_type)

    @property
    def kind(self) -> str:
        return self.op_type


@dataclass(frozen=True, slots=True)
class Spread(Op):
    """Spread(mask (P values), rows (P, ...)) -> (count, ...): rows of the mask added up at the places of `targets`."""

    facts = WHILE_READING

    count: int
    targets: tuple[int, ...]
    refusal: Diagnostic = field(compare=False)

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType((self.count, *types[1].shape[1:]), F32)

    def eval(self, *arrays: Array) -> Array:
        mask, rows = arrays
        out = np.zeros((self.count, *rows.shape[1:]), np.float32)
        kept = np.flatnonzero(mask.reshape(-1))
        np.add.at(out, np.asarray(self.targets)[kept], rows[kept])
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """Indices derived from NonZero(mask), for every place of the mask, picked or not."""

    array: Array
    mask: Node


def evaluate_node(node: onnx.NodeProto, opset: int, arrays: Sequence[Array]) -> list[Array]:
    """The node's results by ONNX's reference implementation."""
    names = [name for name in node.input if name]
    evaluator = _evaluator(node.SerializeToString(deterministic=True), opset, tuple(str(a.dtype) for a in arrays))
    found = evaluator.run(None, dict(zip(names, arrays, strict=True)))
    return [np.asarray(array) for array in found]


@lru_cache(maxsize=256)
def _evaluator(proto: bytes, opset: int, dtypes: tuple[str, ...]) -> ReferenceEvaluator:
    node = onnx.NodeProto.FromString(proto)
    names = [name for name in node.input if name]
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)
        for name, dtype in zip(names, dtypes, strict=True)
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "one", infos, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9)
    return ReferenceEvaluator(model)


def _top_k(node: onnx.NodeProto, arrays: Sequence[Array]) -> tuple[Array, Array]:
    """Of equal values the lower index first."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    x, k = arrays
    axis = attributes.get("axis", -1)
    keys = -x if attributes.get("largest", 1) else x
    order = np.argsort(keys, axis=axis, kind="stable").take(range(int(k.reshape(()) if k.ndim == 0 else k[0])), axis=axis)
    return np.take_along_axis(x, order, axis), order


class Routing:
    """Reads what the reader refuses, in models with a TopK."""

    def __init__(self, model: ir.Model, opset: int) -> None:
        self.active = any(node.op_type == "TopK" for node in model.graph)
        self.opset = opset
        self.picks: dict[ir.Value, Picks] = {}

    def picked(self, node: ir.Node) -> bool:
        """Whether an operand is a list of picked rows."""
        return any(value in self.picks for value in node.inputs if value is not None)

    def comes_first(self, node: ir.Node, values: Mapping[ir.Value, Node]) -> bool:
        """Whether the node is read here before the reader sees it: what moves lists of rows or follows from sizes, and
        counts made of bits, which the graph keeps as bits."""
        known = all(v is None or v.const_value is not None or (v in values and _is_constant(values[v])) for v in node.inputs)
        first = node.inputs[0] if node.inputs else None
        counts = node.op_type == "Cast" and first is not None and first in values and values[first].elem == Int(1, False)
        return self.active and (self.picked(node) or counts or known)

    def read(self, node: ir.Node, operands: Sequence[Node | None], refusal: Diagnostic) -> list[Node] | None:
        """The node's results; None where it stays refused. Results that are lists of rows are kept in `picks`."""
        try:
            return self._read(node, operands, refusal)
        except Exception:  # whatever the reference implementation has against the node: it stays refused
            return None

    def _read(self, node: ir.Node, operands: Sequence[Node | None], refusal: Diagnostic) -> list[Node] | None:
        given = [operand for operand in operands if operand is not None]
        if node.op_type in ("Shape", "Size") and given:
            shape = np.asarray(given[0].shape, np.int64)
            start, end = (node.attributes[n].as_int() if n in node.attributes else None for n in ("start", "end"))
            return [constant(shape[start:end] if node.op_type == "Shape" else shape.prod())]
        if node.op_type == "NonZero" and value_of(given[0]) is None:
            mask = given[0]
            places = np.stack(np.unravel_index(np.arange(mask.type.size), mask.shape)).astype(np.int64)
            self.picks[node.outputs[0]] = Picks(places, mask)
            return [constant(places)]
        if node.op_type in _SCATTERING and node.inputs[1] in self.picks:
            return self._scattered(node, operands, self.picks[node.inputs[1]], refusal)
        if node.op_type == "GatherND" and value_of(given[1]) is not None:
            return [_gathered(given[0], value_of(given[1]), node)]  # type: ignore[arg-type]
        if node.op_type in _PICKING and value_of(given[0]) is None and self.picked(node):
            return None  # the reader's own case
        proto = _standard(ir.to_proto(node))
        if all(isinstance(operand.op, Constant) for operand in given):
            arrays = [operand.op.value for operand in given if isinstance(operand.op, Constant)]
            if result_elements(node.op_type, arrays) > _LARGEST and node.op_type not in ("MatMul", "Einsum"):
                return None
            found = evaluate_node(proto, self.opset, arrays)
            masks = {self.picks[v].mask for v in node.inputs if v in self.picks}
            if len(masks) == 1:
                for value, array in zip(node.outputs, found, strict=True):
                    self.picks[value] = Picks(array, next(iter(masks)))
            return [constant(array) for array in found]
        known = [value_of(operand) for operand in given]
        shown = [np.broadcast_to(np.float32(0), o.shape) if k is None else k for o, k in zip(given, known, strict=True)]
        if max(*(operand.type.size for operand in given), result_elements(node.op_type, shown)) > _LARGEST:
            return None
        kinds = tuple(_operand(operand) for operand in given)
        computed = [operand for operand, kind in zip(given, kinds, strict=True) if isinstance(kind, str)]
        name = node.name or str(node.outputs[0].name)
        return [
            make(Routed(proto.SerializeToString(), self.opset, i, kinds, refusal), *computed, origin=(name,))
            for i, _ in enumerate(node.outputs)
        ]

    def _scattered(
        self, node: ir.Node, operands: Sequence[Node | None], picks: Picks, refusal: Diagnostic
    ) -> list[Node] | None:
        """data with picked rows added, or replaced by themselves plus something."""
        data, _, updates = operands
        assert data is not None and updates is not None
        targets = picks.array
        if node.op_type == "ScatterElements":
            axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
            rows = targets.reshape(len(targets), -1)
            if axis % data.type.rank or not (rows == rows[:, :1]).all() or targets.shape != updates.shape:
                return None
            targets = rows[:, :1]
        if targets.ndim != 2 or targets.shape[1] != 1 or updates.shape != (len(targets), *data.shape[1:]):
            return None
        reduction = node.attributes["reduction"].as_string() if "reduction" in node.attributes else "none"
        zeros = value_of(data)
        empty = zeros is not None and not zeros.any()  # a token stands once among an expert's: nothing is lost
        added: Node | None = updates if reduction == "add" or (reduction == "none" and empty) else None
        if added is None and reduction == "none" and isinstance(updates.op, Add):
            a, b = updates.inputs
            added = b if _is_rows(a, data, targets) else a if _is_rows(b, data, targets) else None
        if added is None or added.shape != updates.shape:
            return None
        spread = Spread(data.shape[0], tuple(targets[:, 0].tolist()), refusal)
        name = (node.name or str(node.outputs[0].name),)
        return [make(Add(), data, make(spread, picks.mask, added, origin=name), origin=name)]


def too_many_chosen(node: ir.Node, operands: Sequence[Node | None]) -> Diagnostic | None:
    """E002 for a TopK that chooses more than there are, or nothing."""
    if node.op_type != "TopK" or len(operands) != 2 or operands[0] is None or operands[1] is None:
        return None
    count, axis = value_of(operands[1]), node.attributes["axis"].as_int() if "axis" in node.attributes else -1
    if count is None or count.size != 1 or not -operands[0].type.rank <= axis < operands[0].type.rank:
        return None
    chosen, size = int(count.reshape(())), operands[0].shape[axis]
    if 1 <= chosen <= size:
        return None
    place = f"node {node.name or node.outputs[0].name!r} (TopK)"
    because = f"k is {chosen}, and there are {size}"
    return Diagnostic("E002", "a token chooses more experts than there are", place, because, "export with k from 1 to N")


def leftovers(graph: Graph) -> list[Diagnostic]:
    """The refusals of what was kept and not recognised; of a use of an operator only where what it reads is sound."""
    found: dict[Diagnostic, None] = {}
    behind: set[Node] = set()
    for node in graph.nodes():
        follows = any(operand in behind for operand in node.inputs)
        kept = isinstance(node.op, Routed | Spread)
        if kept or follows:
            behind.add(node)
        if isinstance(node.op, Routed | Spread) and (not follows or node.op.refusal.code == "N017"):
            found[node.op.refusal] = None
    return list(found)


def _gathered(x: Node, indices: Array, node: ir.Node) -> Node:
    """GatherND with known indices: rows of x with its leading axes joined."""
    depth = indices.shape[-1]
    if "batch_dims" in node.attributes and node.attributes["batch_dims"].as_int():
        raise ValueError("batch dimensions")
    lead = x.shape[:depth]
    flat = np.ravel_multi_index(tuple(np.moveaxis(np.where(indices < 0, indices + np.array(lead), indices), -1, 0)), lead)
    rest = x.shape[depth:]
    rows = x if depth == 1 else make(Reshape((math.prod(lead), *rest)), x, origin=x.origin)
    return make(Gather(0), rows, constant(np.asarray(flat, np.int64)), origin=(node.name or "GatherND",))


def _is_rows(node: Node, data: Node, targets: Array) -> bool:
    """Whether a node is data[targets]."""
    if node is data:
        return np.array_equal(targets[:, 0], np.arange(data.shape[0]))
    if not isinstance(node.op, Gather) or node.inputs[0] is not data:
        return False
    indices = value_of(node.inputs[1])
    return indices is not None and np.array_equal(indices.reshape(-1), targets[:, 0])


def _standard(node: onnx.NodeProto) -> onnx.NodeProto:
    """Under names that depend on its shape only, so that equal nodes are equal."""
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    plain.name = ""
    for i, name in enumerate(node.input):
        plain.input[i] = f"x{i}" if name else ""
    for i in range(len(node.output)):
        plain.output[i] = f"y{i}"
    return plain


def _is_constant(node: Node) -> bool:
    return isinstance(node.op, Constant)


def _operand(operand: Node) -> str | bytes:
    """The dtype that ONNX gives a computed operand, or a known integer as a tensor."""
    if isinstance(operand.elem, Int):
        if isinstance(operand.op, Constant):
            tensor = onnx.numpy_helper.from_array(np.asarray(operand.op.value))
            return bytes(tensor.SerializeToString(deterministic=True))
        return "bool" if operand.elem == Int(1, False) else f"{'int' if operand.elem.signed else 'uint'}{operand.elem.bits}"
    return "float32"
