"""Arithmetic and energy of attention, with softmax and hashed, from shapes alone.

Source: EcoFormer (arXiv 2209.09004), section 4.1 and the figures of its released code: 32-bit floats in 45 nm, on-chip
arithmetic only. Exponentials, reciprocals and all movement of data are omitted, as there.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.hashing.attention_layers import AttentionLayer, attention_layers, projection
from edgewright.passes.ir import Graph, Node
from edgewright.passes.structure.find_blocks import find_blocks

MULTIPLICATION_PJ = 3.7
ADDITION_PJ = 0.9
BITS, SUPPORTS = 16, 25  # EcoFormer's
WORTH = 0.25  # of a block's energy: where scores and their sums take less, hashing them is not worth its loss


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Multiplications and additions of one inference."""

    multiplications: int = 0
    additions: int = 0

    def __add__(self, other: Arithmetic) -> Arithmetic:
        return Arithmetic(self.multiplications + other.multiplications, self.additions + other.additions)

    def __sub__(self, other: Arithmetic) -> Arithmetic:
        return Arithmetic(self.multiplications - other.multiplications, self.additions - other.additions)

    def __mul__(self, times: int) -> Arithmetic:
        return Arithmetic(self.multiplications * times, self.additions * times)

    @property
    def energy_pj(self) -> float:
        return MULTIPLICATION_PJ * self.multiplications + ADDITION_PJ * self.additions


def products(macs: int) -> Arithmetic:
    """Return multiply-accumulates, one multiplication and one addition each."""
    return Arithmetic(macs, macs)


def hashed_attention(tokens: int, width: int, heads: int, supports: int = SUPPORTS, bits: int = BITS) -> Arithmetic:
    """Kernels, codes, sums of keys and of values selected by codes, and the normalisation; no projections."""
    kernels = Arithmetic(2 * tokens * supports * heads, 2 * tokens * supports * width)
    codes = products(heads * tokens * supports * bits)
    sums = Arithmetic(heads * tokens * bits, 2 * heads * tokens * bits + 2 * bits * tokens * width + tokens * width)
    normalisation = Arithmetic(heads * tokens + tokens * width)
    return kernels + codes + sums + normalisation


@dataclass(frozen=True, slots=True)
class HashingGain:
    """What hashing one layer would change. softmax: its attention as it is, keys' projection apart; keys: that projection,
    which goes; hashed: what comes instead; block: all arithmetic of its transformer block, as it is."""

    layer: AttentionLayer
    softmax: Arithmetic
    keys: Arithmetic
    hashed: Arithmetic
    block: Arithmetic

    @property
    def saved_pj(self) -> float:
        return self.softmax.energy_pj + self.keys.energy_pj - self.hashed.energy_pj

    @property
    def bound(self) -> float:
        """Share of the block's energy that scores and their sums take: no other attention can save more of it."""
        return self.softmax.energy_pj / max(self.block.energy_pj, 1e-12)

    @property
    def pays(self) -> bool:
        """Whether the layer can be hashed, and enough depends on it."""
        return self.layer.obstacle is None and self.saved_pj > 0 and self.bound >= WORTH


def hashing_gains(graph: Graph, bits: int = BITS, supports: int = SUPPORTS) -> tuple[HashingGain, ...]:
    """Return one for each Attention of a float graph."""
    layers = attention_layers(graph)
    around = {block.attention: block.members for block in find_blocks(graph)}
    each = _macs(graph.nodes()) // max(1, len(layers))
    macs = [_macs(around[layer.node]) if layer.node in around else each for layer in layers]
    return tuple(_gain(layer, count, bits, supports) for layer, count in zip(layers, macs, strict=True))


def arithmetic_of(graph: Graph) -> Arithmetic:
    """Of a whole float graph, softmax's scalings included."""
    scalings = sum((_softmax(layer) - products(_macs([layer.node])) for layer in attention_layers(graph)), Arithmetic())
    return products(_macs(graph.nodes())) + scalings


def _gain(layer: AttentionLayer, block_macs: int, bits: int, supports: int) -> HashingGain:
    node, heads = layer.node, layer.op.heads
    key = projection(node.inputs[1])
    keys = 0 if key is None or layer.obstacle is not None else node.inputs[1].type.size * key.weight.shape[1]
    softmax = _softmax(layer)
    hashed = hashed_attention(layer.tokens, node.shape[2], heads, supports, bits) * layer.windows
    block = products(max(block_macs, _macs([node]))) + (softmax - products(_macs([node])))
    return HashingGain(layer, softmax, products(keys), hashed, block)


def _softmax(layer: AttentionLayer) -> Arithmetic:
    node, (windows, keys, _) = layer.node, layer.node.inputs[1].shape
    return products(_macs([node])) + Arithmetic(layer.op.heads * windows * layer.tokens * keys)


def _macs(nodes: list[Node] | tuple[Node, ...]) -> int:
    return sum(node.work.macs for node in nodes)


@dataclass(frozen=True, slots=True)
class HashingOutlook:
    """What hashing a whole model could change: its layers, and the arithmetic of the model as it is."""

    gains: tuple[HashingGain, ...]
    whole: Arithmetic

    @property
    def pays(self) -> bool:
        """Whether it does in any layer."""
        return any(gain.pays for gain in self.gains)

    @property
    def bound(self) -> float:
        """Share of the model's energy that scores and their sums take, of all layers that can be hashed."""
        return self._share(sum(gain.softmax.energy_pj for gain in self._hashable))

    @property
    def saved(self) -> float:
        """Share of the model's energy that hashing all of these would save, projections of keys included."""
        return self._share(sum(gain.saved_pj for gain in self._hashable))

    @property
    def _hashable(self) -> list[HashingGain]:
        return [gain for gain in self.gains if gain.layer.obstacle is None]

    def _share(self, energy_pj: float) -> float:
        return energy_pj / max(self.whole.energy_pj, 1e-12)


def hashing_outlook(graph: Graph, bits: int = BITS, supports: int = SUPPORTS) -> HashingOutlook:
    """Of a float graph."""
    return HashingOutlook(hashing_gains(graph, bits, supports), arithmetic_of(graph))
