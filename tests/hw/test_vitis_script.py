"""The script for Vitis HLS, in a Tcl interpreter that knows the commands which it uses as UG1399 spells them, and no others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of
from edgewright.hw.emit import hls_files
from edgewright.hw.kernel.cpp_vitis import VERSIONS

from tests.hw.hls_rules import rules
from tests.hw.hls_rules.intervals import pipelines
from tests.hw.hls_rules.source import parse

PART = "xczu7ev-ffvc1156-2-e"
SMALL = EngineConfig(tokens=4, weight_tiles=64, softmax_keys=4)
COMMANDS: Mapping[str, tuple[frozenset[str], frozenset[str], int]] = {
    "open_component": (frozenset({"-flow_target"}), frozenset({"-reset"}), 1),
    "set_top": (frozenset(), frozenset(), 1),
    "add_files": (frozenset({"-cflags", "-csimflags"}), frozenset({"-tb"}), 1),
    "set_part": (frozenset(), frozenset(), 1),
    "create_clock": (frozenset({"-period", "-name"}), frozenset(), 0),
    "set_clock_uncertainty": (frozenset(), frozenset(), 1),
    "csim_design": (frozenset({"-argv", "-ldflags", "-mflags"}), frozenset({"-O", "-clean", "-setup"}), 0),
    "csynth_design": (frozenset(), frozenset(), 0),
    "cosim_design": (frozenset({"-argv", "-rtl", "-tool"}), frozenset({"-O", "-setup", "-random_stall"}), 0),
    "export_design": (frozenset({"-format", "-rtl", "-output"}), frozenset(), 0),
    "exit": (frozenset(), frozenset(), 0),
}
"""By command: options with a value, those without, and the number of other arguments (UG1399, HLS Tcl Commands)."""
LOOP = "<{0}><Name>{0}</Name><PipelineII>{1}</PipelineII></{0}>"


class Vitis:
    """Runs a script; ``calls`` are the commands in order. Synthesis leaves ``reports`` (file -> text) in the component."""

    def __init__(self, folder: Path, reports: Mapping[str, str]) -> None:
        tkinter = pytest.importorskip("tkinter")
        self.folder, self.reports = folder, reports
        self.calls: list[tuple[str, ...]] = []
        self.tcl = tkinter.Tcl()
        for name in COMMANDS:
            self.tcl.createcommand(name, lambda *arguments, name=name: self.call(name, arguments))
        self.tcl.eval("unset -nocomplain ::env(XILINX_HLS) ::env(XILINX_VITIS) ::env(XILINX_VIVADO)")

    def call(self, name: str, arguments: tuple[str, ...]) -> str:
        valued, flags, wanted = COMMANDS[name]
        rest = list(arguments)
        plain = []
        while rest:
            word = rest.pop(0)
            if word in valued:
                assert rest, f"{name} {word} without a value"
                rest.pop(0)
            elif word not in flags:
                assert not word.startswith("-"), f"{name} has no option {word}"
                plain.append(word)
        assert len(plain) == wanted, (name, plain)
        if name == "add_files":
            assert (self.folder / plain[0]).is_file(), plain
        if name == "csynth_design":
            report = self.folder / "engine_hls_component" / "hls" / "syn" / "report"
            report.mkdir(parents=True)
            for file, text in self.reports.items():
                (report / file).write_text(text)
        self.calls.append((name, *arguments))
        return ""

    def run(self, **environment: str) -> str:
        for name, value in environment.items():
            self.tcl.eval(f"set ::env({name}) {{{value}}}")
        script = self.folder / "vitis.tcl"
        self.tcl.eval(f"source {{{script}}}")
        return (self.folder / "intervals.txt").read_text()


@cache
def files() -> Mapping[str, str]:
    return hls_files(SMALL, PART)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in files().items():
        (tmp_path / name).write_text(text)
    return tmp_path


def asked() -> list[str]:
    """Return the labels that the script asks for."""
    found = re.search(r"^set asked \{(.*?)\}$", files()["vitis.tcl"], re.MULTILINE | re.DOTALL)
    assert found
    words = found[1].split()
    assert set(words[2::3]) == {"1"}
    return words[::3]


def test_all_steps_in_order(folder: Path) -> None:
    vitis = Vitis(folder, {})
    vitis.run(XILINX_HLS="/tools/Xilinx/Vitis_HLS/2023.2")
    names = [name for name, *_ in vitis.calls]
    assert names[-5:] == ["csim_design", "csynth_design", "cosim_design", "export_design", "exit"]
    calls = {name: arguments for name, *arguments in vitis.calls}
    assert calls["set_top"] == ["engine_hls"] and calls["set_part"] == [PART]
    assert calls["create_clock"] == ["-period", "3.333", "-name", "default"] and calls["set_clock_uncertainty"] == ["0.400"]
    assert calls["export_design"] == ["-format", "ip_catalog"]
    tokens = folder / "tokens"
    assert calls["csim_design"] == ["-argv", f"memory {folder / 'vectors'} {tokens}"] and tokens.is_dir()
    assert calls["cosim_design"] == ["-argv", f"replay {tokens}"]
    added = [call for call in vitis.calls if call[0] == "add_files"]
    assert [call[1] for call in added] == ["engine.cpp", "-tb"] and all("-DEW_AP_INT" in call[-1] for call in added)


def test_co_simulation_can_be_left_out(folder: Path) -> None:
    vitis = Vitis(folder, {})
    vitis.run(XILINX_VITIS="/opt/Xilinx/2025.1/Vitis", EW_SKIP_COSIM="1")
    vitis.tcl.eval("unset ::env(EW_SKIP_COSIM)")
    assert "cosim_design" not in {name for name, *_ in vitis.calls}


@pytest.mark.parametrize("environment", [{}, {"XILINX_HLS": "/tools/Xilinx/Vitis_HLS/2022.1"}], ids=["none", "2022.1"])
def test_other_versions_are_refused(folder: Path, environment: dict[str, str]) -> None:
    tkinter = pytest.importorskip("tkinter")
    vitis = Vitis(folder, {})
    with pytest.raises(tkinter.TclError, match="none of those whose rules"):
        vitis.run(**environment)
    assert vitis.calls == []
    vitis.run(EW_ANY_VERSION="1", **environment)
    vitis.tcl.eval("unset ::env(EW_ANY_VERSION)")
    assert vitis.calls[-1] == ("exit",)


def test_achieved_intervals_beside_those_asked_for(folder: Path) -> None:
    loops, functions = [n for n in asked() if n.rsplit("_", 1)[-1] in "jkwr"], ["load_issue", "done_fork"]
    own = "<TopModelName>load_issue</TopModelName><PipelineInitiationInterval>1</PipelineInitiationInterval>"
    log = "INFO: [HLS 200-1470] Pipelining result : Target II = 1, Final II = 3, Depth = 4, function 'done_fork'"
    reports = {
        "fill_t_csynth.xml": f"<x>{LOOP.format('fill_t', 2)}{LOOP.format(loops[0], 1)}</x>",
        "product_csynth.xml": f"<x>{LOOP.format('product_j_product_o', 1)}{LOOP.format('operand_route_w', 7)}</x>",
        "csynth.xml": "<x><L0><Name>track_m</Name><PipelineII>2</PipelineII></L0><L1><Name>other</Name></L1></x>",
        "load_issue_csynth.xml": f"<x>{own}</x>",
        "vitis_hls.log": f"{log}\n",
    }
    table = Vitis(folder, reports).run(XILINX_HLS="/tools/Xilinx/Vitis_HLS/2024.1")
    found = {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:-1]}
    assert list(found) == asked()
    assert found["fill_t"] == ["1", "2", "MISSED"] and found["product_o"] == ["1", "1"] and found[loops[0]] == ["1", "1"]
    assert found[functions[0]] == ["1", "1"] and found[functions[1]] == ["1", "3", "MISSED"]
    assert found["operand_route_w"] == ["1", "7", "MISSED"] and found["route_w"] == ["1", "?"]
    assert found["track_m"] == ["1", "2", "MISSED"]
    unknown = sum(row[1] == "?" for row in found.values())
    assert unknown == len(asked()) - 7
    assert table.splitlines()[-1] == f"{len(asked())} pipelines: 4 missed their interval, of {unknown} none is reported"


def test_every_pipeline_of_the_text_is_asked_for() -> None:
    design = parse(files()["engine.hpp"], files()["engine.cpp"])
    labels = [label for function in design.functions.values() for label, _, _ in pipelines(function)]
    assert labels == asked() and len(labels) >= len(program_of(SMALL).processes)


def test_the_versions_are_those_of_the_rules() -> None:
    assert VERSIONS == rules.VERSIONS
