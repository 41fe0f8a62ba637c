"""Hash the attention of a Fashion-MNIST network and train it towards its original outputs.

`python examples/hash_fashion.py models/vit_fine.onnx --out models/vit_fine_hashed.onnx`.  The teacher is the network
itself; labels are only used to measure.  An interrupted run continues from --checkpoints.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import onnx
import torch
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import with_own_names, write_float
from edgewright.passes.hashing.hash_attention import HashAttentionLayers
from edgewright.passes.ir import Graph
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.measure import agreement, top1
from edgewright.passes.learn.recipe import Recipe
from fashion_data import load_fashion


def main() -> None:
    """Parse the options, hash, measure, write."""
    parser = argparse.ArgumentParser(description="hash the attention of a Fashion-MNIST network")
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, help="ONNX file to write")
    parser.add_argument("--layers", default="all", help="all, auto, 0,2 or >=128")
    parser.add_argument("--bits", type=int, default=16)
    parser.add_argument("--constant", choices=("sum", "own"), default="sum")
    parser.add_argument("--projection", choices=("scores", "queries"), default="scores")
    parser.add_argument("--target", choices=("scores", "directions"), default="scores")
    parser.add_argument("--epochs", type=int, default=2, help="0: no tuning")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--hidden", type=float, default=0.0, help="weight of attention's own outputs")
    parser.add_argument("--count", type=int, default=60_000, help="training images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoints", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(" ".join(sys.argv[1:]), flush=True)

    graph, data = read_model(options.model), load_fashion()
    name = graph.inputs[0].name
    samples = {name: data.train_images[: options.count].numpy()}
    test = LearningData({name: data.test_images.numpy()}, data.test_labels.numpy())
    epochs = options.epochs
    recipe = Recipe(epochs, options.batch, options.rate, seed=options.seed) if epochs else None
    if options.checkpoints is not None:
        options.checkpoints.mkdir(parents=True, exist_ok=True)
    step = HashAttentionLayers(
        options.layers,
        options.bits,
        constant=options.constant,
        projection=options.projection,
        target=options.target,
        samples=samples,
        recipe=recipe,
        hidden=options.hidden,
        seed=options.seed,
        progress=Progress(),
        checkpoints=options.checkpoints,
    )
    print(f"softmax {top1(graph, test):.2%}", flush=True)
    hashed, done = step(graph)
    for table in done.tables:
        print(table.name, *(" | ".join(_cell(c) for c in row) for row in (table.columns, *table.rows)), sep="\n", flush=True)
    agreed = agreement(graph, hashed, test)
    print(f"hashed {top1(hashed, test):.2%}, agrees {agreed:.2%}, {_products(graph, hashed)}", flush=True)
    if options.out is not None:
        onnx.save(with_own_names(write_float(hashed), hashed), options.out)


class Progress:
    """Print a line every half minute."""

    def __init__(self) -> None:
        self.told = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if time.monotonic() - self.told > 30:
            self.told = time.monotonic()
            print(f"{stage} {done}/{total} {time.strftime('%H:%M:%S')}", flush=True)


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _products(before: Graph, after: Graph) -> str:
    counts = [sum(node.work.macs for node in graph.nodes()) for graph in (before, after)]
    return f"products {counts[0]:,} -> {counts[1]:,}"


if __name__ == "__main__":
    main()
