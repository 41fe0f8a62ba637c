"""What a split is, in words and rows, for the report and the terminal alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PUBLISHED = (
    ("latency on edge devices", "up to 28.9 times shorter"),
    ("size of the model on one device", "up to 34.1 times smaller"),
)
PUBLISHED_SOURCE = "ED-ViT (arXiv 2410.11650), abstract"
DIFFERS = (
    "Its models are ViT-Small, Base and Large for 224 x 224 images; a small model has less to spare.",
    "Its latencies are measured on boards with the unsplit model in the same framework; these are predictions for int8 code.",
    "It prunes, then assigns, and prunes again what does not fit; here costs follow from shapes, so nothing is trained twice.",
    "Sub-models and fusion learn once more all together, besides one by one; their features then complete each other.",
    "Importance is estimated for all units and exact only near the cut; sub-models learn an 'other' output besides.",
    "Energy is predicted as power times latency where a fleet limits it; ED-ViT counts operations.",
)


def ratio(whole: float | None, part: float | None) -> str:
    """How many times less."""
    return "" if not whole or not part else f"{whole / part:.1f} times less"


def milliseconds(latency: Mapping[str, Any]) -> str | None:
    """A range of predicted milliseconds; one figure where both ends are the same."""
    low, high = latency["low_ms"], latency["high_ms"]
    if low is None or high is None:
        return None
    return f"{low:.3g} ms" if low == high else f"{low:.3g} to {high:.3g} ms"


def tiles(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """The headline figures."""
    heaviest = max(data["sub_models"], key=lambda row: row["parameters"])
    whole, accuracy = data["whole"], data["accuracy"]
    found = [
        _tile(
            "Parameters per device, at most",
            f"{heaviest['parameters']:,}",
            f"the whole model: {whole['parameters']:,}, {ratio(whole['parameters'], heaviest['parameters'])}",
        ),
        _tile(
            "Products (MACs) per device, at most",
            f"{max(row['macs'] for row in data['sub_models']):,}",
            f"the whole model: {whole['macs']:,}",
        ),
    ]
    if accuracy is None:
        found.append(_tile("Top-1 accuracy", None, "not measured: the data has no labels to measure on"))
    else:
        lost = 100 * (accuracy["whole"] - accuracy["split"])
        note = f"whole model {100 * accuracy['whole']:.2f} %, {lost:+.2f} points lost, {accuracy['images']:,} samples"
        found.append(_tile("Top-1 accuracy", f"{100 * accuracy['split']:.2f} %", note))
    found.append(_tile("Latency of the deployment", milliseconds(data["latency"]), "predicted, with transfer and fusion"))
    return found


def device_rows(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row for each sub-model."""
    accuracy = data["accuracy"]
    rows = []
    for i, row in enumerate(data["sub_models"]):
        whole = data["whole"]["latency"].get(row["board"], {"low_ms": None, "high_ms": None})
        rows.append(
            {
                "device": row["device"],
                "file": row["file"],
                "classes": ", ".join(map(str, row["classes"])),
                "shape": f"{row['width']} / {row['heads']} / {row['hidden']}",
                "parameters": f"{row['parameters']:,}",
                "macs": f"{row['macs']:,}",
                "memory": f"{row['memory_bytes'] / 1024:,.0f} KiB",
                "latency": milliseconds(row["latency"]) or "not predicted",
                "whole": milliseconds(whole) or "not predicted",
                "accuracy": "" if accuracy is None else f"{100 * accuracy['sub_models'][i]:.2f} %",
            }
        )
    return rows


def _tile(label: str, value: str | None, note: str) -> dict[str, str]:
    return {"label": label, "value": value or "not predicted", "note": note, "mood": "" if value else "none"}
