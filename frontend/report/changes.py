"""What passes changed: each model before and after, as rows that the page and the terminal show alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgewright.frontend.report.formats import (
    NOT_MEASURED,
    about,
    between,
    bytes_of,
    percent,
    points,
    several,
    si,
    with_interval,
)
from edgewright.frontend.report.page import Block, Heading, Marked, Mood, Plot, Section, Table, Tile, section, tile, words
from edgewright.passes import results
from edgewright.passes.results import Change, Report, Snapshot

SHOWN_ROWS = 12  # a longer table is folded
TITLES = {
    "SelectExperts": "Experts of one task",
    "FuseBlocks": "Blocks fused into their neighbours",
    "HashAttentionLayers": "Hashed attention",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a snapshot: its value and that as text. more_is_better: of accuracy only."""

    label: str
    value: Callable[[Snapshot], float | None]
    text: Callable[[float], str]
    more_is_better: bool = False

    def shown(self, snapshot: Snapshot) -> str:
        """Format the figure; an estimated latency as its range, accuracy with its interval."""
        value = self.value(snapshot)
        if self is LATENCY and snapshot.latency_low_ms is not None and snapshot.latency_high_ms is not None:
            return f"{between(snapshot.latency_low_ms, snapshot.latency_high_ms)} ms"
        if self.more_is_better and value is not None and snapshot.scores:
            return with_interval(value, snapshot.scores[0].images)
        return NOT_MEASURED if value is None else self.text(value)

    def difference(self, old: float | None, new: float | None) -> tuple[str, Mood]:
        """Return how much the figure changed, and whether that is good."""
        if old is None or new is None:
            return "", ""
        if self.more_is_better:
            return points(new - old), "bad" if new < old - 0.01 else ""
        if old == 0:
            return ("unchanged" if new == 0 else ""), ""
        share = 100 * (new / old - 1)
        if abs(share) < 0.05:
            return "unchanged", ""
        return f"{share:+.1f} %", "good" if new < old else "bad"


LATENCY = Measure("latency (estimate)", lambda model: model.latency_ms, lambda value: f"{about(value)} ms")
MEASURES = (
    Measure("accuracy", lambda model: model.accuracy, percent, True),
    Measure("products (MACs)", lambda model: model.macs, si),
    Measure("parameters", lambda model: model.parameters, si),
    Measure("weights", lambda model: model.weights_bytes, bytes_of),
    Measure("temporaries", lambda model: model.temporaries_bytes, bytes_of),
    Measure("cycles (predicted)", lambda model: model.cycles, lambda value: f"{value:,.0f}"),
    LATENCY,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure before and after."""

    label: str
    before: str
    after: str
    change: str
    mood: Mood


def rows(before: Snapshot, after: Snapshot) -> list[Row]:
    """Return a row for each figure that either model has."""
    figures = []
    for measure in MEASURES:
        old, new = measure.value(before), measure.value(after)
        if old is not None or new is not None:
            label = _accuracy_label(before, after) if measure.more_is_better else measure.label
            figures.append(Row(label, measure.shown(before), measure.shown(after), *measure.difference(old, new)))
    return figures


def title(change: Change) -> str:
    """Return what a pass did, as a heading."""
    return TITLES.get(change.name, change.name)


def tag(change: Change) -> str:
    """Return the pass and whether it is exact."""
    return f"{change.name}, {'exact' if change.exact else 'approximate'}"


def compared(change: Change) -> str:
    """Return one sentence on how far the models before and after agree."""
    if change.agreement is None:
        return "Exact: the same values up to rounding." if change.exact else "Not compared: there was no data."
    agree = f"Both models agree on {with_interval(change.agreement, change.images)} of {several(change.images or 0, 'sample')}"
    return agree + (f"; the pass learned from {change.learned:,} others." if change.learned else ".")


def counts(change: Change) -> list[str]:
    """Return the events of a pass with their numbers."""
    return [f"{event}: {times:,}" for event, times in change.counts.items()]


def tiles(report: Report) -> tuple[Tile, ...]:
    """The headline of a run without a target: the first model beside the last one."""
    changes = report.changes
    if not changes:
        macs, parameters = (None if count is None else si(count) for count in (report.macs, report.parameters))
        return (tile("Products (MACs)", macs, "for one inference"), tile("Parameters", parameters))
    tiles = []
    for row in rows(changes[0].before, changes[-1].after):
        label, note = row.label[:1].upper() + row.label[1:], f"was {row.before} ({row.change or 'n/a'})"
        tiles.append(tile(label, row.after, note, row.mood))
    agreed = [change.agreement for change in changes if change.agreement is not None]
    if agreed:
        which = "after the pass that changed most" if len(agreed) > 1 else "with the model before the pass"
        tiles.append(tile("Agreement", percent(min(agreed)), f"{which}, over {changes[0].images:,} samples"))
    return tuple(tiles)


def sections(report: Report) -> tuple[Section, ...]:
    """All passes together, then each of them."""
    changes = report.changes
    if not changes:
        return ()
    from edgewright.frontend.report import changes_plots

    where = "this machine" if report.target == "host" else report.target
    threads = "" if report.cycles.predicted is not None else ", one thread"
    samples = f" Every pass {changes[0].how}." if changes[0].how else ""
    plot = Plot(changes_plots.before_after(changes), words("changes.caption"))
    together: list[Block] = []
    if len(changes) > 1:
        together = [Heading("All passes together"), _table(rows(changes[0].before, changes[-1].after))]
    values = {"where": where, "precision": report.precision, "threads": threads, "samples": samples}
    return (section("changes", plot, *together, **values), *map(_section, changes))


def _section(change: Change) -> Section:
    from edgewright.frontend.report import changes_plots

    blocks: list[Block] = [compared(change), _table(rows(change.before, change.after))]
    if change.counts:
        blocks.append(" · ".join(counts(change)))
    for table in change.tables:
        blocks.append(Heading(table.name))
        caption = "" if table.draw == "table" else words(f"changes.{table.draw}_caption")
        blocks += [table.text] if table.text else []
        blocks += [Plot(changes_plots.of_table(table), caption), _findings(table)]
    return Section(title(change), blocks, tag(change))


def _table(figures: Sequence[Row]) -> Table:
    cells = [(row.label, row.before, row.after, Marked(row.change, row.mood)) for row in figures]
    return Table(("figure", "before", "after", "change"), cells)


def _findings(table: results.Table) -> Table:
    columns = range(len(table.columns))
    text = tuple(i for i in columns if any(isinstance(row[i], str) for row in table.rows))
    folds = len(table.rows) > SHOWN_ROWS or table.draw != "table"
    cells = [tuple(map(cell, row)) for row in table.rows]
    return Table(table.columns, cells, text=text, fold=f"All {len(cells)} rows" if folds else "")


def cell(value: results.Cell) -> str:
    """Format one value of a pass's table."""
    if value is None or isinstance(value, str):
        return "-" if value is None else value
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    return "0" if value == 0 else f"{value:,.4g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def _accuracy_label(before: Snapshot, after: Snapshot) -> str:
    names = [score.output for score in after.scores]
    same = next((score for score in before.scores if score.output in names), None)
    if same is None:
        return "accuracy"
    return same.metric + (f" of {same.output}" if len(before.scores) > 1 else "")
