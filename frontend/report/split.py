"""report.html and report.json of a split: devices, sizes, latencies, and what ED-ViT published beside them."""

from __future__ import annotations

from edgewright.frontend.report import page, split_plots
from edgewright.frontend.report.formats import (
    bytes_of,
    interval,
    percent,
    points,
    predicted_ms,
    several,
    times_less,
    with_interval,
)
from edgewright.frontend.report.split_results import Range, SplitReport

PUBLISHED = (
    ("latency on edge devices", "up to 28.9 times shorter"),
    ("size of the model on one device", "up to 34.1 times smaller"),
)
PUBLISHED_SOURCE = "ED-ViT (arXiv 2410.11650), abstract"
DIFFERS = page.sentences("ed_vit")
NOT_PREDICTED = "not predicted"


def report_files(report: SplitReport) -> dict[str, bytes]:
    """Return report.html and report.json by name."""
    return page.files_of("report", to_html(report), report)


def to_html(report: SplitReport) -> str:
    """Return the page of a split."""
    caption = f"split over {several(len(report.sub_models), 'device')}"
    subtitle = (
        f"{report.classes} classes, each device recognises some of them; {report.fusion.file} combines their features on "
        f"{report.fusion.device}"
    )
    banners = [page.Banner("Note.", reason) for reason in report.reasons]
    footer = f"Edgewright {report.edgewright} · the same figures for programs: `report.json`"
    return page.html(page.Page(report.model, caption, subtitle, banners, tiles(report), _sections(report), footer))


def tiles(report: SplitReport) -> tuple[page.Tile, ...]:
    """Return the figures of the headline."""
    whole, accuracy = report.whole, report.accuracy
    parameters, macs = report.heaviest.parameters, max(part.macs for part in report.sub_models)
    top1 = page.Tile("Top-1 accuracy", "not measured", "the data has no labels to measure on", "none")
    if accuracy is not None:
        change = points(accuracy.split - accuracy.whole)
        likely = [interval(share, accuracy.images) for share in (accuracy.split, accuracy.whole)]
        note = f"whole model {percent(accuracy.whole)} ({change}), {several(accuracy.images, 'sample')}, 95 %: {likely[0]}, "
        top1 = page.Tile("Top-1 accuracy", percent(accuracy.split), f"{note}whole {likely[1]}")
    latency = _milliseconds(report.latency)
    smaller = f"the whole model: {whole.parameters:,}, {times_less(whole.parameters, parameters)}"
    mood: page.Mood = "none" if latency == NOT_PREDICTED else ""
    return (
        page.Tile("Parameters per device, at most", f"{parameters:,}", smaller),
        page.Tile("Products (MACs) per device, at most", f"{macs:,}", f"the whole model: {whole.macs:,}"),
        top1,
        page.Tile("Latency of the deployment", latency, "predicted, with transfer and fusion", mood),
    )


def devices(report: SplitReport) -> page.Table:
    """Return one row for each sub-model, and one for the fusion."""
    rows = []
    for place, part in enumerate(report.sub_models):
        whole = report.whole.latency.get(part.board, Range(None, None))
        shape, classes = f"{part.width}/{part.heads}/{part.hidden}", ", ".join(map(str, part.classes))
        costs = (f"{part.parameters:,}", f"{part.macs:,}", bytes_of(part.memory_bytes))
        measured = report.accuracy
        accuracy = "" if measured is None else with_interval(measured.sub_models[place], measured.images)
        times = (_milliseconds(part.latency), _milliseconds(whole))
        rows.append((part.device, part.file, classes, shape, *costs, *times, accuracy))
    fusion = report.fusion
    last = (f"{fusion.parameters:,}", f"{fusion.macs:,}", "", "", "", "")
    return page.Table(
        ("device", "file", "classes", "shape", "parameters", "MACs", "memory", "latency", "whole model", "accuracy"),
        rows,
        text=(1, 2),
        total=(fusion.device, fusion.file, "all", "", *last),
    )


def _sections(report: SplitReport) -> list[page.Section]:
    harder = ""
    if report.harder:
        harder = f" Sub-models were made smaller {several(report.harder, 'time')} until all devices could hold theirs."
    sections = [
        page.section("devices", devices(report), harder=harder),
        page.section("sizes", page.Plot(split_plots.sizes(report), page.words("sizes.caption"))),
        page.section("latencies", page.Plot(split_plots.latencies(report), page.words("latencies.caption"))),
    ]
    if report.accuracy is not None:
        points = [(len(report.sub_models), report.accuracy.split)]
        plot = page.Plot(split_plots.accuracy_by_devices(report.accuracy.whole, points), page.words("accuracy.split_caption"))
        text = page.words("accuracy.split", measured_on=report.measured_on)
        sections.append(page.Section(page.words("accuracy.title"), (text, plot)))
    published = page.Table(("figure", "ED-ViT"), PUBLISHED, text=(1,), wraps=True)
    differs = f"{PUBLISHED_SOURCE}. What differs here:"
    first = report.sub_models[0]
    compile_first = f"edgewright compile DIR/{first.file} --target {first.board} --calibration DATA.npz"
    steps = (
        ("edgewright run DIR --input DATA.npz", "runs the whole deployment on this machine, as a reference"),
        (compile_first, "compiles the part of the first device"),
    )
    return [
        *sections,
        page.section("ed_vit", published, differs, page.Bullets(DIFFERS)),
        page.section("next", page.Steps(steps)),
    ]


def _milliseconds(latency: Range) -> str:
    return predicted_ms(latency.low_ms, latency.high_ms) or NOT_PREDICTED
