"""report.html and report.json of a split: figures, devices, and what ED-ViT published beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from edgewright.frontend.report.report_plots import ACCENT, INK, KINDS, LINE, MUTED, STYLE, blank, counted, short, to_svg
from edgewright.frontend.report.report_split_words import DIFFERS, PUBLISHED, PUBLISHED_SOURCE, device_rows, tiles
from edgewright.passes.names import plain

TEMPLATES = ("report_split.html.j2", "report_style.css.j2")


def report_files(data: Mapping[str, Any]) -> dict[str, bytes]:
    """Both files by name."""
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    return {"report.json": text.encode(), "report.html": to_html(data).encode()}


def to_html(data: Mapping[str, Any]) -> str:
    """The page; needs no network and no file beside it."""
    import jinja2
    from markupsafe import Markup

    here = Path(__file__)
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({name: here.with_name(name).read_text(encoding="utf-8") for name in TEMPLATES}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else plain(value),
    )
    points = [] if data["accuracy"] is None else [(len(data["sub_models"]), data["accuracy"]["split"])]
    drawn = {
        "sizes": sizes(data),
        "latencies": latencies(data),
        "accuracy": None if not points else accuracy_by_devices(data["accuracy"]["whole"], points),
    }
    plots = {name: None if svg is None else Markup(svg) for name, svg in drawn.items()}
    view = {
        "tiles": tiles(data),
        "rows": device_rows(data),
        "published": PUBLISHED,
        "published_source": PUBLISHED_SOURCE,
        "differs": DIFFERS,
    }
    return environment.get_template(TEMPLATES[0]).render(r=data, v=view, plots=plots)


def sizes(data: Mapping[str, Any]) -> str:
    """Parameters and MACs of every sub-model, as shares of the whole model."""
    rows = data["sub_models"]
    whole = data["whole"]
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(0.9 + 0.42 * (len(rows) + 1))
        for place, row in enumerate([{**whole, "device": "whole model", "file": ""}, *rows]):
            for step, (name, tint) in enumerate((("parameters", KINDS[0]), ("macs", KINDS[1]))):
                share, y = 100 * row[name] / max(1, whole[name]), place - 0.2 + 0.4 * step
                label = ("parameters", "products (MACs)")[step] if not place else None
                axes.barh(y, share, height=0.36, color=tint, label=label)
                text = f"{row[name]:,}"
                axes.annotate(text, (share, y), (5, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
        axes.set_yticks(range(len(rows) + 1), ["whole model", *(short(f"{row['device']}: {row['file']}") for row in rows)])
        axes.set_ylim(len(rows) + 0.55, -0.55)
        axes.set_xlim(0, 122)
        axes.set_xticks([0, 25, 50, 75, 100], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.tick_params(length=0)
        axes.grid(axis="x")
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), handlelength=1.2)
        return to_svg(figure, "sizes", "Parameters and products of each sub-model")


def latencies(data: Mapping[str, Any]) -> str | None:
    """Predicted ranges on each board: the whole model, and the slowest sub-model there."""
    bars: list[tuple[str, float, float, str]] = []
    for board, whole in data["whole"]["latency"].items():
        if whole["low_ms"] is not None:
            bars.append((f"{board}: whole model", whole["low_ms"], whole["high_ms"], LINE))
        parts = [row["latency"] for row in data["sub_models"] if row["board"] == board and row["latency"]["low_ms"] is not None]
        if parts:
            bars.append((f"{board}: sub-model", max(p["low_ms"] for p in parts), max(p["high_ms"] for p in parts), ACCENT))
    total = data["latency"]
    if total["low_ms"] is not None:
        bars.append(("all of them, transfer, fusion", total["low_ms"], total["high_ms"], KINDS[2]))
    if not bars:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(0.8 + 0.3 * len(bars))
        longest = max(high for _, _, high, _ in bars)
        for place, (_, low, high, tint) in enumerate(bars):
            axes.barh(place, max(high - low, longest * 0.004), left=low, height=0.62, color=tint)
            text = f"{low:.3g} ms" if low == high else f"{low:.3g} to {high:.3g} ms"
            axes.annotate(text, (high, place), (5, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
        axes.set_yticks(range(len(bars)), [short(name) for name, *_ in bars])
        axes.set_ylim(len(bars) - 0.45, -0.55)
        axes.set_xlim(0, longest * 1.28)
        axes.set_xlabel("predicted milliseconds for one image, int8, one thread")
        axes.tick_params(length=0)
        axes.grid(axis="x")
        return to_svg(figure, "latencies", "Predicted latency on each board")


def accuracy_by_devices(whole: float, points: Sequence[tuple[int, float]]) -> str:
    """Top-1 of deployments by their number of devices, against the whole model's."""
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(2.4)
        axes.axhline(100 * whole, color=MUTED, linewidth=1, linestyle="--")
        axes.annotate(
            f"whole model {100 * whole:.2f} %", (1, 100 * whole), (2, 4), textcoords="offset points", fontsize=8, color=INK
        )
        counts, values = [count for count, _ in points], [100 * value for _, value in points]
        axes.plot(counts, values, marker="o", color=ACCENT, linewidth=1.4)
        for count, value in zip(counts, values, strict=True):
            axes.annotate(f"{value:.2f} %", (count, value), (0, -13), textcoords="offset points", ha="center", fontsize=8)
        axes.set_xlim(0.5, max(10, *counts) + 0.5)
        span = max(2.0, max(*values, 100 * whole) - min(*values, 100 * whole))
        axes.set_ylim(min(*values, 100 * whole) - 0.4 * span, max(*values, 100 * whole) + 0.3 * span)
        axes.set_xlabel("devices")
        axes.set_ylabel("top-1, %")
        axes.xaxis.set_major_formatter(lambda value, _: counted(value))
        axes.grid(axis="y")
        return to_svg(figure, "accuracy-devices", "Accuracy against the number of devices")
