"""Output in the terminal. Names that come from a model are printed as text, never as markup or control codes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from edgewright.frontend.report import formats
from edgewright.frontend.report.mode import silent
from edgewright.frontend.report.render_hashing import hashing
from edgewright.frontend.report.render_passes import pass_table
from edgewright.passes.diagnostics import CompileError, Diagnostic, grouped
from edgewright.passes.names import plain
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from edgewright.frontend.doctor import Check
    from edgewright.frontend.inspect_model import Inspection
    from edgewright.frontend.report.page import Mood
    from edgewright.frontend.report.render_parts import ModelPort
    from edgewright.frontend.samples.ran import Ran
    from edgewright.passes.results import Report
    from edgewright.targets.cpu.profile_results import ProfileReport
    from edgewright.targets.device import Device
    from edgewright.targets.estimate import Estimate
    from rich.progress import Progress, TaskID

_WIDTH_WHEN_PIPED = 120
_SAMPLES_SHOWN = 12
STYLES: dict[Mood, str] = {"good": "bold green", "bad": "bold red", "none": "dim", "warn": "bold yellow", "": "bold"}


def consoles() -> tuple[Console, Console]:
    """Return consoles for results (stdout) and for errors and progress (stderr). Piped output is wide, without colour; where a
    program or nobody is to be told (`mode`), both print nothing."""
    return _console(stderr=False), _console(stderr=True)


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False, quiet=silent())
    if not console.is_terminal:
        console.width = _WIDTH_WHEN_PIPED
    return console


def drawable(console: Console, text: str) -> str:
    """Return the text with a plain hyphen in ranges if the terminal cannot print a dash."""
    return text if console.encoding.lower().startswith("utf") else text.replace("\N{EN DASH}", "-")


def error(console: Console, failure: CompileError) -> None:
    """Print every diagnostic of a failed stage; those that differ only in their place once, with the first places."""
    groups = grouped(failure.diagnostics)
    for reason in groups:
        line = Text.assemble((f"error[{plain(reason.code)}]", "bold red"), (f": {plain(reason.message)}", "bold"))
        console.print(line, soft_wrap=True)
        for word, text in (("at", plain(reason.at)), ("because", plain(reason.because)), ("help", plain(reason.help))):
            if text:
                console.print(Text.assemble((f"  {word:8}", "cyan"), text), soft_wrap=True)
    if len(failure.diagnostics) > 1:
        count = len(failure.diagnostics)
        console.print(f"{count} errors; `edgewright explain {plain(failure.diagnostics[0].code)}` tells more")


def summary(
    console: Console, report: Report, directory: Path, next_step: str, ports: Sequence[tuple[str, ModelPort]] = ()
) -> None:
    """Print the headline of a report, with the same figures and words as at the top of report.html, and its main parts."""
    from edgewright.frontend.report import hardware, render_changes, render_parts
    from edgewright.frontend.report import report as pages

    for banner in pages.banners(report):
        style = "bold red" if banner.mood == "bad" else "bold yellow"
        console.print(Text.assemble((plain(banner.title), style), " ", plain(banner.text)))
    head = Text.assemble((plain(report.model), "bold"), f" on {plain(report.target)}")
    console.print(head.append(f" ({plain(report.part)})" if report.part else ""))
    console.print(Text(plain(pages.subtitle(report)), style="dim"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column()
    for tile in pages.tiles(report):
        if tile.label != hardware.FITS:  # the bars below show it
            value, note = (plain(drawable(console, text)) for text in (tile.value, tile.note))
            grid.add_row(tile.label, Text(value, style=STYLES[tile.mood]), Text(note, "dim"))
    console.print(Padding(grid, (1, 2), expand=False))
    render_changes.show_changes(console, report)
    render_parts.interface(console, ports)
    render_parts.resources(console, report)
    render_parts.kinds(console, report)
    render_parts.published(console, report)
    last(console, directory / "report.html", next_step)


def last(console: Console, page: Path, next_step: str, model: Path | None = None) -> None:
    """Print where the results are and what to do next."""
    for word, text in (("model", model), ("report", page), ("next", next_step)):
        if text is not None:
            console.print(Text.assemble((f"  {word:<9}", "cyan"), plain(text)), soft_wrap=True)


def profile(console: Console, measured: ProfileReport, page: Path) -> None:
    """Print the headline of a profile and where its page is."""
    from edgewright.frontend.report import profile as pages

    grid = Table.grid(padding=(0, 2))
    for label, text in pages.lines(measured):
        grid.add_row(Text(plain(label), "cyan"), Text(plain(text)))
    console.print(grid)
    console.print(Text.assemble(("report  ", "cyan"), plain(page)), soft_wrap=True)


def estimates(console: Console, estimated: Sequence[Estimate]) -> None:
    """Print latency ranges, what they assume, and what others measured on such a board."""
    first = estimated[0]
    head = f": {plain(first.core)}, {first.variant}, {first.precision}"
    console.print(Text.assemble((plain(first.label), "bold yellow"), head))
    grid = Table.grid(padding=(0, 2))
    for row in estimated:
        most = max(row.limits, key=lambda name: row.limits[name])
        time = formats.predicted_ms(row.low_ms, row.high_ms)
        grid.add_row(formats.threads_of(row.threads), time, f"limited mostly by {most}")
    console.print(Padding(grid, (0, 2)))
    console.print(Text(f"at best:  {first.assumptions_low}\nat worst: {first.assumptions_high}", "dim"))
    for other in first.published:
        console.print(
            f"measured by others: {other.model} {other.ms:g} ms ({other.precision}, {other.runtime}, "
            f"{other.macs_ratio:.2g} times the products; {other.differs}) [{other.source}]"
        )


def ran(console: Console, result: Ran, output: Path | None) -> None:
    """Print the outputs of a run: shapes, ranges, classes where an output tells them apart, and accuracy with labels."""
    for note in result.notes:
        console.print(Text(plain(note), "dim"))
    if result.by != "this machine":
        console.print(Text(f"computed by {result.by}", "dim"), soft_wrap=True)
    for name, value in result.outputs.items():
        console.print(f"{plain(name)}: {' x '.join(map(str, value.shape))}, from {value.min():.4g} to {value.max():.4g}")
    answers(console, result)
    for score in result.scores:
        share = formats.with_interval(score.value, score.images)
        console.print(f"{score.metric} {share}, {formats.several(score.images, 'sample')}")
    if result.agrees is not None:
        verdict = "same bits as the interpreter" if result.agrees else "DIFFERS from the interpreter"
        console.print(verdict, style="green" if result.agrees else "bold red")
    if output is not None:
        console.print(f"written to {output}")


def answers(console: Console, result: Ran) -> None:
    """Print the classes of a few samples: the likeliest of each, or the likeliest five where there are few."""
    rows = result.answers(5 if len(result.titles or ()) in (1, 2) and result.titles else 1)
    grid = Table.grid(padding=(0, 2))
    for i, row in enumerate(rows[:_SAMPLES_SHOWN]):
        title = result.titles[i] if result.titles and i < len(result.titles) else f"sample {i}"
        for answer in row:
            name = answer.name if result.classes else f"class {answer.label}"
            grid.add_row(Text(plain(title), "bold"), plain(name), Text(f"{100 * answer.share:.1f} %", "dim"))
            title = ""
    if rows:
        console.print(Padding(grid, (0, 2), expand=False))
    if len(rows) > _SAMPLES_SHOWN:
        console.print(Text(f"  and {len(rows) - _SAMPLES_SHOWN:,} more", "dim"))


def inspection(console: Console, name: str, model: Inspection) -> None:
    """Print what a model is, what it costs, and which targets run it or why not."""
    console.print(Text.assemble((plain(name), "bold"), f"  opset {model.opset}, {plain(model.producer)}"))
    structure = model.structure
    parts = [
        (structure.patch, "patches of {0}x{0}"),
        (structure.tokens, "{} tokens"),
        (structure.width, "width {}"),
        (structure.blocks or None, "{} attention blocks"),
        (structure.heads, "{} heads"),
        (structure.head_dim, "{} channels a head"),
        (structure.hidden, "hidden width {:,}"),
        (structure.classes, "{:,} classes"),
    ]
    words = [text.format(value) for value, text in parts if value is not None]
    kind = "a vision transformer" if structure.is_vit else "not recognised as a vision transformer"
    console.print(Text(", ".join([kind, *words]), "dim"))
    grid = Table.grid(padding=(0, 2))
    for word, tensors in (("input", model.inputs), ("output", model.outputs)):
        for tensor in tensors:
            grid.add_row(word, Text.assemble((plain(tensor.name), "bold"), f"  {'x'.join(map(str, tensor.shape))}"))
    grid.add_row("parameters", f"{model.parameters:,}")
    grid.add_row("products (MACs)", f"{model.macs:,} for one input")
    grid.add_row("weights", f"{_size(model.weight_bytes_float)} in float32, {_size(model.weight_bytes_int8)} in int8")
    grid.add_row("activations", f"{_size(model.activation_bytes_int8)} alive at once, in int8")
    grid.add_row("operators", ", ".join(f"{plain(kind)} {count}" for kind, count in model.operators.items()))
    console.print(Padding(grid, (1, 2), expand=False))
    if model.hashing is not None:
        hashing(console, model.hashing)
    if model.passes:
        pass_table(console, model.passes)
    _verdicts(console, model)


def _verdicts(console: Console, model: Inspection) -> None:
    """Print which target runs a model at which precision, or why not; reasons that several targets share are printed once."""
    by_target: dict[str, dict[str, tuple[Diagnostic, ...]]] = {}
    for (target, precision), reasons in model.targets.items():
        by_target.setdefault(target, {})[precision] = reasons
    waiting: dict[str, list[str]] = {}
    printed: dict[tuple[str, tuple[Diagnostic, ...]], str] = {}
    for target, verdicts in by_target.items():
        if all(reasons and all(reason.code in ("T002", "T022") for reason in reasons) for reasons in verdicts.values()):
            waiting.setdefault(next(iter(verdicts.values()))[0].because, []).append(target)
            continue
        runs = [precision for precision, reasons in verdicts.items() if not reasons]
        if runs:
            only = "" if len(runs) == len(verdicts) else " only"
            console.print(Text.assemble(("  runs on  ", "green"), (target, "bold"), f": {', '.join(runs)}{only}"))
        for precision, reasons in verdicts.items():
            if not reasons:
                continue
            first = printed.setdefault((precision, reasons), target)
            count = f"{len(reasons)} reason" + ("s" if len(reasons) > 1 else "")
            why = f", for {count}:" if first == target else f", as {first}"
            console.print(Text.assemble(("  not on   ", "red"), (target, "bold"), f" in {precision}{why}"))
            for reason in grouped(reasons) if first == target else ():
                place = f" at {plain(reason.at)}" if reason.at else ""
                line = f"{plain(reason.message)}{place}: {plain(reason.because)}; {plain(reason.help)}"
                console.print(Padding(Text.assemble((f"{reason.code} ", "red"), line), (0, 0, 0, 11)))
    for because, names in waiting.items():
        console.print(Text.assemble(("  not yet  ", "yellow"), (", ".join(names), "bold"), f": {plain(because)}"))


def targets(console: Console, devices: Sequence[Device]) -> None:
    """Print one line for each board, with what it has or why nothing is compiled for it yet."""
    table = _table("target", "device", "kind", "clock", "DSP", "LUT", "BRAM36", "URAM", "memory", "compiles")
    for device in devices:
        has = device.resources
        numbers = [f"{n:,}" for n in (has.dsp, has.lut, has.bram36, has.uram)] if has else ["", "", "", ""]
        clock = "" if device.clock_mhz is None else f"{device.clock_mhz:g} MHz"
        memory = "" if device.memory is None else f"{device.memory.dram_gb_per_s:g} GB/s"
        state = Text("yes", "green") if device.supported else Text("not yet", "dim")
        table.add_row(Text(device.name, "bold"), device.title, device.kind, clock, *numbers, memory, state)
    console.print(table)
    reasons: dict[str, list[str]] = {}
    for device in devices:
        if reason := device.note if device.supported else device.reason:
            reasons.setdefault(reason, []).append(device.name)
    for reason, names in reasons.items():
        console.print(Text.assemble((f"{', '.join(names)}: ", "bold"), (reason, "dim")))
    console.print("FPGA clocks are targets. `edgewright targets NAME` names the data sheet of every figure.")


def target(console: Console, device: Device) -> None:
    """Print everything that a board file says, each part with its source."""
    console.print(Text.assemble((device.name, "bold"), f"  {device.title}"))
    if not device.supported:
        console.print(f"nothing is compiled for it yet: {device.reason}")
    elif device.note:
        console.print(device.note)
    table = _table("what", "value", "source")
    for field in ("part", "clock_mhz", "resources", "memory", "engine", "cpu", "gpu", "tvm_target"):
        value = getattr(device, field)
        if value:
            names = getattr(value, "__struct_fields__", None)
            items = {name: getattr(value, name) for name in names} if names else value
            several = isinstance(items, dict)
            shown = ", ".join(f"{k} {_figure(v)}" for k, v in items.items()) if several else _figure(items)
            table.add_row(field, shown, device.sources_of(field) or device.source.get("title", ""))
    console.print(table)


def doctor(console: Console, checks: Iterable[Check], healthy: bool) -> None:
    """Print every check under its heading, with how to install what is missing."""
    group = ""
    grid = Table.grid(padding=(0, 2))
    for check in checks:
        if check.group != group:
            group = check.group
            grid.add_row("", "", "")
            grid.add_row(Text(group, "bold"), "", "")
        if check.found is not None:
            grid.add_row(f"  {check.name}", Text(plain(check.found), "green"), Text(plain(check.purpose), "dim"))
        else:
            colour = "bold red" if check.required else "yellow"
            word = "not yet" if check.group == "boards" else "missing"
            text = check.help if check.group == "boards" else f"{check.purpose}; to install: {check.help}"
            grid.add_row(f"  {check.name}", Text(word, colour), plain(text))
    console.print(grid)
    console.print()
    complete = "Everything that compile and simulate need is installed."
    lacking = "Something that compile or simulate needs is missing (see above)."
    console.print(Text(complete, "bold green") if healthy else Text(lacking, "bold red"))


def _figure(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else plain(value)


def _size(count: int) -> str:
    return f"{count / 2**20:,.2f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        right = column in ("clock", "DSP", "LUT", "BRAM36", "URAM", "memory")
        table.add_column(column, justify="right" if right else "left", no_wrap=column == "target")
    return table


class Stages:
    """Progress of long work: one line for each stage with its time, and the time left where the amount of work is known.

    `stages(name, done, total)` starts the stage `name`, which ends the one before it, or updates it; `total` is 0 where the
    amount of work is not known. If stderr is not a terminal, work that takes longer than a minute prints a line from time to
    time, so that a log shows progress; shorter work prints nothing.
    """

    def __init__(self, console: Console, quiet_seconds: float = 60.0) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._begun = self._said = time.monotonic()
        self._first, self._reached = 0, ""
        self._quiet_seconds = quiet_seconds

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.quiet:
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            tick = "✓" if self._console.encoding.lower().startswith("utf") else "*"
            self._progress = Progress(
                SpinnerColumn("line", finished_text=Text(tick, "green")),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                TextColumn("{task.fields[count]}", style="dim", markup=False),
                console=self._console,
            )
            self._progress.start()
        return self

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._finish()
            self._stage, self._begun, self._first = stage, now, done
            if self._progress is not None:
                self._task = self._progress.add_task(plain(stage), total=None, count="")
            self._reached = ""
        self._reached = f"{done:,} of {total:,}" if total else self._reached
        count = f"{self._reached}{self._left(done, total, now)}" if total else ""
        if self._progress is None:
            if now - self._said >= self._quiet_seconds:
                self._said = now
                self._console.print(f"{plain(stage)}{': ' if count else ''}{count}", soft_wrap=True)
        elif count and self._task is not None:
            self._progress.update(self._task, count=count)

    def _left(self, done: int, total: int, now: float) -> str:
        """Return the time left at the stage's pace so far, once there is one."""
        passed = now - self._begun
        if done <= self._first or done >= total or passed < 1:
            return ""
        left = int(passed / (done - self._first) * (total - done))
        return f", {left // 60}:{left % 60:02d} left"

    def _finish(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=1, completed=1, count=self._reached)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            if kind is None:
                self._finish()
            self._progress.stop()
