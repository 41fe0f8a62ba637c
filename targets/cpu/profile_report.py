"""Profile -> one self-contained HTML page and one JSON file.

The JSON is the profile (profile_report.schema.json describes it); page and terminal show what it holds and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewright.passes.names import plain


def to_text(data: Mapping[str, Any]) -> str:
    """Return the text of profile.json; finite numbers only."""
    return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=True) + "\n"


def to_html(data: Mapping[str, Any]) -> str:
    """Return the page as text. It needs no network, no script and no other file."""
    import jinja2
    from edgewright.targets.cpu import profile_plots
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        lstrip_blocks=True,
        trim_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else plain(value),
    )
    template = environment.from_string(Path(__file__).with_name("profile_report.html.j2").read_text(encoding="utf-8"))
    kinds = [row["kind"] for row in by_kind(data)]
    drawn = {"steps": profile_plots.steps(data["operations"], kinds), "threads": profile_plots.threads(data["runs"])}
    view = {
        "banners": banners(data),
        "subtitle": subtitle(data),
        "tiles": tiles(data),
        "by_kind": by_kind(data),
        "kinds": profile_plots.kind_variables(kinds),
        "facts": facts(data),
        "conditions": conditions(data),
        "timed": any(op["ms"] for op in data["operations"]),
        "limits": limits(data),
    }
    return template.render(
        r=data, v=view, plots={name: None if svg is None else Markup(svg) for name, svg in drawn.items()}, si=_si, ms=_ms
    )


def fastest(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the run with the smallest median time, None under an emulator."""
    runs: list[dict[str, Any]] = list(data["runs"])
    return min(runs, key=lambda run: float(run["median_ms"])) if runs else None


def banners(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what to read first: a mismatch, notes, then what may have distorted the times."""
    found = []
    if wrong := data["check"]["first_difference"]:
        text = f"First at {wrong['output']}{wrong['index']}: expected {wrong['expected']:g}, found {wrong['found']}."
        found.append({"mood": "bad", "title": "The device computes something else than the model.", "text": text})
    found += [{"mood": "warn", "title": "Note.", "text": note} for note in data["notes"]]
    if data["warnings"]:
        found.append({"mood": "warn", "title": "The times may be distorted.", "text": " ".join(data["warnings"])})
    return found


def subtitle(data: Mapping[str, Any]) -> str:
    """Return one sentence about the artifact."""
    return (
        f"{data['precision']} on the '{data['variant']}' kernels, {_si(data['macs'])} products (MACs) and "
        f"{_si(data['weight_bytes'])}B of weights for one inference"
    )


def lines(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the headline for a terminal: (label, text)."""
    found = [
        (
            f"{run['threads']} thread{'s' if run['threads'] > 1 else ''}",
            f"{_ms(run['median_ms'])} median, {_ms(run['p95_ms'])} p95, {run['gop_per_s']:,.0f} GOP/s, {run['count']} runs",
        )
        for run in data["runs"]
    ]
    slowest = by_kind(data)[:3]
    if data["runs"] and slowest[0]["ms"] is not None:
        found.append(("most time", ", ".join(f"{row['kind']} {row['share']:.0%}" for row in slowest)))
    if counted := data["instructions"]:
        found.append(("instructions", _instructions(counted)))
    found.append(("outputs", _check(data)[0]))
    if power := data["power"]:
        found += [(rail["name"], f"{rail['mj_per_inference']:.3g} mJ per inference") for rail in power["rails"]]
    return found + [("note", text) for text in (*data["notes"], *data["warnings"])]


def tiles(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the headline: label, value, note and mood of each figure."""
    found = []
    best = fastest(data)
    if best is None:
        found.append(_tile("time of one inference", "not measured", "an emulator's times say nothing about the device", "none"))
    else:
        threads = f"{best['threads']} thread{'s' if best['threads'] > 1 else ''}"
        first = data["runs"][0]
        alone = "" if first is best else f"; with {first['threads']}: {_ms(first['median_ms'])}"
        found.append(_tile("time of one inference", _ms(best["median_ms"]), f"median of {best['count']}, {threads}{alone}"))
        note = f"{best['per_second']:,.0f} inferences per second, {threads}"
        found.append(_tile("speed", f"{best['gop_per_s']:,.1f} GOP/s", note))
    if counted := data["instructions"]:
        each = "" if counted["per_mac"] is None else f"{counted['per_mac']:.3f} for each product"
        if counted["of_tvm_default"] is not None:
            each += f"; {counted['of_tvm_default']:.0%} of TVM's default pipeline"
        found.append(_tile("instructions of one inference", _si(counted["per_inference"]), each))
    value, note, mood = *_check(data), "none" if data["check"]["right"] is None else "good"
    found.append(_tile("outputs", value, note, "bad" if data["check"]["right"] is False else mood))
    if (power := data["power"]) and (rail := _main_rail(power)):
        note = f"{rail['busy_mw'] / 1e3:.2f} W on {rail['name']} while it runs"
        found.append(_tile("energy of one inference", f"{rail['mj_per_inference']:.3g} mJ", note))
    return found


def by_kind(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps by kind: the slowest kind first, or in program order where nothing was timed."""
    rows: dict[str, dict[str, Any]] = {}
    for op in data["operations"]:
        row = rows.setdefault(op["kind"], {"kind": op["kind"], "count": 0, "macs": 0, "bytes": 0, "ms": None, "share": None})
        row["count"] += 1
        row["macs"] += op["macs"]
        row["bytes"] += op["bytes"]
        if op["ms"]:
            row["ms"] = (row["ms"] or 0.0) + op["ms"][0]["median"]
            row["share"] = (row["share"] or 0.0) + (op["share"] or 0.0)
    for row in rows.values():
        row["gop_per_s"] = 2 * row["macs"] / row["ms"] * 1e-6 if row["macs"] and row["ms"] else None
    return sorted(rows.values(), key=lambda row: -(row["ms"] or 0.0))


def facts(data: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return how the figures were measured."""
    machine, asked = data["device"]["machine"] or {}, data["settings"]
    memory = machine.get("memory_bytes") or 0
    return [
        ("device", data["device"]["name"]),
        ("emulated processor" if data["device"]["emulated"] else "machine", data["device"]["cpu"] or machine.get("name")),
        ("processors", str(machine["processors"]) if machine.get("processors") else None),
        ("memory", f"{memory / 2**30:.1f} GiB" if memory else None),
        ("kernel, C library", f"{machine['kernel']}, glibc {machine['libc']}" if machine.get("kernel") else None),
        ("compiled for", f"{data['target']} ({data['arch']}, {data['variant']})"),
        ("input", data["input"]),
        (
            "runs",
            f"{asked['warmup']} to warm up, then {asked['repeat']}; {asked['step_runs']} step by step"
            if data["runs"]
            else None,
        ),
        ("compiler", f"Edgewright {data['edgewright']}"),
    ]


def conditions(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (what, before, after) for everything that the device reports."""
    before, after = (data["conditions"][when] for when in ("before", "after"))
    if before is None or after is None:
        return []
    rows: list[tuple[str, str, str]] = [
        ("clock governor", ", ".join(before["governors"]), ", ".join(after["governors"])),
        ("clock", _clock(before), _clock(after)),
        ("highest clock", _megahertz(before["clock_max_khz"]), _megahertz(after["clock_max_khz"])),
        ("throttled since boot", _known(before["throttle_count"]), _known(after["throttle_count"])),
        ("firmware flags", _known(before["throttled_flags"], "{:#x}"), _known(after["throttled_flags"], "{:#x}")),
        ("load", _known(before["load"], "{:.2f}"), _known(after["load"], "{:.2f}")),
    ]
    later = {i: zone for i, zone in enumerate(after["thermal"])}
    for i, zone in enumerate(before["thermal"]):
        end = f"{later[i]['millicelsius'] / 1e3:.1f} °C" if i in later else ""
        rows.append((zone["name"] or "temperature", f"{zone['millicelsius'] / 1e3:.1f} °C", end))
    return [row for row in rows if row[1] or row[2]]


def limits(data: Mapping[str, Any]) -> list[str]:
    """Return what the figures do not mean."""
    sentences = []
    if data["runs"]:
        sentences.append(
            "A step timed alone finds its data in other caches than in the whole program, and reading the clock takes time: "
            "compare the shares; the sum of the steps differs from the whole."
        )
    if data["device"]["name"].startswith("rpc:"):
        sentences.append(
            "Over TVM's RPC the model runs on TVM's runtime and threads, not on our runner, which is a little faster."
        )
    if data["device"]["emulated"]:
        sentences.append(
            "Instructions are those of one inference on one thread; how many a processor executes per cycle varies."
        )
    return [*sentences, "One input was run; times of these models do not depend on the data."]


def _check(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return (verdict, how it was checked)."""
    check = data["check"]
    if check["right"] is None:
        return "not checked", "the artifact holds no graph to compare with"
    values = f"{check['values']:,} values"
    if check["equal_bits"]:
        return ("identical bits" if check["right"] else "other bits"), f"{values} against the interpreter"
    error = "not finite" if check["largest_error"] is None else f"{check['largest_error']:.1e}"
    how = f"{values} against the interpreter, largest error {error} of the largest output"
    return ("right" if check["right"] else "wrong"), how


def _main_rail(power: Mapping[str, Any]) -> dict[str, Any] | None:
    rails: list[dict[str, Any]] = list(power["rails"])
    return next((rail for rail in rails if rail["name"] == power["input_rail"]), None)


def _instructions(counted: Mapping[str, Any]) -> str:
    each = "" if counted["per_mac"] is None else f", {counted['per_mac']:.3f} per product"
    share = "" if counted["of_tvm_default"] is None else f", {counted['of_tvm_default']:.0%} of TVM's default pipeline"
    return f"{_si(counted['per_inference'])} per inference{each}{share}"


def _tile(label: str, value: str, note: str, mood: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "note": note, "mood": mood}


def _known(value: float | None, spelling: str = "{}") -> str:
    return "" if value is None else spelling.format(value)


def _clock(when: Mapping[str, Any]) -> str:
    return _megahertz(when["clock_khz"])


def _megahertz(khz: list[float]) -> str:
    if not khz:
        return ""
    low, high = min(khz) / 1e3, max(khz) / 1e3
    return f"{high:,.0f} MHz" if high - low < 1 else f"{low:,.0f} to {high:,.0f} MHz"


def _ms(value: float) -> str:
    if value < 0.1:
        return f"{value * 1e3:.3g} µs"
    return f"{value:,.3g} ms" if value < 1000 else f"{value:,.0f} ms"


def _si(value: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g} "
