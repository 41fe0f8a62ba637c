"""Quantised graph -> the engine's operations: which values are stored, and what is fused between two stored values.

A stored value lives in memory as rows of channels, one row a token. Slices and reshapes of a stored value are views of
it and cost nothing. Everything else must be part of a pattern below, or is refused with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import INT8
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    Constant,
    Input,
    LayerNormalization,
    Linear,
    MoE,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Requantise,
    Reshape,
    RMSNormalization,
    Slice,
    Table,
)
from numpy.typing import NDArray

ROW_MULTIPLE = 16
IMPLEMENTS: dict[type[Op], str] = {
    Quantise: "on the host, at the input",
    PatchEmbed: "product; patches up to 16 x 16 cut by address",
    Linear: "product; up to 4,096 inputs, any number of outputs",
    Attention: "one head after the other; up to 1,024 keys, heads a multiple of 16 wide",
    ReduceSum: "product with ones (mean pooling over tokens)",
    Requantise: "epilogue, behind a product",
    Table: "epilogue, behind a product",
    AddRequantised: "epilogue, behind a product",
    LayerNormalization: "in front of a product; multiples of 16 wide, up to 1,024",
    RMSNormalization: "as LayerNormalization, where the mean is known to be 0",
    Concat: "by address, along tokens",
    Slice: "by address, along tokens or channels",
    Reshape: "by address, if it only adds or removes axes of 1",
    Constant: "memory image",
    Input: "written by the host",
}
"""What the engine does with each operator of a quantised graph; every other operator is refused with its name."""


@dataclass(frozen=True, slots=True)
class View:
    """Rows and columns of a stored value: ``root[row : row + rows, column : column + columns]``."""

    root: Node
    row: int
    column: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Residual:
    """The int16 value that is added to the result, and the factor that brings it to the result's scale."""

    source: View
    multiplier: int
    shift: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One fused operation. ``result`` is the node whose value is stored, from row ``first_row`` of ``target`` on.

    kind: ``linear`` (also LayerNorm alone, by an identity matrix), ``patch``, ``attention``, ``pool``.
    """

    kind: str
    result: Node
    target: Node
    first_row: int
    source: View
    requantise: Node
    weight: NDArray[np.int64] | None = None
    bias: NDArray[np.int64] | None = None
    norm: Node | None = None
    table: NDArray[np.int64] | None = None
    residual: Residual | None = None
    key: View | None = None
    value: View | None = None
    product: Node | None = None

    @property
    def name(self) -> str:
        """The ONNX name that a report shows for this operation."""
        return (self.product or self.result).name


def rows_columns(node: Node) -> tuple[int, int]:
    """A value as (tokens, channels): the leading axes are tokens."""
    shape = node.shape
    columns = shape[-1] if shape else 1
    return max(1, node.type.size // max(1, columns)), columns


def constant(node: Node) -> NDArray[np.int64]:
    """The array of a ``Constant`` node, as int64."""
    if not isinstance(node.op, Constant):
        raise TypeError(f"{node!r} is not a constant")
    return np.asarray(node.op.value, dtype=np.int64)


class Fuser:
    """Walks a quantised graph from its outputs and collects the engine's operations in execution order."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.operations: list[Operation] = []
        self.constants: dict[Node, NDArray[np.int64]] = {}
        self.stored: set[Node] = set()
        self.problems: list[Diagnostic] = []

    def refuse(self, node: Node, because: str, help_text: str) -> None:
        """Note that ``node`` cannot run on the engine."""
        found = Diagnostic("P001", f"{node.op.kind} cannot run on the engine", node.name, because, help_text)
        if found not in self.problems:
            self.problems.append(found)

    def view(self, node: Node) -> View:
        """``node`` as part of a stored value, storing what it is a part of first."""
        rows, columns = rows_columns(node)
        if isinstance(node.op, Slice):
            source = self.view(node.inputs[0])
            axis = node.op.axis % len(node.inputs[0].shape)
            if axis == len(node.inputs[0].shape) - 1:
                return replace(source, column=source.column + node.op.start, columns=columns)
            if any(extent != 1 for extent in node.inputs[0].shape[:axis]):
                self.refuse(node, "only tokens and channels can be sliced", "batch 1 is the only batch")
            step = rows_columns(node.inputs[0])[0] // node.inputs[0].shape[axis]
            return replace(source, row=source.row + node.op.start * step, rows=rows)
        if isinstance(node.op, Reshape):
            source = self.view(node.inputs[0])
            if rows_columns(node.inputs[0]) != (rows, columns):
                self.refuse(node, "this reshape moves channels between tokens", "only adding or removing axes of 1 is free")
            return source
        self.store(node)
        return View(node, 0, 0, rows, columns)

    def store(self, node: Node) -> None:
        """Make sure that ``node``'s value is in memory."""
        if node in self.stored:
            return
        self.stored.add(node)
        if isinstance(node.op, Constant):
            self.constants[node] = constant(node)
        elif isinstance(node.op, Quantise):
            pass  # the host writes it
        elif isinstance(node.op, Concat):
            self.concat(node)
        else:
            self.compute(node, node, 0)

    def concat(self, node: Node) -> None:
        """Each part is written to its own rows; constant parts are in the memory image from the start."""
        if node.op.axis % len(node.shape) == len(node.shape) - 1:  # type: ignore[attr-defined]
            self.refuse(node, "channels are joined", "only tokens can be joined (axis 1)")
            return
        first_row = 0
        for part in node.inputs:
            if not isinstance(part.op, Constant):
                self.compute(part, node, first_row)
            first_row += rows_columns(part)[0]

    def compute(self, node: Node, target: Node, first_row: int) -> None:
        """Match the fused operation that ends in ``node``."""
        result, residual, table = node, None, None
        lacking = missing_in_value(node)
        if lacking is not None:
            self.refuse(node, *lacking)
            return
        if isinstance(node.op, AddRequantised):
            left, right = node.inputs
            # the branch that ends a product is fused, the other one is read
            if not self.is_product(left) or (self.is_product(right) and self.op_factors(node)[0] != (1 << 15, 15)):
                left, right = right, left
                fused_factor, read_factor = self.op_factors(node)[1], self.op_factors(node)[0]
            else:
                fused_factor, read_factor = self.op_factors(node)
            if not self.is_product(left) or fused_factor != (1 << 15, 15):
                self.refuse(node, "neither operand is a product at the sum's scale", "a residual sum follows a Linear")
                return
            residual = Residual(self.view(right), *read_factor)
            node = left
        elif isinstance(node.op, Table):
            table = constant(node.inputs[1])
            node = node.inputs[0]
        if isinstance(node.op, LayerNormalization) and residual is None and table is None:
            self.identity(node, target, first_row)
            return
        if not self.is_product(node):
            foreign = isinstance(node.op, Requantise) and type(node.inputs[0].op) not in IMPLEMENTS
            node = node.inputs[0] if foreign else node
            self.refuse(node, "no fused operation ends like this", "see `edgewright inspect` for what the engine runs")
            return
        product = node.inputs[0]
        operation = self.product(product, node)
        if operation is None:
            return
        self.operations.append(
            replace(
                operation, result=result, target=target, first_row=first_row, residual=residual, table=table, product=product
            )
        )

    @staticmethod
    def op_factors(node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
        """(multiplier, shift) of both operands of an ``AddRequantised``."""
        op = node.op
        assert isinstance(op, AddRequantised)
        return (op.multiplier_a, op.shift_a), (op.multiplier_b, op.shift_b)

    @staticmethod
    def is_product(node: Node) -> bool:
        """Whether ``node`` is the requantised result of something the array computes."""
        return isinstance(node.op, Requantise) and isinstance(
            node.inputs[0].op, (Linear, PatchEmbed, Attention, ReduceSum)
        )

    def product(self, node: Node, requantise: Node) -> Operation | None:
        """The operation for one product, its operands stored."""
        blank = Operation("linear", requantise, requantise, 0, View(node, 0, 0, 1, 1), requantise)
        if isinstance(node.op, Linear):
            source, weight, bias = node.inputs
            norm = source if isinstance(source.op, LayerNormalization) else None
            view = self.view(source.inputs[0] if norm is not None else source)
            return replace(blank, source=view, weight=constant(weight), bias=constant(bias), norm=norm)
        if isinstance(node.op, PatchEmbed):
            source, weight, bias = node.inputs
            return replace(
                blank, kind="patch", source=self.image(source), weight=constant(weight), bias=constant(bias)
            )
        if isinstance(node.op, Attention):
            lacking = missing_in_attention(node)
            if lacking is not None:
                self.refuse(node, *lacking)
                return None
            query, key, value = (self.view(operand) for operand in node.inputs)
            depth = query.columns // node.op.heads
            if depth % ROW_MULTIPLE or (value.columns // node.op.heads) % ROW_MULTIPLE:
                self.refuse(node, f"its heads are {depth} wide", f"heads must be a multiple of {ROW_MULTIPLE} wide")
                return None
            return replace(blank, kind="attention", source=query, key=key, value=value)
        assert isinstance(node.op, ReduceSum)
        (tokens,) = node.inputs
        if tokens.type.rank != 3 or node.op.axes not in ((1,), (-2,)) or tokens.elem != INT8:
            self.refuse(node, f"it adds {tokens.type} up over axes {node.op.axes}", "the engine adds int8 tokens up, axis 1")
            return None
        return replace(blank, kind="pool", source=self.view(node.inputs[0]))

    def image(self, node: Node) -> View:
        """The input image of a patch embedding, stored plane by plane as the host writes it."""
        if not isinstance(node.op, Quantise):
            self.refuse(node, "patches are cut from something that is not an input", "only the input image can be cut")
        self.store(node)
        rows, columns = rows_columns(node)
        return View(node, 0, 0, rows, columns)

    def identity(self, node: Node, target: Node, first_row: int) -> None:
        """LayerNorm on its own: a product with the identity, exact because 1 * q requantises to q."""
        width = node.shape[-1]
        self.operations.append(
            Operation(
                "linear", node, target, first_row, self.view(node.inputs[0]), node,
                weight=np.eye(width, dtype=np.int64), bias=np.zeros(width, dtype=np.int64), norm=node, product=node,
            )
        )  # fmt: skip


def missing_in_attention(node: Node) -> tuple[str, str] | None:
    """What an attention has that the engine lacks, and what the engine has; None if nothing."""
    query, _, value = node.inputs[:3]
    if node.inputs[3:]:
        return "it adds a bias or a mask to its scores", "the engine's scores are products only"
    if query.shape[0] != 1:
        return f"it attends within {query.shape[0]} windows", "the engine attends over all tokens at once"
    if query.shape[2] != value.shape[2]:
        return f"its values are {value.shape[2]} wide, its keys {query.shape[2]}", "both must be equally wide"
    return None


def missing_in_value(node: Node) -> tuple[str, str] | None:
    """What a stored value has that the engine lacks, and what the engine has; None if nothing."""
    if isinstance(node.op, AddRequantised) and node.op.subtract:
        return "it is a difference", "the engine adds"
    if isinstance(node.op, RMSNormalization):
        return "the mean of what it normalises may not be 0", "the engine's normalisation takes the mean off first"
    if isinstance(node.op, LayerNormalization) and node.elem != INT8:
        return f"a sum reads it in {node.elem.bits} bits", "the engine normalises into int8, for products"
    return None


def fuse(graph: Graph) -> tuple[list[Operation], dict[Node, NDArray[np.int64]]]:
    """Operations in execution order, and the constant values that live in memory.

    Raises ``CompileError`` with every value that the engine cannot compute.
    """
    fuser = Fuser(graph)
    for node in graph.nodes():
        if isinstance(node.op, MoE):
            because = "its program is fixed, and which experts a token needs shows only when it runs"
            fuser.refuse(node, because, "compile models with experts for a CPU")
    if fuser.problems:  # what stands around them would only be named a second time
        raise CompileError(fuser.problems)
    for output in graph.outputs:
        fuser.view(output)
    if fuser.problems:
        raise CompileError(fuser.problems)
    return fuser.operations, fuser.constants


def sources(operation: Operation) -> Iterable[View]:
    """Every view that an operation reads."""
    yield operation.source
    residual = None if operation.residual is None else operation.residual.source
    for view in (operation.key, operation.value, residual):
        if view is not None:
            yield view
