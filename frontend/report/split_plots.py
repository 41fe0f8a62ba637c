"""Plots of a split: sizes, predicted latencies, and accuracy over the number of devices."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.frontend.report.drawing import Bar, bars, blank, drawn, groups
from edgewright.frontend.report.formats import predicted_ms, si
from edgewright.frontend.report.palette import ACCENT, INK, KINDS, MUTED
from edgewright.frontend.report.split_results import Range, SplitReport
from matplotlib.figure import Figure


@drawn("sizes", "Parameters and products of each sub-model")
def sizes(report: SplitReport) -> Figure | None:
    """Parameters and MACs of every sub-model, as shares of the whole model."""
    whole = report.whole
    parameters = [whole.parameters, *(part.parameters for part in report.sub_models)]
    macs = [whole.macs, *(part.macs for part in report.sub_models)]
    names = ["whole model", *(f"{part.device}: {part.file}" for part in report.sub_models)]
    series = {
        "parameters": [(100 * count / max(1, whole.parameters), f"{count:,}") for count in parameters],
        "products (MACs)": [(100 * count / max(1, whole.macs), f"{count:,}") for count in macs],
    }
    return groups(names, series, KINDS[:2], "share of the whole model")


@drawn("latencies", "Predicted latency on each board")
def latencies(report: SplitReport) -> Figure | None:
    """Predicted ranges on each board: the whole model, and the slowest sub-model there."""
    rows: list[Bar] = []

    def add(name: str, ranges: Sequence[Range], tint: str) -> None:
        known = [(time.low_ms, time.high_ms) for time in ranges if time.low_ms is not None and time.high_ms is not None]
        if known:
            low, high = (max(ends) for ends in zip(*known, strict=True))
            rows.append(Bar(name, high, predicted_ms(low, high) or "", tint, low))

    for board, whole in report.whole.latency.items():
        add(f"{board}: whole model", [whole], MUTED)
        add(f"{board}: sub-model", [part.latency for part in report.sub_models if part.board == board], ACCENT)
    add("deployment, with transfer and fusion", [report.latency], KINDS[2])
    return bars(rows, "predicted milliseconds for one image, int8, one thread", colour=INK) if rows else None


@drawn("accuracy-devices", "Accuracy against the number of devices")
def accuracy_by_devices(whole: float, points: Sequence[tuple[int, float]]) -> Figure | None:
    """Top-1 of deployments by their number of devices, against the whole model's."""
    counts, values = [count for count, _ in points], [100 * value for _, value in points]
    figure, axes = blank(2.4)
    axes.axhline(100 * whole, color=MUTED, linewidth=1, linestyle="--")
    axes.annotate(
        f"whole model {100 * whole:.2f} %", (1, 100 * whole), (2, 4), textcoords="offset points", fontsize=8, color=INK
    )
    axes.plot(counts, values, marker="o", color=ACCENT, linewidth=1.4)
    for count, value in zip(counts, values, strict=True):
        axes.annotate(f"{value:.2f} %", (count, value), (0, -13), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xlim(0.5, max(10, *counts) + 0.5)
    low, high = min(*values, 100 * whole), max(*values, 100 * whole)
    span = max(2.0, high - low)
    axes.set_ylim(low - 0.4 * span, high + 0.3 * span)
    axes.set_xlabel("devices")
    axes.set_ylabel("top-1 accuracy, %")
    axes.xaxis.set_major_formatter(lambda value, _: si(value))
    axes.grid(axis="y")
    return figure
