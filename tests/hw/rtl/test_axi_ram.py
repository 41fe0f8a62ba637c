"""The simulated memory is an AXI slave like any other, and tells masters that break the protocol."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.sim import bench
from edgewright.sim.build import build
from edgewright.sim.runner import run

pytestmark = pytest.mark.sim
HERE = Path(__file__).parent


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_reads_what_was_written(stall: float) -> None:
    texts = {"axi_ram.sv": bench.cell("axi_ram"), "axi_ram_port.sv": (HERE / "axi_ram_port.sv").read_text()}
    model = build("axi_ram_port", texts)
    plusargs = {"axi_stall": round(256 * stall)}
    result = run(model, HERE / "axi_ram_bench.py", env={"RAM_STALL": str(stall)}, plusargs=plusargs)
    assert result.require("axi_ram").values["done"]


def copy_with(change: tuple[str, str]) -> None:
    """Copies a few words with a mover that has one thing wrong."""
    names = ("axi_read_mover", "axi_write_mover")
    texts = {f"{name}.sv": bench.cell(name) for name in names}
    texts["mover_copy.sv"] = (HERE / "mover_copy.sv").read_text()
    assert sum(change[0] in text for text in texts.values())
    texts = {name: text.replace(*change) for name, text in texts.items()}
    image = bytes(range(256)) * 64
    pieces = [(0x0FF0, 0x2FE0, 20), *((16 * i, 0x3200 + 16 * i, 1) for i in range(30))]
    inputs = {
        "from": [source | beats << 40 for source, _, beats in pieces],
        "to": [target | beats << 40 for _, target, beats in pieces] + [1 << 56],
    }
    expected = {target: image[source : source + 16 * beats] for source, target, beats in pieces}
    memory = bench.Memory(image, expected=expected)
    bench.check_block(texts, "mover_copy", inputs, {"done": [1]}, memory=memory, stall=0.3, seed=2, quiet=1000)


def test_the_movers_as_they_are() -> None:
    copy_with(("axi", "axi"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("(BurstBits + 1)'(MaxBurst) - (BurstBits + 1)'(word_q[BurstBits-1:0])", "5'd16"), "crosses 4 KiB"),
        (("else if (m_axi_arready) m_axi_arvalid <= 1'b0", "else m_axi_arvalid <= 1'b0"), "ARVALID or ARADDR moved"),
        (
            ("expecting && (acknowledging.empty || m_axi_bvalid)", "acknowledged_q != sent_q"),
            "came for no burst",
        ),
    ],
    ids=["boundary", "valid falls", "done before B"],
)
def test_a_broken_mover_is_found(change: tuple[str, str], told: str) -> None:
    with pytest.raises(CompileError, match=told):
        copy_with(change)
