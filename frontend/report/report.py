"""Report -> one self-contained HTML page and one JSON file.

The JSON is the report (report.schema.json describes it); the page and the terminal show what it holds and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewright.frontend.files.publish import write_results
from edgewright.frontend.report import report_changes, report_cpu
from edgewright.frontend.report.report_words import NOT_MEASURED, accuracies, accuracy_tile, si, tile
from edgewright.passes.names import plain

RESOURCES = {
    "dsp": "DSP slices",
    "lut": "LUTs",
    "ff": "flip-flops",
    "bram36": "block RAM, 36 Kb",
    "uram": "UltraRAM, 288 Kb",
}
FITS = "Fits the board?"
TEMPLATES = (
    "report.html.j2",
    "report_optimised.html.j2",
    "report_fpga.html.j2",
    "report_cpu.html.j2",
    "report_changes.html.j2",
    "report_style.css.j2",
)
RANDOM_CALIBRATION = "Calibrated with random inputs."


def schema() -> dict[str, Any]:
    """The JSON schema of report.json, as shipped."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("report.schema.json").read_text(encoding="utf-8"))
    return found


def to_text(data: Mapping[str, Any]) -> str:
    """report.json's text: sorted by hand in the schema's order, finite numbers only."""
    return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=True) + "\n"


def write(data: Mapping[str, Any], directory: Path) -> tuple[Path, Path]:
    """Put report.html and report.json into a folder that exists; both appear whole, or nothing changes."""
    write_results({"report.html": to_html(data).encode(), "report.json": to_text(data).encode()}, directory)
    return directory / "report.html", directory / "report.json"


def to_html(data: Mapping[str, Any]) -> str:
    """The page of a build or simulation, as text. Needs no network, no script and no file beside it."""
    view = {
        "banners": banners(data),
        "subtitle": subtitle(data),
        "tiles": tiles(data),
        "accuracies": accuracies(data),
        "facts": facts(data),
        "limits": limits(data),
        **changed(data),
        **(report_cpu.view(data) if for_cpu(data) else _view(data)),
    }
    return rendered(TEMPLATES[0], data, view, _drawn(data))


def changed(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the section on passes shows; `where`: what its estimates are for."""
    threads = "" if data["cycles"]["predicted"] is not None else ", one thread"
    where = "this machine" if data["target"] == "host" else data["target"]
    shown = report_changes.view(data) if data["changes"] else {}
    return {"changed": shown, "where": f"{where}, {data['precision']}{threads}"}


def rendered(template: str, data: Mapping[str, Any], view: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """A page from one of the templates. `figures`: SVG elements by name, lists of lists of them, or None."""
    import jinja2
    from markupsafe import Markup

    def safe(figure: Any) -> Any:
        return [safe(one) for one in figure] if isinstance(figure, list) else None if figure is None else Markup(figure)

    environment = jinja2.Environment(
        loader=jinja2.DictLoader({name: Path(__file__).with_name(name).read_text(encoding="utf-8") for name in TEMPLATES}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else plain(value),
    )
    environment.globals["number"] = _number
    plots = {name: safe(figure) for name, figure in figures.items()}
    return environment.get_template(template).render(r=data, v=view, plots=plots, names=RESOURCES, cpu=for_cpu(data))


def _number(value: int | None) -> Any:
    from markupsafe import Markup

    return Markup('<span class="none">{}</span>').format(NOT_MEASURED) if value is None else f"{value:,}"


def for_cpu(data: Mapping[str, Any]) -> bool:
    """Whether it is a build for a CPU; otherwise it is one for an FPGA."""
    return data["artifact"] is not None


def drawn_changes(data: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of what passes changed."""
    from edgewright.frontend.report import report_changes_plots

    return {
        "before_after": report_changes_plots.before_after(data["changes"]),
        "tables": [report_changes_plots.drawn(one["tables"]) for one in data["changes"]],
    }


def _drawn(data: Mapping[str, Any]) -> dict[str, Any]:
    """The figures by name; None where there is nothing to draw."""
    from edgewright.frontend.report import report_cpu_plots, report_plots

    shared = {
        "sqnr": report_plots.sqnr(data["layers"]),
        "stages": report_plots.stages(data["stages"]),
        **drawn_changes(data),
    }
    if for_cpu(data):
        kinds = report_cpu.by_kind(data)
        return {
            **shared,
            "latency": report_cpu_plots.latency(data["latency"], data["published"]),
            "limits": report_cpu_plots.limits(data["latency"], report_cpu.limit_names(data)),
            "kinds": report_cpu_plots.kinds(kinds),
            "steps": report_cpu_plots.steps(data["operations"], [row["kind"] for row in kinds]),
        }
    roof = data["roofline"]
    return {
        **shared,
        "cycles": report_plots.cycles(data["operations"]),
        "resources": report_plots.resources(data["resources"], RESOURCES),
        "memory": report_plots.memory(data["memory_map"]),
        "roofline": report_plots.roofline(data["operations"], roof["macs_per_cycle"], roof["bytes_per_cycle"]),
    }


def _view(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the page of an FPGA build shows besides the report itself."""
    from edgewright.frontend.report import report_plots

    return {
        "cycles_source": "counted in simulation" if data["cycles"]["simulated"] is not None else "predicted",
        "kinds": report_plots.kind_variables(op["kind"] for op in data["operations"]),
        "regions": report_plots.kind_variables(entry["region"] for entry in data["memory_map"]),
        "by_kind": by_kind(data),
        "cycles": cycles_of(data),
        "busy": _busy(data["macs"], cycles_of(data), data),
    }


def banners(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """What has to be read before anything else: random calibration first, then a mismatch, then notes."""
    found = []
    if data["calibration"]["kind"] == "random":
        others = "latency and memory" if for_cpu(data) else "cycles and resources"
        text = f"Accuracy and noise figures say nothing about real data; {others} are unaffected."
        found.append({"mood": "warn", "title": RANDOM_CALIBRATION, "text": text})
    if wrong := data["mismatch"]:
        text = (
            f"First at operation {wrong['operation']}, tensor {wrong['tensor']}{wrong['index']}: "
            f"expected {wrong['expected']}, the hardware stored {wrong['found']}."
        )
        found.append({"mood": "bad", "title": "The hardware differs from the integer model.", "text": text})
    found += [{"mood": "warn", "title": "Note.", "text": note} for note in data["notes"]]
    return found


def subtitle(data: Mapping[str, Any]) -> str:
    """One sentence about the model."""
    if for_cpu(data):
        return report_cpu.subtitle(data)
    parts = [f"{data['precision']} transformer"]
    if data["parameters"] is not None:
        parts.append(f"{si(data['parameters'])} parameters")
    if data["macs"] is not None:
        parts.append(f"{si(data['macs'])} products (MACs) for one image")
    return ", ".join(parts)


def tiles(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """The headline: label, value, note and mood ("good", "bad", "none" or "") of each figure."""
    if for_cpu(data):
        return report_cpu.tiles(data)
    return [_exactness(data), accuracy_tile(data), *_speed(data), _efficiency(data), _fit(data)]


def facts(data: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """How the figures came about."""
    run, calibration = data["simulation"], data["calibration"]
    seen = "" if calibration["images"] is None else f", {calibration['images']:,} images"
    method = "" if calibration["method"] is None else f", {calibration['method']}"
    kinds = {"random": "random inputs", "data": "your data", None: None}
    where = kinds[calibration["kind"]]
    calibrated = None if where is None else f"{where}{seen}{method}"
    if for_cpu(data):
        return report_cpu.facts(data, calibrated)
    speed = None if run["kcycles_per_s"] is None else f"{run['kcycles_per_s']:,.0f} thousand cycles per second"
    build = run["build_seconds"]
    built = None if build is None else "from the cache" if build == 0 else f"{build:,.1f} s"
    clock = data["clock_mhz"]
    return [
        ("calibration", calibrated),
        ("target clock", None if clock is None else f"{clock:g} MHz, a target: nothing has been placed and routed"),
        ("simulator", run["simulator"]),
        ("simulator build", built),
        ("simulation", None if run["seconds"] is None else f"{run['seconds']:,.1f} s for {data['images']} images"),
        ("simulation speed", speed),
        ("peak memory", None if data["peak_memory_mib"] is None else f"{data['peak_memory_mib']:,.0f} MiB"),
    ]


def limits(data: Mapping[str, Any]) -> list[str]:
    """What a reader could wrongly take from the figures."""
    if for_cpu(data):
        return report_cpu.limits(data)
    said = [
        "No board was run: times are cycles divided by the target clock, which no place-and-route run has confirmed.",
        "Resources are estimates by the tool named next to each; a vendor's synthesis will differ, in LUTs most of all.",
        "The emitted HLS C++ was compiled with g++ only, not with Vitis HLS.",
    ]
    if data["bit_exact"] is None:
        said.insert(0, "Nothing has been simulated yet: cycles are predictions. `edgewright simulate` counts them.")
    else:
        said.insert(0, f"Bit-exactness was shown for {data['images']} images, not proved for every input.")
    return said


def by_kind(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Operations summed by kind, in order of first appearance."""
    rows = []
    whole = sum(cycles_of(op) or 0 for op in data["operations"])
    for kind in dict.fromkeys(op["kind"] for op in data["operations"]):
        own = [op for op in data["operations"] if op["kind"] == kind]
        known = [count for op in own if (count := cycles_of(op)) is not None]
        cycles, macs = sum(known) if known else None, sum(op["macs"] for op in own)
        share = f"{100 * cycles / whole:.1f} %" if cycles is not None and whole else "n/a"
        busy = _busy(macs, cycles, data)
        rows.append({"kind": kind, "count": len(own), "macs": macs, "cycles": cycles, "share": share, "busy": busy})
    return rows


def cycles_of(data: Mapping[str, Any]) -> int | None:
    """Cycles of a report or of one of its operations: simulated if they were, else predicted."""
    counts = data["cycles"]
    value = counts["simulated"] if counts["simulated"] is not None else counts["predicted"]
    return None if value is None else int(value)


def _exactness(data: Mapping[str, Any]) -> dict[str, str]:
    label = "Hardware = integer model?"
    if data["bit_exact"] is None:
        return tile(label, None, "run `edgewright simulate` to find out")
    compared = "" if data["tensors_compared"] is None else f", {data['tensors_compared']:,} stored tensors"
    over = f"over {data['images']:,} simulated image{'s'[: data['images'] != 1]}{compared}"
    return tile(label, "bit-exact", over, "good") if data["bit_exact"] else tile(label, "differs", over, "bad")


def _speed(data: Mapping[str, Any]) -> list[dict[str, str]]:
    predicted, simulated = data["cycles"]["predicted"], data["cycles"]["simulated"]
    count = cycles_of(data)
    if simulated is not None and predicted:
        note = f"simulated; predicted {predicted:,} ({100 * (predicted / simulated - 1):+.1f} %)"
    else:
        note = "simulated" if simulated is not None else "predicted, not simulated"
    cycles = tile("Cycles for one image", None if count is None else f"{count:,}", note if count else "")
    if data["latency_ms"] is None or not data["clock_mhz"]:
        return [cycles, tile("Time for one image", None, "")]
    milliseconds = float(data["latency_ms"])
    note = f"{1000 / milliseconds:,.0f} images/s if the board reaches its {data['clock_mhz']:g} MHz target"
    return [cycles, tile("Time for one image", f"{milliseconds:,.3g} ms", note)]


def _efficiency(data: Mapping[str, Any]) -> dict[str, str]:
    value = data["products_per_dsp_per_cycle"]
    return tile("Products per DSP and cycle", None if value is None else f"{value:.2f}", "2.00 is the limit at int8")


def _fit(data: Mapping[str, Any]) -> dict[str, str]:
    shares = {
        RESOURCES[key]: entry["used"] / entry["available"] if entry["available"] else math.inf * bool(entry["used"])
        for key, entry in data["resources"].items()
        if entry["used"] is not None and entry["available"] is not None
    }
    if not shares:
        return tile(FITS, None, "")
    fullest = max(shares, key=lambda name: 0.0 if math.isnan(shares[name]) else shares[name])
    note = f"fullest: {fullest}, {100 * shares[fullest]:.0f} % (estimate)"
    if unknown := [name for name in RESOURCES.values() if name not in shares]:
        note += f"; not measured: {', '.join(unknown)}"
    fits = shares[fullest] <= 1
    return tile(FITS, "yes" if fits else "no", note, "good" if fits else "bad")


def _busy(macs: int | None, cycles: int | None, data: Mapping[str, Any]) -> str:
    peak = data["roofline"]["macs_per_cycle"]
    return "n/a" if not cycles or not peak or macs is None else f"{100 * macs / cycles / peak:.1f} %"
