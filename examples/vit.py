"""A compact pre-norm vision transformer (DeiT style), written for export and hardware generation.

Architecture after Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv:2010.11929) and Touvron et al.,
"Training data-efficient image transformers" (arXiv:2012.12877).  Parameters carry the names timm uses, so
that a checkpoint reads alike in both.

Shape letters: B images, C channels, S image side in pixels, N tokens, D width, H heads, K = D / H, F hidden
width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPS = 1e-6


@dataclass(frozen=True)
class ViTConfig:
    """Shape of a network; `image` and `patch` are sides in pixels."""

    image: int
    patch: int
    channels: int
    classes: int
    width: int
    heads: int
    depth: int
    mlp_ratio: int = 4
    pool: Literal["cls", "avg"] = "cls"

    def __post_init__(self) -> None:
        """Reject shapes that are not multiples of 16, the tile size of the generated arrays."""
        if self.image % self.patch:
            raise ValueError(f"image side {self.image} is not a multiple of the patch side {self.patch}")
        if self.width % self.heads or (self.width // self.heads) % 16:
            raise ValueError(f"width {self.width} / heads {self.heads} is not a multiple of 16")
        if self.pool not in ("cls", "avg"):
            raise ValueError(f"pool is 'cls' or 'avg', not {self.pool!r}")

    @property
    def patches(self) -> int:
        """Number of image patches."""
        return (self.image // self.patch) ** 2

    @property
    def tokens(self) -> int:
        """Length of the token sequence, class token included."""
        return self.patches + (1 if self.pool == "cls" else 0)


class PatchEmbed(nn.Module):
    """Cut an image into patches and project each: [B, C, S, S] -> [B, patches, D]."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.channels, config.width, config.patch, stride=config.patch)

    def forward(self, x: Tensor) -> Tensor:
        """Project the patches in raster order."""
        y: Tensor = self.proj(x)
        return y.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention: [B, N, D] -> [B, N, D].

    Without `fused`, it is computed as MatMul, Softmax, MatMul.
    """

    def __init__(self, config: ViTConfig, fused: bool) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_dim = config.width // config.heads
        self.scale = self.head_dim**-0.5
        self.fused = fused
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention of x; q, k and v are [B, H, N, K]."""
        batch, tokens, width = x.shape
        qkv: Tensor = self.qkv(x).reshape(batch, tokens, 3, self.heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q * self.scale) @ k.transpose(-2, -1)
            mixed = scores.softmax(dim=-1) @ v
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


class Mlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between them: [B, N, D] -> [B, N, D], hidden width F."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        hidden = config.mlp_ratio * config.width
        self.fc1 = nn.Linear(config.width, hidden)
        self.fc2 = nn.Linear(hidden, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Expand, activate, contract."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Pre-norm transformer block: [B, N, D] -> [B, N, D]."""

    def __init__(self, config: ViTConfig, fused: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.attn = Attention(config, fused)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        """Add attention, then the MLP, each on a normalised copy."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def initialise(network: nn.Module) -> None:
    """Xavier-uniform matrices and zero biases.

    The truncated normal of std 0.02 that larger networks use learns very slowly at these widths.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.view(module.out_channels, -1))
            assert module.bias is not None
            nn.init.zeros_(module.bias)


class ViT(nn.Module):
    """Image classifier: [B, C, S, S] -> logits [B, classes].

    `pool="cls"` reads the class token, `pool="avg"` has none and averages the tokens, after the final norm.
    """

    def __init__(self, config: ViTConfig, fused_attention: bool = True) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width)) if config.pool == "cls" else None
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, config.width))
        self.blocks = nn.ModuleList(Block(config, fused_attention) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.head = nn.Linear(config.width, config.classes)
        initialise(self)
        nn.init.normal_(self.pos_embed, std=0.02)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of normalised images."""
        x = self.patch_embed(x)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        pooled = x[:, 0] if self.cls_token is not None else x.mean(dim=1)
        logits: Tensor = self.head(pooled)
        return logits
