"""Cell counts: what they hold on modules of known cost, and that no statistics means no result."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from edgewright.hw.synth import estimate
from edgewright.passes.diagnostics import CompileError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyosys") is None and shutil.which("yosys") is None,
    reason="neither pyosys nor yosys is installed",
)
RTL = Path(__file__).parents[2] / "hw" / "rtl"
MIXED = """
/// One multiplier, one block memory, one UltraRAM.
module mixed (
  input  logic        clk_i,
  input  logic [7:0]  a_i,
  input  logic [7:0]  b_i,
  output logic [15:0] product_o,
  input  logic        write_i,
  input  logic [11:0] at_i,
  input  logic [71:0] word_i,
  output logic [35:0] small_o,
  output logic [71:0] large_o
);
  logic [35:0] small_words [1024];
  (* ram_style = "ultra" *) logic [71:0] large_words [4096];
  always_ff @(posedge clk_i) begin
    product_o <= signed'(a_i) * signed'(b_i);
    if (write_i) small_words[at_i[9:0]] <= word_i[35:0];
    if (write_i) large_words[at_i] <= word_i;
    small_o <= small_words[at_i[9:0]];
    large_o <= large_words[at_i];
  end
endmodule
"""


def test_dsp_bram_and_uram() -> None:
    cells = estimate({"mixed.sv": MIXED}, "mixed")
    assert (cells.dsp, cells.bram36, cells.uram) == (1, 1.0, 1)
    assert "Yosys" in cells.source
    assert "estimate" in cells.source


@pytest.mark.parametrize(
    ("cell", "lut", "ff", "bram36"),
    [
        ("axi_read_mover", 127, 127, 2),
        ("axi_write_mover", 145, 263, 0),
        ("axil_control", 391, 336, 0),
        ("axi_outstanding", 15, 8, 0),
    ],
)
def test_cells_cost_what_they_did(cell: str, lut: int, ff: int, bram36: int) -> None:
    cells = estimate([RTL / f"{cell}.sv"], cell)
    assert cells.lut == pytest.approx(lut, rel=0.03)
    assert cells.ff == pytest.approx(ff, rel=0.03)
    assert (cells.dsp, cells.bram36, cells.uram) == (0, bram36, 0)


def test_no_statistics_is_an_error() -> None:
    with pytest.raises(CompileError, match=r"error\[S006\]: Yosys gave no statistics for module nonsense"):
        estimate({"nonsense.sv": "module nonsense (input logic a_i) garbage"}, "nonsense")


def test_a_limit_is_an_error_too() -> None:
    with pytest.raises(CompileError, match=r"stopped after 0\.5 s"):
        estimate({"mixed.sv": f"{MIXED}\nmodule slow; endmodule\n"}, "mixed", timeout_s=0.5)
