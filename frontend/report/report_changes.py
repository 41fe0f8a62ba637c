"""What passes changed, as the words and rows that the page and the terminal show alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewright.frontend.report.report_words import NOT_MEASURED, about, between, bytes_of, percent, points, si, tile

SHOWN_ROWS = 12  # of a table before it folds away
TITLES = {
    "SelectExperts": "Experts of one task",
    "FuseBlocks": "Blocks fused into their neighbours",
    "HashAttentionLayers": "Hashed attention",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a snapshot. more_is_better: accuracy; range: an estimate from low to high."""

    key: str
    label: str
    text: Callable[[float], str]
    more_is_better: bool = False


MEASURES = (
    Measure("accuracy", "accuracy", percent, True),
    Measure("macs", "products (MACs)", si),
    Measure("parameters", "parameters", si),
    Measure("weights_bytes", "weights", bytes_of),
    Measure("temporaries_bytes", "temporaries", bytes_of),
    Measure("cycles", "cycles (predicted)", lambda value: f"{value:,.0f}"),
    Measure("latency", "latency (estimate)", lambda value: f"{about(value)} ms"),
)
SIZES = tuple(one for one in MEASURES if not one.more_is_better)


def view(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of `changes`."""
    changes = data["changes"]
    return {
        "changes": [change_view(one) for one in changes],
        "whole": rows(changes[0]["before"], changes[-1]["after"]) if len(changes) > 1 else [],
        "names": ["as it was", *(f"after {one['name']}" for one in changes)],
    }


def change_view(change: Mapping[str, Any]) -> dict[str, Any]:
    """One pass: its figures before and after, what was compared, what it says itself."""
    return {
        "name": change["name"],
        "title": TITLES.get(change["name"], change["name"]),
        "kind": "exact" if change["exact"] else "approximate",
        "rows": rows(change["before"], change["after"]),
        "compared": compared(change),
        "counts": [f"{event}: {times:,}" for event, times in change["counts"].items()],
        "tables": [table(one) for one in change["tables"]],
    }


def value_of(snapshot: Mapping[str, Any], key: str) -> float | None:
    """A figure of a snapshot; the middle of the range for `latency`."""
    if key != "latency":
        found = snapshot[key]
        return None if found is None else float(found)
    low, high = snapshot["latency_low_ms"], snapshot["latency_high_ms"]
    return None if low is None or high is None else (low + high) / 2


def rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row for each figure that either side has: label, before, after, change and its mood."""
    found = []
    for one in MEASURES:
        old, new = value_of(before, one.key), value_of(after, one.key)
        if old is None and new is None:
            continue
        change, mood = difference(one, old, new)
        found.append(
            {"label": one.label, "before": shown(one, before), "after": shown(one, after), "change": change, "mood": mood}
        )
    if before["scores"] and not (before["accuracy"] is None and after["accuracy"] is None):
        found[0]["label"] = accuracy_label(before, after)
    return found


def accuracy_label(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What the accuracy is of: the output that both have."""
    names = [score["output"] for score in after["scores"]]
    own = next((score for score in before["scores"] if score["output"] in names), None)
    if own is None:
        return "accuracy"
    which = f" of {own['output']}" if len(before["scores"]) > 1 else ""
    return f"{own['metric']}{which}"


def shown(one: Measure, snapshot: Mapping[str, Any]) -> str:
    """A figure as text; an estimate as its range."""
    if one.key == "latency":
        low, high = snapshot["latency_low_ms"], snapshot["latency_high_ms"]
        return NOT_MEASURED if low is None or high is None else f"{between(low, high)} ms"
    value = value_of(snapshot, one.key)
    return NOT_MEASURED if value is None else one.text(value)


def difference(one: Measure, old: float | None, new: float | None) -> tuple[str, str]:
    """(how much it changed, "good", "bad" or "")."""
    if old is None or new is None:
        return "", ""
    if one.more_is_better:
        return points(new - old), "bad" if new < old - 0.01 else ""
    if old == 0:
        return ("unchanged" if new == 0 else ""), ""
    share = 100 * (new / old - 1)
    if abs(share) < 0.05:
        return "unchanged", ""
    return f"{share:+.1f} %", "good" if new < old else "bad"


def compared(change: Mapping[str, Any]) -> str:
    """What the models before and after said on the same samples, one sentence."""
    if change["agreement"] is None:
        return "Exact: the same values but for rounding." if change["exact"] else "Nothing was compared: there was no data."
    count = change["images"]
    over = f"{count:,} sample{'s'[: count != 1]}"
    said = f"Both models agree on {percent(change['agreement'])} of {over}"
    if change["learned"]:
        said += f"; the pass learned from {change['learned']:,} others"
    return f"{said}."


def table(one: Mapping[str, Any]) -> dict[str, Any]:
    """A pass's table as text, with what is drawn of it."""
    body = [[cell(value) for value in row] for row in one["rows"]]
    numeric = [all(not isinstance(row[i], str) for row in one["rows"]) for i in range(len(one["columns"]))]
    return {**one, "body": body, "numeric": numeric, "folds": len(body) > SHOWN_ROWS or one["draw"] != "table"}


def cell(value: object) -> str:
    """One value of a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "0" if value == 0 else f"{value:,.4g}" if abs(value) >= 1e-4 else f"{value:.1e}"
    return str(value)


def tiles(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """The headline of a run without a target: the first model beside the last one."""
    changes = data["changes"]
    if not changes:
        return [
            tile("Products (MACs)", None if data["macs"] is None else si(data["macs"]), "for one inference"),
            tile("Parameters", None if data["parameters"] is None else si(data["parameters"]), ""),
        ]
    found = []
    for row in rows(changes[0]["before"], changes[-1]["after"]):
        mood = "bad" if row["mood"] == "bad" else "good" if row["mood"] == "good" else ""
        label = row["label"][:1].upper() + row["label"][1:]
        found.append(tile(label, row["after"], f"was {row['before']} ({row['change'] or 'n/a'})", mood))
    agreed = [one["agreement"] for one in changes if one["agreement"] is not None]
    if agreed:
        which = "of the pass that changed most" if len(agreed) > 1 else "with the model before the pass"
        found.append(tile("Agreement", percent(min(agreed)), f"{which}, over {changes[0]['images']:,} samples"))
    return found


def maps(tables: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that are drawn as heat maps."""
    return [one for one in tables if one["draw"] == "map"]
