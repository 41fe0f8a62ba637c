"""Board files: strict, complete, every number with its source."""

from __future__ import annotations

import re
import tomllib
from importlib import resources

import msgspec
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.targets import device
from edgewright.targets.cpu.variants import variant

FPGAS = ("zcu104", "zcu102", "kv260", "pynq-z2")
ARM = {"rpi4": "neon", "rpi5": "dotprod", "jetson-nano": "neon", "jetson-xavier-nx": "neon", "jetson-orin-nano": "dotprod"}
BOARDS = (*FPGAS, *ARM, "host")


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


@pytest.mark.parametrize("name", ARM)
def test_a_board_names_its_kernels_and_the_documents_of_its_core(name: str) -> None:
    board = device.load_supported(name)
    assert board.kind == "cpu" and board.note
    assert board.cpu is not None and board.clock_mhz is not None
    assert board.cpu.variant == ARM[name]
    needs = set(variant(ARM[name]).features)
    assert ("asimddp" in needs) == (board.cpu.dot_per_cycle > 0)
    assert ("i8mm" in needs) == (board.cpu.mma_per_cycle > 0)
    assert board.memory is not None
    assert board.cpu.read_gb_per_s <= board.cpu.read_all_gb_per_s <= board.memory.dram_gb_per_s
    assert 20 < len(board.sources_of("cpu")) > len(board.source["cpu"])


@pytest.mark.parametrize("name", [name for name in ARM if name.startswith("jetson")])
def test_a_jetson_has_two_processors_and_says_what_was_never_run(name: str) -> None:
    board = device.load(name)
    assert board.gpu is not None and board.tvm_target["kind"] == "cuda"
    assert "CPU code" in board.note and "CUDA" in board.note and "neither was run" in board.note


@pytest.mark.parametrize("name", BOARDS)
def test_every_number_has_a_source(name: str) -> None:
    raw = tomllib.loads(text_of(name))
    numeric = {k for k, v in raw.items() if k != "source" and re.search(r"\d", str(v) if not isinstance(v, str) else "")}
    assert numeric <= set(raw["source"])
    assert all(text.strip() for text in raw["source"].values())


def test_the_first_board() -> None:
    board = device.load("zcu104")
    assert board.supported
    assert board.clock_mhz == 300
    assert board.resources == device.LogicResources(dsp=1_728, lut=230_400, ff=460_800, bram36=312, uram=96)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("dsp = 1_728", 'dsp = "many"', "Expected `int`, got `str`"),
        ("dsp = 1_728", "dsp = 1_728\nslices = 3", "unknown field `slices`"),
        ("uram = 96\n", "", "missing required field `uram`"),
        ('kind = "fpga"', 'kind = "asic"', "there is no kind of target 'asic'"),
        ("\nresources = ", "\nreferences = ", "no source stated for resources"),
        ("supported = true", "supported = false", "must give a"),
        ("clock_mhz = 300", "", "needs resources, memory and clock_mhz"),
    ],
)
def test_a_faulty_board_file_is_refused(before: str, after: str, words: str) -> None:
    text = text_of("zcu104")
    assert before in text
    with pytest.raises(msgspec.ValidationError, match=re.escape(words)):
        device.parse(text.replace(before, after, 1))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('variant = "neon"', 'variant = "nein"', "no micro-kernels called nein"),
        ("issue_width = 3", "issue_width = 0", "issue_width must be positive"),
        ("read_all_gb_per_s = 5.5", "read_all_gb_per_s = 4", "all cores must read at least as much as one"),
        ("clock_max_mhz = 1_800", "clock_max_mhz = 1_400", "at most cpu.clock_max_mhz"),
        ("clock_mhz = 1_500", "", "clock_mhz must be stated"),
        ('"cpu.bandwidth" =', '"cpu.memory" =', "no source stated for cpu.bandwidth"),
        ("l1d_kib = 32", "", "missing required field `l1d_kib`"),
    ],
)
def test_a_faulty_cpu_is_refused(before: str, after: str, words: str) -> None:
    text = text_of("rpi4")
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
