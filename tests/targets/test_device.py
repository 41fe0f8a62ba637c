"""Board files: strict, complete, every number with its source."""

from __future__ import annotations

import re
import tomllib
from importlib import resources

import msgspec
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.targets import device

FPGAS = ("zcu104", "zcu102", "kv260", "pynq-z2")
BOARDS = (*FPGAS, "rpi4", "rpi5", "jetson-nano", "jetson-xavier-nx", "jetson-orin-nano", "host")


def text_of(name: str) -> str:
    return (resources.files("edgewright.targets") / "boards" / f"{name}.toml").read_text(encoding="utf-8")


def test_every_board_is_there() -> None:
    assert {d.name for d in device.list_devices()} == set(BOARDS)
    assert device.list_devices()[0].name == "zcu104"


@pytest.mark.parametrize("name", BOARDS)
def test_file_and_name_agree(name: str) -> None:
    board = device.load(name)
    assert board.name == name
    assert board.supported == (not board.reason)


@pytest.mark.parametrize("name", BOARDS)
def test_every_number_has_a_source(name: str) -> None:
    raw = tomllib.loads(text_of(name))
    numeric = {
        k for k, v in raw.items() if k != "source" and re.search(r"\d", str(v) if not isinstance(v, str) else "")
    }
    assert numeric <= set(raw["source"])
    assert all(text.strip() for text in raw["source"].values())


def test_the_first_board() -> None:
    board = device.load("zcu104")
    assert board.supported
    assert board.clock_mhz == 300
    assert board.resources == device.Resources(dsp=1_728, lut=230_400, ff=460_800, bram36=312, uram=96)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("dsp = 1_728", 'dsp = "many"', "Expected `int`, got `str`"),
        ("dsp = 1_728", "dsp = 1_728\nslices = 3", "unknown field `slices`"),
        ("uram = 96\n", "", "missing required field `uram`"),
        ('kind = "fpga"', 'kind = "asic"', "Invalid enum value 'asic'"),
        ("\nresources = ", "\nreferences = ", "no source stated for resources"),
        ("supported = true", "supported = false", "has to say why"),
        ("clock_mhz = 300", "", "needs resources, memory and clock_mhz"),
    ],
)
def test_a_faulty_board_file_is_refused(before: str, after: str, words: str) -> None:
    text = text_of("zcu104")
    assert before in text
    with pytest.raises(msgspec.ValidationError, match=re.escape(words)):
        device.parse(text.replace(before, after, 1))


@pytest.mark.parametrize(
    ("asked", "suggested"),
    [("zcu014", "zcu104"), ("ZCU104", "zcu104"), ("pynq_z2", "pynq-z2"), ("jetson-orin", "jetson-orin-nano")],
)
def test_an_unknown_target_suggests_the_nearest(asked: str, suggested: str) -> None:
    with pytest.raises(CompileError) as failure:
        device.load(asked)
    assert failure.value.exit_code == 2
    (one,) = failure.value.diagnostics
    assert one.code == "T001"
    assert one.message == f"there is no target called '{asked}'"
    assert f"did you mean '{suggested}'?" in one.help


@pytest.mark.parametrize("asked", ["../../etc/passwd", "", "zzzzzzzz", "zcu104.toml"])
def test_nothing_but_a_board_is_loaded(asked: str) -> None:
    with pytest.raises(CompileError):
        device.load(asked)


def test_an_unsupported_target_says_why() -> None:
    assert device.load_supported("zcu104").name == "zcu104"
    with pytest.raises(CompileError) as failure:
        device.load_supported("pynq-z2")
    assert failure.value.exit_code == 2
    assert failure.value.diagnostics[0].because == device.load("pynq-z2").reason
