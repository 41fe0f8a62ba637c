"""Hashed attention, measured: accuracy on Fashion-MNIST, maps, EcoFormer's energy table, and where codes are faster.

    python -m benchmarks.bench_passes --only hashing [--retrain]

The hashed networks lie in examples/models with the logs of their tuning; the 10,000 test images are evaluated.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.hashing.energy import hashing_outlook
from edgewright.passes.ir import Array
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.measure import agreement, top1
from edgewright.passes.structure.sub_model_shape import footprint

from benchmarks.figures import Figure, Section, at_most
from benchmarks.fusion_vit import images
from benchmarks.passes_cpu import HEAD_WIDTHS, LENGTHS, hash_section
from tests.models import tiny_vit
from tests.passes.hash_networks import NETWORKS, Network, arithmetic

EXAMPLES = Path(__file__).parents[1] / "examples"
MODELS = EXAMPLES / "models"
LOST_POINTS, TABLE_PERCENT = 1.0, 3.0
ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Hashed:
    """A network and how its hashed form was made: options of examples/hash_fashion.py."""

    model: str
    options: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The hashed network."""
        return MODELS / f"{self.model}_hashed.onnx"

    @property
    def log(self) -> Path:
        """What its tuning said."""
        return EXAMPLES / "logs" / f"{self.model}_hashed.txt"


HASHED = (
    Hashed("vit_fine", ("--epochs", "5", "--rate", "2e-3")),
    Hashed("pyramid_fine", ("--layers", ">=128", "--epochs", "2", "--rate", "1e-3", "--count", "30000")),
)


def sections(retrain: bool, folder: Path) -> list[Section]:
    """Every figure of hashed attention. What is not kept is tuned."""
    for network in HASHED:
        if retrain or not network.path.is_file():
            tune(network, folder)
    pixels, labels = images("t10k")
    return [accuracy_section(pixels, labels), energy_section(), hash_section(ROUNDS, HEAD_WIDTHS, LENGTHS)]


def tune(network: Hashed, folder: Path) -> None:
    """Hashes and tunes a network; goes on from an interrupted run."""
    command = [sys.executable, EXAMPLES / "hash_fashion.py", MODELS / f"{network.model}.onnx", *network.options]
    command += ["--out", network.path, "--checkpoints", folder / network.model]
    with open(network.log, "w", encoding="utf-8") as log:
        subprocess.run([*map(str, command)], check=True, stdout=log)


def accuracy_section(pixels: Array, labels: Array) -> Section:
    """Accuracy and agreement of hashed networks; how alike their maps are stands in the logs."""
    figures, lines = [], []
    for network in HASHED:
        before, after = read_model(MODELS / f"{network.model}.onnx"), read_model(network.path)
        data = LearningData({"x": pixels}, labels)
        softmax, hashed = 100 * top1(before, data), 100 * top1(after, LearningData({after.inputs[0].name: pixels}, labels))
        source = f"tuned earlier, log logs/{network.log.name}"
        text = f"{softmax:.2f} %, {hashed:.2f} %"
        figures.append(Figure(f"{network.model}: top-1 with softmax, hashed", text, source=source, headline=True))
        figures.append(at_most(f"{network.model}: points lost", softmax - hashed, LOST_POINTS))
        figures.append(Figure(f"{network.model}: same answer", f"{100 * agreement(before, after, data):.2f} %"))
        macs = [footprint(graph).macs for graph in (before, after)]
        figures.append(Figure(f"{network.model}: products", f"{macs[0]:,} to {macs[1]:,}"))
        lines += [f"Attention maps of {network.model}, layer by layer:", "", *_maps(network.log), ""]
    return Section("Hashed attention on Fashion-MNIST, 10,000 test images", tuple(figures), tuple(lines))


def _maps(log: Path) -> list[str]:
    """The table of the log on attention maps, as markdown."""
    text = log.read_text(encoding="utf-8").partition("Attention maps\n")[2].splitlines()
    rows = [line for line in text if " | " in line]
    columns = rows[0].count(" | ") + 1
    return [f"| {rows[0]} |", "|" + "---|" * columns, *(f"| {row} |" for row in rows[1:])]


def energy_section() -> Section:
    """EcoFormer's table from shapes alone, and what the model says of DeiT-Tiny."""
    figures = [
        at_most(f"{network.name}: largest difference from the published row", _worst(network), TABLE_PERCENT, "{:.2f} %")
        for network in NETWORKS
    ]
    before, after = arithmetic(NETWORKS[0], hashed=False), arithmetic(NETWORKS[0])
    figures.append(Figure("PVTv2-B0: energy saved against full attention", f"{1 - after.energy_pj / before.energy_pj:.1%}"))
    deit = tiny_vit(0, image=224, patch=16, channels=3, width=192, heads=3, blocks=12, hidden=768)
    outlook = hashing_outlook(deit)
    verdict = "pays" if outlook.pays else "does not pay"
    text = f"{outlook.bound:.1%}: hashing {verdict}"
    figures.append(Figure("DeiT-Tiny's shape: scores and sums, of all arithmetic", text, headline=True))
    return Section("EcoFormer's energy model", tuple(figures), ("Published: arXiv 2209.09004; 45 nm, arithmetic only.",))


def _worst(network: Network) -> float:
    """In percent, of multiplications, additions and energy."""
    counted = arithmetic(network)
    values = (counted.multiplications, counted.additions, counted.energy_pj)
    published = (network.multiplications, network.additions, network.energy)
    return max(abs(value / 1e9 / stated - 1) for value, stated in zip(values, published, strict=True)) * 100
