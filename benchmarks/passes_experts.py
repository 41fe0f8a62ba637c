"""Experts, measured: one multi-task network with a router per task, beside dense networks of equal cost.

    python -m benchmarks.bench_passes --only experts [--retrain]

The networks lie in examples/models, with their logs; all 10,000 test images of Fashion-MNIST are evaluated.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import edgewright
import numpy as np
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
from edgewright.frontend.cpu.bundle import CpuBundle
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.experts.select_experts import SelectExperts
from edgewright.passes.ir import Array, Graph
from edgewright.passes.learn.measure import outputs
from edgewright.passes.ops import MoE
from edgewright.passes.structure.sub_model_shape import footprint

from benchmarks.figures import Figure, Section, at_most
from benchmarks.passes_cpu import WIDTHS, expert_section

EXAMPLES = Path(__file__).parents[1] / "examples"
MODELS = EXAMPLES / "models"
TASKS = {"class": "top-1", "foreground": "IoU", "edges": "F1"}
NETWORKS = ("moe_fashion", "dense_fashion", *(f"single_{task}" for task in TASKS))
THRESHOLDS = (0.1, 0.2, 0.25)
CALIBRATION = 64
TOLERANCE = 1e-4  # float32 through four blocks, in another order of sums
ROUNDS = 15


@dataclass(frozen=True, slots=True)
class TestSet:
    """The images (B, 1, S, S) and for each task its target; others to count usage on."""

    images: Array
    targets: dict[str, Array]
    calibration: Array


def sections(retrain: bool, folder: Path) -> list[Section]:
    """Every figure of experts. What is not kept is trained."""
    train([name for name in NETWORKS if retrain or not (MODELS / f"{name}.onnx").is_file()])
    data = load(folder)
    graphs = {name: read_model(MODELS / f"{name}.onnx") for name in NETWORKS}
    return [
        tasks_section(graphs, data),
        selection_section(graphs["moe_fashion"], data),
        machine_section(data, folder),
        expert_section(ROUNDS, WIDTHS),
    ]


def train(names: Iterable[str]) -> None:
    """These networks, and their ONNX files."""
    for name in names:
        _python(EXAMPLES / "train_multitask.py", "--network", name)
        _python(EXAMPLES / "export.py", EXAMPLES / "checkpoints" / f"{name}.pt", MODELS, "--variant", "dynamo18")
        (MODELS / f"{name}.dynamo18.onnx").replace(MODELS / f"{name}.onnx")


def _python(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], check=True)


def load(folder: Path) -> TestSet:
    """The whole test set; made once from Debian's package."""
    path = folder / "multitask_whole.npz"
    if not path.exists():
        _python(EXAMPLES / "make_data.py", "--whole", folder)
    with np.load(path) as held:
        targets = {task: held[task] for task in TASKS}
        return TestSet(held["images"], targets, held["train_images"][:CALIBRATION])


def score(task: str, output: Array, wanted: Array) -> float:
    """In percent: top-1, intersection over union, F1."""
    if task == "class":
        return 100.0 * float((output.reshape(len(wanted), -1).argmax(1) == wanted).mean())
    inside, there = output.reshape(wanted.shape) > 0, wanted > 0
    both, either = int((inside & there).sum()), int((inside | there).sum())
    return 100.0 * both / either if task == "foreground" else 200.0 * both / (either + both)


def tasks_section(graphs: dict[str, Graph], data: TestSet) -> Section:
    """Scores of the three kinds of network, and what one task costs each."""
    figures = []
    scores: dict[str, dict[str, float]] = {}
    for name, graph in graphs.items():
        results = outputs(graph, {"x": data.images})
        scores[name] = {task: score(task, value, data.targets[task]) for task, value in results.items()}
    kinds = {"experts": "moe_fashion", "dense, all tasks": "dense_fashion"}
    for task, measure in TASKS.items():
        single = scores[f"single_{task}"][task]
        row = ", ".join(f"{kind} {scores[name][task]:.2f} %" for kind, name in kinds.items())
        text = f"{row}, dense, this task {single:.2f} %"
        figures.append(Figure(f"{task}, {measure}", text, source="trained earlier, logs/", headline=True))
    for kind, name in kinds.items():
        gain = np.mean([scores[name][task] / scores[f"single_{task}"][task] - 1 for task in TASKS])
        figures.append(Figure(f"{kind}: mean change against single-task networks", f"{100 * gain:+.2f} %", headline=True))
    selected, _ = SelectExperts("class")(graphs["moe_fashion"])
    macs = [footprint(graph).macs for graph in (selected, graphs["single_class"])]
    figures.append(Figure("multiply-adds of one task", f"experts {macs[0]:,}, dense {macs[1]:,}"))
    parameters = {name: footprint(graph).parameters for name, graph in graphs.items()}
    sizes = ", ".join(f"{name} {count:,}" for name, count in parameters.items() if not name.startswith("single"))
    three = sum(parameters[f"single_{task}"] for task in TASKS)
    figures.append(Figure("parameters", f"{sizes}, three single-task networks {three:,}"))
    return Section("Experts: three tasks of Fashion-MNIST with noise, 10,000 test images", tuple(figures))


def selection_section(graph: Graph, data: TestSet) -> Section:
    """What choosing a task does, and what dropping rarely used experts costs."""
    samples = {"x": data.calibration}
    whole = outputs(graph, {"x": data.images})
    figures = [Figure("all tasks", _size(graph))]
    for task in TASKS:
        selected, _ = SelectExperts(task)(graph)
        output = outputs(selected, {"x": data.images})[task]
        worst = float(np.abs(output - whole[task]).max())
        figures.append(Figure(f"--task {task}", _size(selected)))
        figures.append(at_most(f"--task {task}: largest difference", worst, TOLERANCE, "{:.1e}"))
        before = score(task, output, data.targets[task])
        for threshold in THRESHOLDS:
            fewer, _ = SelectExperts(task, threshold, samples)(graph)
            layers = [node.inputs[1].shape[2] for node in fewer.nodes() if isinstance(node.op, MoE)]
            lost = before - score(task, outputs(fewer, {"x": data.images})[task], data.targets[task])
            text = f"{lost:+.2f} points lost, experts {layers}, {footprint(fewer).parameters:,} parameters"
            figures.append(Figure(f"--task {task} --usage-threshold {threshold}", text))
    line = "With balanced experts a token chooses each of them with K / N = 25 % on average: a threshold near that drops many."
    return Section("Choosing a task", tuple(figures), (line,))


def _size(graph: Graph) -> str:
    cost = footprint(graph)
    return f"{cost.macs:,} multiply-adds, {cost.parameters:,} parameters"


def machine_section(data: TestSet, folder: Path) -> Section:
    """onnxruntime on the exported dense form; int8 on this CPU against the interpreter."""
    path = MODELS / "moe_fashion.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    ours = outputs(read_model(path), {"x": data.images[:32]})
    worst = 0.0
    for index in range(32):
        for name, value in zip(names, session.run(None, {"x": data.images[index : index + 1]}), strict=True):
            worst = max(worst, float(np.abs(ours[name][index] - np.asarray(value)[0]).max()))
    figures = [at_most("dense-masked export in onnxruntime, largest difference", worst, TOLERANCE, "{:.1e}")]
    npz = folder / "class.npz"
    np.savez(npz, calib=data.calibration, images=data.images[:500], labels=data.targets["class"][:500])
    small = folder / "class.onnx"
    edgewright.optimise(path, small, reshaping=edgewright.Reshaping(task="class"))
    compiled = edgewright.compile(small, target="host", calibration=str(npz), output=folder / "class")
    assert isinstance(compiled, CpuBundle)
    ran = compiled.run(npz, samples=64, check=True)
    same = "yes" if ran.agrees else "no"
    figures.append(Figure("int8 on this CPU equals the interpreter, 64 images", same, "yes", ran.agrees))
    accuracy = compiled.report.accuracy
    if accuracy.float is not None and accuracy.int8 is not None:
        figures.append(Figure("class, top-1 of 500 images, float and int8", f"{accuracy.float:.2%}, {accuracy.int8:.2%}"))
    return Section("Experts on this machine", tuple(figures))
