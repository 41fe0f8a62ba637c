from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir import Graph, Level, Node, Op
from edgewright.passes.ops import Attention, Cast, Constant, Div, Gather, HashCodes, Input, MoE, Softmax, value_of
from edgewright.passes.ops.arith import LAYER_NORM_WIDTH_MAX
from edgewright.passes.ops.groups import ACCUMULATING, NORMS, WEIGHTED
from edgewright.passes.quantisation.calibrate import Calibration
from edgewright.passes.quantisation.lowering import IntegerLowering
from edgewright.passes.quantisation.lowering_experts import refused
from edgewright.passes.quantisation.lowering_hashing import too_many
from edgewright.passes.quantisation.lowering_products import OutOfRange
from edgewright.passes.quantisation.lowering_structure import ACTIVATIONS, SUMS, VIEWS, hosted, is_quotient
from edgewright.passes.transform import Note, Pass

# those without a fact that says so have a rule in `IntegerLowering`; refusals below may still say no
EXPRESSIBLE: tuple[type[Op], ...] = (
    *(Input, Constant, Softmax, Cast, HashCodes),
    *NORMS,
    *(*SUMS, *ACCUMULATING, *VIEWS, *ACTIVATIONS),
)
NAMED = 3  # places a message names before it counts the rest


@dataclass(frozen=True, slots=True)
class QuantiseGraph(Pass):
    """W8A8 with an int16 residual stream, in integers from the first product to the output.

    Before: a float ViT and the ranges of its values on samples. After: Quantise at the inputs, then integer ops with
    every multiplier, shift, table and zero point as a constant or an attribute; types carry scales for reports.
    Exact: no; `sqnr` measures the error per layer.
    Source: integer arithmetic after Jacob et al. (CVPR 2018), section 2; ranges after RepQ-ViT.
    """

    calibration: Calibration
    weight_clip: str = "minmax"

    needs: ClassVar[Level] = Level.FLOAT
    gives: ClassVar[Level] = Level.QUANTISED
    exact: ClassVar[bool] = False

    def run(self, graph: Graph, note: Note) -> Graph:
        for diagnostic in refusals(graph):
            note.refuse(diagnostic)
        if note.refusals:
            return graph
        lowering = IntegerLowering(graph, self.calibration, self.weight_clip)
        outputs = []
        for node in graph.outputs:
            try:
                outputs.append(lowering.output(node))
            except OutOfRange as error:
                note.refuse(error.diagnostic)
        if note.refusals:
            return graph
        for event, times in lowering.events.items():
            note.count(event, times)
        inputs = tuple(lowering.inputs.get(node, node) for node in graph.inputs)
        return Graph(graph.name, inputs, tuple(outputs), graph.output_names, Level.QUANTISED, graph.notes)


def check_expressible(graph: Graph) -> None:
    """Raise CompileError with all `refusals`; cheap, so it comes before calibration."""
    if refused_nodes := list(refusals(graph)):
        raise CompileError(refused_nodes)


def refusals(graph: Graph) -> Iterator[Diagnostic]:
    """Yield everything the integer level cannot express, whatever the calibration."""
    known = hosted(graph)
    foreign: dict[str, list[str]] = {}
    for node in graph.nodes():
        if not isinstance(node.op, EXPRESSIBLE) and node not in known:
            foreign.setdefault(node.op.kind, []).append(node.name)
    for kind, names in foreign.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield Diagnostic(
            "Q001",
            f"{kind} has no integer form",
            ", ".join(names[:NAMED]) + more,
            "the integer level has products, attention, softmax, LayerNorm, sums, moves and functions of one value",
            "edgewright inspect shows the graph as it was read; an exporter's idiom may not have been recognised",
        )
    for node, name in zip(graph.outputs, graph.output_names, strict=True):
        if not node.type.is_float:
            yield Diagnostic(
                "Q014",
                f"output {name!r} holds integers of the model",
                node.name,
                "values of an integer graph stand for real numbers at a scale; ids, masks and counts have none",
                "omit that output from the model, or use --precision fp32 on a CPU",
            )
    for node in graph.nodes():
        op = node.op
        if isinstance(op, NORMS) and node.shape[-1] > LAYER_NORM_WIDTH_MAX:
            yield Diagnostic(
                "Q004",
                f"{op.kind} over {node.shape[-1]:,} values",
                node.name,
                f"its integer form is exact up to {LAYER_NORM_WIDTH_MAX:,} values in a row",
                "use a narrower model, or --precision fp32 on a CPU",
            )
        if isinstance(op, HashCodes):
            yield from too_many(node)
        if isinstance(op, (*WEIGHTED, *NORMS, HashCodes)):
            yield from _parameters(node)
        if isinstance(op, MoE):
            yield from refused(node, op)
        if isinstance(op, Attention) and not op.scale > 0:
            yield Diagnostic(
                "Q001",
                f"Attention with scale {op.scale}",
                node.name,
                "the scale must be positive",
                "export the model again: scores are products of queries and keys, times a positive factor",
            )
        if isinstance(op, Div) and node not in known and not (is_quotient(node) or _divides_safely(node)):
            yield Diagnostic(
                "Q001",
                "Div by a constant that is 0 or not finite",
                node.name,
                "a constant divisor becomes a factor",
                "divide by constants that are neither",
            )
        if isinstance(op, Gather) and all(value_of(n) is None for n in node.inputs):
            yield Diagnostic(
                "Q001",
                "Gather of computed rows by computed indices",
                node.name,
                "either the table or the indices are constants",
                "make the table a constant of the model",
            )
        if isinstance(op, Cast) and node not in known:
            yield Diagnostic(
                "Q001",
                "Cast of a value that is not an integer input",
                node.name,
                "the host turns ids and masks into numbers before the graph runs",
                "cast inputs only",
            )


def _divides_safely(node: Node) -> bool:
    value = value_of(node.inputs[1])
    return value is not None and bool(np.isfinite(value).all()) and bool((value != 0).all())


def _parameters(node: Node) -> Iterator[Diagnostic]:
    for operand in node.inputs[1:]:
        value = value_of(operand)
        if value is None:
            yield Diagnostic(
                "Q002",
                f"{node.op.kind} with weights that are computed",
                node.name,
                "integer weights are prepared before the graph runs",
                "make the weights constants of the model",
            )
        elif not bool(np.isfinite(value).all()):
            yield Diagnostic(
                "Q005",
                f"{node.op.kind} has weights that are nan or infinite",
                node.name,
                "no integer stands for them",
                "export the model again from a sound checkpoint",
            )
