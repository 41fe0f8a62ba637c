"""Export a checkpoint to ONNX: `python examples/export.py CHECKPOINT FOLDER`.

Three variants of one network, as different tools write it:

* `ts17`: the TorchScript exporter at opset 17 (LayerNormalization, GELU through Erf);
* `dynamo18`: the torch.export-based exporter at opset 18;
* `dynamo23`: the same at opset 23 (one Attention and one Gelu node a block).

Input `x` [1, C, S, S], output `logits` [1, classes] (the multi-task networks: an output for each task, every expert
computed and masked), weights inside the one file; every file is run in onnxruntime and compared with torch before it
counts as written.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
import torch
from moe import MultiTaskViT
from networks import load_network
from torch import Tensor, nn

VARIANTS = ("ts17", "dynamo18", "dynamo23")
TOLERANCE = 1e-4


def example_input(model: nn.Module, batch: int) -> Tensor:
    """Return standard-normal images, like normalised ones: [batch, C, S, S]."""
    config = model.config
    random = torch.Generator().manual_seed(0)
    return torch.randn(batch, getattr(config, "channels", 1), config.image, config.image, generator=random)


def output_names(model: nn.Module) -> list[str]:
    """Return the names of the outputs in the file."""
    return list(model.config.tasks) if isinstance(model, MultiTaskViT) else ["logits"]


def _export_raw(model: nn.Module, path: Path, variant: str, dynamic_batch: bool) -> None:
    """Export with the exporter of a variant, its notes included."""
    names, opset = ["x", *output_names(model)], int(variant[-2:])
    options: dict[str, Any] = {"input_names": names[:1], "output_names": names[1:], "opset_version": opset}
    if variant.startswith("ts"):
        axes = {name: {0: "batch"} for name in names} if dynamic_batch else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=DeprecationWarning)
            torch.onnx.export(model, (example_input(model, 1),), path, dynamo=False, dynamic_axes=axes, **options)
        return
    shapes = {"x": {0: torch.export.Dim("batch")}} if dynamic_batch else None
    options |= {"dynamic_shapes": shapes, "external_data": False, "verbose": False}
    images = example_input(model, 2 if dynamic_batch else 1)  # a dynamic batch of one would be specialised
    torch.onnx.export(model, (images,), path, dynamo=True, **options)


def _strip_notes(graph: onnx.ModelProto) -> None:
    """Remove the exporter's metadata on the source (stack traces, paths)."""
    body = graph.graph
    holders = [body, *body.node, *body.value_info, *body.input, *body.output, *body.initializer]
    for function in graph.functions:
        holders += [function, *function.node, *function.value_info]
    for holder in holders:
        holder.doc_string = ""
        if hasattr(holder, "metadata_props"):
            del holder.metadata_props[:]
    graph.doc_string = ""
    del graph.metadata_props[:]


def largest_difference(model: nn.Module, path: Path, batch: int) -> float:
    """Return the largest absolute difference between torch's outputs and onnxruntime's for one random batch."""
    images = example_input(model, batch)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = model(images)
    every = list(wanted.values()) if isinstance(wanted, dict) else [wanted]
    results = session.run(output_names(model), {"x": images.numpy()})
    return max(float(np.abs(np.asarray(f) - w.numpy()).max()) for f, w in zip(results, every, strict=True))


def export(model: nn.Module, path: Path, variant: str, dynamic_batch: bool = False) -> float:
    """Write one variant, compare it with torch, and return the largest difference or raise if it is large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        _export_raw(model, raw, variant, dynamic_batch)
        graph = onnx.load(raw)
    _strip_notes(graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save_model(graph, path)
    worst = max(largest_difference(model, path, batch) for batch in ((1, 3) if dynamic_batch else (1,)))
    if worst > TOLERANCE:
        raise RuntimeError(f"{path} differs from torch by {worst:.1e}")
    return worst


def main() -> None:
    """Parse the options and export every requested variant."""
    parser = argparse.ArgumentParser(description="export a trained vision transformer to ONNX")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path, help="where NAME.VARIANT.onnx is written")
    parser.add_argument("--name", help="NAME; the checkpoint's own by default")
    parser.add_argument("--variant", choices=VARIANTS, action="append", help="repeatable; all by default")
    parser.add_argument("--dynamic-batch", action="store_true", help="leave the batch size open")
    parser.add_argument("--explicit-attention", action="store_true", help="as MatMul-Softmax-MatMul")
    options = parser.parse_args()
    model = load_network(options.checkpoint, fused_attention=not options.explicit_attention)
    name = options.name or options.checkpoint.stem
    for variant in options.variant or VARIANTS:
        path = options.folder / f"{name}.{variant}.onnx"
        error = export(model, path, variant, options.dynamic_batch)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, largest difference from torch {error:.1e}")


if __name__ == "__main__":
    main()
