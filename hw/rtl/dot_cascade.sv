/// Dot products of int8 rows with int8 columns, two rows in each DSP: sums_o[p][o] is the sum over k of
/// ((odd_i[p][k] << Shift) + even_i[p][k]) * weights_i[o][k], `Terms` + 3 cycles later. A sum of up to 16 products of operands
/// within +-127 has 19 bits, so with a Shift of 19 the low `Shift` bits are the even row's sum, and the bits above them the odd
/// row's, less one where that of the even row is negative. (UG579: 27 x 18 bits. A DSP48E1 has 25 x 18: Shift 17, 4 terms.)
///
/// The terms of one sum are added along the cascade of one DSP column: the operands of term k arrive k cycles late. Simulation
/// delays all operands and adds up at once.
module dot_cascade #(
  parameter int unsigned Pairs  = 2,
  parameter int unsigned Outs   = 2,
  parameter int unsigned Terms  = 16,
  parameter int unsigned Shift  = 19,
  /* verilator lint_off UNUSEDPARAM */
  parameter              Family = "DSP48E2",  // or DSP48E1
  /* verilator lint_on UNUSEDPARAM */
  localparam int unsigned SumWidth = 2 * Shift
) (
  input  logic                                     clk_i,      // the only clock
  input  logic [Pairs-1:0][Terms-1:0][7:0]         even_i,     // rows 0, 2, 4 ..., i8
  input  logic [Pairs-1:0][Terms-1:0][7:0]         odd_i,      // rows 1, 3, 5 ..., i8
  input  logic [Outs-1:0][Terms-1:0][7:0]          weights_i,  // columns, i8
  output logic [Pairs-1:0][Outs-1:0][SumWidth-1:0] sums_o      // sums of both rows of a pair, in one number
);
`ifdef SYNTHESIS
  logic [Pairs-1:0][Terms-1:0][7:0] even, odd;
  logic [Outs-1:0][Terms-1:0][7:0]  weights;

  for (genvar k = 0; k < Terms; k++) begin : g_skew
    for (genvar p = 0; p < Pairs; p++) begin : g_row
      delay #(.Width(16), .Depth(k)) late (
        .clk_i, .data_i({odd_i[p][k], even_i[p][k]}), .data_o({odd[p][k], even[p][k]})
      );
    end
    for (genvar o = 0; o < Outs; o++) begin : g_column
      delay #(.Width(8), .Depth(k)) late (.clk_i, .data_i(weights_i[o][k]), .data_o(weights[o][k]));
    end
  end

  for (genvar p = 0; p < Pairs; p++) begin : g_pair
    for (genvar o = 0; o < Outs; o++) begin : g_out
      logic [Terms:0][47:0]   cascade;
      logic [Terms-1:0][47:0] sum;
      assign cascade[0] = '0;
      for (genvar k = 0; k < Terms; k++) begin : g_term
        dsp_product #(.Shift(Shift), .First(k == 0), .Family(Family)) product (
          .clk_i,
          .even_i(even[p][k]),
          .odd_i(odd[p][k]),
          .weight_i(weights[o][k]),
          .cascade_i(cascade[k]),
          .cascade_o(cascade[k+1]),
          .sum_o(sum[k])
        );
      end
      assign sums_o[p][o] = sum[Terms-1][SumWidth-1:0];
      logic unused;
      assign unused = ^{cascade[Terms], sum};
    end
  end
`else
  localparam int unsigned Depth = Terms + 2;
  localparam int unsigned Width = 8 * Terms * (2 * Pairs + Outs);
  localparam int unsigned PackedWidth = Shift + 8;

  logic [Width-1:0] line [Depth];
  logic [$clog2(Depth)-1:0] at_q;
  logic [Pairs-1:0][Terms-1:0][7:0] even, odd;
  logic [Outs-1:0][Terms-1:0][7:0]  weights;
  logic signed [PackedWidth-1:0] rows [Pairs][Terms];
  logic signed [7:0] columns [Outs][Terms];
  logic signed [SumWidth-1:0] sums [Pairs][Outs], sums_q [Pairs][Outs];

  initial at_q = '0;
  always @(posedge clk_i) begin
    line[at_q] <= {weights_i, odd_i, even_i};
    at_q <= at_q == $bits(at_q)'(Depth - 1) ? '0 : at_q + 1'b1;
  end
  assign {weights, odd, even} = line[at_q];
  always_comb
    for (int p = 0; p < int'(Pairs); p++)
      for (int k = 0; k < int'(Terms); k++)
        rows[p][k] = (PackedWidth'(signed'(odd[p][k])) <<< Shift) + PackedWidth'(signed'(even[p][k]));
  always_comb
    for (int o = 0; o < int'(Outs); o++) for (int k = 0; k < int'(Terms); k++) columns[o][k] = signed'(weights[o][k]);
  always_comb
    for (int p = 0; p < int'(Pairs); p++)
      for (int o = 0; o < int'(Outs); o++) begin
        sums[p][o] = '0;
        for (int k = 0; k < int'(Terms); k++)
          sums[p][o] += SumWidth'(rows[p][k]) * SumWidth'(columns[o][k]);
      end
  always_ff @(posedge clk_i) sums_q <= sums;
  for (genvar p = 0; p < Pairs; p++) begin : g_pair
    for (genvar o = 0; o < Outs; o++) begin : g_out
      assign sums_o[p][o] = sums_q[p][o];
    end
  end
`endif
endmodule
