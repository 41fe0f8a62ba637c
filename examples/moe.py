"""A multi-task vision transformer whose every second MLP is a mixture of experts with one router per task.

After M3ViT (Liang et al., NeurIPS 2022, arXiv:2210.14793): the router sees the normalised token, probabilities are
the softmax over all experts, the K largest are kept as they are (not renormalised), an expert is 4 D / K wide, so
that K of them cost what the dense MLP costs.

Shape letters as in `vit`; M tokens of a batch, E experts, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from vit import NORM_EPS, Attention, Block, PatchEmbed, ViTConfig, initialise

TASKS = ("class", "foreground", "edges")
NOISE = 1.0
"""Standard deviation of the router's training noise times the number of experts."""


@dataclass(frozen=True)
class MultiTaskConfig:
    """Shape of a network; `experts` 0: dense MLPs everywhere. `tasks`: those it has heads for."""

    image: int = 28
    patch: int = 4
    width: int = 48
    heads: int = 3
    depth: int = 4
    experts: int = 16
    top_k: int = 4
    tasks: tuple[str, ...] = TASKS

    def __post_init__(self) -> None:
        """Convert lists of a checkpoint to tuples."""
        object.__setattr__(self, "tasks", tuple(self.tasks))

    @property
    def vit(self) -> ViTConfig:
        """The shape of the backbone as that of a plain transformer."""
        return ViTConfig(
            image=self.image, patch=self.patch, channels=1, classes=10, width=self.width, heads=self.heads, depth=self.depth
        )


class Experts(nn.Module):
    """Mixture of experts with a router per task: [B, N, D] -> [B, N, D].

    `dense` computes every expert for every token and masks, which exporters can express.
    """

    def __init__(self, config: MultiTaskConfig) -> None:
        super().__init__()
        width, count = config.width, config.experts
        hidden = 4 * width // config.top_k
        self.top_k, self.count, self.hidden, self.dense = config.top_k, count, hidden, False
        self.routers = nn.ModuleList(nn.Linear(width, count, bias=False) for _ in config.tasks)
        self.fc1_weight = nn.Parameter(torch.empty(count, hidden, width))
        self.fc1_bias = nn.Parameter(torch.zeros(count, hidden))
        self.fc2_weight = nn.Parameter(torch.empty(count, width, hidden))
        self.fc2_bias = nn.Parameter(torch.zeros(count, width))
        for expert in range(count):
            nn.init.xavier_uniform_(self.fc1_weight.data[expert])
            nn.init.xavier_uniform_(self.fc2_weight.data[expert])
        self.loss = torch.zeros(())

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Route by the task's router; `loss` then holds the balance loss of this call."""
        batch, tokens, width = x.shape
        flat = x.reshape(-1, width)
        logits: Tensor = self.routers[task](flat)
        if self.dense:
            return self._every_expert(flat, logits).reshape(batch, tokens, width)
        noisy = logits + torch.randn_like(logits) * (NOISE / self.count) if self.training else logits
        gates, chosen = noisy.softmax(-1).topk(self.top_k, dim=-1)
        if self.training:
            self.loss = self._balance(logits, noisy, gates, chosen)
        return self._queues(flat, gates, chosen).reshape(batch, tokens, width)

    def _queues(self, flat: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
        """Compute with each expert the tokens that chose it."""
        order = chosen.reshape(-1).argsort(stable=True)
        token = order.div(self.top_k, rounding_mode="floor")
        lengths = torch.bincount(chosen.reshape(-1), minlength=self.count).tolist()
        parts = flat[token].split(lengths)
        weighted = torch.cat([self._expert(e, part) for e, part in enumerate(parts)]) * gates.reshape(-1)[order].unsqueeze(-1)
        return torch.zeros_like(flat).index_add(0, token, weighted)

    def _every_expert(self, flat: Tensor, logits: Tensor) -> Tensor:
        """Return sum_e gate_e expert_e(x), where the gate of an expert that is not chosen is 0."""
        gates, chosen = logits.softmax(-1).topk(self.top_k, dim=-1)
        mask = torch.zeros_like(logits).scatter(-1, chosen, gates)  # [M, E]
        out = torch.zeros_like(flat)
        for e in range(self.count):
            out = out + mask[:, e : e + 1] * self._expert(e, flat)
        return out

    def _expert(self, e: int, x: Tensor) -> Tensor:
        """Return what one expert makes of tokens."""
        inner = functional.gelu(functional.linear(x, self.fc1_weight[e], self.fc1_bias[e]))
        return functional.linear(inner, self.fc2_weight[e], self.fc2_bias[e])

    def _balance(self, logits: Tensor, noisy: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
        """Return CV^2 of importance plus CV^2 of load (Shazeer et al., arXiv:1701.06538, section 4 and appendix A)."""
        importance = torch.zeros_like(logits).scatter(-1, chosen, gates).sum(0)
        best = noisy.topk(self.top_k + 1, dim=-1).values
        inside = noisy > best[:, self.top_k :]
        threshold = torch.where(inside, best[:, self.top_k :], best[:, self.top_k - 1 : self.top_k])
        z = (logits - threshold) / (NOISE / self.count)
        load = (0.5 * (1.0 + torch.erf(z * 0.5**0.5))).sum(0)
        return _squared_variation(importance) + _squared_variation(load)


def _squared_variation(v: Tensor) -> Tensor:
    """Variance over squared mean."""
    return v.var() / (v.mean() ** 2 + 1e-10)


class ExpertBlock(nn.Module):
    """A pre-norm block whose MLP is a mixture of experts."""

    def __init__(self, config: MultiTaskConfig, fused: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.attn = Attention(config.vit, fused)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.experts = Experts(config)

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Add attention, then the experts, each on a normalised copy."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.experts(self.norm2(x), task)
        return out


class MultiTaskViT(nn.Module):
    """[B, 1, S, S] -> for each task: logits [B, 10] of the class, or logits [B, 1, S, S] of each pixel."""

    def __init__(self, config: MultiTaskConfig, fused_attention: bool = True) -> None:
        super().__init__()
        vit = config.vit
        self.config = config
        self.patch_embed = PatchEmbed(vit)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, vit.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, vit.tokens, vit.width))
        self.blocks = nn.ModuleList(
            ExpertBlock(config, fused_attention) if config.experts and index % 2 else Block(vit, fused_attention)
            for index in range(vit.depth)
        )
        self.norm = nn.LayerNorm(vit.width, eps=NORM_EPS)
        self.heads = nn.ModuleDict(
            {f"to_{task}": nn.Linear(vit.width, 10 if task == "class" else vit.patch**2) for task in config.tasks}
        )
        initialise(self)
        nn.init.normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=0.02)

    @property
    def expert_layers(self) -> list[Experts]:
        """The mixtures, in order."""
        return [module for module in self.modules() if isinstance(module, Experts)]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The result of each task; what tasks share (until the first router) is computed once."""
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        first = next((i for i, b in enumerate(self.blocks) if isinstance(b, ExpertBlock)), len(self.blocks))
        for block in self.blocks[:first]:
            x = block(x)
        self.balance = torch.zeros(())
        results = {}
        for index, task in enumerate(self.config.tasks):
            y = x
            for block in self.blocks[first:]:
                if isinstance(block, ExpertBlock):
                    y = block(y, index)
                    self.balance = self.balance + block.experts.loss
                else:
                    y = block(y)
            results[task] = self._head(self.norm(y), task)
        return results

    def _head(self, x: Tensor, task: str) -> Tensor:
        """Class token to logits, or patches to pixels."""
        head = self.heads[f"to_{task}"]
        if task == "class":
            logits: Tensor = head(x[:, 0])
            return logits
        side, patch = self.config.image // self.config.patch, self.config.patch
        pixels: Tensor = head(x[:, 1:]).reshape(-1, side, side, patch, patch)
        return pixels.transpose(2, 3).reshape(-1, 1, side * patch, side * patch)
