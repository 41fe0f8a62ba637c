"""How good the numbers are: accuracy of every labelled output, and the noise of each layer."""

from __future__ import annotations

from edgewright.frontend.report.formats import interval, percent, points, with_interval
from edgewright.frontend.report.page import Plot, Section, Table, Tile, section, tile, words
from edgewright.passes.results import Accuracy, OutputAccuracy, Report

TOP1 = "top-1"
SUSPECT_DB, WRONG_DB = 25, 15


def accuracy_tiles(report: Report) -> tuple[Tile, ...]:
    """The accuracy of the compiled model, beside the float model's where that is another."""
    first, *others = _outputs(report.accuracy)
    name = f"Accuracy, {report.precision}"
    compiled = _compiled(report, first)
    if compiled is None:
        return (tile(name, None, "give labelled data to measure it"),)
    metric = TOP1 if first.metric == TOP1 else f"{first.metric} of '{first.output}'"
    note = metric
    if report.precision != "fp32" and first.float is not None:
        note = f"float model {percent(first.float)} ({points(compiled - first.float)})"
        note = f"{metric}; {note}" if first.metric != TOP1 or others else note
    images = "" if report.accuracy.images is None else f", {report.accuracy.images:,} images"
    likely = interval(compiled, first.images)
    images += f", 95 % between {likely.replace(' to ', ' and ')}" if likely else ""
    more = "".join(f"; {row.output}: {percent(_compiled(report, row))}" for row in others)
    return (tile(name, percent(compiled), note + images + more),)


def accuracy_sections(report: Report) -> tuple[Section, ...]:
    """Accuracy before and after quantisation, output by output."""
    outputs = _outputs(report.accuracy)
    quantised = report.precision != "fp32"
    if all(row.float is None and row.int8 is None for row in outputs):
        effect = " before and after quantisation" if quantised else ""
        return (Section(words("accuracy.title"), (words("accuracy.unlabelled", effect=effect),)),)
    text = words("accuracy.text" if quantised else "accuracy.float", precision=report.precision)
    columns: tuple[str, ...] = (f"{report.precision} model",)
    if quantised:
        columns = ("float model", f"{report.precision} model", "difference")
    rows = []
    for row in outputs:
        plain = len(outputs) == 1 and row.metric == TOP1
        figures = [with_interval(row.float, row.images)]
        if quantised:
            change = None if row.float is None or row.int8 is None else points(row.int8 - row.float)
            figures += [with_interval(row.int8, row.images), change or percent(None)]
        rows.append(("top-1 accuracy" if plain else f"{row.output}, {row.metric}", *figures, f"{row.images:,}"))
    return (Section(words("accuracy.title"), (text, Table(("output", *columns, "labelled images"), rows))),)


def noise_sections(report: Report) -> tuple[Section, ...]:
    """Signal to noise of each layer's integers, where it was measured."""
    if all(layer.sqnr_db is None for layer in report.layers):
        return ()
    from edgewright.frontend.report import plots

    caption = words("noise.caption", suspect=SUSPECT_DB, wrong=WRONG_DB)
    ratios = ["exact or not measured" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f}" for layer in report.layers]
    rows = [(layer.name, layer.op, ratio) for layer, ratio in zip(report.layers, ratios, strict=True)]
    table = Table(("layer", "operator", "SQNR, dB"), rows, text=(1,), fold=f"All {len(rows)} layers")
    return (section("noise", Plot(plots.noise(report.layers), caption), table),)


def next_steps(report: Report) -> tuple[tuple[str, str], ...]:
    """What to do about missing labels."""
    if any(_compiled(report, row) is not None for row in _outputs(report.accuracy)):
        return ()
    command = f"edgewright compile MODEL.onnx --target {report.target} --calibration DATA"
    return ((command, "measures accuracy too, if DATA has labels: a folder for each class, or an array `labels`"),)


def _outputs(accuracy: Accuracy) -> tuple[OutputAccuracy, ...]:
    single = OutputAccuracy("", TOP1, accuracy.float, accuracy.int8, accuracy.images or 0)
    return accuracy.outputs or (single,)


def _compiled(report: Report, row: OutputAccuracy) -> float | None:
    return row.float if report.precision == "fp32" else row.int8
