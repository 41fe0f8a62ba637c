"""Which pass may follow which, and the reasons for each refusal.

A pass leaves marks that show in the graph (integers, hash codes, experts, a sub-model's outputs), even after it was
written to an ONNX file and read again. Every pass refuses a graph whose marks it cannot work with, with an A-code; so an order
is refused exactly if a mark that the first pass leaves, or a mark that the second one needs, is refused by the other.
"""

from __future__ import annotations

import enum
from dataclasses import replace

from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir import Graph, Level

EXACT = "exact passes"
PASSES = (EXACT, "SelectExperts", "FuseBlocks", "HashAttentionLayers", "SplitClasses", "QuantiseGraph")
"""What a user can request; EXACT: what `optimise` always runs."""


class Mark(enum.Enum):
    """The trace that a pass leaves in a graph."""

    INTEGERS = "integers"
    HASHED = "hashed attention"
    EXPERTS = "experts"
    PART = "a sub-model of some classes"


def _refusal(code: str, message: str, because: str, help: str) -> Diagnostic:
    return Diagnostic(code, message, "", because, help)


LEAVES = {
    "SelectExperts": Mark.EXPERTS,
    "HashAttentionLayers": Mark.HASHED,
    "SplitClasses": Mark.PART,
    "QuantiseGraph": Mark.INTEGERS,
}
NEEDS = {"SelectExperts": Mark.EXPERTS}

_AFTER_QUANTISATION = _refusal(
    "A001",
    "the graph is quantised",
    "this pass rewrites and learns real numbers, and the scales of integers are fixed",
    "run it on the float model and quantise last",
)
REFUSED: dict[tuple[Mark, str], Diagnostic] = {
    **{(Mark.INTEGERS, name): _AFTER_QUANTISATION for name in PASSES},
    (Mark.HASHED, "FuseBlocks"): _refusal(
        "A002",
        "blocks with hashed attention cannot be fused",
        "hash functions were learned for the queries of their own block and do not apply to another block",
        "fuse blocks first, then hash the attention of those that remain",
    ),
    (Mark.HASHED, "SplitClasses"): _refusal(
        "A003",
        "a model with hashed attention cannot be split",
        "splitting removes channels that the hash functions were learned from",
        "split first, then hash the attention of each sub-model",
    ),
    (Mark.PART, "SplitClasses"): _refusal(
        "A004",
        "a sub-model cannot be split again",
        "its class 'other' stands for all classes that it does not know, which cannot be assigned to a device",
        "split the whole model into more parts",
    ),
    (Mark.EXPERTS, "FuseBlocks"): _refusal(
        "A005",
        "blocks of a model with experts cannot be fused",
        "a router chooses among its own experts, which have no counterparts in another block",
        "--task and --usage-threshold make a model of experts smaller",
    ),
    (Mark.EXPERTS, "SplitClasses"): _refusal(
        "A006",
        "a model with experts cannot be split by classes",
        "structured pruning makes all blocks smaller equally, which does not apply to experts and their router",
        "give each device a task with --task, or split a model without experts",
    ),
}


def marks(graph: Graph) -> frozenset[Mark]:
    """Return the marks of a graph."""
    kinds = {node.op.kind for node in graph.nodes()}
    shown = {
        Mark.INTEGERS: graph.level is Level.QUANTISED,
        Mark.HASHED: "HashAttention" in kinds,
        Mark.EXPERTS: "MoE" in kinds,
        Mark.PART: "features" in graph.output_names and len(graph.output_names) > 1,
    }
    return frozenset(mark for mark, here in shown.items() if here)


def check(name: str, graph: Graph) -> None:
    """Raise CompileError with an A-code for every mark of the graph that the pass called `name` cannot work with."""
    if name not in PASSES:
        return
    refusals = [
        replace(refusal, at=graph.name)
        for mark in sorted(marks(graph), key=lambda mark: mark.value)
        if (refusal := REFUSED.get((mark, name))) is not None
    ]
    if refusals:
        raise CompileError(refusals)


def refused(first: str, second: str) -> Diagnostic | None:
    """Why `second` may not follow `first`; None where it may."""
    left, needed = LEAVES.get(first), NEEDS.get(second)
    if left is not None and (refusal := REFUSED.get((left, second))) is not None:
        return refusal
    return None if needed is None else REFUSED.get((needed, first))
