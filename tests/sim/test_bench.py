"""check_block: exact comparison of tokens under pauses, and what it says when they differ."""

from __future__ import annotations

import random

import pytest
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.sim import bench
from edgewright.sim.ports import read_ports

pytestmark = pytest.mark.sim
ADD = """
/// Adds two streams, `b` of one bit.
module add (
  input  logic clk_i, input logic rst_ni,  // clock, reset
  input  logic a_valid_i, output logic a_ready_o, input logic [299:0] a_data_i,
  input  logic b_valid_i, output logic b_ready_o, input logic b_data_i,
  output logic s_valid_o, input logic s_ready_i, output logic [300:0] s_data_o
);
  logic go;
  assign go = a_valid_i && b_valid_i && (!s_valid_o || s_ready_i);
  assign a_ready_o = go;
  assign b_ready_o = go;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) s_valid_o <= 1'b0;
    else if (go) s_valid_o <= 1'b1;
    else if (s_ready_i) s_valid_o <= 1'b0;
    if (go) s_data_o <= {1'b0, a_data_i} + 301'(b_data_i);
  end
endmodule
"""
RNG = random.Random(1)
A = [RNG.getrandbits(300) for _ in range(500)]
B = [RNG.getrandbits(1) for _ in range(500)]
S = [a + b for a, b in zip(A, B, strict=True)]


def check(expected: list[int], source: str = ADD, idle: float = 0.0, stall: float = 0.0, seed: int = 1) -> int:
    inputs = {"a": A, "b": B}
    return bench.check_block({"add.sv": source}, "add", inputs, {"s": expected}, idle=idle, stall=stall, seed=seed, quiet=500)


def test_a_token_a_cycle_without_pauses() -> None:
    assert check(S) == len(S) + 1


@pytest.mark.parametrize(("idle", "stall"), [(0.3, 0.0), (0.0, 0.3), (0.5, 0.5)])
@pytest.mark.parametrize("seed", [1, 2])
def test_pauses_change_time_only(idle: float, stall: float, seed: int) -> None:
    cycles = check(S, idle=idle, stall=stall, seed=seed)
    assert cycles > 1.2 * len(S)
    assert cycles == check(S, idle=idle, stall=stall, seed=seed)


def test_wrong_bits_are_named() -> None:
    expected = list(S)
    expected[17] ^= 0xF << 8
    with pytest.raises(CompileError, match=r"s: token 17, bits 11\.\.8: 0x\w instead of 0x\w") as caught:
        check(expected)
    assert caught.value.exit_code == Exit.MISMATCH


def test_missing_tokens_are_named() -> None:
    with pytest.raises(CompileError, match="s: 500 tokens arrived, 501 were expected"):
        check([*S, 0])


def test_surplus_tokens_are_named() -> None:
    with pytest.raises(CompileError, match="s: 500 tokens arrived, only 499 were expected"):
        check(S[:-1])


def test_a_lost_token_is_found() -> None:
    losing = ADD.replace("(!s_valid_o || s_ready_i)", "1'b1")
    with pytest.raises(CompileError, match=r"data moved before ready|token"):
        check(S, source=losing, stall=0.3)


def test_ports_are_read_from_the_header() -> None:
    ports = read_ports(ADD, "add")
    assert ports.inputs == {"a": 300, "b": 1}
    assert ports.outputs == {"s": 301}
    with pytest.raises(ValueError, match="not understood"):
        read_ports(ADD.replace("[299:0]", "[N-1:0]"), "add")
    with pytest.raises(ValueError, match="no module"):
        read_ports(ADD, "sub")


def test_unknown_ports_are_refused() -> None:
    with pytest.raises(ValueError, match="inputs are"):
        bench.check_block({"add.sv": ADD}, "add", {"a": A}, {"s": S})


def test_memory_images_keep_every_byte() -> None:
    data = random.Random(2).randbytes(16 * 37)
    text = bench.to_readmemh(data, 0x120)
    assert text.startswith("@12\n")
    assert bench.from_writememh(text) == data
    assert text.splitlines()[1] == data[:16][::-1].hex()
