"""Plain FLOAT graph -> canonical FLOAT graph: exporter idioms become the operators they mean.

The rules look at what is computed, not at how an exporter spelled it: chains of data movement are compared by the
permutation that they carry out (`layout`), chains of elementwise operators by their values on a grid
(`activation`). What no rule matches stays as it is.
"""

from __future__ import annotations

from edgewright.frontend.canonical.activation import FuseActivations
from edgewright.frontend.canonical.attention import FuseAttention
from edgewright.frontend.canonical.axes import TidyPermutations
from edgewright.frontend.canonical.channels import PUSH
from edgewright.frontend.canonical.elementwise import DropExpansions, JoinConstants, MultiplyByReciprocals
from edgewright.frontend.canonical.hashing import FuseHashAttention, FuseHashCodes
from edgewright.frontend.canonical.layout import MeanBeforeTranspose, SimplifyMovement
from edgewright.frontend.canonical.linear import AbsorbKnownColumns, AbsorbPadding, FuseLinear, MoveReshapesDown
from edgewright.frontend.canonical.norm import FuseNormalisation
from edgewright.frontend.canonical.patch import FusePatchEmbed
from edgewright.frontend.canonical.upsample import SplitTransposed
from edgewright.passes.exact.drop_identities import DropIdentities
from edgewright.passes.exact.fold_constants import FoldConstants
from edgewright.passes.exact.fold_scales import FoldScales
from edgewright.passes.exact.share_equal import ShareEqual
from edgewright.passes.ir import Graph
from edgewright.passes.rewriting import RuleGroup
from edgewright.passes.transform import Dump, Pass, Statistics, run_passes

_SHARE = ShareEqual(bytes_max=4096)  # a weight that a file stores twice stays two: training may change either
_MOVEMENT = (
    SimplifyMovement(),
    MoveReshapesDown(),  # (tokens, width) detours around a product, so that layouts meet
)

_FUNCTIONS = (
    # duplicated means and slices must be one value, and operands bare, before anything compares them
    RuleGroup("clean up", (FoldConstants(), DropIdentities(), DropExpansions(), _SHARE)),
    RuleGroup(
        "recognise functions",
        (
            FuseHashCodes(),  # while its products with constants are products
            FuseHashAttention(),
            FuseActivations(),  # before anything removes the constants in them
        ),
    ),
)
_LAYOUTS = (
    RuleGroup(
        "recognise products",
        (
            FuseNormalisation(),
            MultiplyByReciprocals(),  # after norms, which are divisions too
            JoinConstants(),  # token types and positions
            FuseLinear(),
            AbsorbKnownColumns(),
            AbsorbPadding(),
            FoldScales(),  # bias and scale into the product before them
        ),
    ),
    # with its normalisation inside; after padding, so that its Convs of 1 x 1 may become Linears
    RuleGroup("split transposed convolutions", (SplitTransposed(),)),
    RuleGroup("simplify movement", _MOVEMENT),
    RuleGroup(
        "recognise attention",
        (
            FusePatchEmbed(),
            FuseAttention(),
            MeanBeforeTranspose(),  # before the transpose of a pooled (width, tokens) layout is all that is left of it
            *_MOVEMENT,  # attention ends in its old layout, which cancels what follows
        ),
    ),
    RuleGroup("settle layouts", (TidyPermutations(), _SHARE, PUSH, FoldScales())),
)


GROUPS = (*_FUNCTIONS, *_LAYOUTS)


def canonicalise(graph: Graph, experts: Pass | None = None, dump: Dump | None = None) -> tuple[Graph, tuple[Statistics, ...]]:
    """Run every group in the order of `GROUPS`; values agree to float rounding. experts: recognises mixtures of experts in what
    a reader could not express otherwise; it runs after activations, before anything moves what it looks at."""
    recognised = () if experts is None else (RuleGroup("recognise experts", (experts,)),)
    return run_passes(graph, (*_FUNCTIONS, *recognised, *_LAYOUTS), dump)
