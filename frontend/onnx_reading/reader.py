"""ONNX -> Graph[FLOAT] in canonical form, or every reason why not at once.

File or proto -> checks (`checks*`) -> onnx_ir, shapes pinned, constants folded (`fold`) -> plain
nodes, one reader per operator (the modules of `_REGISTERED`) -> exporter idioms recognised (`canonical`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
from edgewright.frontend.canonical.canonicalise import canonicalise
from edgewright.frontend.canonical.experts import refuse_leftovers
from edgewright.frontend.onnx_reading import (
    arith,
    attention,
    convolutions,
    einsum,
    layout,
    norms,
    pooling,
    reductions,
    spatial,
)
from edgewright.frontend.onnx_reading.batch import (
    asks_for_one,
    batch_note,
    fixed_batch,
    keeps_its_batch,
    with_batch_of_one,
    with_first_axis,
)
from edgewright.frontend.onnx_reading.bits import (
    BROADCASTING,
    FOLLOWED,
    KEEPS_VALUES,
    Bits,
    CountsNeeded,
    check_masks,
    follow,
)
from edgewright.frontend.onnx_reading.checks import STANDARD_DOMAINS, check_structure, place_of
from edgewright.frontend.onnx_reading.checks_file import check_is_model, load_proto
from edgewright.frontend.onnx_reading.checks_quantised import refuse_quantised
from edgewright.frontend.onnx_reading.checks_tensors import check_tensors
from edgewright.frontend.onnx_reading.checks_values import check_read, check_values
from edgewright.frontend.onnx_reading.fold import FOLDABLE, Shapes, fold
from edgewright.frontend.onnx_reading.integers import Integers
from edgewright.frontend.onnx_reading.refusals import no_numbers, no_reader, refused, sizes_in
from edgewright.frontend.onnx_reading.routing import Routing, leftovers, too_many_chosen
from edgewright.frontend.onnx_reading.rows import computes_rows
from edgewright.frontend.onnx_reading.runtime_experts import expand_runtime_experts
from edgewright.frontend.onnx_reading.runtime_operators import expand_runtime_operators
from edgewright.frontend.onnx_reading.site import READERS, Site, Unsupported, check_integers
from edgewright.frontend.onnx_reading.traced_length import DoesNotFit, traced_length
from edgewright.passes.diagnostics import CompileError, Diagnostic, fail
from edgewright.passes.ir import Array, Graph, InferError, Level, Node, Shape, elem_of, make
from edgewright.passes.ir.budget import check_budget
from edgewright.passes.ops import Constant, Reshape, constant, graph_input
from edgewright.passes.transform import Statistics

_REGISTERED = (arith, attention, convolutions, einsum, layout, norms, pooling, reductions, spatial)  # importing fills READERS

ModelSource = str | os.PathLike[str] | onnx.ModelProto
Counted: TypeAlias = tuple[Graph, tuple[Statistics, ...]]


def supported_operators() -> tuple[str, ...]:
    """ONNX operators that the reader knows, sorted."""
    return tuple(sorted({*READERS, "Constant"}))


def load_checked(source: ModelSource) -> onnx.ModelProto:
    """A model that passed every check, its external data inside. The caller's proto is not changed."""
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
        check_is_model(model, "model")
        path = None
    else:
        path = Path(source)
        model = load_proto(path)
    refuse_quantised(model)
    expand_runtime_operators(model)
    found = expand_runtime_experts(model)
    wrong_tensors: Sequence[Diagnostic] = ()
    try:
        check_tensors(model, path)  # first: afterwards no check opens a file
    except CompileError as error:
        wrong_tensors = error.diagnostics
    try:
        check_structure(model)
    except CompileError as error:  # an operator of experts has been refused with its own reason
        named = "operator com.microsoft.MoE "
        found += [d for d in error.diagnostics if not (d.code == "N013" and d.message.startswith(named))]
    found += wrong_tensors
    if found:
        raise CompileError(found + _never_supported(model, {d.at for d in found}))
    return model


def _never_supported(model: onnx.ModelProto, known: set[str]) -> list[Diagnostic]:
    """Operators that no folding can remove, for a model that is refused for other reasons: all is said at once."""
    computed = {value.name for value in model.graph.input}
    found = []
    for node in model.graph.node:
        if node.op_type in ("Shape", "Size", "ConstantOfShape"):
            continue  # known once shapes are
        if computed.isdisjoint(node.input) and node.op_type in FOLDABLE:
            continue
        computed.update(node.output)
        readable = node.op_type in READERS or node.op_type in FOLLOWED or node.op_type == "Constant"
        if node.domain in STANDARD_DOMAINS and not readable and place_of(node) not in known:
            found.append(no_reader(node.op_type, place_of(node)))
    return found


def read_model(source: ModelSource, shapes: Shapes | None = None) -> Graph:
    """The model as a canonical FLOAT graph.

    `shapes` pins inputs by name; an open batch (first axis) becomes 1 without it, any other open dimension is N012. A
    fixed batch becomes 1 where the model works on rows alone (`batch`), an input of another first axis gets one more axis.
    Raises CompileError with every diagnostic found: N001 to N025, texts in `frontend.codes`.
    """
    return read_checked(load_checked(source), shapes)[0]


def read_checked(model: onnx.ModelProto, shapes: Shapes | None = None) -> Counted:
    """`read_model` of what `load_checked` returned, and what each group of canonical rules did."""
    shapes = shapes or {}
    try:
        return _read_checked(model, shapes)
    except DoesNotFit as error:
        traced = traced_length(model, shapes, error, lambda other: _is_readable(model, other))
        if traced is None:
            raise
        raise CompileError([traced]) from None


def _is_readable(model: onnx.ModelProto, shapes: Shapes) -> bool:
    try:
        read_plain(model, shapes)
    except CompileError:
        return False
    return True


def _read_checked(model: onnx.ModelProto, shapes: Shapes) -> Counted:
    batch = fixed_batch(model, shapes)
    return _canonical(read_plain(model, shapes)) if batch is None else _read_rows(model, shapes, batch)


def _read_rows(model: onnx.ModelProto, shapes: Shapes, batch: int) -> Counted:
    """The graph of one row, where all rows of a batch are computed alike; else of the model as it is."""
    refused: CompileError | None = None
    try:
        one = read_plain(with_batch_of_one(model, batch), with_first_axis(1, shapes))
    except CompileError as error:
        one, refused = None, error
    many = read_plain(model, with_first_axis(batch, shapes), unbatched=False)
    if one is not None and computes_rows(one, many, batch):
        graph, statistics = _canonical(one)
        return replace(graph, notes=(batch_note(batch),)), statistics
    if asks_for_one(shapes):
        raise keeps_its_batch(batch, refused)
    return _canonical(read_plain(model, shapes))


def _canonical(plain: Graph) -> Counted:
    graph, statistics = canonicalise(plain)
    refuse_leftovers(graph)
    check_values(graph)
    check_budget(graph)  # before anything is evaluated
    return graph, statistics


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model file says of itself, and what each group of canonical rules did to its graph."""

    producer: str
    opset: int
    nodes: int
    file_bytes: int | None
    passes: tuple[Statistics, ...] = ()


def read_with_facts(source: ModelSource, shapes: Shapes | None = None) -> tuple[Graph, ModelFacts]:
    """`read_model`, and what the file says of itself."""
    model = load_checked(source)
    opset = max(entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS)
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    size = None if isinstance(source, onnx.ModelProto) else Path(source).stat().st_size
    graph, passes = read_checked(model, shapes)
    return graph, ModelFacts(producer or "unknown", opset, len(model.graph.node), size, passes)


def read_plain(model: onnx.ModelProto, shapes: Shapes | None = None, unbatched: bool = True) -> Graph:
    """A checked model as plain operators, one or a few for each ONNX node.

    unbatched: inputs that do not start with 1 get an axis of samples in front; otherwise they keep their shape.
    """
    output_names = tuple(output.name for output in model.graph.output)
    try:
        with _quiet():
            ir_model = ir.from_proto(model)
            fold(ir_model, shapes or {})
    except CompileError:
        raise
    except Exception as error:  # whatever these libraries find wrong with a model is the model's fault
        cause = error.__cause__ or error
        raise CompileError(
            [
                Diagnostic(
                    "N011",
                    "the model cannot be interpreted",
                    at=str(error).split("\n")[0][:300],
                    because=f"{type(cause).__name__}: {str(cause).splitlines()[0][:300] if str(cause) else ''}",
                    help="check it with onnx.checker.check_model(path, full_check=True) and export it again",
                )
            ]
        ) from None
    counts: dict[str, int] = {}
    while True:
        try:
            return _Conversion(ir_model, counts).run(output_names, unbatched)
        except CountsNeeded as needed:
            counts[needed.source.name] = needed.count


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own warnings off the terminal: what matters of them becomes a diagnostic."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _place(node: ir.Node) -> tuple[str, ...]:
    name = node.name or (node.outputs[0].name if node.outputs else "") or node.op_type
    return (name,)


@dataclass(slots=True, init=False)
class _Conversion:
    """State of one walk over a folded model: known values, refusals, values that a refusal leaves unknown, and what the
    integer inputs that hold counts stay below, by name."""

    model: ir.Model
    opset: int
    values: dict[ir.Value, Node]
    bits: dict[ir.Value, Bits]
    unknown: set[ir.Value]
    found: list[Diagnostic]
    routing: Routing
    lengths: list[int]
    integers: Integers
    counts: dict[str, int]

    def __init__(self, model: ir.Model, counts: dict[str, int]) -> None:
        self.model = model
        self.counts = counts
        self.opset = model.opset_imports.get("", 0) or model.opset_imports.get("ai.onnx", 0)
        self.values, self.bits, self.unknown, self.found = {}, {}, set(), []
        self.lengths = []
        self.integers = Integers(self.opset, self.values, self.bits, counts)
        self.routing = Routing(model, self.opset)

    def run(self, output_names: tuple[str, ...], unbatched: bool) -> Graph:
        """The graph, or CompileError with all refusals."""
        graph = self.model.graph
        inputs = []
        for value in graph.inputs:
            shape = tuple(int(d) for d in value.shape or ())  # type: ignore[arg-type]
            dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
            inputs.append(graph_input(str(value.name), shape, elem_of(dtype)))
            whole = inputs[-1]
            if unbatched and shape[:1] != (1,):
                inputs[-1] = graph_input(str(value.name), (1, *shape), elem_of(dtype), unbatched=True)
                whole = make(Reshape(shape), inputs[-1], origin=(f"{value.name}/sample",))
            self.values[value] = whole
            if not whole.type.is_float:
                self.integers.enter(value, whole, inputs[-1], dtype)
        for node in graph:
            self._read(node)
        outputs = [self._operand(value) for value in graph.outputs]
        if self.found:
            kept = Graph("", (), tuple(dict.fromkeys(self.values.values())), (), Level.FLOAT)
            found = self.found + leftovers(kept)
            raise DoesNotFit(found, self.lengths) if self.lengths else CompileError(found)
        if any(output is None for output in outputs):
            fail("N011", "an output is never computed", "graph outputs", "", "export it again")
        results = tuple(o if o.shape else make(Reshape((1,)), o, origin=o.origin) for o in outputs if o)
        read = self.integers.finish(Graph(graph.name or "model", tuple(inputs), results, output_names, Level.FLOAT))
        check_masks(read, self.counts)
        return read

    def _operand(self, value: ir.Value | None, beside: Sequence[Shape] = ()) -> Node | None:
        """The value as a node; one computed from a mask may be shorter where shapes `beside` it make up for that."""
        if value is None:
            return None
        if value not in self.values and value in self.bits:
            return self.bits[value].node((value.name or "mask",), beside)
        if value not in self.values and value in self.integers.lookups:
            return self.integers.node(value, (value.name or "ids",))
        if value not in self.values and value.const_value is not None:
            array = np.asarray(value.const_value.numpy())
            if array.dtype.kind not in "biuf":
                self.found.append(no_numbers(value, array))
                self.unknown.add(value)
                return None
            self.values[value] = constant(array, origin=(value.name or "constant",))
        return self.values.get(value)

    def _read(self, node: ir.Node) -> None:
        if node.op_type == "Constant" and node.outputs[0].const_value is not None:
            return
        at = f"node {_place(node)[0]!r} ({node.op_type})"
        standard = node.domain in STANDARD_DOMAINS
        reader = READERS.get(node.op_type) if standard else None
        if reader is None and not (standard and node.op_type in FOLLOWED):
            self._refuse(node, refused(node, at))
            return
        for value in node.inputs:
            if value is not None and value.const_value is not None:
                self._operand(value)
        if any(value in self.unknown for value in node.inputs):
            self.unknown.update(node.outputs)
            return
        if standard and self.integers.reads(node):
            try:
                if self.integers.read(node, self._operand, _place(node)):
                    return
            except Unsupported as error:
                message = f"this use of {node.op_type} is not supported"
                self._refuse(node, Diagnostic("N018", message, at=at, because=error.because, help=error.help))
                return
        if self._follow(node) and node.op_type not in KEEPS_VALUES:
            return
        if standard and self.routing.comes_first(node, self.values):
            routed = self.routing.read(node, self._operands(node), no_reader(node.op_type, at))
            if routed is not None:
                self.values.update(zip(node.outputs, routed, strict=True))
                return
        if reader is None:
            if not self._is_mask(node):
                self._refuse(node, refused(node, at))
            return
        try:
            results = reader(Site(node, self.opset, self._operands(node), _place(node)))
            nodes = (results,) if isinstance(results, Node) else tuple(results)
            check_integers(nodes)
        except Unsupported as error:
            if self._is_mask(node):
                return
            message = f"this use of {node.op_type} is not supported"
            self._refuse(node, Diagnostic("N018", message, at=at, because=error.because, help=error.help))
            return
        except (InferError, ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError) as error:
            if self._is_mask(node):
                return
            message, help_text = f"{node.op_type} does not fit its operands", "check the model with onnx.checker"
            because = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.lengths += sizes_in(self._operands(node))
            self._refuse(node, Diagnostic("N018", message, at=at, because=because, help=help_text))
            return
        for made in nodes:
            check_read(made)
        self.values.update(zip(node.outputs, nodes, strict=False))

    def _operands(self, node: ir.Node) -> tuple[Node | None, ...]:
        known = {value: self.values[value].shape for value in node.inputs if value in self.values}
        computed = [value for value in node.inputs if value in self.bits and value not in known]
        broadcasts = node.op_type in BROADCASTING and len(computed) == 1
        return tuple(self._operand(v, tuple(known.values()) if broadcasts else ()) for v in node.inputs)

    def _follow(self, node: ir.Node) -> bool:
        """Keep track of what is computed from a mask; whether the result is known by that."""
        if not any(value in self.bits for value in node.inputs if value is not None):
            return False
        operands: list[Bits | Array | None] = []
        for value in node.inputs:
            if value is None or value in self.bits:
                operands.append(None if value is None else self.bits[value])
                continue
            operand = self._operand(value)
            if operand is None or not isinstance(operand.op, Constant):
                return False
            operands.append(operand.op.value)
        followed = follow(node, self.opset, operands)
        if followed is None:
            return False
        self.bits[node.outputs[0]] = followed
        return True

    def _is_mask(self, node: ir.Node) -> bool:
        return len(node.outputs) == 1 and node.outputs[0] in self.bits

    def _refuse(self, node: ir.Node, diagnostic: Diagnostic) -> None:
        """Noted, unless the node may be part of a router of experts: then it is kept until they are recognised."""
        known = not any(value in self.unknown for value in node.inputs)
        if self.routing.active and not known:
            self.unknown.update(node.outputs)  # what it follows from is refused already
            return
        if self.routing.active and node.domain in STANDARD_DOMAINS:
            operands = self._operands(node)
            diagnostic = too_many_chosen(node, operands) or diagnostic
            results = self.routing.read(node, operands, diagnostic)
            if results is not None:
                self.values.update(zip(node.outputs, results, strict=True))
                return
        self.found.append(diagnostic)
        self.unknown.update(node.outputs)
