"""Plain FLOAT graph -> canonical FLOAT graph: exporter idioms become the operators they mean.

The rules look at what is computed, not at how an exporter spelled it: chains of data movement are compared by the
permutation that they carry out (`layout`), chains of elementwise operators by their values on a grid
(`activation`).  What no rule matches stays as it is.
"""

from __future__ import annotations

from edgewright.frontend.canonical.activation import fuse_activations
from edgewright.frontend.canonical.attention import fuse_attention
from edgewright.frontend.canonical.axes import tidy_permutations
from edgewright.frontend.canonical.channels import push
from edgewright.frontend.canonical.columns import absorb_known_columns
from edgewright.frontend.canonical.divisors import multiply_by_reciprocals
from edgewright.frontend.canonical.experts import fuse_experts
from edgewright.frontend.canonical.fuse import drop_expansions, fold_constants, join_constants, share_equal
from edgewright.frontend.canonical.hashing import fuse_hashing
from edgewright.frontend.canonical.layout import mean_before_transpose, simplify_movement
from edgewright.frontend.canonical.linear import absorb_affine, absorb_padding, fuse_linear, move_reshapes_down
from edgewright.frontend.canonical.norm import fuse_normalisation
from edgewright.frontend.canonical.patch import fuse_patch_embed
from edgewright.frontend.canonical.upsample import split_transposed
from edgewright.passes.ir import Graph

_RULES = (
    fold_constants,
    drop_expansions,  # before anything compares operands
    share_equal,  # duplicated means and slices must be one value before they are matched
    fuse_hashing,  # while its products with constants are products
    fuse_activations,  # before anything removes the constants in them
    fuse_experts,  # behind activations, before anything else moves what it looks at
    fuse_normalisation,
    multiply_by_reciprocals,  # behind norms, which are divisions too
    join_constants,  # token types and positions
    fuse_linear,
    absorb_known_columns,
    absorb_padding,
    absorb_affine,  # bias and scale into the product in front
    split_transposed,  # with its normalisation inside
    simplify_movement,
    move_reshapes_down,  # (tokens, width) detours around a product, so that layouts meet
    simplify_movement,
    fuse_patch_embed,
    fuse_attention,
    mean_before_transpose,  # before the transpose of a pooled (width, tokens) layout is all that is left of it
    simplify_movement,  # attention leaves its old layout behind, and cancels what follows
    move_reshapes_down,  # detours behind attention show only now
    simplify_movement,
    tidy_permutations,
    share_equal,  # the parts of one value then share its layout
    push,
    tidy_permutations,
    push,  # what has met its opposite is gone, and what was behind it shows
    tidy_permutations,
    share_equal,
    absorb_affine,
    share_equal,
)


def canonicalise(graph: Graph) -> Graph:
    """Apply every rule once, in the order of `_RULES`; values agree to float rounding."""
    for rule in _RULES:
        graph = rule(graph)
    return graph
