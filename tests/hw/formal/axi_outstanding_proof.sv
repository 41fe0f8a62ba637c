/// Properties of axi_outstanding: any port whose transactions never exceed what it can count, and a memory that answers only
/// what it owes.
module axi_outstanding_proof #(
  parameter int unsigned Width = 3
) (
  input logic clk_i,
  input logic address_valid_i,
  input logic address_ready_i,
  input logic last_i,
  input logic forgotten_i  // a response is given where none is owed
);
  logic       owed, silent, start, answer;
  logic [7:0] open_q;

  axi_outstanding #(.Width(Width)) dut (
    .clk_i, .address_valid_i, .address_ready_i, .last_i, .owed_o(owed), .silent_o(silent)
  );

  assign start = address_valid_i && address_ready_i;
  assign answer = last_i && open_q != '0;
  initial open_q = '0;
  always @(posedge clk_i) open_q <= open_q + 8'(start) - 8'(answer);
  always_comb begin
    assume (32'(open_q) + 32'(start) < 1 << Width);
    assume (!last_i || open_q != '0 || forgotten_i);
  end

  always_comb begin
    p_owed:   assert (owed == (open_q != '0));
    p_silent: assert (silent == (open_q == '0 && !address_valid_i));
    h_count:  assert (8'(dut.count_q) == open_q);
  end
endmodule
