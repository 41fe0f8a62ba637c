"""Class-wise splitting of a 12-block ViT on Fashion-MNIST: 1, 2, 3 and 5 devices trained, 10 predicted.

What was trained lies in examples/split/devicesN, its figures and log in examples/split/logs; without --retrain it is
evaluated as it is.

    python -m benchmarks.passes_splitting [--devices 1,2,3,5] [--retrain] [--resume]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from edgewright.frontend.files.publish import publish, replace_files
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.report.formats import predicted_ms
from edgewright.frontend.report.split import DIFFERS, PUBLISHED, PUBLISHED_SOURCE, report_files
from edgewright.frontend.report.split_plots import accuracy_by_devices
from edgewright.frontend.report.split_results import SplitReport
from edgewright.frontend.samples.labelled import Labelled, Material
from edgewright.frontend.splitting.fleet import load_fleet
from edgewright.frontend.splitting.folder import SplitFolder
from edgewright.frontend.splitting.latency import FleetPricing
from edgewright.frontend.splitting.model import SplitOptions, describe, plan_split, predicted_report, split_files, train
from edgewright.passes.documents import read_json
from edgewright.passes.ir import Array, Graph
from edgewright.passes.splitting.split_classes import ANSWERS

from benchmarks.figures import Figure, Section, at_least, at_most

EXAMPLES = Path(__file__).parents[1] / "examples"
KEPT = EXAMPLES / "split"
MODEL = EXAMPLES / "models" / "vit_deep.onnx"
TRAINED, PREDICTED = (1, 2, 3, 5), 10
SIZE, EPOCHS, SEED = 0.125, 2.0, 4
ASKED_SMALLER, ASKED_LOST = 8.0, 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """One deployment: its report, and the accuracy found now (None: not evaluated)."""

    report: SplitReport
    accuracy: float | None


def options() -> SplitOptions:
    """Of every trained deployment."""
    return SplitOptions("confusion", SIZE, EPOCHS, SEED)


def fashion() -> Material:
    """The 60,000 training images to learn from, the 10,000 test images to measure on."""
    sys.path.insert(0, str(EXAMPLES))
    from fashion_data import load_fashion  # type: ignore[import-not-found,unused-ignore]

    split = load_fashion()

    def part(images: Any, labels: Any, source: str) -> Labelled:
        return Labelled({"x": images.numpy()}, {"labels": labels.numpy()}, source)

    learn = part(split.train_images, split.train_labels, "Fashion-MNIST, training images")
    measure = part(split.test_images, split.test_labels, "Fashion-MNIST, test images")
    how = "learns from the 60,000 training images of Fashion-MNIST, measured on the 10,000 test images"
    return Material(learn, measure, how)


def retrain(count: int, material: Material, work: Path, resume: bool) -> None:
    """Trains one deployment and keeps it with its log."""
    from edgewright.passes.learn.progress import TimedLines

    graph = read_model(MODEL)
    fleet = load_fleet(KEPT / f"fleet{count}.toml")
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    checkpoints = work / f"devices{count}.training"
    resume = resume and not _borrow_answers(checkpoints)
    begun, used = time.monotonic(), time.process_time()
    progress = TimedLines(lambda line: print(line, flush=True), 30.0)
    split = train(graph, fleet, material, options(), checkpoints, resume, progress, say)
    report = describe(MODEL.stem, graph, fleet, split, FleetPricing(fleet), options(), material, time.monotonic() - begun)
    say(f"options {options()}; {time.process_time() - used:,.0f} s of processor time, {time.monotonic() - begun:,.0f} s passed")
    if report.accuracy is not None:
        say(f"top-1 {100 * report.accuracy.split:.2f} %, whole model {100 * report.accuracy.whole:.2f} %")
    keep(count, split_files(split, report), report_files(report)["report.json"], lines)


def keep(count: int, files: Mapping[str, bytes], report: bytes, lines: Sequence[str]) -> None:
    """One deployment takes the place of what was kept: its folder, its figures (the page follows from them) and its log."""
    publish(files, KEPT / f"devices{count}")
    (KEPT / "logs").mkdir(exist_ok=True)
    log = ("\n".join(lines) + "\n").encode()
    replace_files({KEPT / "logs" / f"devices{count}.json": report, KEPT / "logs" / f"devices{count}.txt": log})


def _borrow_answers(folder: Path) -> bool:
    """Takes the whole model's answers from another deployment's training, for a folder that has none."""
    others = [other for other in folder.parent.glob("devices*.training") if (other / ANSWERS).is_file()]
    if folder.exists() or not others:
        return False
    folder.mkdir(parents=True)
    for name in ("run.json", ANSWERS):
        shutil.copyfile(others[0] / name, folder / name)
    return True


def evaluate(count: int, material: Material) -> Result:
    """What is kept, its accuracy measured anew."""
    from edgewright.passes.learn.measure import outputs

    folder = SplitFolder.open(KEPT / f"devices{count}")
    report = read_json(KEPT / "logs" / f"devices{count}.json", SplitReport)
    features = []
    for part, graph in zip(folder.manifest.sub_models, folder.sub_models, strict=True):
        features.append(outputs(graph, {part.inputs["x"]: material.measure.inputs["x"]})[part.features])
    by_input = dict(zip(folder.manifest.fusion.inputs, features, strict=True))
    answers = outputs(folder.fusion, by_input)[folder.manifest.fusion.logits].argmax(-1)
    return Result(report, float((answers == material.measure.targets["labels"]).mean()))


def predict(graph: Graph) -> Result:
    """Ten devices, nothing trained: sizes and latencies follow from shapes."""
    fleet = load_fleet(KEPT / f"fleet{PREDICTED}.toml")
    plan = plan_split(graph, fleet, SplitOptions(size=SIZE))
    return Result(predicted_report(MODEL.stem, graph, fleet, plan, FleetPricing(fleet)), None)


def whole_accuracy(graph: Graph, material: Material) -> float:
    """Top-1 of the model that is split."""
    from edgewright.passes.learn.measure import outputs

    answers: Array = outputs(graph, material.measure.inputs)[graph.output_names[0]].argmax(-1)
    return float(np.mean(answers == material.measure.targets["labels"]))


def figures(result: Result, whole: float) -> tuple[Figure, ...]:
    """One deployment's figures."""
    report, heaviest = result.report, result.report.heaviest
    count = len(report.sub_models)
    source = "predicted" if result.accuracy is None else f"trained earlier, log examples/split/logs/devices{count}.txt"
    smaller = report.whole.parameters / heaviest.parameters
    name = f"{count} device{'s' if count > 1 else ''}"
    rows = [
        at_least(f"{name}: times fewer parameters per device", smaller, ASKED_SMALLER, "{:.2f}", "counted")
        if count == 5
        else Figure(f"{name}: times fewer parameters per device", f"{smaller:.2f}", source="counted", headline=True),
        Figure(f"{name}: parameters, MACs per device", f"{heaviest.parameters:,}, {heaviest.macs:,}", source="counted"),
    ]
    for board in dict.fromkeys(part.board for part in report.sub_models):
        slowest = max((p.latency for p in report.sub_models if p.board == board), key=lambda latency: latency.high_ms or 0)
        whole_ms = report.whole.latency[board]
        shown, before = (predicted_ms(time.low_ms, time.high_ms) for time in (slowest, whole_ms))
        rows.append(Figure(f"{name}: int8 on {board}", f"{shown} (whole: {before})", source="predicted"))
    total = predicted_ms(report.latency.low_ms, report.latency.high_ms) or ""
    rows.append(Figure(f"{name}: with transfer and fusion", total, source="predicted"))
    if result.accuracy is not None:
        lost = 100 * (whole - result.accuracy)
        rows.append(Figure(f"{name}: top-1", f"{100 * result.accuracy:.2f} %", source=f"measured now; {source}"))
        if count == 5:
            rows.append(at_most(f"{name}: points lost", lost, ASKED_LOST, "{:.2f}", f"measured now; {source}"))
        else:
            rows.append(Figure(f"{name}: points lost", f"{lost:.2f}", source=f"measured now; {source}", headline=True))
    return tuple(rows)


def sections(again: bool, folder: Path) -> list[Section]:
    """Everything about splitting, for `bench_passes`; `folder` holds what an interrupted training leaves."""
    material, graph = fashion(), read_model(MODEL)
    if again:
        for count in TRAINED:
            retrain(count, material, folder, resume=True)
    whole = whole_accuracy(graph, material)
    trained = [count for count in TRAINED if (KEPT / f"devices{count}" / "manifest.json").is_file()]
    results = [evaluate(count, material) for count in trained]
    points = [(len(result.report.sub_models), result.accuracy) for result in results if result.accuracy is not None]
    if points:
        (folder / "accuracy.svg").write_text(accuracy_by_devices(whole, points) or "", encoding="utf-8")
    full = Figure("whole model: top-1", f"{100 * whole:.2f} %")
    missing = [count for count in TRAINED if count not in trained]
    rows = [figure for result in (*results, predict(graph)) for figure in figures(result, whole)]
    if 5 in missing:
        rows.append(Figure("5 devices: points lost", "not trained", f"at most {ASKED_LOST:.2f}", False, "nothing is kept"))
    lines = [
        *(f"Nothing is kept for {count} devices: train it with --retrain." for count in missing),
        f"{PUBLISHED_SOURCE}: " + "; ".join(f"{name}: {value}" for name, value in PUBLISHED) + ".",
        "What differs: " + " ".join(DIFFERS),
    ]
    return [Section("Splitting by classes: a 12-block ViT on Fashion-MNIST", (full, *rows), tuple(lines))]


def main() -> None:
    """Trains or evaluates some deployments, and prints."""
    from benchmarks.bench_passes import OUTPUT
    from benchmarks.figures import markdown

    parser = argparse.ArgumentParser(description="class-wise splitting of the 12-block example")
    parser.add_argument("--devices", default=",".join(map(str, TRAINED)))
    parser.add_argument("--retrain", action="store_true")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    chosen = parser.parse_args()
    folder = OUTPUT / "splitting"
    folder.mkdir(parents=True, exist_ok=True)
    if chosen.retrain:
        for count in map(int, chosen.devices.split(",")):
            retrain(count, fashion(), folder, chosen.resume)
    print(markdown(sections(False, folder)))


if __name__ == "__main__":
    main()
