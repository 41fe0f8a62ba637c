"""The order of the passes, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgewright.passes import orders
from edgewright.passes.blas import one_thread
from edgewright.passes.exact.add_before_concat import AddBeforeConcat
from edgewright.passes.exact.drop_identities import DropIdentities, JoinMoves
from edgewright.passes.exact.expand_batch_norm import ExpandBatchNorm
from edgewright.passes.exact.fold_constants import FoldConstants
from edgewright.passes.exact.fold_image_affine import FoldImageAffine
from edgewright.passes.exact.fold_norm_affine import FoldNormAffine
from edgewright.passes.exact.fold_scales import FoldScales
from edgewright.passes.exact.fuse_linears import FuseLinears
from edgewright.passes.exact.merge_linears import MergeLinears
from edgewright.passes.exact.narrow_linear import NarrowLinear
from edgewright.passes.exact.pre_rmsnorm import PreRMSNorm, RMSAsLayerNorm
from edgewright.passes.exact.reparameterise import ReparameteriseLayerNorm
from edgewright.passes.exact.scale_into_query import ScaleIntoQuery
from edgewright.passes.exact.share_equal import ShareEqual
from edgewright.passes.exact.sink_reshapes import SinkReshapes
from edgewright.passes.exact.slice_early import SliceEarly
from edgewright.passes.exact.split_outliers import SplitOutliers
from edgewright.passes.exact.take_joined_apart import TakeJoinedApart
from edgewright.passes.ir import Array, Graph
from edgewright.passes.quantisation.bound_masks import BoundMasks
from edgewright.passes.quantisation.calibrate import Calibration, calibrate
from edgewright.passes.quantisation.compose_functions import ComposeFunctions
from edgewright.passes.quantisation.divide_at_once import DivideAtOnce
from edgewright.passes.quantisation.quantise import QuantiseGraph, check_expressible
from edgewright.passes.rewriting import RuleGroup
from edgewright.passes.transform import Dump, Pass, Statistics, run_passes

TIDY = RuleGroup("tidy", (DropIdentities(), JoinMoves(), ShareEqual()))
_FIRST: tuple[Pass, ...] = (
    # first: the others recognise constants and shapes by looking at the operand itself
    FoldConstants(),
    # before slices move: a Slice stops at a Reshape that does nothing
    TIDY,
    # after Reshapes in a row are one; before slices move, which stop at a Reshape, and before sums look for products
    SinkReshapes(),
    # after constants are folded: mean and deviation of an image are constants of the model's
    FoldImageAffine(),
    # before the position table is added to parts: a bias of the patch embedding is not a position
    FoldScales(),
    # before slices move: the class token's row then comes out of the Concat as a constant of its own
    AddBeforeConcat(),
    # before anything follows slices of a product: these then start where the parts were joined
    TakeJoinedApart(),
    # before Linears merge: Q of the class token alone must not be merged with K and V of all tokens
    SliceEarly(),
    # again: the query of a class token that no block has changed yet is a constant
    FoldConstants(),
    # after slices moved: only then are there columns of a merged QKV that nothing reads
    NarrowLinear(),
    # after narrowing: only then is it known what each product costs; before merging, which gives products more readers
    FuseLinears(),
    # after narrowing: never merges what narrowing has just taken apart, their inputs differ
    MergeLinears(),
    # after merging and slicing: what is to be scaled has its last shape
    FoldNormAffine(),
    ScaleIntoQuery(),
)


def float_passes(rms_norm: bool) -> tuple[Pass, ...]:
    """Return them in order. rms_norm: whether the machine has RMSNormalization; if not, means stay, for LayerNormalization."""
    # after the affines went into the products: an RMSNorm has no offset; last: what the moves have duplicated is shared
    return (*_FIRST, PreRMSNorm() if rms_norm else RMSAsLayerNorm(), TIDY)


FLOAT_PASSES = float_passes(rms_norm=False)


def optimise(graph: Graph, dump: Dump | None = None, rms_norm: bool = False) -> tuple[Graph, tuple[Statistics, ...]]:
    """Run the float passes; the result computes the same values within float rounding. rms_norm: see `float_passes`."""
    orders.check(orders.EXACT, graph)
    return run_passes(graph, float_passes(rms_norm), dump)


@dataclass(frozen=True, slots=True)
class QuantiseOptions:
    """How ranges are chosen. method: "mse", "percentile" (with `percentile`) or "minmax", for activations;
    weight_clip: "minmax" or "mse"."""

    method: str = "mse"
    percentile: float = 99.99
    weight_clip: str = "minmax"
    reparameterise: bool = True
    split_outliers: bool = True


@dataclass(frozen=True, slots=True)
class Quantised:
    """The integer graph, the float graph it stands for (same values as the input's, other LayerNorm scales; its
    origins match), and what was observed of that one."""

    graph: Graph
    float_graph: Graph
    calibration: Calibration
    statistics: tuple[Statistics, ...] = field(default=())


def quantise(
    graph: Graph,
    samples: Mapping[str, Array],
    options: QuantiseOptions | None = None,
    dump: Dump | None = None,
) -> Quantised:
    """Calibrate an optimised float graph on samples (by input name, samples along axis 0) and quantise it.

    The samples are run twice: the ranges per channel decide the reparameterisation, which changes the ranges.
    CompileError with all refusals (Q-codes).
    """
    options = options or QuantiseOptions()
    orders.check("QuantiseGraph", graph)
    # before anything is calibrated: the ranges inside of a function do not matter; norms that no product took in, spelt as what
    # integers have, and inverses, as divisions, before functions take in what only they read
    graph, composed = run_passes(graph, (ExpandBatchNorm(), DivideAtOnce(), ComposeFunctions()), dump)
    check_expressible(graph)
    with one_thread():
        return _quantised(graph, samples, options, dump, composed)


def _quantised(
    graph: Graph, samples: Mapping[str, Array], options: QuantiseOptions, dump: Dump | None, composed: Iterable[Statistics]
) -> Quantised:
    done: list[Statistics] = [*composed]

    def ranges_after(step: Pass | None, before: Calibration | None) -> tuple[Graph, Calibration]:
        """Return the graph after a pass, and its ranges: those before where the pass changed nothing."""
        after, statistics = (graph, ()) if step is None else run_passes(graph, (step,), dump)
        done.extend(statistics)
        if before is not None and after is graph:
            return graph, before
        return after, calibrate(after, samples, options.method, options.percentile)

    graph, _ = run_passes(graph, (BoundMasks(),), dump)
    graph, seen = ranges_after(None, None)
    graph, seen = ranges_after(BoundMasks(seen), seen)
    if options.reparameterise:
        graph, seen = ranges_after(ReparameteriseLayerNorm(seen), seen)
    if options.split_outliers:
        graph, seen = ranges_after(SplitOutliers(seen), seen)
    integer, statistics = run_passes(graph, (QuantiseGraph(seen, options.weight_clip),), dump)
    return Quantised(integer, graph, seen, (*done, *statistics))
