/// A delay line with taps: taps_o[k] is what was shifted in (k + 1) * length_i shifts before. `clear_i` with a shift begins a
/// line anew, so that a later one may have another length; what a tap gives before as many have been shifted in since then is
/// any value. The taps keep what they have where nothing is shifted in.
///
/// All taps are one word of a memory that is walked in a circle of `length_i` places: a shift reads the oldest word, moves it on
/// by a tap, and writes it back. In LUTs it does so in one cycle, and the taps come two cycles after the value. In block RAM
/// they come after three, when the word is written: a length is then at least 3.
module delay_line #(
  parameter int unsigned Width = 8,
  parameter int unsigned Taps  = 2,
  parameter int unsigned Most  = 16,    // the longest length
  parameter bit          Block = 1'b0,  // in block RAM
  localparam int unsigned LengthWidth = $clog2(Most + 1),
  localparam int unsigned AddrWidth   = Most > 1 ? $clog2(Most) : 1
) (
  input  logic                       clk_i,     // the only clock
  input  logic                       shift_i,   // a value is shifted in
  input  logic                       clear_i,   // it is the first one of a line
  input  logic [LengthWidth-1:0]     length_i,  // values from one tap to the next, steady from `clear_i` to the last shift
  input  logic [Width-1:0]           data_i,    // the value
  output logic [Taps-1:0][Width-1:0] taps_o     // the values before it
);
  logic [AddrWidth-1:0] at_q, at;
  logic                 shift_q;
  logic [Width-1:0]     data_q;
  (* max_fanout = 256 *) logic [AddrWidth-1:0] place_q;

  assign at = clear_i ? '0 : at_q;

  always_ff @(posedge clk_i) begin
    shift_q <= shift_i;
    if (shift_i) begin
      at_q    <= LengthWidth'(at) + 1'b1 == length_i ? '0 : at + 1'b1;
      place_q <= at;
      data_q  <= data_i;
    end
  end

  if (Block) begin : g_block
    (* ram_style = "block" *) logic [Taps-1:0][Width-1:0] memory [Most];
    logic [Taps-1:0][Width-1:0] word_q, taps_q;
    logic [AddrWidth-1:0]       place_qq, place_qqq;
    logic                       shift_qq, shift_qqq;
    logic [Width-1:0]           data_qq, data_qqq;

    always_ff @(posedge clk_i) begin
      {shift_qqq, shift_qq}   <= {shift_qq, shift_q};
      {place_qqq, place_qq}   <= {place_qq, place_q};
      {data_qqq, data_qq}     <= {data_qq, data_q};
      word_q                  <= memory[place_q];
      if (shift_qq) taps_q    <= word_q;
      if (shift_qqq) memory[place_qqq] <= (Taps * Width)'({taps_q, data_qqq});
    end
    assign taps_o = taps_q;
  end else begin : g_luts
    (* ram_style = "distributed" *) logic [Taps-1:0][Width-1:0] memory [Most];
    logic [Taps-1:0][Width-1:0] word, taps_q;

    assign word = memory[place_q];
    always_ff @(posedge clk_i) begin
      if (shift_q) begin
        taps_q          <= word;
        memory[place_q] <= (Taps * Width)'({word, data_q});
      end
    end
    assign taps_o = taps_q;
  end
endmodule
