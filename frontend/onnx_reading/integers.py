"""Convert what a model does with its integer inputs, by their role (`integer_inputs`): masks bit by bit (`bits`), ids and
numbers as functions of one integer (`lookups`), which become nodes only where nothing else can use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from edgewright.frontend.onnx_reading.bits import ELEMENTWISE, Bits
from edgewright.frontend.onnx_reading.integer_inputs import Role, role_of
from edgewright.frontend.onnx_reading.lookups import Lookup, combined, picked, tabled
from edgewright.frontend.onnx_reading.site import READERS, Site, integer_of
from edgewright.passes.input_ranges import Range, input_ranges
from edgewright.passes.ir import Array, Graph, InferError, Node, make, rebuild
from edgewright.passes.ops import Input, value_of

_MOVES = frozenset(("Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"))
Operand = Callable[[ir.Value | None], Node | None]


@dataclass(slots=True)
class Integers:
    """State of one conversion. `values` and `bits` are shared with the reader; `counts`: how many values the inputs that are
    compared with numbers have, by name; `owners`: the graph input of each lookup's source; `allowed`: the range of each."""

    opset: int
    values: dict[ir.Value, Node]
    bits: dict[ir.Value, Bits]
    counts: Mapping[str, int]
    lookups: dict[ir.Value, Lookup] = field(default_factory=dict)
    owners: dict[Node, Node] = field(default_factory=dict)
    allowed: dict[Node, Range] = field(default_factory=dict)

    def enter(self, value: ir.Value, node: Node, graph_input: Node, dtype: np.dtype[np.generic]) -> None:
        """Add an input of the model; `node` is its value, computed from the graph's input."""
        if role_of(value) is Role.MASK:
            self.bits[value] = Bits.of_input(node, dtype, self.counts.get(node.name, 2))
            return
        self.lookups[value] = Lookup.of_input(node, dtype)
        self.owners[node] = graph_input

    def reads(self, node: ir.Node) -> bool:
        """Return whether an operand is ids or numbers."""
        return any(value in self.lookups for value in node.inputs if value is not None)

    def node(self, value: ir.Value, origin: tuple[str, ...]) -> Node:
        """Return ids or numbers as a node."""
        return self._tabled(self.lookups[value], origin)

    def _tabled(self, lookup: Lookup, origin: tuple[str, ...]) -> Node:
        if not lookup.is_plain:
            self._allow(lookup, (lookup.low, lookup.low + len(lookup.values) - 1))
        return tabled(lookup, origin)

    def read(self, node: ir.Node, operand: Operand, origin: tuple[str, ...]) -> bool:
        """Convert the node if its results are lookups or masks; return whether they are, otherwise it is converted like any
        other. Unsupported if ids cannot be used in this way."""
        first = self.lookups.get(node.inputs[0]) if node.inputs and node.inputs[0] is not None else None
        if node.op_type == "Gather" and first is None:
            return self._pick(node, operand, origin)
        if node.op_type in _MOVES and first is not None:
            return self._move(node, first, operand, origin)
        return node.op_type in ELEMENTWISE and self._compute(node, operand, origin)

    def _pick(self, node: ir.Node, operand: Operand, origin: tuple[str, ...]) -> bool:
        table, index = operand(node.inputs[0]), node.inputs[1]
        if table is None or value_of(table) is None or integer_of(node, "axis", 0) % len(table.shape) or index is None:
            return False
        lookup = self.lookups[index]
        self.values[node.outputs[0]], valid = picked(table, lookup, origin)
        self._allow(lookup, valid)
        return True

    def _move(self, node: ir.Node, lookup: Lookup, operand: Operand, origin: tuple[str, ...]) -> bool:
        if lookup.offset.ndim:
            return False
        operands = (lookup.source, *(operand(value) for value in node.inputs[1:]))
        try:
            results = READERS[node.op_type](Site(node, self.opset, operands, origin))
        except (InferError, ValueError, IndexError):  # reported by the reader, which sees the node next
            return False
        for value, source in zip(node.outputs, (results,) if isinstance(results, Node) else results, strict=False):
            self.owners[source] = self.owners[lookup.source]
            self.lookups[value] = lookup.on(source)
            if lookup.is_plain and node.inputs[0] not in self.bits:
                self.values[value] = source
        return node.inputs[0] not in self.bits

    def _compute(self, node: ir.Node, operand: Operand, origin: tuple[str, ...]) -> bool:
        operands: list[Lookup | Array | None] = []
        for value in node.inputs:
            if value is None or value in self.lookups:
                operands.append(None if value is None else self.lookups[value])
                continue
            converted = operand(value) if value not in self.bits else None
            constant = None if converted is None else value_of(converted)
            if constant is None:
                return False
            operands.append(constant)
        result = combined(node, self.opset, operands)
        if result is None:
            return False
        output, kind = node.outputs[0], result.values.dtype.kind
        only_masks = all(value in self.bits for value in node.inputs if value in self.lookups)
        if kind in "biu":
            self.lookups[output] = result
        if only_masks:
            return False
        if kind == "b":
            self.bits[output] = Bits.of_input(self._tabled(result, origin), result.values.dtype)
        elif kind == "f":
            if node.op_type == "Cast" and all(isinstance(o, Lookup) and o.is_plain for o in operands):
                return False
            self.values[output] = self._tabled(result, origin)
        return True

    def _allow(self, lookup: Lookup, allowed: Range) -> None:
        owner = self.owners[lookup.source]
        low, high = self.allowed.get(owner, allowed)
        self.allowed[owner] = max(low, allowed[0]), min(high, allowed[1])

    def finish(self, graph: Graph) -> Graph:
        """Return the graph with the range of each input that does not follow from the graph itself."""
        derived = input_ranges(graph)
        declared = {node: allowed for node, allowed in self.allowed.items() if derived.get(node.name) != allowed}

        def change(node: Node, operands: tuple[Node, ...]) -> Node | None:
            if node not in declared or not isinstance(node.op, Input):
                return None
            return make(replace(node.op, allowed=declared[node]), origin=node.origin)

        return rebuild(graph, change) if declared else graph
