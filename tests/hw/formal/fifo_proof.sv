/// Properties of fifo, with and without its bypass: any producer within its contract (`Credits`: it counts credits, else it observes `in_ready_o`), any
/// consumer, a reset at any time. One token, chosen freely, is followed from its push to its pop.
module fifo_proof #(
  parameter int unsigned Width = 4,
  parameter int unsigned Depth = 4,
  parameter bit          Bypass = 1'b1,
  parameter bit          Credits = 1'b0
) (
  input logic             clk_i,
  input logic             rst_ni,
  input logic             offer_i,
  input logic             choose_i,
  input logic             take_i,
  input logic [Width-1:0] data_i
);
  logic             in_valid, in_ready, out_valid, credit, push, pop, begin_q;
  logic [Width-1:0] out_data;
  logic [7:0]       credits_q, inside_q, ahead_q;
  logic             followed_q, held_q, stored_q;  // stored: there is a token that was pushed two cycles ago or earlier
  logic [Width-1:0] value_q, held_data_q;

  fifo #(.Width(Width), .Depth(Depth), .Bypass(Bypass)) dut (
    .clk_i, .rst_ni, .in_valid_i(in_valid), .in_ready_o(in_ready), .in_data_i(data_i),
    .out_valid_o(out_valid), .out_ready_i(take_i), .out_data_o(out_data), .credit_o(credit)
  );

  assign in_valid = offer_i && (!Credits || credits_q != '0);
  assign push = in_valid && in_ready;
  assign pop = out_valid && take_i;

  initial begin_q = 1'b1;
  always @(posedge clk_i) begin_q <= 1'b0;
  always_comb if (begin_q) assume (!rst_ni);

  always_ff @(posedge clk_i) begin
    held_q <= rst_ni && out_valid && !take_i;
    held_data_q <= out_data;
    if (!rst_ni) begin
      credits_q <= 8'(Depth);
      inside_q <= '0;
      stored_q <= 1'b0;
      followed_q <= 1'b0;
    end else begin
      credits_q <= credits_q + 8'(credit) - 8'(in_valid);
      inside_q <= inside_q + 8'(push) - 8'(pop);
      stored_q <= inside_q != 8'(pop);
      if (push && choose_i && !followed_q) begin
        followed_q <= 1'b1;
        value_q <= data_i;
        ahead_q <= inside_q - 8'(pop);
      end else if (pop) begin
        ahead_q <= ahead_q - 1'b1;
        if (ahead_q == '0) followed_q <= 1'b0;
      end
    end
  end

  always_comb if (rst_ni) begin
    p_order:    assert (!followed_q || !out_valid || ahead_q != '0 || out_data == value_q);
    p_valid:    assert (out_valid == (Bypass ? inside_q != '0 : stored_q));
    p_capacity: assert (inside_q <= 8'(Depth) && in_ready == (inside_q < 8'(Depth)));
    p_stable:   assert (!held_q || (out_valid && out_data == held_data_q));
    p_no_loss:  assert (!Credits || !in_valid || in_ready);
    p_credits:  assert (!Credits || credits_q + inside_q + 8'(credit) == 8'(Depth));
    h_ahead:    assert (!followed_q || ahead_q < inside_q);
  end

  if (Depth == 1) begin : gen_single
    always_comb if (rst_ni) begin
      h_value: assert (!followed_q || dut.out_q == value_q);
    end
  end else begin : gen_store
    localparam int unsigned Slots = Depth - 1;
    logic [7:0] fill, read, write;
    assign fill = 8'(dut.gen_store.fill_q);
    assign read = 8'(dut.gen_store.read_q);
    assign write = 8'(dut.gen_store.write_q);
    always_comb if (rst_ni) begin
      h_fill:  assert (fill + 8'(out_valid) == inside_q && (out_valid || fill == '0 || (!Bypass && fill == 8'd1)));
      h_range: assert (read < Slots && write < Slots && (read + fill) % Slots == write);
      h_out:   assert (!followed_q || !out_valid || ahead_q != '0 || dut.out_q == value_q);
      h_slot:  assert (!followed_q || (out_valid && ahead_q == '0) ||
                       dut.gen_store.store[(read + ahead_q - 8'(out_valid)) % Slots] == value_q);
    end
  end
endmodule
