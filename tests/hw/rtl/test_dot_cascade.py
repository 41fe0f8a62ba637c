"""The cascade of the product array: its body for simulation and its DSPs give the sums that numpy gives, cycle by cycle."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from edgewright.sim import bench
from edgewright.sim.build import build
from edgewright.sim.runner import Result, run

pytestmark = pytest.mark.sim
HERE = Path(__file__).parent
SHIFTS = {"behaviour": 19, "DSP48E2": 19, "DSP48E1": 17}
TERMS = {"behaviour": 16, "DSP48E2": 16, "DSP48E1": 4}
"""As many as fit a sum's low bits."""


def dsp48e1() -> str:
    """Return Yosys's model of a DSP48E1."""
    pyosys = pytest.importorskip("pyosys")
    text = (Path(pyosys.__file__).parent / "share" / "xilinx" / "cells_sim.v").read_text()
    found = re.search(r"^module DSP48E1 \(.*?^endmodule\n", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return "/* verilator lint_off WIDTH */\n/* verilator lint_off UNUSED */\n" + found.group(0)


def cascade(body: str, pairs: int, outs: int, terms: int, change: tuple[str, str] = ("", "")) -> Result:
    texts = {f"{name}.sv": bench.cell(name) for name in ("dot_cascade", "dsp_product", "delay")}
    if body != "behaviour":
        family = 'Family = "DSP48E2"', f'Family = "{body}"'
        texts = {name: "`define SYNTHESIS\n" + text.replace(*family) for name, text in texts.items()}
        texts["dsp48e2_model.sv"] = (HERE / "dsp48e2_model.sv").read_text()
        texts["dsp48e1_model.v"] = dsp48e1()
    assert not change[0] or sum(text.count(change[0]) for text in texts.values()) == 1, "a mutant changes one place"
    texts = {name: text.replace(*change) if change[0] else text for name, text in texts.items()}
    sizes = {"Pairs": pairs, "Outs": outs, "Terms": terms, "Shift": SHIFTS[body]}
    model = build("dot_cascade", texts, parameters=sizes)
    env = {f"CASCADE_{name.upper()}": str(value) for name, value in sizes.items()} | {"CASCADE_CYCLES": "400"}
    return run(model, HERE / "cascade_bench.py", env=env)


@pytest.mark.parametrize("body", SHIFTS)
def test_sums(body: str) -> None:
    for pairs, outs, terms in ((1, 1, 3), (2, 3, TERMS[body])):
        assert cascade(body, pairs, outs, terms).require("sums_of_products").values["compared"] > 300


MUTANTS = {
    "a term comes too early": ("DSP48E2", ("#(.Width(8), .Depth(k))", "#(.Width(8), .Depth(k > 2 ? k - 1 : k))")),
    "the weight has one register less": ("DSP48E2", (".BCASCREG(2), .BREG(2)", ".BCASCREG(1), .BREG(1)")),
    "rows one bit closer": ("behaviour", ("signed'(odd[p][k])) <<< Shift", "signed'(odd[p][k])) <<< (Shift - 1)")),
    "a cycle less in simulation": ("behaviour", ("Depth = Terms + 2", "Depth = Terms + 1")),
}


@pytest.mark.parametrize(("body", "change"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_wrong_cascade_is_noticed(body: str, change: tuple[str, str]) -> None:
    assert not cascade(body, 1, 2, 4, change).passed
