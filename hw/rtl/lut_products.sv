/// Products of int8 numbers in LUTs, two cycles later. Each pair of bits of the one factor, with the bit below them, is a digit
/// of -2 to 2 (Booth, radix 4); a row adds that many of the other factor to what the rows below have left. A bit of a row is
/// one LUT: it has the three bits of the digit, two of the factor, and the sum's (E. G. Walters, "Array multipliers for high
/// throughput in Xilinx FPGAs with 6-input LUTs", Computers 2016). Simulation multiplies.
module lut_products #(
  parameter int unsigned Count = 1
) (
  input  logic                   clk_i,      // the only clock
  input  logic [Count-1:0][7:0]  x_i,        // factors, i8
  input  logic [Count-1:0][7:0]  w_i,        // factors, i8
  output logic [Count-1:0][15:0] products_o  // products, i16
);
`ifdef SYNTHESIS
  localparam int unsigned RowWidth = 10;

  function automatic logic [RowWidth-1:0] row(
    input logic [RowWidth-1:0] sum, input logic [7:0] x, input logic [2:0] digit
  );
    logic [RowWidth-1:0] added;
    logic one, two;
    one = digit[0] ^ digit[1];
    two = (digit[2] && !digit[1] && !digit[0]) || (!digit[2] && digit[1] && digit[0]);
    for (int n = 0; n < int'(RowWidth); n++)
      added[n] = digit[2] ^ ((one && x[n > 7 ? 7 : n]) || (two && n > 0 && x[n > 8 ? 7 : n > 0 ? n - 1 : 0]));
    row = RowWidth'(({sum, 1'b1} + {added, digit[2]}) >> 1);  // the negative of a number is its inverse plus one
  endfunction

  for (genvar n = 0; n < Count; n++) begin : g_product
    logic signed [RowWidth-1:0] row_0, row_1, row_1_q, row_2, row_3;
    logic [1:0]  low_q;
    logic [7:0]  x_q;
    logic [4:0]  w_q;
    logic [15:0] product_q;

    assign row_0 = row('0, x_i[n], {w_i[n][1:0], 1'b0});
    assign row_1 = row(row_0 >>> 2, x_i[n], w_i[n][3:1]);
    assign row_2 = row(row_1_q >>> 2, x_q, w_q[2:0]);
    assign row_3 = row(row_2 >>> 2, x_q, w_q[4:2]);
    always_ff @(posedge clk_i) begin
      row_1_q   <= row_1;
      low_q     <= row_0[1:0];
      x_q       <= x_i[n];
      w_q       <= w_i[n][7:3];
      product_q <= {row_3, row_2[1:0], row_1_q[1:0], low_q};
    end
    assign products_o[n] = product_q;
  end
`else
  logic [Count-1:0][15:0] product, product_q, product_qq;
  always_comb
    for (int n = 0; n < int'(Count); n++) product[n] = 16'(signed'(x_i[n])) * 16'(signed'(w_i[n]));
  always_ff @(posedge clk_i) begin
    product_q  <= product;
    product_qq <= product_q;
  end
  assign products_o = product_qq;
`endif
endmodule
