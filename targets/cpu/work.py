"""The steps of a lowered program as the estimate takes them (targets/estimate.py)."""

from __future__ import annotations

import math

from edgewright.passes.ir import Node
from edgewright.passes.ops import Attention, Conv
from edgewright.targets.cpu.lower import CpuProgram
from edgewright.targets.cpu.step import PARALLEL_ELEMENTS, PARALLEL_MACS
from edgewright.targets.estimate import StepWork
from edgewright.targets.lowering.step import ProgramStep
from edgewright.targets.lowering.view import ITEM_BYTES, Space, StridedView

IN_STEPS = ("Route", "Experts", "MoE", "HashCodes", "HashSums", "HashAttention")


def works_of(program: CpuProgram) -> list[StepWork]:
    """Return one StepWork for each step, in order."""
    nodes = {(node.name, node.op.kind): node for node in program.graph.nodes()}  # a Requantise has its product's name
    return [work_of(step, nodes.get((step.name, step.kind.partition("+")[0]))) for step in program.steps]


def work_of(step: ProgramStep, anchor: Node | None) -> StepWork:
    """Return the work of a step; `anchor`: the node it is named after. Each view counts once, with the bytes it spans."""
    views = list(dict.fromkeys(step.views))
    weights = [view for view in views if view.storage.space is Space.WEIGHTS]
    others = [view for view in views if view.storage.space is not Space.WEIGHTS]
    largest = max((view for view in others), key=_values, default=None)
    elements = _scores(step, anchor) or (_values(_result(step, others)) if step.macs else _values(largest))
    operand = others[0].dtype if others else "float32"
    integer = any(view.dtype == "int8" for view in (weights if step.macs and weights else others)) or operand == "int8"
    kind = step.kind
    first = kind.partition("+")[0]
    if first in IN_STEPS:  # between their steps are words of 16 and 32 bits
        integer = all(view.dtype != "float32" for view in views)
    if step.macs and anchor is not None and isinstance(anchor.op, Conv) and anchor.op.groups > 1:
        kind = f"Depthwise{kind}"
    return StepWork(
        name=step.name,
        kind=kind,
        macs=step.macs,
        weight_bytes=sum(_bytes(view) for view in weights),
        activation_bytes=sum(_bytes(view) for view in others),
        elements=elements,
        dtype="int8" if integer else "float32",
        parallel=first != "Route" and (step.macs >= PARALLEL_MACS or elements >= PARALLEL_ELEMENTS),
    )


def _scores(step: ProgramStep, anchor: Node | None) -> int:
    """Return the number of scores of an attention, each of which passes the softmax; 0 for another step."""
    if not step.macs or anchor is None or not isinstance(anchor.op, Attention):
        return 0
    q, k = (node.shape for node in anchor.inputs[:2])
    return q[0] * anchor.op.heads * q[1] * k[1]


def _result(step: ProgramStep, others: list[StridedView]) -> StridedView | None:
    """Return what a product stores: the view of its last complete value, or its last operand."""
    return step.stored[-1][1] if step.stored else others[-1] if others else None


def _values(view: StridedView | None) -> int:
    return 0 if view is None else math.prod(view.shape)


def _bytes(view: StridedView) -> int:
    return min(view.span, _values(view)) * ITEM_BYTES[view.dtype]
