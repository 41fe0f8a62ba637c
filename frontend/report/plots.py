"""Plots of what every compilation has: the noise of its layers, and the time of its stages."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.frontend.report.drawing import Bar, bars, columns, drawn
from edgewright.frontend.report.palette import ACCENT, BAD, INK, WARN
from edgewright.frontend.report.quality import SUSPECT_DB, WRONG_DB
from edgewright.passes.results import LayerNoise, StageTime
from matplotlib.figure import Figure


@drawn("sqnr", "Signal to quantisation noise of each layer")
def noise(layers: Sequence[LayerNoise]) -> Figure | None:
    """Signal to noise of each layer in dB, the three weakest named; None when nothing was measured."""
    measured = {
        place: Bar(layer.name, layer.sqnr_db, f"{layer.sqnr_db:.1f} dB", _colour(layer.sqnr_db))
        for place, layer in enumerate(layers)
        if layer.sqnr_db is not None
    }
    if not measured:
        return None
    weakest = sorted(measured, key=lambda place: measured[place].value)[:3]
    return columns(measured, len(layers), "layer, in order of execution", "SQNR in dB (higher is better)", weakest)


def _colour(decibels: float) -> str:
    return BAD if decibels < WRONG_DB else WARN if decibels < SUSPECT_DB else ACCENT


@drawn("stages", "Time of each stage of the compiler")
def stages(times: Sequence[StageTime]) -> Figure | None:
    """Seconds of each stage of the compiler."""
    if not times:
        return None
    return bars([Bar(stage.name, stage.seconds, f"{stage.seconds:.2f} s") for stage in times], "seconds", colour=INK)
