"""The 12-block Fashion-MNIST ViT with a share of its blocks fused away, and what it is compared with.

    python -m benchmarks.fusion_vit NAME [FOLDER]     trains one of `RUNS`; goes on from the checkpoints in FOLDER

Each run leaves NAME.onnx and NAME.json (what was asked, tables, seconds) in `examples/fused`.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import with_own_names, write_float
from edgewright.passes.blocks.fuse_blocks import FuseBlocks
from edgewright.passes.blocks.remove_blocks import RemoveBlocks
from edgewright.passes.ir import Array
from edgewright.passes.transform import Pass

EXAMPLES = Path(__file__).parents[1] / "examples"
MODEL = EXAMPLES / "models" / "vit_deep.onnx"
FUSED = EXAMPLES / "fused"
EPOCHS, SEED = 0.6, 20
LEARNED: dict[str, Any] = {"epochs": EPOCHS, "seed": SEED}


@dataclass(frozen=True, slots=True)
class Run:
    """A pass but for its samples, and where it goes on from."""

    kind: type[Pass]
    options: dict[str, Any]


RUNS = {
    "fused25": Run(FuseBlocks, {"share": 0.25, **LEARNED}),
    "tuned25": Run(RemoveBlocks, {"share": 0.25, **LEARNED, "rate": 5e-4}),
    "fused50": Run(FuseBlocks, {"share": 0.5, **LEARNED}),
    "tuned50": Run(RemoveBlocks, {"share": 0.5, **LEARNED, "rate": 1e-3}),
    "alone50": Run(FuseBlocks, {"share": 0.5, **LEARNED, "coefficients": False}),
}


def images(part: str) -> tuple[Array, Array]:
    """Normalised images (samples, 1, 28, 28) and labels of "train" or "t10k"."""
    sys.path.insert(0, str(EXAMPLES))
    fashion: Any = importlib.import_module("fashion_data")
    pixels, labels = fashion.read_part(fashion.FOLDER, part)
    return pixels.numpy(), labels.numpy()


def train(name: str, folder: Path, say: Callable[[str], None]) -> None:
    """One run; its checkpoints go into `folder`/NAME."""
    from edgewright.passes.learn.progress import TimedLines

    run = RUNS[name]
    checkpoints = folder / name
    checkpoints.mkdir(parents=True, exist_ok=True)
    made = run.kind(**run.options, samples={"x": images("train")[0]}, checkpoints=checkpoints, progress=TimedLines(say, 30))  # type: ignore[call-arg]
    begun = time.monotonic()
    graph, statistics = made(read_model(MODEL))
    FUSED.mkdir(exist_ok=True)
    model = with_own_names(write_float(graph), graph)
    (FUSED / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    log = {
        "pass": run.kind.__name__,
        "options": run.options,
        "seconds": round(time.monotonic() - begun),
        "tables": {t.name: [[_rounded(cell) for cell in row] for row in t.rows] for t in statistics.tables},
    }
    (FUSED / f"{name}.json").write_text(json.dumps(log, indent=1) + "\n")


def _rounded(cell: Any) -> Any:
    return float(np.round(cell, 5)) if isinstance(cell, float) else cell


def main() -> None:
    """One run, one thread."""
    import torch

    torch.set_num_threads(1)
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("build/bench_passes/fusion")
    train(sys.argv[1], folder, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
