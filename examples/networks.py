"""Every trained example by name: its shape, its constructor and its checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from moe import MultiTaskConfig, MultiTaskViT
from pyramid import Pyramid, PyramidConfig
from torch import nn
from vit import ViT, ViTConfig


def load_network(path: Path, fused_attention: bool = True) -> nn.Module:
    """Return the averaged network of a checkpoint in evaluation mode; its class follows from its shape."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    shape = state["config"]
    network: nn.Module
    if "tasks" in shape:
        network = MultiTaskViT(MultiTaskConfig(**shape), fused_attention)
        for mixture in network.expert_layers:
            mixture.dense = True  # what an exporter can write down
    elif "widths" in shape:
        network = Pyramid(PyramidConfig(**shape), fused_attention)
    else:
        network = ViT(ViTConfig(**shape), fused_attention)
    network.load_state_dict(state["average"])
    return network.eval()
