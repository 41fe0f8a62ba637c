"""Hash the attention of a Fashion-MNIST network and train it towards its original outputs.

`python examples/hash_fashion.py models/vit_fine.onnx --out models/vit_fine_hashed.onnx`.  The teacher is the network
itself; labels are only used to measure.  An interrupted run continues from --checkpoints.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import onnx
import torch
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import with_own_names, write_float
from edgewright.passes.hashing.hash_attention import HashAttentionLayers
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.measure import agreement, top1
from edgewright.passes.learn.progress import TimedLines
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
    _say(" ".join(sys.argv[1:]))

    graph, data = read_model(options.model), load_fashion()
    name = graph.inputs[0].name
    samples = {name: data.train_images[: options.count].numpy()}
    test = LearningData({name: data.test_images.numpy()}, data.test_labels.numpy())
    recipe = Recipe(options.epochs, options.batch, options.rate, seed=options.seed) if options.epochs else None
    if options.checkpoints is not None:
        options.checkpoints.mkdir(parents=True, exist_ok=True)
    names = ("layers", "bits", "constant", "projection", "target", "hidden", "seed", "checkpoints")
    chosen = {name: getattr(options, name) for name in names}
    step = HashAttentionLayers(**chosen, samples=samples, recipe=recipe, progress=TimedLines(_say, 30))
    _say(f"softmax {top1(graph, test):.2%}")
    hashed, done = step(graph)
    for table in done.tables:
        print(table.name, *(" | ".join(_cell(c) for c in row) for row in (table.columns, *table.rows)), sep="\n", flush=True)
    agreed = agreement(graph, hashed, test)
    macs, fewer = (sum(node.work.macs for node in network.nodes()) for network in (graph, hashed))
    _say(f"hashed {top1(hashed, test):.2%}, agrees {agreed:.2%}, products {macs:,} -> {fewer:,}")
    if options.out is not None:
        onnx.save(with_own_names(write_float(hashed), hashed), options.out)


def _say(line: str) -> None:
    print(line, flush=True)


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
