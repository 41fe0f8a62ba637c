"""Read ONNX into a canonical FLOAT graph, or refuse it with all reasons together.

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
from edgewright.frontend.onnx_reading import arith, attention, convolutions, einsum, layout, norms, pooling, reductions, spatial
from edgewright.frontend.onnx_reading.batch import (
    asks_for_one,
    batch_note,
    fixed_batch,
    refuse_batch_of_one,
    with_batch_of_one,
    with_first_axis,
)
from edgewright.frontend.onnx_reading.bits import BROADCASTING, FOLLOWED, KEEPS_VALUES, Bits, CountsNeeded, check_masks, follow
from edgewright.frontend.onnx_reading.checks import STANDARD_DOMAINS, check_structure, name_of, opset_of, place_of
from edgewright.frontend.onnx_reading.checks_file import check_is_model, load_proto
from edgewright.frontend.onnx_reading.checks_quantised import refuse_quantised
from edgewright.frontend.onnx_reading.checks_tensors import check_tensors, no_numbers
from edgewright.frontend.onnx_reading.checks_values import check_read, check_values
from edgewright.frontend.onnx_reading.experts import FuseExperts, refuse_leftovers
from edgewright.frontend.onnx_reading.fold import FOLDABLE, Shapes, fold
from edgewright.frontend.onnx_reading.integers import Integers
from edgewright.frontend.onnx_reading.layer_names import layer_names
from edgewright.frontend.onnx_reading.refusals import no_reader, not_readable, sizes_in, unsupported_use
from edgewright.frontend.onnx_reading.routing import Routing, leftovers, too_many_chosen
from edgewright.frontend.onnx_reading.rows import computes_rows
from edgewright.frontend.onnx_reading.runtime_experts import expand_runtime_experts
from edgewright.frontend.onnx_reading.runtime_operators import expand_runtime_operators
from edgewright.frontend.onnx_reading.site import READERS, Reader, Site, Unsupported, check_integers
from edgewright.frontend.onnx_reading.traced_length import DoesNotFit, refuse_traced_length
from edgewright.passes.diagnostics import CompileError, Diagnostic, fail
from edgewright.passes.ir import Array, Graph, InferError, Level, Node, Shape, elem_of, make
from edgewright.passes.ir.budget import check_budget
from edgewright.passes.ops import Constant, Reshape, constant, graph_input
from edgewright.passes.transform import Statistics

_REGISTERED = (arith, attention, convolutions, einsum, layout, norms, pooling, reductions, spatial)  # importing fills READERS

ModelSource = str | os.PathLike[str] | onnx.ModelProto
Counted: TypeAlias = tuple[Graph, tuple[Statistics, ...]]


def load_checked(source: ModelSource) -> onnx.ModelProto:
    """Return a model that passed every check, with external data loaded. The caller's proto is not changed."""
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
    refusals = expand_runtime_experts(model)
    wrong_tensors: Sequence[Diagnostic] = ()
    try:
        check_tensors(model, path)  # first: afterwards no check opens a file
    except CompileError as error:
        wrong_tensors = error.diagnostics
    try:
        check_structure(model)
    except CompileError as error:  # an operator of experts has been refused with its own reason
        message = "operator com.microsoft.MoE "
        refusals += [d for d in error.diagnostics if not (d.code == "N013" and d.message.startswith(message))]
    refusals += wrong_tensors
    if refusals:
        raise CompileError(refusals + _never_supported(model, {refusal.at for refusal in refusals}))
    return model


def _never_supported(model: onnx.ModelProto, refused_places: set[str]) -> list[Diagnostic]:
    """Return refusals of operators that no folding can remove, to report them with a model's other errors."""
    computed = {value.name for value in model.graph.input}
    refusals = []
    for node in model.graph.node:
        if node.op_type in ("Shape", "Size", "ConstantOfShape"):
            continue  # constant once shapes are known
        if computed.isdisjoint(node.input) and node.op_type in FOLDABLE:
            continue
        computed.update(node.output)
        readable = node.op_type in READERS or node.op_type in FOLLOWED or node.op_type == "Constant"
        if node.domain in STANDARD_DOMAINS and not readable and place_of(node) not in refused_places:
            refusals.append(no_reader(node))
    return refusals


def read_model(source: ModelSource, shapes: Shapes | None = None) -> Graph:
    """Return the model as a canonical FLOAT graph.

    `shapes` pins inputs by name; an open batch (first axis) becomes 1 without it, any other open dimension is N012. A
    fixed batch becomes 1 if the model computes every row alone (`batch`), an input with another first axis gets one more
    axis. Raises CompileError with all diagnostics together: N001 to N026, explained in `passes/errors`.
    """
    return read_checked(load_checked(source), shapes)[0]


def read_checked(model: onnx.ModelProto, shapes: Shapes | None = None) -> Counted:
    """Return `read_model` of a model that `load_checked` returned, and what each group of canonical rules did."""
    shapes = shapes or {}
    try:
        batch = fixed_batch(model, shapes)
        return _canonical(read_plain(model, shapes)) if batch is None else _read_rows(model, shapes, batch)
    except DoesNotFit as error:
        refuse_traced_length(model, shapes, error, lambda other: _is_readable(model, other))
        raise


def _is_readable(model: onnx.ModelProto, shapes: Shapes) -> bool:
    try:
        read_plain(model, shapes)
    except CompileError:
        return False
    return True


def _read_rows(model: onnx.ModelProto, shapes: Shapes, batch: int) -> Counted:
    """Return the graph of one row if all rows of a batch are computed alike, or else of the model as it is."""
    refusal: CompileError | None = None
    one_row: Graph | None = None
    try:
        one_row = read_plain(with_batch_of_one(model, batch), with_first_axis(1, shapes))
    except CompileError as error:
        refusal = error
    all_rows = read_plain(model, with_first_axis(batch, shapes), unbatched=False)
    if one_row is not None and computes_rows(one_row, all_rows, batch):
        graph, statistics = _canonical(one_row)
        return replace(graph, notes=(batch_note(batch),)), statistics
    if asks_for_one(shapes):
        refuse_batch_of_one(batch, refusal)
    return _canonical(read_plain(model, shapes))


def _canonical(plain: Graph) -> Counted:
    graph, statistics = canonicalise(plain, FuseExperts())
    refuse_leftovers(graph)
    check_values(graph)
    check_budget(graph)  # before anything is evaluated
    return graph, statistics


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model file declares about itself, and what each group of canonical rules did to its graph."""

    producer: str
    opset: int
    passes: tuple[Statistics, ...] = ()


def read_with_facts(source: ModelSource, shapes: Shapes | None = None) -> tuple[Graph, ModelFacts]:
    """Return `read_model`, and what the file declares about itself."""
    model = load_checked(source)
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    graph, passes = read_checked(model, shapes)
    return graph, ModelFacts(producer or "unknown", opset_of(model), passes)


def read_plain(model: onnx.ModelProto, shapes: Shapes | None = None, unbatched: bool = True) -> Graph:
    """Return a checked model in plain operators, one or a few for each ONNX node.

    unbatched: inputs that do not start with 1 get an axis of samples before their own; otherwise they keep their shape.
    """
    output_names = tuple(output.name for output in model.graph.output)
    try:
        with _silenced():
            ir_model = ir.from_proto(model)
            fold(ir_model, shapes or {})
    except CompileError:
        raise
    except Exception as error:  # whatever these libraries raise, the cause is the model
        cause = error.__cause__ or error
        because = f"{type(cause).__name__}: {str(cause).splitlines()[0][:300] if str(cause) else ''}"
        help_text = "check it with onnx.checker.check_model(path, full_check=True) and export it again"
        fail("N011", "the model cannot be interpreted", str(error).split("\n")[0][:300], because, help_text)
    counts: dict[str, int] = {}
    while True:
        try:
            return _Conversion(ir_model, counts).run(output_names, unbatched)
        except CountsNeeded as needed:
            counts[needed.source.name] = needed.count


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep the libraries' warnings off the terminal: diagnostics report what matters."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Conversion:
    """State of one pass over a folded model: converted values, refusals, values that a refusal leaves unknown, and the
    upper bound of each integer input that holds counts, by name."""

    def __init__(self, model: ir.Model, counts: dict[str, int]) -> None:
        self.model, self.counts = model, counts
        self.opset: int = model.opset_imports.get("", 0) or model.opset_imports.get("ai.onnx", 0)
        self.values: dict[ir.Value, Node] = {}
        self.bits: dict[ir.Value, Bits] = {}
        self.unknown: set[ir.Value] = set()
        self.refusals: list[Diagnostic] = []
        self.lengths: list[int] = []
        self.integers = Integers(self.opset, self.values, self.bits, counts)
        self.routing = Routing(model, self.opset)
        self.names = layer_names(model.graph)

    def run(self, output_names: tuple[str, ...], unbatched: bool) -> Graph:
        """Return the graph, or raise CompileError with all refusals."""
        graph = self.model.graph
        inputs = [self._enter(value, unbatched) for value in graph.inputs]
        for node in graph:
            self._convert(node)
        outputs = [self._operand(value) for value in graph.outputs]
        if self.refusals:
            converted = Graph("", (), tuple(dict.fromkeys(self.values.values())), (), Level.FLOAT)
            refusals = self.refusals + leftovers(converted)
            raise DoesNotFit(refusals, self.lengths) if self.lengths else CompileError(refusals)
        if any(output is None for output in outputs):
            fail("N011", "an output is never computed", "graph outputs", "", "export it again")
        results = tuple(o if o.shape else make(Reshape((1,)), o, origin=o.origin) for o in outputs if o)
        read = self.integers.finish(Graph(graph.name or "model", tuple(inputs), results, output_names, Level.FLOAT))
        check_masks(read, self.counts)
        return read

    def _enter(self, value: ir.Value, unbatched: bool) -> Node:
        """Convert an input of the model; return the input of the graph."""
        name, shape = str(value.name), tuple(int(d) for d in value.shape or ())  # type: ignore[arg-type]
        dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
        entry = node = graph_input(name, shape, elem_of(dtype))
        if unbatched and shape[:1] != (1,):
            entry = graph_input(name, (1, *shape), elem_of(dtype), unbatched=True)
            node = make(Reshape(shape), entry, origin=(f"{name}/sample",))
        self.values[value] = node
        if not node.type.is_float:
            self.integers.enter(value, node, entry, dtype)
        return entry

    def _operand(self, value: ir.Value | None, broadcast_with: Sequence[Shape] = ()) -> Node | None:
        """Return the value as a node; one computed from a mask may be shorter if broadcasting restores its shape."""
        if value is None:
            return None
        if value not in self.values and value in self.bits:
            return self.bits[value].node((value.name or "mask",), broadcast_with)
        if value not in self.values and value in self.integers.lookups:
            return self.integers.node(value, (value.name or "ids",))
        if value not in self.values and value.const_value is not None:
            array = np.asarray(value.const_value.numpy())
            if array.dtype.kind not in "biuf":
                dtype = "string" if array.dtype.kind in "OSU" else array.dtype
                self.refusals.append(no_numbers(f"tensor {value.name!r}", dtype))
                self.unknown.add(value)
                return None
            self.values[value] = constant(array, origin=(value.name or "constant",))
        return self.values.get(value)

    def _convert(self, node: ir.Node) -> None:
        if node.op_type == "Constant" and node.outputs[0].const_value is not None:
            return
        standard = node.domain in STANDARD_DOMAINS
        reader = READERS.get(node.op_type) if standard else None
        if reader is None and not (standard and node.op_type in FOLLOWED):
            self._refuse(node, not_readable(node))
            return
        for value in node.inputs:
            if value is not None and value.const_value is not None:
                self._operand(value)
        if any(value in self.unknown for value in node.inputs):
            self.unknown.update(node.outputs)
            return
        if self.integers.reads(node):
            try:
                if self.integers.read(node, self._operand, (self._name(node),)):
                    return
            except Unsupported as error:
                self._refuse(node, unsupported_use(node, error.because, error.help))
                return
        if self._follow(node) and node.op_type not in KEEPS_VALUES:
            return
        if self.routing.comes_first(node, self.values):
            results = self.routing.read(node, self._operands(node), no_reader(node))
            if results is not None:
                self.values.update(zip(node.outputs, results, strict=True))
                return
        refusal = not_readable(node) if reader is None else self._read(node, reader)
        if refusal is not None and not self._is_mask(node):
            self._refuse(node, refusal)

    def _read(self, node: ir.Node, reader: Reader) -> Diagnostic | None:
        """Convert the node by its reader, or return why that is not possible."""
        operands = self._operands(node)
        try:
            results = reader(Site(node, self.opset, operands, (self._name(node),)))
            nodes = (results,) if isinstance(results, Node) else tuple(results)
            check_integers(nodes)
        except Unsupported as error:
            return unsupported_use(node, error.because, error.help)
        except (InferError, ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError) as error:
            self.lengths += [] if self._is_mask(node) else sizes_in(operands)
            message, help_text = f"{node.op_type} does not fit its operands", "check the model with onnx.checker"
            because = str(error).splitlines()[0] if str(error) else type(error).__name__
            return Diagnostic("N018", message, place_of(node), because, help_text)
        for result in nodes:
            check_read(result)
        self.values.update(zip(node.outputs, nodes, strict=False))
        return None

    def _name(self, node: ir.Node) -> str:
        """Return what reports call the node: its layer, or the file's name for it."""
        return self.names.get(node) or name_of(node)

    def _operands(self, node: ir.Node) -> tuple[Node | None, ...]:
        known = {value: self.values[value].shape for value in node.inputs if value in self.values}
        computed = [value for value in node.inputs if value in self.bits and value not in known]
        broadcasts = node.op_type in BROADCASTING and len(computed) == 1
        return tuple(self._operand(v, tuple(known.values()) if broadcasts else ()) for v in node.inputs)

    def _follow(self, node: ir.Node) -> bool:
        """Follow a mask through the node; return whether its result is known by that."""
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
        """Record the refusal, unless the node may be part of a router of experts: it then stays as it is until they are
        recognised."""
        if self.routing.active and any(value in self.unknown for value in node.inputs):
            self.unknown.update(node.outputs)  # an operand of it has been refused already
            return
        if self.routing.active and node.domain in STANDARD_DOMAINS:
            operands = self._operands(node)
            diagnostic = too_many_chosen(node, operands) or diagnostic
            results = self.routing.read(node, operands, diagnostic)
            if results is not None:
                self.values.update(zip(node.outputs, results, strict=True))
                return
        self.refusals.append(diagnostic)
        self.unknown.update(node.outputs)
