"""Measure the top-1 accuracy of an ONNX classifier in onnxruntime: `python examples/evaluate.py MODEL.onnx --data DATA`.

DATA is a committed `.npz` (its `images` and `labels`) or the folder of Fashion-MNIST's four .gz files, whose
10,000 test images are then all used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
from edgewright.passes.confidence import wilson
from numpy.typing import NDArray

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


def load(data: Path) -> tuple[Images, Labels]:
    """Return normalised images [B, C, S, S] and labels [B]."""
    if data.suffix == ".npz":
        with np.load(data) as held:
            return held["images"], held["labels"]
    from fashion_data import read_part  # needs torch, which the .npz files do not

    images, labels = read_part(data, "t10k")
    return images.numpy(), labels.numpy()


def top1(model: Path, images: Images, labels: Labels, threads: int) -> float:
    """Return the percentage of images whose largest logit is that of the label; batches have the size of the model's."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else 100
    if len(images) % batch:
        raise SystemExit(f"{len(images)} images do not fill batches of {batch}")
    hits = 0
    for start in range(0, len(images), batch):
        logits = np.asarray(session.run(None, {entry.name: images[start : start + batch]})[0])
        hits += int((logits.argmax(1) == labels[start : start + batch]).sum())
    return 100.0 * hits / len(images)


def main() -> None:
    """Parse the options and print one line per model."""
    parser = argparse.ArgumentParser(description="top-1 of ONNX classifiers in onnxruntime")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help=".npz, or folder of Fashion-MNIST's .gz")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    images, labels = load(options.data)
    for model in options.models:
        accuracy = top1(model, images, labels, options.threads)
        low, high = wilson(accuracy / 100, len(images))
        print(f"{model.name}: top-1 {accuracy:.2f} % of {len(images)} images (95 %: {100 * low:.2f} to {100 * high:.2f} %)")


if __name__ == "__main__":
    main()
