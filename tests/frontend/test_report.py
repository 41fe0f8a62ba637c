"""The report: its JSON keeps to the schema that is shipped, its page is one safe file that says what it should."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from edgewright.frontend.files.publish import write_results
from edgewright.frontend.report import hardware, hardware_plots, page, plots, report
from edgewright.passes.results import (
    SCHEMA_VERSION,
    ArrayTime,
    CpuArtifact,
    Lane,
    Latency,
    LayerNoise,
    MemoryRange,
    MemoryUse,
    Mismatch,
    OperationCost,
    Profile,
    Published,
    Report,
    Resources,
    Roofline,
    StageTime,
    Timeline,
    WaitReason,
    to_data,
)

from tests.frontend.report_page import HOSTILE, Page
from tests.frontend.sample_report import sample, sample_cpu, schema, typed


def empty() -> dict[str, Any]:
    """A report in which nothing was measured; the cycles are predicted, and what the board has is known."""
    data = sample(simulated=False)
    data |= {"macs": None, "parameters": None, "clock_mhz": None, "latency_ms": None, "part": None}
    data |= {"products_per_dsp_per_cycle": None, "peak_memory_mib": None, "stages": [], "layers": []}
    data |= {"operations": [], "memory_map": [], "memory_use": [], "profile": None}
    data["accuracy"] = {"float": None, "int8": None, "images": None, "outputs": []}
    data["calibration"] = {"kind": None, "images": None, "method": None, "how": ""}
    data["resources"] = {name: {**entry, "used": None, "source": None} for name, entry in data["resources"].items()}
    data["roofline"] = {"macs_per_cycle": None, "bytes_per_cycle": None}
    return data


def mismatched() -> dict[str, Any]:
    data = sample()
    data["bit_exact"] = False
    data["mismatch"] = {
        "operation": "blocks.3.attn",
        "tensor": "blocks.3.attn.out",
        "index": [0, 17, 5],
        "expected": -12,
        "found": 44,
    }
    return data


def hostile() -> dict[str, Any]:
    data = mismatched()
    data |= {"model": HOSTILE, "notes": [HOSTILE]}
    data["mismatch"] |= {"operation": HOSTILE, "tensor": HOSTILE}
    for part in ("layers", "operations", "memory_map"):
        data[part] = copy.deepcopy(data[part][:8])
        for entry in data[part]:
            entry["name"] = HOSTILE
    return data


def hostile_cpu() -> dict[str, Any]:
    data = sample_cpu()
    data |= {"model": HOSTILE, "notes": [HOSTILE], "part": HOSTILE, "layers": copy.deepcopy(data["layers"][:5])}
    data["operations"] = copy.deepcopy(data["operations"][:5])
    for entry in (*data["layers"], *data["operations"]):
        entry["name"] = HOSTILE
    data["operations"][2]["kind"] = HOSTILE
    data["artifact"] |= {"variant": HOSTILE, "features": [HOSTILE]}
    for row in (*data["latency"], *data["published"]):
        row |= {key: HOSTILE for key in ("core", "assumptions_low", "model", "differs", "source") if key in row}
    return data


CASES = {
    "simulated": sample(),
    "predicted": sample(False, True),
    "empty": empty(),
    "nothing": to_data(Report("m", "t", "0")),
    "mismatch": mismatched(),
    "hostile": hostile(),
    "cpu int8": sample_cpu(),
    "cpu fp32": sample_cpu("fp32", host=True),
    "cpu unlabelled": sample_cpu("fp32", labelled=False),
    "cpu not estimated": sample_cpu(estimated=False, labelled=False, random=True),
    "cpu hostile": hostile_cpu(),
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], str]:
    data = CASES[request.param]
    return data, report.to_html(typed(data))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_the_dataclasses_keep_to_the_schema() -> None:
    nothing = Report("m", "zcu104", "0.1.0")
    jsonschema.validate(to_data(nothing), schema())
    something = dataclasses.replace(
        nothing,
        mismatch=Mismatch("op", "tensor", (0, 1), 2, 3),
        stages=(StageTime("read", 0.5),),
        layers=(LayerNoise("a", "Linear", None),),
        operations=(OperationCost("a", "linear", 5, array=ArrayTime(0, 8, {"busy": 6, "room": 3})),),
        memory_map=(MemoryRange("a", "weights", 0, 64),),
        memory_use=(MemoryUse("on chip", 64, 64, 128),),
        profile=Profile(
            9, (Timeline(0, 3, 9, (Lane("array", "unit", {"busy": (1, 2, 3)}),)),), (WaitReason("room", "room", 3),)
        ),
    )
    jsonschema.validate(to_data(something), schema())
    on_cpu = dataclasses.replace(
        nothing,
        operations=(OperationCost("a", "Linear+Gelu", 5, 60, low_us=0.5, high_us=1.5, limit="rows"),),
        latency=(Latency(4, 1.0, 2.5, "Cortex", {"rows": 1.0}, "at best", "at worst"),),
        published=(Published("ViT", 3.5, None, "fp32", "ncnn", 1000, 1.25, "clock", "a paper"),),
        artifact=CpuArtifact("neon", "aarch64", ("asimd",), 1, 2, 3),
    )
    jsonschema.validate(to_data(on_cpu), schema())
    assert set(to_data(something)) == set(schema()["properties"]) == set(sample()) == set(sample_cpu())


@pytest.mark.long
def test_json_keeps_to_the_schema(case: tuple[dict[str, Any], str]) -> None:
    jsonschema.validate(json.loads(page.json_text(typed(case[0]))), schema())


@pytest.mark.parametrize(
    "path", ["model", "macs", "accuracy.int8", "cycles.simulated", "resources.dsp.source", "simulation.kcycles_per_s"]
)
def test_what_was_not_measured_is_null_and_never_absent(path: str) -> None:
    data = sample()
    *outer, last = path.split(".")
    inside: Any = data
    for key in outer:
        inside = inside[key]
    del inside[last]
    with pytest.raises(jsonschema.ValidationError, match=f"'{last}' is a required property"):
        jsonschema.validate(data, schema())


def test_nothing_infinite_is_written() -> None:
    data = sample()
    data["latency_ms"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        page.json_text(typed(data))


def test_the_page_needs_nothing_else(case: tuple[dict[str, Any], str]) -> None:
    page = Page(case[1])
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base", "form"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "src", "xlink:href", "action", "data"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, name)
    assert not re.search(r"url\((?!#)|@import", case[1])


def test_the_page_is_well_formed(case: tuple[dict[str, Any], str]) -> None:
    body = re.sub(r"<meta[^>]*>", "", case[1].replace("<!doctype html>", "")).replace("&nbsp;", " ")
    ET.fromstring(body)


@pytest.mark.parametrize("data", [hostile(), hostile_cpu()], ids=["fpga", "cpu"])
def test_hostile_names_are_text(data: dict[str, Any]) -> None:
    page = report.to_html(typed(data))
    assert "<script>" not in page
    assert "49" not in Page(page).texts
    assert any("<script>alert('x')</script>" in text for text in Page(page).texts)
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        assert "\x1b" not in svg


@pytest.mark.long
def test_headline_says_what_happened() -> None:
    text = " ".join(Page(report.to_html(typed(sample()))).texts)
    for words in (
        "bit-exact",
        "over 4 simulated images",
        "71.84 %",
        "float model 72.13 % (-0.29 points)",
        "2.00 is the limit",
    ):
        assert words in text
    text = " ".join(Page(report.to_html(typed(mismatched()))).texts)
    assert "expected -12, the hardware stored 44" in text
    assert "bit-exact" not in text


@pytest.mark.long
def test_random_calibration_is_the_first_thing_said() -> None:
    data = sample(random=True)
    data["notes"] = ["something else"]
    body = report.to_html(typed(data)).split("<main>")[1]
    assert body.index(report.RANDOM_CALIBRATION) < body.index("something else") < body.index("<h1>")
    assert report.RANDOM_CALIBRATION not in report.to_html(typed(sample()))


def test_what_was_not_measured_says_so() -> None:
    text = " ".join(Page(report.to_html(typed(empty()))).texts)
    assert text.count("not measured") > 10
    assert "None" not in text


def test_too_large_a_design_does_not_fit() -> None:
    data = sample()
    data["resources"]["uram"]["used"] = 97
    fits = next(tile for tile in report.tiles(typed(data)) if tile.label == hardware.FITS)
    assert (fits.value, fits.mood) == ("no", "bad")
    data["resources"]["uram"] = {"used": 3, "available": 0, "source": "planner"}
    report.to_html(typed(data))


@pytest.mark.long
def test_the_same_page_every_time() -> None:
    assert report.to_html(typed(sample())) == report.to_html(typed(sample()))


def test_plots_leave_out_what_is_unknown() -> None:
    assert plots.noise([LayerNoise("a", "b", None)]) is None
    assert plots.noise([LayerNoise("a", "b", -3.0)]) is not None
    assert hardware_plots.cycles(typed(empty()).operations) is None
    assert hardware_plots.roofline(typed(sample()).operations, Roofline(None, 32.0)) is None


def test_a_report_of_a_new_kind_of_target_shows_the_parts_it_has() -> None:
    """Cycles and a memory map as of an engine, a latency and an artifact as of a processor."""
    engine, processor = typed(sample()), typed(sample_cpu())
    both = dataclasses.replace(engine, latency=processor.latency, artifact=processor.artifact, resources=Resources())
    titles = Page(report.to_html(both)).titles
    for name in ("cycles", "roofline", "memory", "latency", "artifact"):
        assert page.words(f"{name}.title") in titles
    assert page.words("resources.title") not in titles and page.words("time.title") not in titles
    labels = {tile.label for tile in report.tiles(both)}
    assert {"Cycles for one image", "Estimated latency, 1 thread", "Kernels"} <= labels and hardware.FITS not in labels


def test_every_text_of_the_pages_is_used() -> None:
    folder = Path(report.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    for section, texts in tomllib.loads((folder / "texts.toml").read_text()).items():
        assert f'"{section}"' in source or f'"{section}.' in source, section
        for key, text in texts.items():
            named = key in ("title", "tag", "text") or f'"{section}.{key}"' in source or f'"{key}"' in source
            named |= section in ("reasons", "advice")  # by the reasons of a profile: see test_timeline.py
            assert named or (section == "changes" and key in ("map_caption", "bars_caption")), f"{section}.{key}"
            assert "  " not in "".join(text).replace("\n", ""), f"{section}.{key}"


def test_write_leaves_two_files(tmp_path: Path) -> None:
    write_results(report.files(typed(sample())), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert json.loads((tmp_path / "report.json").read_text()) == sample()
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
