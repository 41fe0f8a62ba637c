/// First-in first-out queue with a registered output.
///
/// With `Bypass`, a token pushed in one cycle is at the output in the next: the output register takes it from the store or
/// from the input, a choice that costs a look-up table a bit. Without, every token passes the store and is at the output two
/// cycles after its push; that takes a `Depth` of 3 or more. Either form moves a token a cycle. The producer either observes
/// `in_ready_o`, or counts credits: it starts with `Depth` and `credit_o` returns one two cycles after a token has left. The
/// store is read in the cycle of its address, which no block RAM does: it is distributed memory, or registers.
module fifo #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 2,
  parameter bit          Bypass = 1'b1,  // from the input to the output register
  /* verilator lint_off UNUSEDPARAM */  // of an attribute only
  parameter              Style = "distributed"  // ram_style of the store: distributed, registers
  /* verilator lint_on UNUSEDPARAM */
) (
  input  logic             clk_i,        // the only clock
  input  logic             rst_ni,       // reset, synchronous, active low

  input  logic             in_valid_i,   // a token is offered
  output logic             in_ready_o,   // there is room for it
  input  logic [Width-1:0] in_data_i,    // the token

  output logic             out_valid_o,  // there is a token
  input  logic             out_ready_i,  // it is taken, if there is one
  output logic [Width-1:0] out_data_o,   // the oldest token

  output logic             credit_o      // a token left two cycles ago: room for one more
);
  logic [Width-1:0] out_q;
  logic             valid_q, credit_q;
  logic             push, pop;

  assign push        = in_valid_i && in_ready_o;
  assign pop         = valid_q && out_ready_i;
  assign out_valid_o = valid_q;
  assign out_data_o  = out_q;
  assign credit_o    = credit_q;

  if (Depth == 1) begin : gen_single
    assign in_ready_o = !valid_q;

    always_ff @(posedge clk_i) begin
      if (push) out_q <= in_data_i;
    end

    always_ff @(posedge clk_i) begin
      if (!rst_ni)              valid_q <= 1'b0;
      else if (push)            valid_q <= 1'b1;
      else if (pop)             valid_q <= 1'b0;
    end
  end else begin : gen_store
    if (!Bypass && Depth < 3) begin : gen_check
      $error("without a bypass, a FIFO needs room for three tokens");
    end

    // The oldest token is in the output register, the others in the store.
    localparam int unsigned Slots     = Depth - 1;
    localparam int unsigned SlotWidth = Slots > 1 ? $clog2(Slots) : 1;
    localparam int unsigned FillWidth = $clog2(Slots + 1);

    (* ram_style = Style *) logic [Width-1:0] store [Slots];
    logic [SlotWidth-1:0] write_q, read_q;
    logic [FillWidth-1:0] fill_q;
    (* max_fanout = 256 *) logic to_store, to_output, from_store;

    assign in_ready_o = fill_q != FillWidth'(Slots);
    assign to_output  = !valid_q || pop;
    assign from_store = to_output && fill_q != '0;
    assign to_store   = push && (!Bypass || !to_output || fill_q != '0);

    always_ff @(posedge clk_i) begin
      if (to_store) store[write_q] <= in_data_i;
      if (from_store)                       out_q <= store[read_q];
      else if (Bypass && push && to_output) out_q <= in_data_i;
    end

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        valid_q <= 1'b0;
        write_q <= '0;
        read_q  <= '0;
        fill_q  <= '0;
      end else begin
        if (to_output)  valid_q <= (Bypass && push) || fill_q != '0;
        if (to_store)   write_q <= write_q == SlotWidth'(Slots - 1) ? '0 : write_q + 1'b1;
        if (from_store) read_q  <= read_q == SlotWidth'(Slots - 1) ? '0 : read_q + 1'b1;
        fill_q <= fill_q + FillWidth'(to_store) - FillWidth'(from_store);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) credit_q <= 1'b0;
    else         credit_q <= pop;
  end

`ifndef SYNTHESIS
  logic             held_q;
  logic [Width-1:0] held_data_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      held_q <= 1'b0;
    end else begin
      held_q <= out_valid_o && !out_ready_i;
      assert (!held_q || out_valid_o) else $error("a token offered was withdrawn");
      assert (!held_q || out_data_o == held_data_q) else $error("a token offered was changed");
    end
  end

  always_ff @(posedge clk_i) held_data_q <= out_data_o;
`endif
endmodule
