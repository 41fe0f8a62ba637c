"""Figures of fused blocks: the 12-block ViT on Fashion-MNIST, and MiniLM-L6 by similarities of sentences.

What was learned is kept in `examples/fused`: networks and logs of the ViT, the log of MiniLM (its weights are too
large to keep). `--retrain` makes all again. Latency is always measured: compiled models in turns in one process, one thread,
processor time, so that other programs take none of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TVM_NUM_THREADS", "1")

import numpy as np
from edgewright.frontend.build import compile as compile_model
from edgewright.frontend.cpu.bundle import CpuBundle
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.blocks.remove_blocks import RemoveBlocks
from edgewright.passes.ir import Array, Graph
from edgewright.passes.structure.sub_model_shape import footprint

from benchmarks.cpu_models import CannotMake
from benchmarks.figures import Figure, Section, at_least, at_most
from benchmarks.fusion_budget import KEPT
from benchmarks.fusion_vit import EXAMPLES, FUSED, MODEL, RUNS, images
from benchmarks.passes_cpu import interleaved

ROUNDS = 15
FINDS = 0.75  # the share of what removal loses that fusion finds again, where removal loses as much as:
LOSS_POINTS = 2.0
TEST_IMAGES = 10_000
SHARES = {"25": "3 of 12 blocks", "50": "6 of 12 blocks"}


def sections(retrain: bool, folder: Path) -> list[Section]:
    """All figures. What is not kept is trained."""
    import torch

    torch.set_num_threads(1)
    for name in RUNS:
        if retrain or not (FUSED / f"{name}.onnx").is_file():
            subprocess.run([sys.executable, "-m", "benchmarks.fusion_vit", name, str(folder)], check=True)
    if retrain or not KEPT.is_file():
        subprocess.run([sys.executable, "-m", "benchmarks.fusion_budget"], check=True)
    budgets = [_budgets(share) for share in SHARES]
    return [*(_accuracy(share) for share in SHARES), *budgets, _latency(folder), *_sentences(retrain, folder)]


def _log(name: str) -> dict[str, Any]:
    log: dict[str, Any] = json.loads((FUSED / f"{name}.json").read_text())
    return log


def _removed(name: str) -> tuple[int, ...]:
    """Which blocks a run took out, in order."""
    return tuple(int(row[1]) for row in _log(name)["tables"]["Macro Influence"] if row[4])


def _accuracy(share: str) -> Section:
    """Accuracy on the 10,000 test images of the whole network, and of what several ways leave of it."""
    x, labels = images("t10k")
    whole = read_model(MODEL)
    removed, _ = RemoveBlocks(blocks=_removed(f"fused{share}"))(whole)
    ways: dict[str, Graph] = {"plain removal of the same blocks": removed}
    named = {"tuned": "plain removal, fine-tuned", "alone": "the same schedule, removed weights not used", "fused": "fused"}
    ways |= {words: read_model(FUSED / f"{key}{share}.onnx") for key, words in named.items() if f"{key}{share}" in RUNS}
    expected = _answers(whole, x)
    answers = {words: _answers(graph, x) for words, graph in ways.items()}
    points = {words: 100 * float((chosen == labels).mean()) for words, chosen in answers.items()}
    before, after, plain = 100 * float((expected == labels).mean()), points["fused"], points["plain removal of the same blocks"]
    source = {words: f"trained earlier, log fused/{key}{share}.json" for key, words in named.items()}
    figures = [Figure("top-1, 12 blocks", f"{before:.2f} %", headline=True)]
    for words, value in points.items():
        figures.append(Figure(f"top-1, {words}", f"{value:.2f} %", source=source.get(words, "measured now")))
    for words, chosen in answers.items():
        figures.append(Figure(f"same answer as 12 blocks, {words}", f"{100 * float((chosen == expected).mean()):.2f} %"))
    if share == "25":
        figures.append(at_most("points lost by fusion", before - after, 1.0))
    if before - plain >= LOSS_POINTS:
        regained = (after - plain) / (before - plain)
        figures.append(at_least("share of the points lost by plain removal found again", regained, FINDS))
    tuned = points["plain removal, fine-tuned"]
    gone = [", ".join(map(str, _removed(f"{key}{share}"))) for key in ("fused", "tuned")]
    noise = 100 * float(np.sqrt((answers["fused"] != answers["plain removal, fine-tuned"]).sum())) / len(labels)
    asked = f"more than its standard error, {noise:.2f}"
    gain = after - tuned
    figures.append(Figure("points above plain removal with the same budget", f"{gain:.2f}", asked, gain > noise))
    figures.append(at_most("epochs of Fashion-MNIST in all", _log(f"fused{share}")["options"]["epochs"], 2.0))
    lines = (f"Blocks that went: {gone[0]} (fused), {gone[1]} (fine-tuned removal).", _influence(share), _curves(share))
    return Section(f"Fused blocks: {SHARES[share]} of a Fashion-MNIST ViT gone", tuple(figures), lines)


def _budgets(share: str) -> Section:
    """What few images give: fused and removed with the same images and epochs, means over seeds."""
    kept_results = json.loads(KEPT.read_text())[f"{int(share) / 100:g}"]
    source = "trained earlier, log fused/budgets.json"
    figures: list[Figure] = []
    for row in kept_results["budgets"]:
        removed, fused = (100 * float(np.mean(row[way])) for way in ("removal", "fused"))
        noise = float(np.mean([100 * np.sqrt(count) / TEST_IMAGES for count in row["differ"]]))
        gain = fused - removed
        name = f"{row['images']:,} images, {row['epochs']:g} epochs" if row["epochs"] else "no training"
        asked, reached = (f"more than its standard error, {noise:.2f}", gain > noise)
        text = f"{fused:.2f} % / {removed:.2f} %"
        figures.append(Figure(f"{name}: top-1, fused / removal", text, source=source, headline=True))
        figures.append(Figure(f"{name}: points above removal", f"{gain:.2f}", asked, reached, source))
    chosen = "; ".join(f"{way} {recipe}" for way, recipe in kept_results["recipes"].items())
    line = (
        f"Means over {len(kept_results['budgets'][0]['fused'])} seeds. Recipes, chosen on held-out training images: {chosen}."
    )
    return Section(f"Fused blocks with few images: {SHARES[share]} of a Fashion-MNIST ViT gone", tuple(figures), (line,))


def _answers(graph: Graph, x: Array) -> Array:
    """The class that a network chooses for each image."""
    from edgewright.passes.learn.measure import outputs

    return np.asarray(outputs(graph, {"x": x})[graph.output_names[0]].argmax(-1))


def _influence(share: str) -> str:
    rows = [row for row in _log(f"fused{share}")["tables"]["Macro Influence"] if row[0] == "step 1"]
    return "Macro Influence of blocks 0 to 11 at first: " + ", ".join(f"{row[2]:.3f}" for row in rows) + "."


def _curves(share: str) -> str:
    stages: dict[str, list[float]] = {}
    for stage, _, loss in _log(f"fused{share}")["tables"]["loss"]:
        stages.setdefault(stage, []).append(loss)
    ends = "; ".join(f"{stage} {values[0]:.4f} to {values[-1]:.4f}" for stage, values in stages.items())
    return f"Loss, first and last tenth of each stage: {ends}."


def _latency(folder: Path) -> Section:
    """Processor time of one image on this machine, of 9 blocks over 12, in both precisions."""
    x, _ = images("t10k")
    figures: list[Figure] = []
    for precision in ("fp32", "int8"):
        runs = {}
        for name, path in (("whole", MODEL), ("fused", FUSED / "fused25.onnx")):
            runner = _compiled(path, precision, folder / f"{name}_{precision}").artifact.runner(1)
            runs[name] = lambda runner=runner: runner({"x": x[:1]})
        times = interleaved(runs, ROUNDS)
        figures.append(Figure(f"one image, {precision}, 12 blocks", f"{times['whole']:.3f} ms"))
        figures.append(at_most(f"latency of 9 blocks over 12, {precision}", times["fused"] / times["whole"], 0.78, "{:.3f}"))
    before, after = footprint(read_model(MODEL)), footprint(read_model(FUSED / "fused25.onnx"))
    figures.append(Figure("parameters", f"{before.parameters:,} to {after.parameters:,}"))
    figures.append(Figure("products (MACs)", f"{before.macs / 1e6:.1f} M to {after.macs / 1e6:.1f} M"))
    return Section("Fused blocks: latency on this CPU, one thread", tuple(figures))


def _compiled(path: Path, precision: str, output: Path) -> CpuBundle:
    calibration = EXAMPLES / "data" / "fashion.npz"
    made = compile_model(path, target="host", calibration=calibration, precision=precision, output=output)
    assert isinstance(made, CpuBundle)
    return made


def _sentences(retrain: bool, folder: Path) -> list[Section]:
    """MiniLM-L6 with 5 blocks for 6."""
    title, log = "Fused blocks: MiniLM-L6 with 5 blocks for 6, sentences of WordNet", FUSED / "minilm.json"
    if retrain or not log.is_file():
        from benchmarks.fusion_sentences import train

        try:
            results = train(folder, lambda line: print(line, file=sys.stderr, flush=True))
        except CannotMake as error:
            return [Section(title, (), (f"Not measured: {error}",))]
        log.write_text(json.dumps(results, indent=1) + "\n")
    results = json.loads(log.read_text())
    figures: list[Figure] = []
    source = "trained earlier, log fused/minilm.json"
    for name in ("plain removal", "fused, not trained", "removal, fine-tuned", "fused"):
        row = results[name]
        text = f"{row['spearman']:.4f} / {row['pearson']:.4f}"
        figures.append(Figure(f"similarities, Spearman / Pearson, {name}", text, source=source, headline=True))
    for ours, theirs in (("fused, not trained", "plain removal"), ("fused", "removal, fine-tuned")):
        gain = results[ours]["spearman"] - results[theirs]["spearman"]
        parts = np.subtract(results[ours]["parts"], results[theirs]["parts"])
        noise = float(parts.std(ddof=1) / np.sqrt(len(parts)))
        asked = f"more than its standard error, {noise:.4f}"
        figures.append(Figure(f"Spearman, {ours} above {theirs}", f"{gain:.4f}", asked, gain > noise, source))
    facts, macs = results["sentences"], [results[name]["macs"] / 1e6 for name in ("before", "fused")]
    line = (
        f"{facts['held out']} held-out sentences, all pairs; learned from {facts['learned from']} others, "
        f"{facts['epochs']:g} epochs; products {macs[0]:.0f} M to {macs[1]:.0f} M."
    )
    return [Section(title, tuple(figures), (line,))]
