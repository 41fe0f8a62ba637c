"""Figures of a report as words: what a page and the terminal say alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NOT_MEASURED = "not measured"
COLOURED = 7  # kinds of steps with a colour of their own; the others share the palette's last one


def tile(label: str, value: str | None, note: str, mood: str = "") -> dict[str, str]:
    """One figure of the headline; None for its value: nobody measured it."""
    missing = value is None
    return {"label": label, "value": value or NOT_MEASURED, "note": note, "mood": "none" if missing else mood}


def percent(value: float | None) -> str:
    """A fraction as a percentage with two decimals."""
    return NOT_MEASURED if value is None else f"{100 * value:.2f} %"


def points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.2f} points".replace("+0.00", "±0.00").replace("-0.00", "±0.00")


def si(value: float) -> str:
    """A count with three digits and a decimal prefix."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"


def bytes_of(count: float) -> str:
    """A size with three digits and a binary prefix."""
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= size:
            return f"{count / size:,.3g} {unit}"
    return f"{count:,.0f} bytes"


def about(value: float) -> str:
    """Two digits, for an estimate knows no more."""
    rounded = float(f"{value:.2g}")
    decimals = max(0, 1 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{rounded:,.{decimals}f}"


def share(value: float) -> str:
    """A fraction of an estimate, in whole percent."""
    return "<1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"


def between(low: float, high: float) -> str:
    """A range of estimates; one figure where both ends read the same."""
    first, last = about(low), about(high)
    return first if first == last else f"{first}\N{EN DASH}{last}"


def threads_of(count: int | None) -> str:
    """A thread count with its noun."""
    return "threads not stated" if count is None else "1 thread" if count == 1 else f"{count} threads"


def accuracy(data: Mapping[str, Any]) -> dict[str, str]:
    """The three accuracy figures of a report as text."""
    exact, integer = data["accuracy"]["float"], data["accuracy"]["int8"]
    difference = NOT_MEASURED if exact is None or integer is None else points(integer - exact)
    return {"float": percent(exact), "int8": percent(integer), "difference": difference}


def accuracy_tile(data: Mapping[str, Any]) -> dict[str, str]:
    """The accuracy of what was compiled, beside the float model's where that is another."""
    own, precision = data["accuracy"], data["precision"]
    label, shown = f"Accuracy, {precision}", accuracy(data)
    compiled = "float" if precision == "fp32" else "int8"
    if own[compiled] is None:
        return tile(label, None, "give labelled data to measure it")
    both = compiled == "int8" and own["float"] is not None
    first, *others = own["outputs"] or [{"metric": "top-1", "output": ""}]
    metric = "top-1" if first["metric"] == "top-1" else f"{first['metric']} of '{first['output']}'"
    note = f"float model {shown['float']} ({shown['difference']})" if both else metric
    if both and (first["metric"] != "top-1" or others):
        note = f"{metric}; {note}"
    seen = "" if own["images"] is None else f", {own['images']:,} images"
    more = "".join(f"; {one['output']}: {percent(one[compiled])}" for one in others)
    return tile(label, shown[compiled], note + seen + more)


def accuracies(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each output with labels: what is counted, before and after quantisation, over how many images."""
    own = data["accuracy"]
    rows = own["outputs"] or [{"output": "", "metric": "top-1", **{k: own[k] for k in ("float", "int8", "images")}}]
    several = len(rows) > 1
    return [
        {
            "name": f"{row['output']}, {row['metric']}" if several or row["metric"] != "top-1" else "top-1 accuracy",
            "images": row["images"],
            **accuracy({"accuracy": row}),
        }
        for row in rows
    ]
