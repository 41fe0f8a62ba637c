"""Keep the nodes of exported routers of experts (TopK, comparisons, NonZero, scatters) as ONNX until they are recognised.

`Routed` is an ONNX node that the graph has no operator for, evaluated by ONNX's reference implementation. Rows that a
mask picks (NonZero, then Gather, then a scatter) are computed for every row instead: their number is then known, and the
scatter adds only those of the mask (`Spread`). Both exist only between reading and `experts`, which turns
them into MoE; remaining ones are refused with the reason that each stores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import onnx_ir as ir
from edgewright.frontend.onnx_reading.checks import name_of, place_of
from edgewright.frontend.onnx_reading.expansion import attributes_of
from edgewright.frontend.onnx_reading.reference import evaluate, standardised
from edgewright.frontend.onnx_reading.result_size import result_elements
from edgewright.frontend.onnx_reading.site import integer_of
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir import F32, Array, Graph, Int, Node, Op, TensorType, elem_of, make
from edgewright.passes.ir.facts import FLOAT_ONLY, of_rows
from edgewright.passes.ops import Add, Constant, Gather, Reshape, constant, value_of

_LARGEST = 1 << 24  # elements of a result
_PICKING = ("Gather", "GatherND")
_SCATTERING = ("ScatterND", "ScatterElements")

# no pass sees these operators: a router becomes a MoE, anything else is refused
_ROWS = of_rows(per_token=False, accumulates=False, on_host=False, levels=FLOAT_ONLY, instructions=None)
WHILE_READING = replace(_ROWS, carries_integers=True)


@dataclass(frozen=True, slots=True)
class Routed(Op):
    """One result of an ONNX node. `operands`: for each of its inputs the dtype of a computed one, or the tensor of a
    constant integer (axes, counts, depths)."""

    facts = WHILE_READING

    proto: bytes
    opset: int
    output: int
    operands: tuple[str | bytes, ...]
    refusal: Diagnostic = field(compare=False)

    def infer(self, *types: TensorType) -> TensorType:
        result = self._run([np.zeros(t.shape, np.float32 if t.is_float else np.int64) for t in types])
        return TensorType(result.shape, elem_of(result.dtype))

    def eval(self, *arrays: Array) -> Array:
        result = self._run(arrays)
        return result.astype(np.float32 if result.dtype.kind == "f" else np.int64)

    def _run(self, arrays: Sequence[Array]) -> Array:
        node = onnx.NodeProto.FromString(self.proto)
        computed = iter(arrays)
        operands = [
            onnx.numpy_helper.to_array(onnx.TensorProto.FromString(operand))
            if isinstance(operand, bytes)
            else np.asarray(next(computed)).astype(operand)
            for operand in self.operands
        ]
        if node.op_type == "TopK":
            return _top_k(node, operands)[self.output]
        return evaluate(node, self.opset, operands)[self.output]

    @property
    def op_type(self) -> str:
        """The type of the ONNX operator."""
        return str(onnx.NodeProto.FromString(self.proto).op_type)

    @property
    def kind(self) -> str:
        return self.op_type


@dataclass(frozen=True, slots=True)
class Spread(Op):
    """Spread(mask (P values), rows (P, ...)) -> (count, ...): rows of the mask summed at the indices in `targets`."""

    facts = WHILE_READING

    count: int
    targets: tuple[int, ...]
    refusal: Diagnostic = field(compare=False)

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType((self.count, *types[1].shape[1:]), F32)

    def eval(self, *arrays: Array) -> Array:
        mask, rows = arrays
        out = np.zeros((self.count, *rows.shape[1:]), np.float32)
        picked = np.flatnonzero(mask.reshape(-1))
        np.add.at(out, np.asarray(self.targets)[picked], rows[picked])
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """Indices derived from NonZero(mask), for every element of the mask, picked or not."""

    array: Array
    mask: Node


def _top_k(node: onnx.NodeProto, arrays: Sequence[Array]) -> tuple[Array, Array]:
    """Return values and indices; of equal values the lower index comes first."""
    attributes, (x, k) = attributes_of(node), arrays
    axis = attributes.get("axis", -1)
    keys = -x if attributes.get("largest", 1) else x
    order = np.argsort(keys, axis=axis, kind="stable").take(range(int(k.reshape(()) if k.ndim == 0 else k[0])), axis=axis)
    return np.take_along_axis(x, order, axis), order


class Routing:
    """Converts nodes that have no reader, in models with a TopK."""

    def __init__(self, model: ir.Model, opset: int) -> None:
        self.active = any(node.op_type == "TopK" for node in model.graph)
        self.opset = opset
        self.picks: dict[ir.Value, Picks] = {}

    def picked(self, node: ir.Node) -> bool:
        """Return whether an operand is a list of picked rows."""
        return any(value in self.picks for value in node.inputs if value is not None)

    def comes_first(self, node: ir.Node, values: Mapping[ir.Value, Node]) -> bool:
        """Return whether the node is converted here before the reader sees it: moves of lists of rows, constants, and counts
        cast from booleans, which the graph keeps as booleans."""
        present = [value for value in node.inputs if value is not None and value.const_value is None]
        constants = all(value in values and isinstance(values[value].op, Constant) for value in present)
        first = node.inputs[0] if node.inputs else None
        counts = node.op_type == "Cast" and first is not None and first in values and values[first].elem == Int(1, False)
        return self.active and (self.picked(node) or counts or constants)

    def read(self, node: ir.Node, operands: Sequence[Node | None], refusal: Diagnostic) -> list[Node] | None:
        """Return the node's results; None if it stays refused. Results that are lists of rows are stored in `picks`."""
        try:
            return self._read(node, operands, refusal)
        except Exception:  # of any type, from the reference implementation: the node stays refused
            return None

    def _read(self, node: ir.Node, operands: Sequence[Node | None], refusal: Diagnostic) -> list[Node] | None:
        present = [operand for operand in operands if operand is not None]
        if node.op_type in ("Shape", "Size") and present:
            shape = np.asarray(present[0].shape, np.int64)
            start, end = (node.attributes[n].as_int() if n in node.attributes else None for n in ("start", "end"))
            return [constant(shape[start:end] if node.op_type == "Shape" else shape.prod())]
        if node.op_type == "NonZero" and value_of(present[0]) is None:
            mask = present[0]
            places = np.stack(np.unravel_index(np.arange(mask.type.size), mask.shape)).astype(np.int64)
            self.picks[node.outputs[0]] = Picks(places, mask)
            return [constant(places)]
        if node.op_type in _SCATTERING and node.inputs[1] in self.picks:
            return self._scattered(node, operands, self.picks[node.inputs[1]], refusal)
        if node.op_type == "GatherND" and (indices := value_of(present[1])) is not None:
            return [_gathered(present[0], indices, node)]
        if node.op_type in _PICKING and value_of(present[0]) is None and self.picked(node):
            return None  # the reader converts it
        proto = standardised(ir.to_proto(node))
        values = [value_of(operand) for operand in present]
        arrays = [value for value in values if value is not None]
        if len(arrays) == len(present):
            if result_elements(node.op_type, arrays) > _LARGEST and node.op_type not in ("MatMul", "Einsum"):
                return None
            results = evaluate(proto, self.opset, arrays)
            masks = {self.picks[v].mask for v in node.inputs if v in self.picks}
            if len(masks) == 1:
                for value, array in zip(node.outputs, results, strict=True):
                    self.picks[value] = Picks(array, next(iter(masks)))
            return [constant(array) for array in results]
        pairs = zip(present, values, strict=True)
        placeholders = [np.broadcast_to(np.float32(0), x.shape) if value is None else value for x, value in pairs]
        if max(*(operand.type.size for operand in present), result_elements(node.op_type, placeholders)) > _LARGEST:
            return None
        kinds = tuple(_operand(operand) for operand in present)
        computed = [operand for operand, kind in zip(present, kinds, strict=True) if isinstance(kind, str)]
        return [
            make(Routed(proto.SerializeToString(), self.opset, i, kinds, refusal), *computed, origin=(name_of(node),))
            for i, _ in enumerate(node.outputs)
        ]

    def _scattered(
        self, node: ir.Node, operands: Sequence[Node | None], picks: Picks, refusal: Diagnostic
    ) -> list[Node] | None:
        """Return `data` with something added to the picked rows: by the scatter, or by what the scatter replaces them with."""
        data, _, updates = operands
        assert data is not None and updates is not None
        targets = picks.array
        if node.op_type == "ScatterElements":
            rows = targets.reshape(len(targets), -1)
            axis = integer_of(node, "axis", 0)
            if axis % data.type.rank or not (rows == rows[:, :1]).all() or targets.shape != updates.shape:
                return None
            targets = rows[:, :1]
        if targets.ndim != 2 or targets.shape[1] != 1 or updates.shape != (len(targets), *data.shape[1:]):
            return None
        reduction = node.attributes["reduction"].as_string() if "reduction" in node.attributes else "none"
        zeros = value_of(data)
        empty = zeros is not None and not zeros.any()  # an expert has each token at most once: no row is overwritten
        added: Node | None = updates if reduction == "add" or (reduction == "none" and empty) else None
        if added is None and reduction == "none" and isinstance(updates.op, Add):
            a, b = updates.inputs
            added = b if _is_rows(a, data, targets) else a if _is_rows(b, data, targets) else None
        if added is None or added.shape != updates.shape:
            return None
        spread = Spread(data.shape[0], tuple(targets[:, 0].tolist()), refusal)
        origin = (name_of(node),)
        return [make(Add(), data, make(spread, picks.mask, added, origin=origin), origin=origin)]


def too_many_chosen(node: ir.Node, operands: Sequence[Node | None]) -> Diagnostic | None:
    """Return E002 for a TopK that chooses none, or more than there are; else None."""
    if node.op_type != "TopK" or len(operands) != 2 or operands[0] is None or operands[1] is None:
        return None
    count, axis = value_of(operands[1]), integer_of(node, "axis", -1)
    if count is None or count.size != 1 or not -operands[0].type.rank <= axis < operands[0].type.rank:
        return None
    chosen, size = int(count.reshape(())), operands[0].shape[axis]
    if 1 <= chosen <= size:
        return None
    message, because = "a token chooses more experts than there are", f"k is {chosen}, and there are {size}"
    return Diagnostic("E002", message, place_of(node), because, "export with k from 1 to N")


def leftovers(graph: Graph) -> list[Diagnostic]:
    """Return the refusals of routing nodes that were not recognised; if one follows from another, only that of an operator
    that is not read."""
    refusals: dict[Diagnostic, None] = {}
    affected: set[Node] = set()
    for node in graph.nodes():
        follows = any(operand in affected for operand in node.inputs)
        if follows or isinstance(node.op, Routed | Spread):
            affected.add(node)
        if isinstance(node.op, Routed | Spread) and (not follows or node.op.refusal.code == "N017"):
            refusals[node.op.refusal] = None
    return list(refusals)


def _gathered(x: Node, indices: Array, node: ir.Node) -> Node:
    """Return GatherND with constant indices: rows of x with its leading axes joined."""
    depth = indices.shape[-1]
    if integer_of(node, "batch_dims", 0):
        raise ValueError("batch dimensions")
    lead = x.shape[:depth]
    flat = np.ravel_multi_index(tuple(np.moveaxis(np.where(indices < 0, indices + np.array(lead), indices), -1, 0)), lead)
    rest = x.shape[depth:]
    rows = x if depth == 1 else make(Reshape((math.prod(lead), *rest)), x, origin=x.origin)
    return make(Gather(0), rows, constant(np.asarray(flat, np.int64)), origin=(node.name or "GatherND",))


def _is_rows(node: Node, data: Node, targets: Array) -> bool:
    """Return whether a node is data[targets]."""
    if node is data:
        return np.array_equal(targets[:, 0], np.arange(data.shape[0]))
    if not isinstance(node.op, Gather) or node.inputs[0] is not data:
        return False
    indices = value_of(node.inputs[1])
    return indices is not None and np.array_equal(indices.reshape(-1), targets[:, 0])


def _operand(operand: Node) -> str | bytes:
    """Return ONNX's dtype of a computed operand, or a constant integer as a tensor."""
    if isinstance(operand.elem, Int):
        if isinstance(operand.op, Constant):
            tensor = onnx.numpy_helper.from_array(np.asarray(operand.op.value))
            return bytes(tensor.SerializeToString(deterministic=True))
        return "bool" if operand.elem == Int(1, False) else f"{'int' if operand.elem.signed else 'uint'}{operand.elem.bits}"
    return "float32"
