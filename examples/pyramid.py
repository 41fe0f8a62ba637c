"""A small pyramid vision transformer: stages of blocks, a strided convolution between them.

The layout of the Pyramid Vision Transformer (Wang et al., arXiv:2102.12122) with full attention in each stage, as
EcoFormer (Liu et al., arXiv:2209.09004) takes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from vit import NORM_EPS, Block, PatchEmbed, ViTConfig, initialise


@dataclass(frozen=True)
class PyramidConfig:
    """Shape of a network, with one entry of `widths`, `heads` and `depths` per stage; each stage halves both sides."""

    image: int
    patch: int
    channels: int
    classes: int
    widths: tuple[int, ...]
    heads: tuple[int, ...]
    depths: tuple[int, ...]

    def __post_init__(self) -> None:
        """Convert lists of a checkpoint to tuples."""
        for name in ("widths", "heads", "depths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def stage(self, index: int) -> ViTConfig:
        """Return the shape of one stage as that of a plain transformer."""
        side = self.image // self.patch >> index
        channels = self.channels if index == 0 else self.widths[index - 1]
        patch = self.patch if index == 0 else 2
        return ViTConfig(
            image=side * patch,
            patch=patch,
            channels=channels,
            classes=self.classes,
            width=self.widths[index],
            heads=self.heads[index],
            depth=self.depths[index],
            pool="avg",
        )


class Pyramid(nn.Module):
    """Image classifier: [B, C, S, S] -> logits [B, classes]; mean of the last stage's normalised tokens."""

    def __init__(self, config: PyramidConfig, fused_attention: bool = True) -> None:
        super().__init__()
        self.config = config
        stages = [config.stage(index) for index in range(len(config.widths))]
        self.embeds = nn.ModuleList(PatchEmbed(stage) for stage in stages)
        self.tables = nn.ParameterList(nn.Parameter(torch.zeros(1, stage.tokens, stage.width)) for stage in stages)
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(stage, fused_attention) for _ in range(stage.depth)) for stage in stages
        )
        self.norm = nn.LayerNorm(config.widths[-1], eps=NORM_EPS)
        self.head = nn.Linear(config.widths[-1], config.classes)
        initialise(self)
        for table in self.tables:
            nn.init.normal_(table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of normalised images."""
        for embed, table, blocks in zip(self.embeds, self.tables, self.stages, strict=True):
            x = embed(x) + table
            for block in blocks:
                x = block(x)
            batch, tokens, width = x.shape
            side = int(tokens**0.5)
            grid = x.transpose(1, 2).reshape(batch, width, side, side)
            tokens_out, x = x, grid
        logits: Tensor = self.head(self.norm(tokens_out).mean(dim=1))
        return logits
