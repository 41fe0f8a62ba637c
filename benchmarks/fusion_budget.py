"""Fused blocks against plain removal at equal, small budgets: few images, two epochs, as a user with a handful of data has.

    python -m benchmarks.fusion_budget [--share 0.25,0.5]

Each way has six recipes and takes the one that is best on 10,000 training images that nothing learns from; then it is trained
with each seed, on images that the seed draws, and judged on the 10,000 test images. The result is `fused/budgets.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.blocks.fuse_blocks import FuseBlocks
from edgewright.passes.blocks.remove_blocks import RemoveBlocks
from edgewright.passes.ir import Array
from edgewright.passes.transform import Pass

from benchmarks.fusion_vit import FUSED, MODEL, images

KEPT = FUSED / "budgets.json"
SHARES, IMAGES, EPOCHS, SEEDS = (0.25, 0.5), (512, 2048, 8192), 2.0, (0, 1, 2)
CHOOSING_IMAGES, HELD_OUT = 2048, 10_000
RATES = (2.5e-4, 5e-4, 1e-3)


@dataclass(frozen=True, slots=True)
class Way:
    """A pass and the recipes it may choose from."""

    kind: type[Pass]
    recipes: tuple[dict[str, float], ...]


WAYS = {
    "removal": Way(RemoveBlocks, tuple({"rate": rate, "hidden": h} for rate in RATES for h in (0.0, 1.0))),
    "fused": Way(FuseBlocks, tuple({"distil_rate": rate, "group_share": g} for rate in RATES for g in (0.0, 0.15))),
}


def compare(shares: tuple[float, ...], say: Callable[[str], None]) -> dict[str, Any]:
    """All shares, budgets and seeds."""
    from edgewright.passes.learn.measure import outputs

    graph = read_model(MODEL)
    x, labels = images("train")
    held, learn = slice(len(x) - HELD_OUT, len(x)), len(x) - HELD_OUT
    test_x, test_labels = images("t10k")

    def run(way: str, recipe: dict[str, float], share: float, count: int, epochs: float, seed: int, on: Array) -> Array:
        drawn = np.random.default_rng(seed).permutation(learn)[:count]
        begun = time.monotonic()
        made = WAYS[way].kind(share=share, samples={"x": x[drawn]}, epochs=epochs, seed=seed, **recipe)  # type: ignore[call-arg]
        shorter, _ = made(graph)
        say(f"{way} {recipe} share {share} images {count} epochs {epochs} seed {seed}: {time.monotonic() - begun:.0f} s")
        return np.asarray(outputs(shorter, {"x": on})[shorter.output_names[0]].argmax(-1))

    results: dict[str, Any] = {}
    for share in shares:
        chosen: dict[str, dict[str, float]] = {}
        tried: dict[str, list[float]] = {}
        for way, options in WAYS.items():
            tried[way] = [
                float((run(way, recipe, share, CHOOSING_IMAGES, EPOCHS, 99, x[held]) == labels[held]).mean())
                for recipe in options.recipes
            ]
            chosen[way] = options.recipes[int(np.argmax(tried[way]))]
            say(f"share {share}, {way}: {tried[way]}, chosen {chosen[way]}")
        rows = []
        for count, epochs in ((CHOOSING_IMAGES, 0.0), *((count, EPOCHS) for count in IMAGES)):
            row: dict[str, Any] = {"images": count, "epochs": epochs, "removal": [], "fused": [], "differ": []}
            for seed in SEEDS:
                answers = {way: run(way, chosen[way], share, count, epochs, seed, test_x) for way in WAYS}
                for way, classes in answers.items():
                    row[way].append(float((classes == test_labels).mean()))
                row["differ"].append(int((answers["removal"] != answers["fused"]).sum()))
            rows.append(row)
            say(f"share {share}: {row}")
        results[f"{share:g}"] = {"recipes": chosen, "held out": tried, "budgets": rows}
    return results


def main() -> None:
    """Train, judge, keep."""
    import torch

    parser = argparse.ArgumentParser(description="fused blocks against plain removal at small budgets")
    parser.add_argument("--share", default=",".join(map(str, SHARES)))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = compare(tuple(map(float, options.share.split(","))), lambda line: print(line, flush=True))
    earlier = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    KEPT.write_text(json.dumps(earlier | results, indent=1) + "\n")


if __name__ == "__main__":
    main()
