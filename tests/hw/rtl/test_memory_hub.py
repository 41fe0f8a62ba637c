"""The memory hub: order, data and acknowledgements over both memories, under pauses; mutants of it fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgewright.sim import bench
from edgewright.sim.build import build
from edgewright.sim.runner import Result, run

pytestmark = pytest.mark.sim
HERE = Path(__file__).parent
CELLS = ("memory_hub", "hub_reader", "hub_writer", "hub_banks", "fifo", "axi_read_mover", "axi_write_mover", "axi_ram")


def hub(seed: int, idle: float, stall: float, change: tuple[str, str] | None = None) -> Result:
    texts = {f"{name}.sv": bench.cell(name) for name in CELLS}
    texts["hub_bench_top.sv"] = (HERE / "hub_bench_top.sv").read_text()
    if change is not None:
        assert sum(change[0] in text for text in texts.values()) == 1, "a mutant changes one place"
        texts = {name: text.replace(*change) for name, text in texts.items()}
    model = build("hub_bench_top", texts)
    env = {"HUB_SEED": str(seed), "HUB_IDLE": str(idle), "HUB_STALL": str(stall)}
    plusargs = {"axi_stall": round(256 * stall), "axi_seed": seed}
    return run(model, HERE / "hub_bench.py", env=env, seed=seed, plusargs=plusargs)


@pytest.mark.parametrize(("seed", "idle", "stall"), [(1, 0.0, 0.0), (2, 0.5, 0.0), (3, 0.0, 0.5), (4, 0.3, 0.3)])
def test_every_word_in_order(seed: int, idle: float, stall: float) -> None:
    found = hub(seed, idle, stall).require("memory_hub")
    assert found.values["words"] > 5000


MUTANTS = {
    "a port that lost is told that it won": (
        "          read_ready_o[p] = 1'b1;\n        end\n",
        "        end\n        if (read_valid_i[p]) read_ready_o[p] = 1'b1;\n",
    ),
    "answers of another bank": ("data[bank_q[Latency-2]]", "data[bank_q[Latency-3]]"),
    "room is not given back": (" + RoomBits'(local_valid && local_ready)", ""),
    "on-chip words overtake external ones": ("left_q != '0 && owed_q == '0 && data_valid_i", "left_q != '0 && data_valid_i"),
    "a mark before its words": ("(!chip_q || left_q == '0)", "(!chip_q || mark_q || left_q == '0)"),
    "one word too few": (
        "order_next = move && sent_q == order_words - 1'b1",
        "order_next = move && sent_q >= order_words - 2'd2",
    ),
}


@pytest.mark.parametrize("change", MUTANTS.values(), ids=MUTANTS.keys())
def test_a_wrong_hub_is_noticed(change: tuple[str, str]) -> None:
    assert not hub(5, 0.3, 0.3, change).passed
