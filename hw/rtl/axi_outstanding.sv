/// Counts the transactions of one AXI port from their address to their last response, and says when it is silent.
/// The count is what the port is owed, so no reset touches it; it starts at 0 when the device is configured.
/// `owed_o` is also the valid signal of the responses with which engine_top answers for a memory that has lost them.
module axi_outstanding #(
  parameter int unsigned Width = 8
) (
  input  logic clk_i,
  input  logic address_valid_i,  // ARVALID or AWVALID
  input  logic address_ready_i,
  input  logic last_i,           // the last response of a transaction is taken
  output logic owed_o,
  output logic silent_o          // nothing is owed and nothing is asked for
);

  logic [Width-1:0] count_q;

  assign owed_o = count_q != '0;
  assign silent_o = !owed_o && !address_valid_i;

  initial count_q = '0;
  always @(posedge clk_i) begin
    count_q <= count_q + Width'(address_valid_i && address_ready_i) - Width'(last_i && owed_o);
  end

endmodule
