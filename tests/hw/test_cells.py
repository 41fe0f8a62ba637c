"""The committed cell counts are those of today's blocks, within 3 %: small ones again, and which there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgewright.hw import cells
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cells import COUNTS, TOP, counts, with_black_boxes
from edgewright.hw.cost import CELLS_FILE, config_key, program_of, resources_of, rtl_files
from edgewright.hw.synth import Cells, estimate
from edgewright.targets.device import list_devices, load

CONFIG = EngineConfig.of_board(load("zcu104"))
SMALL = ("load_gate", "route", "store_addresses", "residual_rows")


def blocks() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(CELLS_FILE.read_text())[config_key(CONFIG)]["blocks"]
    return found


def test_every_supported_board_has_counts_that_fit_it() -> None:
    for device in list_devices():
        if device.kind != "fpga" or not device.supported:
            continue
        used = resources_of(EngineConfig.of_board(device))
        assert device.resources is not None
        for name in COUNTS:
            value = getattr(used, name)
            assert value is not None and value <= getattr(device.resources, name), (device.name, name)
        assert used.source and "estimate" in used.source


def test_every_process_is_counted() -> None:
    assert set(blocks()) == {TOP, *(p.name for p in program_of(CONFIG).processes)}


def test_the_array_puts_two_products_in_a_dsp() -> None:
    assert 0 <= blocks()["product"]["dsp"] - CONFIG.macs_per_cycle / 2 <= 4  # the rest: an address
    assert sum(block["dsp"] for block in blocks().values()) <= 1728


@pytest.mark.parametrize("name", SMALL)
def test_counts_are_those_of_today(name: str) -> None:
    pytest.importorskip("pyosys")
    top = f"engine_{name}"
    found = counts(estimate({f"{top}.sv": rtl_files(CONFIG)[f"{top}.sv"]}, top))
    for kind in COUNTS:
        assert found[kind] == pytest.approx(blocks()[name][kind], rel=0.03, abs=2), kind


def test_one_block_is_counted_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored, before = tmp_path / "cells.json", json.loads(CELLS_FILE.read_text())
    stored.write_text(json.dumps(before))
    monkeypatch.setattr(cells, "CELLS_FILE", stored)
    monkeypatch.setattr(cells, "estimate", lambda *_, **__: Cells(1, 2, 3, 4.5, 5, "a test"))
    monkeypatch.setattr("sys.argv", ["cells", "zcu104", "route"])
    cells.main()
    after = json.loads(stored.read_text())
    key = config_key(CONFIG)
    assert after[key]["blocks"].pop("route") == {"dsp": 1, "lut": 2, "ff": 3, "bram36": 4.5, "uram": 5}
    del before[key]["blocks"]["route"]
    assert after[key]["blocks"] == before[key]["blocks"] and list(after) == list(before)


@pytest.mark.parametrize(("arguments", "says"), [(["nothing"], "no block nothing"), (["route"], "no counts to keep")])
def test_which_blocks_can_be_counted_alone(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cells, "CELLS_FILE", tmp_path / "cells.json")  # there is none
    monkeypatch.setattr("sys.argv", ["cells", "zcu104", *arguments])
    with pytest.raises(SystemExit):
        cells.main()
    assert says in capsys.readouterr().err


def test_black_boxes_keep_their_ports() -> None:
    files = with_black_boxes(rtl_files(CONFIG), [p.name for p in program_of(CONFIG).processes])
    text = files["engine_route.sv"]
    assert text.startswith("(* blackbox *)\nmodule engine_route (") and text.endswith(");\nendmodule\n")
    assert "always" not in text
