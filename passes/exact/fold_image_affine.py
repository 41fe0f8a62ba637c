from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.exact.channel_affine import channel_affine, inputs_scaled
from edgewright.passes.ir import Node
from edgewright.passes.ops import PatchEmbed
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class FoldImageAffine(Rule):
    """Fold the normalisation of an image that a model brings along into its patch embedding.

    Before: PatchEmbed((x - mean) / std), one constant for each plane or one for all. After: PatchEmbed(x) with other
    weights and bias, so that the patches are cut from the input itself.
    Not done where float32 cannot hold the new weights.
    Exact: within float rounding (computed in float64). Source: an affine map before a product without padding.
    """

    on = (PatchEmbed,)
    event = "folded"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        """Every affine map before the embedding, the last one first."""
        result = None
        while (folded := _folded(node)) is not None:
            node = result = folded
        return result


def _folded(node: Node) -> Node | None:
    image = node.inputs[0]
    for position, x in enumerate(image.inputs[:2]):
        affine = channel_affine(image, position, 1) if x.type.is_float and x.shape == image.shape else None
        if affine is not None:
            return inputs_scaled(node, x, image, *affine)
    return None
