"""What a report says of an engine over time: figures that add up, words for every cause, drawings of what they are given."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from edgewright.frontend.fpga.report import with_counted
from edgewright.frontend.report import canvas, page, report, storage, storage_plots, timeline, timeline_plots
from edgewright.frontend.report.palette import PLACES, STATES
from edgewright.hw.blocks.operation import ROLES
from edgewright.hw.profile import STATES as ALL_STATES
from edgewright.hw.tracks import SEQUENCER
from edgewright.passes.results import ArrayTime, Lane, MemoryRange, MemoryUse, OperationCost, Timeline
from hypothesis import given, settings, strategies

from tests.frontend.report_page import HOSTILE, Page
from tests.frontend.sample_report import sample, schema, typed

NAMES = dict.fromkeys([*STATES, "idle"], "waits")


def number(cell: page.Cell) -> int:
    """The count in a cell of a table."""
    text = cell.text if isinstance(cell, page.Marked) else cell
    return int((text or "").replace(",", ""))


def tables(section: page.Section) -> list[page.Table]:
    return [block for block in section.blocks if isinstance(block, page.Table)]


def test_the_table_of_causes_adds_up_to_all_cycles() -> None:
    shown = typed(sample())
    assert shown.profile is not None
    (section,) = timeline.sections(shown)
    causes, reasons = tables(section)
    for column in range(1, len(causes.columns)):
        assert sum(number(row[column]) for row in causes.rows) == number(causes.total[column])
    for row in (*causes.rows, causes.total):
        assert sum(map(number, row[1:-1])) == number(row[-1])
    assert number(causes.total[-1]) == shown.profile.cycles == shown.cycles.predicted
    waits = sum(number(row[-1]) for row in causes.rows) - sum(number(row[-1]) for row in (causes.rows[0], causes.rows[-1]))
    assert sum(number(row[-1]) for row in reasons.rows) == number(reasons.total[-1]) == waits


def test_every_cause_has_a_colour_and_words_and_is_in_the_schema() -> None:
    texts = tomllib.loads(Path(report.__file__).with_name("texts.toml").read_text())
    assert set(ALL_STATES) == {*STATES, "idle"} == set(texts["states"])
    assert set(ALL_STATES) == set(schema()["$defs"]["states"]["propertyNames"]["enum"])
    assert set(texts["reasons"]) == set(texts["advice"]) == {*ROLES, SEQUENCER, "memory", "completion", "room", "command"}
    css = Path(report.__file__).with_name("page.css").read_text()
    for colour in {*STATES.values(), *PLACES.values(), "var(--lane)"}:
        assert css.count(f"{colour[4:-1]}:#") == 2, colour  # light and dark


def test_what_the_largest_wait_suggests_is_said() -> None:
    text = Page(report.to_html(typed(sample()))).text
    assert page.words("advice.tiles") in text and page.words("reasons.completion") in text
    assert "works 75 % of the time only" in text


def test_a_report_without_a_profile_has_no_timeline_and_the_old_map() -> None:
    data = sample()
    data["profile"] = None
    for entry in data["memory_map"]:
        entry["first_cycle"] = entry["last_cycle"] = None
    shown = typed(data)
    assert timeline.sections(shown) == ()
    (section,) = storage.sections(shown)
    assert page.words("memory.caption") in [block.caption for block in section.blocks if isinstance(block, page.Plot)]


def test_hostile_names_stay_text_in_drawings() -> None:
    data = sample()
    for part in ("operations", "memory_map"):
        for entry in data[part]:
            entry["name"] = HOSTILE
    for shown in data["profile"]["timelines"]:
        shown["lanes"][0]["name"] = HOSTILE
    made = typed(data)
    assert made.profile is not None
    drawings = [timeline_plots.timeline(made.profile.timelines[0], made.operations, NAMES)]
    drawings.append(storage_plots.over_time(made.memory_map, made.memory_use, made.profile.cycles))
    for svg in drawings:
        assert svg is not None
        names = {element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()}
        assert names <= {"svg", "g", "title", "rect", "path", "text"} and "\x1b" not in svg and "\u202e" not in svg


def test_simulated_words_stand_beside_the_predicted_ones() -> None:
    before = typed(sample(simulated=False)).profile
    assert before is not None
    stored = list(range(100, before.cycles, 7))
    counted = with_counted(before, stored)
    assert counted is not None
    for shown in counted.timelines:
        (lane,) = (lane for lane in shown.lanes if lane.kind == "simulated")
        assert shown.lanes[shown.lanes.index(lane) - 1].kind == "port"
        end = shown.first_cycle + shown.cycles
        assert sum(lane.states["busy"]) == sum(shown.first_cycle <= cycle < end for cycle in stored)
    assert (
        with_counted(counted, stored) == counted and with_counted(before, []) == before and with_counted(None, stored) is None
    )


def test_an_agreement_is_shown_only_after_a_simulation() -> None:
    assert timeline.agreement_sections(typed(sample(simulated=False))) == ()
    (section,) = timeline.agreement_sections(typed(sample()))
    assert "were simulated" in str(section.blocks[0])


def corners(svg: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of every rectangle."""
    sizes = re.findall(r'<rect x="([\d.-]+)" y="([\d.-]+)" width="([\d.-]+)" height="([\d.-]+)"', svg)
    boxes = [tuple(map(float, size)) for size in sizes]
    return [(x, y, x + w, y + h) for x, y, w, h in boxes]


@settings(max_examples=60, deadline=None)
@given(
    cycles=strategies.integers(1, 10**9),
    values=strategies.lists(
        strategies.tuples(
            strategies.integers(0, 2**32), strategies.integers(0, 2**24), strategies.floats(0, 1), strategies.floats(0, 1)
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_every_value_is_drawn_inside_its_panel(cycles: int, values: list[tuple[int, int, float, float]]) -> None:
    entries = [
        MemoryRange(
            f"v{n}",
            "activation",
            a,
            size,
            ("on chip", "external", "spilled")[n % 3],
            *sorted((int(b * cycles), int(c * cycles))),
        )
        for n, (a, size, b, c) in enumerate(values)
    ]
    uses = []
    for name in ("on chip", "external"):
        inside = [entry for entry in entries if (entry.place == "on chip") == (name == "on chip")]
        if inside:
            first, end = min(e.address for e in inside), max(e.address + e.bytes for e in inside)
            uses.append(MemoryUse(name, end - first, 0, 2**34))
    svg = storage_plots.over_time(entries, uses, cycles)
    assert svg is not None
    height = float(re.findall(r'viewBox="0 0 960 ([\d.]+)"', svg)[0])
    boxes = corners(svg)
    assert len(boxes) == len(entries) + len(uses)
    for left, top, right, bottom in boxes:
        assert storage_plots.LEFT - 0.2 <= left <= right <= canvas.WIDTH and -0.2 <= top < bottom <= height


@settings(max_examples=60, deadline=None)
@given(
    first=strategies.integers(0, 10**8),
    width=strategies.integers(1, 10**5),
    bins=strategies.lists(strategies.tuples(strategies.floats(0, 1), strategies.floats(0, 1)), min_size=1, max_size=40),
    cut=strategies.floats(0, 0.99),
)
def test_a_lane_is_as_high_as_its_states(first: int, width: int, bins: list[tuple[float, float]], cut: float) -> None:
    """Each drawn column ends at its share of the bin, to half a level."""
    last = max(1, int(width * (1 - cut)))
    sizes = [*[width] * (len(bins) - 1), last]
    busy = tuple(int(size * share) for size, (share, _) in zip(sizes, bins, strict=True))
    waits = tuple(int((size - b) * share) for size, b, (_, share) in zip(sizes, busy, bins, strict=True))
    shown = Timeline(first, width, sum(sizes), (Lane("array", "unit", {"busy": busy, "memory": waits}),))
    svg = timeline_plots.timeline(shown, [OperationCost("a", "linear", 1, array=ArrayTime(first, first, {"busy": 1}))], NAMES)
    assert svg is not None
    paths = re.findall(r'<path transform="[^"]*" d="([^"]*)" style="fill:([^"]*)"/>', svg)
    assert [colour for _, colour in paths] == [STATES["memory"], STATES["busy"]]
    for (path, _), counts in zip(paths, ([b + w for b, w in zip(busy, waits, strict=True)], busy), strict=True):
        for count, size, level in zip(counts, sizes, levels(path, len(bins)), strict=True):
            assert abs(level - timeline_plots.LEVELS * count / size) <= 0.5


def levels(path: str, bins: int) -> list[int]:
    """The levels that a path of `Canvas.steps` draws."""
    top = int(re.findall(r"M0 (\d+)", path)[0])
    found, now = [], 0
    changes = {int(place): top - int(y) for place, y in re.findall(r"H(\d+)V(\d+)(?!Z)", path.rpartition("H")[0])}
    for place in range(bins):
        now = changes.get(place, now)
        found.append(now)
    return found


@given(strategies.floats(0, 1e12), strategies.floats(0, 1e12))
def test_axes_have_a_few_round_numbers_inside(a: float, b: float) -> None:
    first, last = sorted((a, b))
    found = canvas.round_numbers(first, last)
    assert len(found) <= 9 and all(first <= value <= last for value in found)
    if last - first >= 4:
        assert len(found) >= 2 and len({after - before for before, after in pairwise(found)}) == 1


@pytest.mark.long
def test_a_page_of_deit_tinys_size_stays_small() -> None:
    data = sample()
    data["memory_map"] = [dict(entry, name=f"{entry['name']} {n}") for n in range(20) for entry in data["memory_map"]]
    assert len(report.to_html(dataclasses.replace(typed(data)))) < 2_000_000
