"""What a report of a CPU build says: the words and rows of its page, which the terminal shows too.

Latencies are estimates everywhere here; nothing was timed when a report is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgewright.frontend.report.report_words import (
    COLOURED,
    about,
    accuracy_tile,
    between,
    bytes_of,
    share,
    si,
    threads_of,
    tile,
)

UNTIMED = "estimate, nothing was timed"
LIMITS = {
    "products": "multiply-adds of products",
    "rows": "elementwise and row work",
    "L2": "transfers from the L2 cache",
    "L3": "transfers from the L3 cache",
    "memory": "transfers from memory",
    "overhead": "calls and waking threads",
}
_MENTIONED = 0.05  # a smaller share of the time is not worth a word in the headline


def view(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the page of a CPU build shows besides the report itself."""
    operations = data["operations"]
    timed, kinds = bool(data["latency"]), by_kind(data)
    low, high = (sum(op[end] or 0.0 for op in operations) / 1e3 for end in ("low_us", "high_us"))
    colours = {row["title"]: f"var(--k{place})" for place, row in enumerate(kinds[:COLOURED])}
    if len(kinds) > COLOURED:
        colours["other kinds"] = f"var(--k{COLOURED})"
    ends = (data["latency"][0]["assumptions_low"], data["latency"][0]["assumptions_high"]) if timed else ("", "")
    return {
        "operations": [_operation(op) for op in operations],
        "colours": colours,
        "whole": {"low": about(low), "high": about(high)} if timed else None,
        "estimates": [_estimate(one) for one in data["latency"]],
        "published": [_published(number, row) for number, row in enumerate(data["published"], 1)],
        "kinds": [_kind(row) for row in kinds],
        "needs": needs(data),
        "steps": next_steps(data),
        "core": data["latency"][0]["core"] if data["latency"] else "",
        "ends": ends,
        "waits": waits(data),
    }


def limit_names(data: Mapping[str, Any]) -> list[str]:
    """Limits that take a share of some estimate, in the order of LIMITS; others after them."""
    taken = [name for one in data["latency"] for name, part in one["limits"].items() if part > 0]
    return list(dict.fromkeys([*(name for name in LIMITS if name in taken), *taken]))


def waits(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the time waits for, in words, with the colour of its share."""
    return [(LIMITS.get(name, name), f"var(--k{i % (COLOURED + 1)})") for i, name in enumerate(limit_names(data))]


def subtitle(data: Mapping[str, Any]) -> str:
    """One sentence about the model."""
    parts = [f"{data['precision']} model"]
    if data["parameters"] is not None:
        parts.append(f"{si(data['parameters'])} parameters")
    if data["macs"] is not None:
        parts.append(f"{si(data['macs'])} products (MACs) for one input")
    count = len(data["operations"])
    return ", ".join([*parts, f"{count} step{'s'[: count != 1]}"])


def tiles(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """The headline: label, value, note and mood of each figure."""
    found = [*_latency(data["latency"]), accuracy_tile(data), _memory(data["artifact"]), _kernels(data["artifact"])]
    if limits := _limits(data["latency"]):
        found.insert(len(data["latency"]), limits)
    return found


def by_kind(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Steps summed by kind, those that take longest (without an estimate: those with most products) first; low_ms, high_ms
    and share are None without an estimate. share: of the middle of the range with one thread."""
    operations = data["operations"]
    whole = sum(_middle(op) for op in operations)
    rows = []
    for kind in dict.fromkeys(op["kind"] for op in operations):
        own = [op for op in operations if op["kind"] == kind]
        timed = whole > 0 and all(op["low_us"] is not None for op in own)
        rows.append(
            {
                "kind": kind,
                "title": title(kind),
                "count": len(own),
                "macs": sum(op["macs"] for op in own),
                "low_ms": sum(op["low_us"] for op in own) / 1e3 if timed else None,
                "high_ms": sum(op["high_us"] for op in own) / 1e3 if timed else None,
                "share": sum(_middle(op) for op in own) / whole if timed else None,
            }
        )
    return sorted(rows, key=lambda row: (-(row["share"] or 0.0), -row["macs"]))


def title(kind: str) -> str:
    """The kind of a fused step, with air between its operators."""
    return " + ".join(kind.split("+"))


def facts(data: Mapping[str, Any], calibration: str | None) -> list[tuple[str, str | None]]:
    """How the figures came about."""
    clock, peak = data["clock_mhz"], data["peak_memory_mib"]
    shown = [] if data["precision"] == "fp32" else [("calibration", calibration)]
    return [
        *shown,
        ("processor clock", None if clock is None else f"{clock:,g} MHz, what all cores are taken to keep up"),
        ("peak memory of the compiler", None if peak is None else f"{peak:,.0f} MiB"),
    ]


def limits(data: Mapping[str, Any]) -> list[str]:
    """What a reader could wrongly take from the figures."""
    said = ["Nothing was timed. `edgewright profile` measures."]
    if data["latency"]:
        said = [
            "Nothing was timed: latencies are estimates by a model of the processor. `edgewright profile` measures.",
            "Heat, other programs and the clock's governor are not in the estimate; each of them makes it slower.",
        ]
    if data["published"]:
        said.append(
            "Published measurements are of other models and runtimes: they show the order of magnitude, "
            "not what this model will need."
        )
    if data["precision"] == "int8":
        said.append("Accuracy was computed with the integer model; the code was not run yet.")
    else:
        said.append("float32 sums are added up in another order than in the model, so the last digits of outputs differ.")
    return said


def needs(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What the artifact is and takes: term, figure, meaning."""
    own = data["artifact"]
    both = own["weights_bytes"] + own["temporaries_bytes"]
    features = ", ".join(own["features"]) or "nothing beyond the architecture"
    return [
        ("kernels", f"{own['variant']} ({own['arch']})", f"needs {features}; checked before it runs"),
        ("library", bytes_of(own["library_bytes"]), "machine code, model.so"),
        ("weights", bytes_of(own["weights_bytes"]), "packed for these kernels, weights.bin"),
        ("temporaries", bytes_of(own["temporaries_bytes"]), "values between the steps, which share addresses as they end"),
        ("while it runs", bytes_of(both), "weights and temporaries"),
    ]


def next_steps(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Commands and what they tell; DIR stands for the artifact's folder."""
    measured = "times it, for several thread counts and every step, and writes profile.html"
    if data["target"] == "host":
        exact = "same bits" if data["precision"] == "int8" else "same values"
        return [
            ("edgewright run DIR --check", f"runs the samples in it and compares with the interpreter: {exact}"),
            ("edgewright profile DIR --device local", f"{measured}"),
        ]
    return [
        ("edgewright profile DIR --device ssh://user@board", f"copies it to the board, {measured}"),
        ("edgewright profile DIR --device qemu", "without a board: checks its outputs and counts instructions under emulation"),
    ]


def _latency(estimates: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    if not estimates:
        because = "the target's processor does not run these kernels, or is not known"
        return [tile("Estimated latency", "not estimated", because, "none")]
    first = estimates[0]
    found = []
    for one in estimates:
        low, high = one["low_ms"], one["high_ms"]
        if one is first:
            note = f"{UNTIMED}; {between(1000 / high, 1000 / low)} per second" if low > 0 else UNTIMED
        else:
            gains = sorted((first["low_ms"] / low, first["high_ms"] / high)) if low > 0 else [1.0, 1.0]
            note = f"{UNTIMED}; {between(*gains)} times as fast as {threads_of(first['threads'])}"
        found.append(tile(f"Estimated latency, {threads_of(one['threads'])}", f"{between(low, high)} ms", note))
    return found


def _limits(estimates: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    if not estimates:
        return None
    ranked = [sorted(one["limits"].items(), key=lambda pair: -pair[1]) for one in estimates]
    notes = []
    for one, shares in zip(estimates, ranked, strict=True):
        named = [f"{name} {share(part)}" for name, part in shares if part >= _MENTIONED]
        notes.append(f"{threads_of(one['threads'])}: {', '.join(named)}")
    return tile("Held back by (estimate)", ranked[0][0][0], "; ".join(notes))


def _memory(own: Mapping[str, Any]) -> dict[str, str]:
    weights, temporaries = own["weights_bytes"], own["temporaries_bytes"]
    note = f"weights {bytes_of(weights)}, temporaries {bytes_of(temporaries)}; library {bytes_of(own['library_bytes'])}"
    return tile("Memory while it runs", bytes_of(weights + temporaries), note)


def _kernels(own: Mapping[str, Any]) -> dict[str, str]:
    features = own["features"]
    listed = ", ".join(features) if len(features) <= 3 else f"{', '.join(features[-2:])} and {len(features) - 2} more"
    return tile("Kernels", own["variant"], f"{own['arch']}{f', needs {listed}' if features else ''}")


def _estimate(one: Mapping[str, Any]) -> dict[str, str]:
    ranked = sorted(one["limits"].items(), key=lambda pair: -pair[1])
    named = [f"{name} {share(part)}" for name, part in ranked if part >= _MENTIONED]
    return {
        "threads": threads_of(one["threads"]),
        "low": f"{about(one['low_ms'])} ms",
        "high": f"{about(one['high_ms'])} ms",
        "limits": ", ".join(named),
    }


def _published(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": number,
        "model": row["model"],
        "ratio": about(row["macs_ratio"]),
        "threads": "not stated" if row["threads"] is None else str(row["threads"]),
        "ms": f"{row['ms']:,.3g}" if row["ms"] < 1000 else f"{row['ms']:,.0f}",
        "how": f"{row['precision']}, {row['runtime']}",
        "differs": row["differs"],
        "source": row["source"],
    }


def _kind(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["share"] is None:
        return {**row, "low": "", "high": "", "part": ""}
    return {**row, "low": _small(row["low_ms"]), "high": _small(row["high_ms"]), "part": share(row["share"])}


def _small(milliseconds: float) -> str:
    return "<0.001" if 0 < milliseconds < 0.001 else about(milliseconds)


def _operation(op: Mapping[str, Any]) -> dict[str, Any]:
    timed = op["low_us"] is not None and op["high_us"] is not None
    shown = {"low": about(op["low_us"]) if timed else "", "high": about(op["high_us"]) if timed else ""}
    plain = {key: op[key] for key in ("name", "macs", "bytes")}
    return {**shown, **plain, "kind": title(op["kind"]), "limit": op["limit"] or ""}


def _middle(operation: Mapping[str, Any]) -> float:
    low, high = operation["low_us"], operation["high_us"]
    return 0.0 if low is None or high is None else float(low + high) / 2
