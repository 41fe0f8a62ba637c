"""fleet.toml: what it may say, and what is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgewright.frontend.splitting.fleet import DEVICES_MAX, load_fleet, parse_fleet
from edgewright.passes.diagnostics import CompileError
from hypothesis import given
from hypothesis import strategies as st

FLEET = """
name = "shelf"
[[device]]
board = "zcu104"
[[device]]
board = "rpi4"
count = 2
memory_mib = 0.5
compute_mmac = 1.5
energy_mj = 3
power_w = 4.5
link_mbit_per_s = 100
link_latency_ms = 0.25
source = "a data sheet"
"""


def code(text: str) -> tuple[str, str, int]:
    """(code, reason, exit code) of the refusal."""
    with pytest.raises(CompileError) as error:
        parse_fleet(text)
    (one,) = error.value.diagnostics
    return one.code, one.because, error.value.exit_code


def test_every_device_is_a_board_with_limits_and_a_link() -> None:
    fleet = parse_fleet(FLEET)
    assert fleet.name == "shelf" and [m.name for m in fleet.members] == ["zcu104", "rpi4", "rpi4-2"]
    first, second, third = fleet.members
    assert fleet.has_fpga and fleet.fuses == 1 and second.entry is third.entry
    assert first.memory_bytes == 2048 << 20 and first.place.macs is None and first.place.energy_mj is None
    assert second.place.memory_bytes == 1 << 19 and second.place.macs == 1_500_000 and second.place.energy_mj == 3.0
    assert first.transfer_ms(64) is None
    assert second.transfer_ms(64) == pytest.approx(0.25 + 64 * 8 / 100e6 * 1e3)


def test_a_fleet_of_fpgas_alone_fuses_on_this_machine() -> None:
    assert parse_fleet('[[device]]\nboard = "zcu104"\n').fuses == -1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "missing required field `device`"),
        ("device = []", "names no device"),
        ("[[device]]\nboard = 3", "Expected `str`"),
        ("[[device]]\ncount = 2", "missing required field `board`"),
        ('[[device]]\nboard = "rpi4"\ncores = 4', "unknown field `cores`"),
        ('colour = "red"\n[[device]]\nboard = "rpi4"', "unknown field `colour`"),
        ('[[device]]\nboard = "rpi4"\ncount = 0', "count is 0"),
        ('[[device]]\nboard = "rpi4"\ncount = 1.5', "Expected `int`"),
        (f'[[device]]\nboard = "rpi4"\ncount = {DEVICES_MAX + 1}', "more than 256"),
        ('[[device]]\nboard = "rpi4"\nmemory_mib = 4', "no source is stated for memory_mib"),
        ('[[device]]\nboard = "rpi4"\nmemory_mib = -1\nsource = "x"', "memory_mib is -1"),
        ('[[device]]\nboard = "rpi4"\nmemory_mib = nan\nsource = "x"', "memory_mib is nan"),
        ('[[device]]\nboard = "rpi4"\nlink_mbit_per_s = 0\nsource = "x"', "has to be positive"),
        ('[[device]]\nboard = "rpi4"\nlink_latency_ms = 1\nsource = "x"', "needs link_mbit_per_s"),
        ('[[device]]\nboard = "rpi4"\nenergy_mj = 1\nsource = "x"', "need each other"),
        ("[[device]", "Expected"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    found, because, exit_code = code(text)
    assert found == "K009" and exit_code == 2 and words in because


def test_boards_are_known_and_supported() -> None:
    assert code('[[device]]\nboard = "rpi-4"')[0] == "T001"
    assert code('[[device]]\nboard = "pynq-z2"')[0] == "T002"


@given(st.text(max_size=200))
def test_any_text_is_a_fleet_or_refused(text: str) -> None:
    try:
        parse_fleet(text)
    except CompileError as error:
        assert error.diagnostics[0].code in ("K009", "T001", "T002")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    bad = tmp_path / "bytes.toml"
    bad.write_bytes(b"\xff\xfe\x00")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (1 << 20) + b"##")
    for path in (tmp_path / "none.toml", tmp_path, bad, large):
        with pytest.raises(CompileError) as error:
            load_fleet(path)
        assert error.value.diagnostics[0].code == "K009"
