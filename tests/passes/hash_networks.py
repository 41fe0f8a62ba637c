"""Networks of EcoFormer's tables as shapes, and their published figures."""

from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.hashing.energy import Arithmetic, hashed_attention, products

SIDE = 56  # tokens along a side in the first stage, at 224 x 224 pixels
WINDOW = 7
CLASSES = 1000


@dataclass(frozen=True)
class Stage:
    """Blocks of one width: kernel of the patch embedding, kernel of the depthwise convolution inside the feed-forward
    network (0: none) or beside the blocks, and which blocks attend within windows."""

    width: int
    heads: int
    ratio: int
    blocks: int
    patch: int
    inner: int = 0
    beside: int = 0
    windowed: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Network:
    """Stages at half the resolution each, and what EcoFormer publishes: multiplications and additions in billions, energy
    in billions of picojoules. The last stage keeps softmax."""

    name: str
    stages: tuple[Stage, ...]
    multiplications: float
    additions: float
    energy: float


def pvt(name: str, widths: tuple[int, ...], depths: tuple[int, ...], *published: float) -> Network:
    """PVTv2 (Wang et al., Computational Visual Media 2022), table 1, its attention over all tokens."""
    rows = zip(widths, (1, 2, 5, 8), (8, 8, 4, 4), depths, (7, 3, 3, 3), strict=True)
    return Network(name, tuple(Stage(*row, inner=3) for row in rows), *published)


def twins(name: str, *published: float) -> Network:
    """Twins-SVT-S (Chu et al., NeurIPS 2021), table 1: windows and all tokens by turns."""
    rows = zip((64, 128, 256, 512), (2, 4, 8, 16), (4, 4, 4, 4), (2, 2, 10, 4), (4, 2, 2, 2), strict=True)
    stages = [Stage(*row, beside=3, windowed=tuple(i % 2 == 0 for i in range(row[3]))) for row in rows]
    return Network(name, tuple(stages), *published)


WIDE = (64, 128, 320, 512)
NETWORKS = (
    pvt("PVTv2-B0", (32, 64, 160, 256), (2, 2, 2, 2), 0.54, 0.56, 2.5),
    pvt("PVTv2-B1", WIDE, (2, 2, 2, 2), 2.03, 2.09, 9.4),
    pvt("PVTv2-B2", WIDE, (3, 4, 6, 3), 3.85, 3.97, 17.8),
    pvt("PVTv2-B3", WIDE, (3, 4, 18, 3), 6.54, 6.75, 30.25),
    pvt("PVTv2-B4", WIDE, (3, 8, 27, 3), 9.57, 9.82, 44.25),
    twins("Twins-SVT-S", 2.72, 2.81, 12.6),
)


def arithmetic(network: Network, hashed: bool = True) -> Arithmetic:
    """Of the whole network, with attention hashed in all stages but the last, or softmax over all tokens everywhere."""
    total, channels = Arithmetic(), 3
    for number, stage in enumerate(network.stages):
        tokens, d = (SIDE >> number) ** 2, stage.width
        coded = hashed and number < len(network.stages) - 1
        other = tokens * d * channels * stage.patch**2 + tokens * d * stage.beside**2
        for block in range(stage.blocks):
            windowed = block < len(stage.windowed) and stage.windowed[block]
            inside = WINDOW**2 if windowed else tokens
            attend = hashed_attention if coded else softmax_attention
            total += attend(inside, d, stage.heads) * (tokens // inside)
            other += tokens * d * d * ((3 if coded else 4) + 2 * stage.ratio) + tokens * d * stage.ratio * stage.inner**2
        total += products(other)
        channels = d
    return total + products(channels * CLASSES)


def softmax_attention(tokens: int, width: int, heads: int) -> Arithmetic:
    """Scores, their scaling, and the weighted sums; no projections."""
    return products(2 * tokens * tokens * width) + Arithmetic(heads * tokens * tokens)
