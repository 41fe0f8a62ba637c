"""Build a network of DeiT-Tiny's shape with fixed random weights and export it.

`python examples/deit_tiny.py OUT.onnx`.  Shape: Touvron et al. (arXiv:2012.12877), table 1: 224x224
RGB, patch 16, 197 tokens, 12 blocks, width 192, 3 heads, 1000 classes, 5.7 million parameters.  The weights
are random, so its answers mean nothing; norms, biases and the position table are randomised too, since a
plain initialisation yields logits near zero that hide numerical mistakes, and queries and keys are enlarged,
since near-uniform attention gives every image the same answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from export import VARIANTS, export
from vit import ViT, ViTConfig

DEIT_TINY = ViTConfig(image=224, patch=16, channels=3, classes=1000, width=192, heads=3, depth=12, pool="cls")
SEED = 20


@torch.no_grad()
def build(seed: int = SEED) -> ViT:
    """Return the network with Xavier-uniform matrices and other parameters that differ from the usual zeros and ones."""
    torch.manual_seed(seed)
    model = ViT(DEIT_TINY)
    random = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=random))
        elif name.endswith("bias"):
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=random))
        elif name in ("pos_embed", "cls_token"):
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=random))
        elif name.endswith("attn.qkv.weight"):
            parameter[: 2 * DEIT_TINY.width] *= 2.0
    return model.eval()


def main() -> None:
    """Parse the options and export the network."""
    parser = argparse.ArgumentParser(description="export DeiT-Tiny's shape with random weights")
    parser.add_argument("out", type=Path, help="ONNX file to write (23 MB)")
    parser.add_argument("--variant", choices=VARIANTS, default="dynamo18")
    parser.add_argument("--dynamic-batch", action="store_true", help="leave the batch size open")
    options = parser.parse_args()
    error = export(build(), options.out, options.variant, options.dynamic_batch)
    megabytes = options.out.stat().st_size / 1e6
    print(f"{options.out}: {megabytes:.1f} MB, largest difference from torch {error:.1e}")


if __name__ == "__main__":
    main()
