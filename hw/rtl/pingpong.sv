/// Banked memory whose banks pass from a writer to a reader and back.
///
/// Banks are acquired when an iteration is issued (`*_ready_o`, `*_acquire_i`) and passed on when its stores or loads have
/// happened (`wr_commit_i`, `rd_release_i`). Store and load addresses count within the bank; each port follows its own bank:
/// the store port moves on with `wr_commit_i`, load port p after the cycle of `rd_last_i[p]`. Read data comes three cycles
/// after its address: a register for the address, the memory's own, and its output register. A commit may come in the cycle
/// of the last store, a release one cycle after the last load address.
module pingpong #(
  parameter int unsigned Depth     = 16,
  parameter int unsigned Banks     = 2,
  parameter int unsigned Lanes     = 1,
  parameter int unsigned LaneWidth = 8,
  parameter int unsigned Ports     = 1,
  /* verilator lint_off UNUSEDPARAM */  // of an attribute only
  parameter              Style     = "auto",  // ram_style: auto, block, distributed, ultra
  /* verilator lint_on UNUSEDPARAM */
  localparam int unsigned Width     = Lanes * LaneWidth,
  localparam int unsigned Words     = Banks * Depth,
  localparam int unsigned AddrWidth = Depth > 1 ? $clog2(Depth) : 1
) (
  input  logic                            clk_i,         // the only clock
  input  logic                            rst_ni,        // reset, synchronous, active low

  output logic                            wr_ready_o,    // a bank is free
  input  logic                            wr_acquire_i,  // it is taken
  input  logic                            wr_valid_i,    // a word is stored
  input  logic [AddrWidth-1:0]            wr_addr_i,     // where in the bank
  input  logic [Lanes-1:0]                wr_mask_i,     // lanes that are stored
  input  logic [Width-1:0]                wr_data_i,     // the word, lane 0 in the low bits
  input  logic                            wr_commit_i,   // the bank is complete

  output logic                            rd_ready_o,    // a bank is complete
  input  logic                            rd_acquire_i,  // it is taken
  input  logic [Ports-1:0][AddrWidth-1:0] rd_addr_i,     // where in the bank, of each port
  input  logic [Ports-1:0]                rd_last_i,     // the last address in this bank, of each port
  output logic [Ports-1:0][Width-1:0]     rd_data_o,     // the word, three cycles after its address
  input  logic                            rd_release_i   // the bank is free again
);
  localparam int unsigned CountWidth = $clog2(Banks + 1);
  localparam int unsigned WordWidth  = Words > 1 ? $clog2(Words) : 1;
  localparam logic [WordWidth-1:0] Top = WordWidth'(Words - Depth);

  logic [CountWidth-1:0] free_q, full_q;
  logic [WordWidth-1:0]  wr_base_q, wr_word;

  assign wr_ready_o = free_q != '0;
  assign rd_ready_o = full_q != '0;
  assign wr_word    = wr_base_q + WordWidth'(wr_addr_i);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      free_q    <= CountWidth'(Banks);
      full_q    <= '0;
      wr_base_q <= '0;
    end else begin
      free_q <= free_q + CountWidth'(rd_release_i) - CountWidth'(wr_acquire_i);
      full_q <= full_q + CountWidth'(wr_commit_i) - CountWidth'(rd_acquire_i);
      if (wr_commit_i) wr_base_q <= wr_base_q == Top ? '0 : wr_base_q + WordWidth'(Depth);
    end
  end

  for (genvar p = 0; p < Ports; p++) begin : gen_port
    (* ram_style = Style *) logic [Width-1:0] memory [Words];
    logic [WordWidth-1:0] base_q, word_q;
    logic [Width-1:0]     mem_q, data_q;

    assign rd_data_o[p] = data_q;

    always_ff @(posedge clk_i) begin
      for (int l = 0; l < Lanes; l++) begin
        if (wr_valid_i && wr_mask_i[l]) memory[wr_word][l*LaneWidth+:LaneWidth] <= wr_data_i[l*LaneWidth+:LaneWidth];
      end
    end

    always_ff @(posedge clk_i) begin
      word_q <= base_q + WordWidth'(rd_addr_i[p]);
      mem_q  <= memory[word_q];
      data_q <= mem_q;
    end

    always_ff @(posedge clk_i) begin
      if (!rst_ni)           base_q <= '0;
      else if (rd_last_i[p]) base_q <= base_q == Top ? '0 : base_q + WordWidth'(Depth);
    end
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!wr_acquire_i || free_q != '0) else $error("a bank was acquired for writing, but none is free");
      assert (!rd_acquire_i || full_q != '0) else $error("a bank was acquired for reading, but none is full");
      assert (!rd_release_i || free_q != CountWidth'(Banks)) else $error("more banks were released than there are");
      assert (!wr_commit_i || full_q != CountWidth'(Banks)) else $error("more banks were committed than there are");
      assert (!wr_valid_i || 32'(wr_addr_i) < Depth) else $error("a store is outside its bank");
    end
  end
`endif
endmodule
