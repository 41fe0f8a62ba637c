/// Counts the outstanding transactions of one AXI port, from their address to their last response.
/// The memory still owes their responses after a reset, so no reset clears the count; it is 0 when the device is configured.
/// `owed_o` is also the valid signal of the responses that engine_top gives in place of a memory that has lost them.
module axi_outstanding #(
  parameter int unsigned Width = 8
) (
  input  logic clk_i,            // the only clock
  input  logic address_valid_i,  // ARVALID or AWVALID
  input  logic address_ready_i,  // ARREADY or AWREADY
  input  logic last_i,           // the last response of a transaction is accepted
  output logic owed_o,           // responses are outstanding
  output logic silent_o          // nothing is outstanding and no address is valid
);

  logic [Width-1:0] count_q;

  assign owed_o = count_q != '0;
  assign silent_o = !owed_o && !address_valid_i;

  initial count_q = '0;
  always @(posedge clk_i) begin
    count_q <= count_q + Width'(address_valid_i && address_ready_i) - Width'(last_i && owed_o);
  end

endmodule
