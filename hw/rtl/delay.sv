`ifdef SYNTHESIS  // `dot_cascade` simulates without it
/// A value `Depth` cycles later: shift registers, which synthesis keeps in LUTs.
module delay #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 1
) (
  input  logic             clk_i,   // the only clock
  input  logic [Width-1:0] data_i,  // the value
  output logic [Width-1:0] data_o   // the value of `Depth` cycles ago
);
  if (Depth == 0) begin : g_wire
    assign data_o = data_i;
    logic unused;
    assign unused = clk_i;
  end else begin : g_line
    logic [Width-1:0] line_q [Depth];
    always_ff @(posedge clk_i) begin
      line_q[0] <= data_i;
      for (int unsigned n = 1; n < Depth; n++) line_q[n] <= line_q[n-1];
    end
    assign data_o = line_q[Depth-1];
  end
endmodule
`endif
