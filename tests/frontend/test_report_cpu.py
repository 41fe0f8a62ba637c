"""The report of a CPU build: sections of a CPU only, estimates that say so, the terminal's words are the page's."""

from __future__ import annotations

import copy
import io
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from edgewright.frontend.cpu.report import cpu_report as report_of_build
from edgewright.frontend.options import Options
from edgewright.frontend.report import page as page_texts
from edgewright.frontend.report import processor, processor_plots, render, report, steps_plots
from edgewright.frontend.report.formats import about, between, bytes_of, share, si
from edgewright.frontend.report.page import Marked, Table
from edgewright.frontend.report.steps import by_kind
from edgewright.frontend.stages import Record
from edgewright.frontend.target import Clock, Measured, Prepared
from edgewright.passes.ir.graph import Graph
from edgewright.passes.results import Report, to_data
from edgewright.targets import device
from edgewright.targets.cpu.artifact import CpuManifest, StepInfo, TensorInfo
from edgewright.targets.cpu.variants import variant
from edgewright.targets.estimate import StepWork, estimate
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.frontend.report_page import HOSTILE, Page
from tests.frontend.sample_report import sample, sample_cpu, schema, typed

CPU_ONLY = [page_texts.words(f"{name}.title") for name in ("latency", "time", "artifact")]
FPGA_ONLY = [
    page_texts.words(f"{name}.title") for name in ("cycles", "units", "agreement", "resources", "clock", "roofline", "memory")
]
BOTH = [page_texts.words(f"{name}.title") for name in ("accuracy", "made", "next", "limits")]
NOISE = page_texts.words("noise.title")
WORKS = [
    StepWork("fc", "Linear+Gelu", 1_000_000, 40_000, 2_000, 1_000, "float32"),
    StepWork("norm", "LayerNormalization", 0, 400, 2_000, 1_000, "float32", parallel=False),
]


@cache
def page(precision: str = "int8", **kinds: bool) -> Page:
    return Page(report.to_html(typed(sample_cpu(precision, **kinds))))


@dataclass
class Built:
    prepared: Prepared
    options: Options
    manifest: CpuManifest
    works: list[StepWork]


def cpu_report(made: Built) -> Report:
    return report_of_build(made.prepared, made.options, made.manifest, made.works, 1234)


def built(target: str = "rpi4", kernels: str = "neon", works: list[StepWork] | None = None, precision: str = "fp32") -> Built:
    """What a build makes, without a library."""
    works = WORKS if works is None else works
    own = variant(kernels)
    manifest = CpuManifest(
        format=1,
        edgewright="0",
        model="m",
        target=target,
        precision=precision,
        arch=own.arch,
        variant=own.name,
        features=own.features,
        entry="e",
        workspace_bytes=300,
        weights_bytes=40_400,
        inputs=(TensorInfo("x", "float32", (1, 3, 8, 8)),),
        outputs=(TensorInfo("y", "float32", (1, 10)),),
        steps=tuple(StepInfo(work.name, work.kind, work.macs, work.activation_bytes) for work in works),
    )
    graph = Graph("m", (), (), ())
    prepared = Prepared("m", device.load(target), graph, Record(), Measured(parameters=10_100), Clock(None), {})
    return Built(prepared, Options(target, precision=precision), manifest, works)


def shown(data: dict[str, Any], encoding: str = "utf-8", manifest: CpuManifest | None = None) -> str:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding), width=130, markup=False, emoji=False)
    manifest = manifest or built().manifest
    ports = [*(("input", port) for port in manifest.inputs), *(("output", port) for port in manifest.outputs)]
    render.summary(console, typed(data), Path("d"), "edgewright profile d", ports)
    console.file.seek(0)
    return console.file.read()


@pytest.mark.long
def test_each_target_has_its_sections() -> None:
    assert set(Page(report.to_html(typed(sample()))).titles) == {*FPGA_ONLY, *BOTH, NOISE}
    assert set(page().titles) == {*CPU_ONLY, *BOTH, NOISE}
    assert set(page("fp32").titles) == {*CPU_ONLY, *BOTH}


def test_nothing_of_an_fpga_is_in_a_cpu_report() -> None:
    text = page("fp32").text
    for word in ("DSP", "LUT", "simulat", "cycles", "UltraRAM", "place-and-route", "Vitis", "not measured", "None"):
        assert word not in text, word


def test_an_fpga_report_says_nothing_of_estimates_of_latency() -> None:
    assert [tile.label for tile in report.tiles(typed(sample()))] == [
        "Hardware = integer model?",
        "Accuracy, int8",
        "Cycles for one image",
        "External memory",
        "Time for one image",
        "Products per DSP and cycle",
        "Fits the board?",
    ]
    assert processor.UNTIMED not in report.to_html(typed(sample()))


@pytest.mark.long
def test_no_section_is_empty() -> None:
    cases = [typed(sample_cpu()), typed(sample_cpu("fp32", labelled=False)), typed(sample_cpu(estimated=False, labelled=False))]
    few = Report("m", "rpi4", "0", artifact=cpu_report(built()).artifact)
    for data in (*cases, few):
        html = report.to_html(data)
        main = ET.fromstring(html[html.index("<main>") : html.index("</main>") + 7].replace("&nbsp;", " "))
        for section in main.iter("section"):
            heading = section.find("h2")
            assert heading is not None
            inside = [" ".join("".join(part.itertext()).split()) for part in section if part.tag != "h2"]
            assert sum(map(len, inside)) > 20, heading.text
            for table in section.iter("table"):
                assert len(list(table.iter("tr"))) > 1
                assert all("".join(cell.itertext()).strip() for cell in table.iterfind("tbody/tr/td")), heading.text


def test_a_latency_is_called_an_estimate_wherever_it_stands() -> None:
    data = sample_cpu()
    for tile in report.tiles(typed(data))[:2]:
        assert tile.label.startswith("Estimated latency")
        assert tile.note.startswith(processor.UNTIMED)
    assert page().text.count(processor.UNTIMED) == 3
    data["latency"][0]["label"] = "measured"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema())


def test_headline_of_one_core() -> None:
    data = sample_cpu()
    data["latency"] = data["latency"][:1]
    data["latency"][0] |= {"low_ms": 104.2, "high_ms": 271.0}
    found = report.tiles(typed(data))
    assert (found[0].value, found[0].label) == ("100\N{EN DASH}270 ms", "Estimated latency, 1 thread")
    assert "3.7\N{EN DASH}9.6 per second" in found[0].note
    assert (found[1].value, found[1].note) == ("products", "1 thread: products 88 %, rows 7 %, memory 5 %")


def test_published_measurements_are_numbered_alike_in_chart_and_table() -> None:
    made = typed(sample_cpu())
    svg = processor_plots.latency(made.latency, made.published)
    assert svg is not None
    texts = ["".join(one.itertext()).strip() for one in ET.fromstring(svg).iter() if one.tag.endswith("text")]
    assert [text for text in ("1", "2", "3", "4") if text in texts] == ["1", "2", "3"]
    assert {"1 thread", "4 threads", "threads not stated"} <= set(texts)
    (section,) = processor.latency_sections(made)
    table = next(block for block in section.blocks if isinstance(block, Table) and "ms" in block.columns)
    marks = [row[0].mark for row in table.rows if isinstance(row[0], Marked)]
    assert [(int(mark), row[3], row[2]) for mark, row in zip(marks, table.rows, strict=True)] == [
        (1, "197", "not stated"),
        (2, "191", "1"),
        (3, "123", "4"),
    ]


def test_marks_that_would_hide_each_other_get_lines_of_their_own() -> None:
    assert processor_plots._lanes([(5.0, 1), (5.1, 2), (9.0, 3), (5.2, 4)], 1.0) == [
        [(5.0, 1), (9.0, 3)],
        [(5.1, 2)],
        [(5.2, 4)],
    ]


def test_kinds_add_up() -> None:
    made = typed(sample_cpu())
    rows = by_kind(made.operations)
    assert sum(row.count for row in rows) == len(made.operations)
    assert sum(row.macs for row in rows) == made.macs
    shares = [row.share or 0.0 for row in rows]
    assert sum(shares) == pytest.approx(1) and shares == sorted(shares, reverse=True)
    assert sum(row.high_us or 0.0 for row in rows) == pytest.approx(sum(op.high_us or 0.0 for op in made.operations))
    cycles = by_kind(typed(sample()).operations)
    assert sum(row.cycles or 0 for row in cycles) == sum(op.cycles.best_known or 0 for op in typed(sample()).operations)
    assert sum(row.share or 0.0 for row in cycles) == pytest.approx(1)


def test_without_an_estimate_no_time_is_shown() -> None:
    made = typed(sample_cpu(estimated=False))
    assert report.tiles(made)[0].value == "not estimated"
    found = page(estimated=False)
    assert {page_texts.words("latency.title"), page_texts.words("time.title")}.isdisjoint(found.titles)
    assert page_texts.words("work.title") in found.titles
    assert " ms" not in found.text
    assert "µs" not in found.text
    assert processor_plots.latency([], typed(sample_cpu()).published) is None
    assert processor_plots.limits([], []) is None
    assert steps_plots.steps(made.operations, []) is None
    assert steps_plots.kinds(by_kind(made.operations)) is None


def test_accuracy_of_what_was_compiled() -> None:
    exact = next(tile for tile in report.tiles(typed(sample_cpu("fp32"))) if tile.label == "Accuracy, fp32")
    assert (exact.value, exact.note) == ("72.13 %", "top-1, 10,000 images, 95 % between 71.2 and 73.0 %")
    integer = next(tile for tile in report.tiles(typed(sample_cpu())) if tile.label == "Accuracy, int8")
    assert (integer.value, integer.note) == (
        "71.84 %",
        "float model 72.13 % (-0.29 points), 10,000 images, 95 % between 71.0 and 72.7 %",
    )
    assert "there were no labels" in page("fp32", labelled=False).text
    assert "there were no labels" not in page("fp32").text


def test_random_calibration_spoils_accuracy_not_latency() -> None:
    text = page(random=True).text
    assert "nothing about real data; cost and speed are unaffected" in text


@pytest.mark.long
@pytest.mark.parametrize(("host", "device_name"), [(True, "--device local"), (False, "--device ssh://user@board")])
def test_what_next(host: bool, device_name: str) -> None:
    text = page(host=host).text
    assert f"edgewright profile DIR {device_name}" in text
    assert ("edgewright run DIR --check" in text) == host


def test_the_report_holds_the_estimates_of_one_thread_and_of_all_cores() -> None:
    data = to_data(cpu_report(built()))
    jsonschema.validate(data, schema())
    for found, threads in zip(data["latency"], (1, 4), strict=True):
        expected = estimate(WORKS, device.load("rpi4"), threads, "neon")
        assert found["threads"] == threads
        assert (found["low_ms"], found["high_ms"]) == pytest.approx((expected.low_ms, expected.high_ms), rel=1e-3)
    single = estimate(WORKS, device.load("rpi4"), 1, "neon").steps
    assert [op["limit"] for op in data["operations"]] == [step.limit for step in single]
    assert [op["low_us"] for op in data["operations"]] == pytest.approx([step.low_us for step in single], abs=1e-3)
    assert data["artifact"]["library_bytes"] == 1234
    assert replace(msgspec.convert(data, Report), peak_memory_mib=0) == replace(cpu_report(built()), peak_memory_mib=0)
    assert "49" not in Page(report.to_html(cpu_report(built()))).texts


@pytest.mark.parametrize(
    ("target", "kernels", "estimated"),
    [("rpi4", "neon", True), ("rpi4", "generic_aarch64", True), ("rpi4", "dotprod", False), ("rpi5", "avx2", False)],
)
def test_only_kernels_that_the_processor_runs_are_estimated(target: str, kernels: str, estimated: bool) -> None:
    made = cpu_report(built(target, kernels))
    data = to_data(made)
    assert bool(data["latency"]) == estimated
    assert all((op["low_us"] is not None) == estimated for op in data["operations"])
    jsonschema.validate(data, schema())
    report.to_html(made)


def test_what_cannot_be_estimated_is_still_reported() -> None:
    here = device.load("host")
    unknown = msgspec.structs.replace(here, cpu=None)
    made = built()
    made.prepared = replace(made.prepared, device=unknown)
    assert cpu_report(made).latency == ()
    assert cpu_report(built(works=[])).latency == ()
    report.to_html(cpu_report(built(works=[])))


def test_float_builds_have_no_calibration() -> None:
    assert cpu_report(built()).calibration.kind is None
    assert cpu_report(built(precision="int8")).calibration.kind == "data"


def test_the_terminal_says_what_the_page_says() -> None:
    data = sample_cpu()
    words = " ".join(shown(data).split())
    for tile in report.tiles(typed(data)):
        for part in (tile.label, tile.value, tile.note):
            assert part in words, part
    for part in (
        "x float32 1x3x8x8",
        "y float32 1x10",
        "Linear + Requantise + Gelu",
        "31 %",
        "published, not ours: ViT-tiny",
        "d/report.html",
        "edgewright profile d",
    ):
        assert part in words, part


def test_the_terminal_without_an_estimate() -> None:
    words = shown(sample_cpu(estimated=False, labelled=False))
    assert "not estimated" in words
    assert " ms" not in words


def test_the_terminal_draws_what_it_can_and_no_control_codes() -> None:
    data = copy.deepcopy(sample_cpu())
    data |= {"model": HOSTILE, "part": HOSTILE}
    data["operations"][1]["kind"] = HOSTILE
    data["published"][0]["model"] = HOSTILE
    hostile = replace_names(built().manifest)
    text = shown(data, "ascii", hostile)
    assert "\x1b" not in text
    assert "####" in text
    assert "\x1b" not in shown(data, "utf-8", hostile)


def replace_names(manifest: CpuManifest) -> CpuManifest:
    return msgspec.structs.replace(manifest, inputs=(msgspec.structs.replace(manifest.inputs[0], name=HOSTILE),))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00123, "0.0012"), (0.998, "1.0"), (1.04, "1.0"), (9.96, "10"), (104.2, "100"), (12_345, "12,000")],
)
def test_estimates_have_two_digits(value: float, text: str) -> None:
    assert about(value) == text


@given(st.floats(1e-9, 1e9))
def test_two_digits_are_near_the_value(value: float) -> None:
    assert float(about(value).replace(",", "")) == pytest.approx(value, rel=0.0501)


def test_figures_in_words() -> None:
    assert between(2.01, 2.02) == "2.0"
    assert [bytes_of(count) for count in (12, 2048, 5 << 20, 3 << 30)] == ["12 bytes", "2 KiB", "5 MiB", "3 GiB"]
    assert [bytes_of(count) for count in (0, 1023, 1023 * 1024, 1000.4 * 2**20)] == [
        "0 bytes",
        "1,023 bytes",
        "1,020 KiB",
        "1,000 MiB",
    ]
    assert [si(count) for count in (0, 12_500, 999_999, 1.25e9, 0.005)] == ["0", "12.5 k", "1,000 k", "1.25 G", "0.005"]
    assert [share(part) for part in (0, 0.001, 0.0051, 1)] == ["0 %", "<1 %", "1 %", "100 %"]
