"""The order of the passes, and why."""

from __future__ import annotations

from edgewright.passes.add_before_concat import AddBeforeConcat
from edgewright.passes.drop_identities import DropIdentities
from edgewright.passes.fold_constants import FoldConstants
from edgewright.passes.fold_scales import FoldScales
from edgewright.passes.ir.graph import Graph
from edgewright.passes.merge_linears import MergeLinears
from edgewright.passes.narrow_linear import NarrowLinear
from edgewright.passes.slice_early import SliceEarly
from edgewright.passes.transform import Dump, Pass, Statistics, run_passes

FLOAT_PASSES: tuple[Pass, ...] = (
    # first: the others recognise constants and shapes by looking at the operand itself
    FoldConstants(),
    # before slices move: a Slice stops at a Reshape that does nothing
    DropIdentities(),
    # before the position table is added to parts: a bias behind the patch embedding is not a position
    FoldScales(),
    # before slices move: the class token's row then comes out of the Concat as a constant of its own
    AddBeforeConcat(),
    # before Linears merge: Q of the class token alone must not be merged with K and V of all tokens
    SliceEarly(),
    # after slices moved: only then are there columns of a merged QKV that nobody reads
    NarrowLinear(),
    # after narrowing: never merges what narrowing has just taken apart, their inputs differ
    MergeLinears(),
    # last: shares what the moves have duplicated
    DropIdentities(),
)


def optimise(graph: Graph, dump: Dump | None = None) -> tuple[Graph, tuple[Statistics, ...]]:
    """The float passes; the result computes the same values within float rounding."""
    return run_passes(graph, FLOAT_PASSES, dump)
