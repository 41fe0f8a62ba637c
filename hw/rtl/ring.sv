/// Memory whose elements pass one by one, in order, from a writer to a reader that reads a window of them several times.
///
/// Elements are acquired when an iteration is issued (`*_ready_o`, `*_acquire_i`) and passed on when they have been stored
/// (`wr_valid_i`) or read for the last time (`rd_release_i`, an element each). Load addresses count from the start of the
/// window; `rd_fresh_i` marks those that take an element, `rd_last_i` ends the window behind the elements that it has taken.
/// Read data comes three cycles after its address: a register for the address, the memory's own, and its output register. A
/// release comes one cycle after the last load address of its element.
module ring #(
  parameter int unsigned Depth  = 16,
  parameter int unsigned Window = 8,
  parameter int unsigned Width  = 8,
  /* verilator lint_off UNUSEDPARAM */  // of an attribute only
  parameter              Style  = "auto",  // ram_style: auto, block, distributed, ultra
  /* verilator lint_on UNUSEDPARAM */
  localparam int unsigned AddrWidth = Window > 1 ? $clog2(Window) : 1
) (
  input  logic                       clk_i,         // the only clock
  input  logic                       rst_ni,        // reset, synchronous, active low

  output logic                       wr_ready_o,    // a place is free
  input  logic                       wr_acquire_i,  // it is taken
  input  logic                       wr_valid_i,    // an element is appended
  input  logic [Width-1:0]           wr_data_i,     // the element

  output logic                       rd_ready_o,    // there is an element
  input  logic                       rd_acquire_i,  // it is taken
  input  logic [AddrWidth-1:0]       rd_addr_i,     // where in the window
  input  logic                       rd_last_i,     // the window ends
  input  logic                       rd_fresh_i,    // the window takes an element, at this address
  output logic [Width-1:0]           rd_data_o,     // the element, three cycles after its address
  input  logic                       rd_release_i   // the oldest element is free again
);
  localparam int unsigned CountWidth = $clog2(Depth + 1);
  localparam int unsigned WordWidth  = Depth > 1 ? $clog2(Depth) : 1;

  (* ram_style = Style *) logic [Width-1:0] memory [Depth];
  logic [CountWidth-1:0] free_q, full_q, taken_q, taken;
  logic [WordWidth-1:0]  write_q, base_q, word_q;
  logic [Width-1:0]      mem_q, data_q;

  assign wr_ready_o = free_q != '0;
  assign rd_ready_o = full_q != '0;
  assign rd_data_o = data_q;
  assign taken = taken_q + CountWidth'(rd_fresh_i);

  function automatic logic [WordWidth-1:0] wrapped(input logic [CountWidth:0] word);
    wrapped = WordWidth'(word >= (CountWidth + 1)'(Depth) ? word - (CountWidth + 1)'(Depth) : word);
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      free_q  <= CountWidth'(Depth);
      full_q  <= '0;
      write_q <= '0;
      base_q  <= '0;
      taken_q <= '0;
    end else begin
      free_q <= free_q + CountWidth'(rd_release_i) - CountWidth'(wr_acquire_i);
      full_q <= full_q + CountWidth'(wr_valid_i) - CountWidth'(rd_acquire_i);
      if (wr_valid_i) write_q <= write_q == WordWidth'(Depth - 1) ? '0 : write_q + 1'b1;
      taken_q <= rd_last_i ? '0 : taken;
      if (rd_last_i) base_q <= wrapped((CountWidth + 1)'(base_q) + (CountWidth + 1)'(taken));
    end
  end

  always_ff @(posedge clk_i) begin
    if (wr_valid_i) memory[write_q] <= wr_data_i;
    word_q <= wrapped((CountWidth + 1)'(base_q) + (CountWidth + 1)'(rd_addr_i));
    mem_q  <= memory[word_q];
    data_q <= mem_q;
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!wr_acquire_i || free_q != '0) else $error("an element was acquired for writing, but none is free");
      assert (!rd_acquire_i || full_q != '0) else $error("an element was taken, but none is there");
      assert (!rd_release_i || free_q != CountWidth'(Depth)) else $error("more elements were given back than there are");
      assert (!rd_fresh_i || CountWidth'(rd_addr_i) == taken_q) else $error("an element was taken out of order");
      assert (32'(taken) <= Window) else $error("the window is too small for what was taken");
    end
  end
`endif
endmodule
