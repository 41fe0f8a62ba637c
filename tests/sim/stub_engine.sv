/// Stands in for an engine in the tests of what surrounds it. A descriptor is a copy: source address in bits 39..0, beats
/// in 55..40, target address in 103..64; every copied word is inverted. `finished` comes when all has been acknowledged.
/// A program of no descriptors never finishes.
/* verilator lint_off PINCONNECTEMPTY */
/* verilator lint_off UNUSEDSIGNAL */
module engine (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         start_valid_i,
  output logic         start_ready_o,
  input  logic [55:0]  start_data_i,
  output logic         finished_valid_o,
  input  logic         finished_ready_i,
  output logic [0:0]   finished_data_o,
  // program
  output logic [0:0]   m_axi_program_arid,
  output logic [39:0]  m_axi_program_araddr,
  output logic [7:0]   m_axi_program_arlen,
  output logic [2:0]   m_axi_program_arsize,
  output logic [1:0]   m_axi_program_arburst,
  output logic         m_axi_program_arvalid,
  input  logic         m_axi_program_arready,
  input  logic [0:0]   m_axi_program_rid,
  input  logic [127:0] m_axi_program_rdata,
  input  logic [1:0]   m_axi_program_rresp,
  input  logic         m_axi_program_rlast,
  input  logic         m_axi_program_rvalid,
  output logic         m_axi_program_rready,
  // weights_0
  output logic [0:0]   m_axi_weights_0_arid,
  output logic [39:0]  m_axi_weights_0_araddr,
  output logic [7:0]   m_axi_weights_0_arlen,
  output logic [2:0]   m_axi_weights_0_arsize,
  output logic [1:0]   m_axi_weights_0_arburst,
  output logic         m_axi_weights_0_arvalid,
  input  logic         m_axi_weights_0_arready,
  input  logic [0:0]   m_axi_weights_0_rid,
  input  logic [127:0] m_axi_weights_0_rdata,
  input  logic [1:0]   m_axi_weights_0_rresp,
  input  logic         m_axi_weights_0_rlast,
  input  logic         m_axi_weights_0_rvalid,
  output logic         m_axi_weights_0_rready,
  // weights_1
  output logic [0:0]   m_axi_weights_1_arid,
  output logic [39:0]  m_axi_weights_1_araddr,
  output logic [7:0]   m_axi_weights_1_arlen,
  output logic [2:0]   m_axi_weights_1_arsize,
  output logic [1:0]   m_axi_weights_1_arburst,
  output logic         m_axi_weights_1_arvalid,
  input  logic         m_axi_weights_1_arready,
  input  logic [0:0]   m_axi_weights_1_rid,
  input  logic [127:0] m_axi_weights_1_rdata,
  input  logic [1:0]   m_axi_weights_1_rresp,
  input  logic         m_axi_weights_1_rlast,
  input  logic         m_axi_weights_1_rvalid,
  output logic         m_axi_weights_1_rready,
  // operands
  output logic [0:0]   m_axi_operands_arid,
  output logic [39:0]  m_axi_operands_araddr,
  output logic [7:0]   m_axi_operands_arlen,
  output logic [2:0]   m_axi_operands_arsize,
  output logic [1:0]   m_axi_operands_arburst,
  output logic         m_axi_operands_arvalid,
  input  logic         m_axi_operands_arready,
  input  logic [0:0]   m_axi_operands_rid,
  input  logic [127:0] m_axi_operands_rdata,
  input  logic [1:0]   m_axi_operands_rresp,
  input  logic         m_axi_operands_rlast,
  input  logic         m_axi_operands_rvalid,
  output logic         m_axi_operands_rready,
  // activations
  output logic [0:0]   m_axi_activations_arid,
  output logic [39:0]  m_axi_activations_araddr,
  output logic [7:0]   m_axi_activations_arlen,
  output logic [2:0]   m_axi_activations_arsize,
  output logic [1:0]   m_axi_activations_arburst,
  output logic         m_axi_activations_arvalid,
  input  logic         m_axi_activations_arready,
  input  logic [0:0]   m_axi_activations_rid,
  input  logic [127:0] m_axi_activations_rdata,
  input  logic [1:0]   m_axi_activations_rresp,
  input  logic         m_axi_activations_rlast,
  input  logic         m_axi_activations_rvalid,
  output logic         m_axi_activations_rready,
  // residual
  output logic [0:0]   m_axi_residual_arid,
  output logic [39:0]  m_axi_residual_araddr,
  output logic [7:0]   m_axi_residual_arlen,
  output logic [2:0]   m_axi_residual_arsize,
  output logic [1:0]   m_axi_residual_arburst,
  output logic         m_axi_residual_arvalid,
  input  logic         m_axi_residual_arready,
  input  logic [0:0]   m_axi_residual_rid,
  input  logic [127:0] m_axi_residual_rdata,
  input  logic [1:0]   m_axi_residual_rresp,
  input  logic         m_axi_residual_rlast,
  input  logic         m_axi_residual_rvalid,
  output logic         m_axi_residual_rready,
  // results
  output logic [0:0]   m_axi_results_awid,
  output logic [39:0]  m_axi_results_awaddr,
  output logic [7:0]   m_axi_results_awlen,
  output logic [2:0]   m_axi_results_awsize,
  output logic [1:0]   m_axi_results_awburst,
  output logic         m_axi_results_awvalid,
  input  logic         m_axi_results_awready,
  output logic [127:0] m_axi_results_wdata,
  output logic [15:0]  m_axi_results_wstrb,
  output logic         m_axi_results_wlast,
  output logic         m_axi_results_wvalid,
  input  logic         m_axi_results_wready,
  input  logic [0:0]   m_axi_results_bid,
  input  logic [1:0]   m_axi_results_bresp,
  input  logic         m_axi_results_bvalid,
  output logic         m_axi_results_bready
);

  assign m_axi_weights_0_arid = '0;
  assign m_axi_weights_0_araddr = '0;
  assign m_axi_weights_0_arlen = '0;
  assign m_axi_weights_0_arsize = '0;
  assign m_axi_weights_0_arburst = '0;
  assign m_axi_weights_0_arvalid = '0;
  assign m_axi_weights_0_rready = '0;
  assign m_axi_weights_1_arid = '0;
  assign m_axi_weights_1_araddr = '0;
  assign m_axi_weights_1_arlen = '0;
  assign m_axi_weights_1_arsize = '0;
  assign m_axi_weights_1_arburst = '0;
  assign m_axi_weights_1_arvalid = '0;
  assign m_axi_weights_1_rready = '0;
  assign m_axi_operands_arid = '0;
  assign m_axi_operands_araddr = '0;
  assign m_axi_operands_arlen = '0;
  assign m_axi_operands_arsize = '0;
  assign m_axi_operands_arburst = '0;
  assign m_axi_operands_arvalid = '0;
  assign m_axi_operands_rready = '0;
  assign m_axi_residual_arid = '0;
  assign m_axi_residual_araddr = '0;
  assign m_axi_residual_arlen = '0;
  assign m_axi_residual_arsize = '0;
  assign m_axi_residual_arburst = '0;
  assign m_axi_residual_arvalid = '0;
  assign m_axi_residual_rready = '0;

  logic         valid, ready, go, read_ready, write_ready, data_valid, data_ready, program_ready, running_q;
  logic [127:0] descriptor, data;
  logic [15:0]  left_q;

  assign start_ready_o = !running_q && program_ready;
  assign go = valid && read_ready && write_ready;
  assign ready = read_ready && write_ready;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
    end else begin
      if (start_valid_i && start_ready_o) begin
        running_q <= 1'b1;
        left_q <= start_data_i[55:40];
      end
      if (go) left_q <= left_q - 1'b1;
      if (finished_valid_o && finished_ready_i) running_q <= 1'b0;
    end
  end

  axi_read_mover i_program (
    .clk_i, .rst_ni, .req_valid_i(start_valid_i && start_ready_o), .req_ready_o(program_ready), .req_data_i({1'b0, start_data_i}),
    .data_valid_o(valid), .data_ready_i(ready), .data_data_o(descriptor), .error_o(),
    .m_axi_arid(m_axi_program_arid), .m_axi_araddr(m_axi_program_araddr), .m_axi_arlen(m_axi_program_arlen),
    .m_axi_arsize(m_axi_program_arsize), .m_axi_arburst(m_axi_program_arburst), .m_axi_arvalid(m_axi_program_arvalid),
    .m_axi_arready(m_axi_program_arready), .m_axi_rid(m_axi_program_rid), .m_axi_rdata(m_axi_program_rdata),
    .m_axi_rresp(m_axi_program_rresp), .m_axi_rlast(m_axi_program_rlast), .m_axi_rvalid(m_axi_program_rvalid),
    .m_axi_rready(m_axi_program_rready)
  );
  axi_read_mover i_source (
    .clk_i, .rst_ni, .req_valid_i(go), .req_ready_o(read_ready), .req_data_i({1'b0, descriptor[55:0]}),
    .data_valid_o(data_valid), .data_ready_i(data_ready), .data_data_o(data), .error_o(),
    .m_axi_arid(m_axi_activations_arid), .m_axi_araddr(m_axi_activations_araddr), .m_axi_arlen(m_axi_activations_arlen),
    .m_axi_arsize(m_axi_activations_arsize), .m_axi_arburst(m_axi_activations_arburst), .m_axi_arvalid(m_axi_activations_arvalid),
    .m_axi_arready(m_axi_activations_arready), .m_axi_rid(m_axi_activations_rid), .m_axi_rdata(m_axi_activations_rdata),
    .m_axi_rresp(m_axi_activations_rresp), .m_axi_rlast(m_axi_activations_rlast), .m_axi_rvalid(m_axi_activations_rvalid),
    .m_axi_rready(m_axi_activations_rready)
  );
  axi_write_mover i_target (
    .clk_i, .rst_ni, .req_valid_i(go), .req_ready_o(write_ready), .req_data_i({left_q == 16'd1, descriptor[55:40], descriptor[103:64]}),
    .data_valid_i(data_valid), .data_ready_o(data_ready), .data_data_i(~data),
    .done_valid_o(finished_valid_o), .done_ready_i(finished_ready_i), .done_data_o(finished_data_o[0]), .error_o(),
    .m_axi_awid(m_axi_results_awid), .m_axi_awaddr(m_axi_results_awaddr), .m_axi_awlen(m_axi_results_awlen),
    .m_axi_awsize(m_axi_results_awsize), .m_axi_awburst(m_axi_results_awburst), .m_axi_awvalid(m_axi_results_awvalid),
    .m_axi_awready(m_axi_results_awready), .m_axi_wdata(m_axi_results_wdata), .m_axi_wstrb(m_axi_results_wstrb),
    .m_axi_wlast(m_axi_results_wlast), .m_axi_wvalid(m_axi_results_wvalid), .m_axi_wready(m_axi_results_wready),
    .m_axi_bid(m_axi_results_bid), .m_axi_bresp(m_axi_results_bresp), .m_axi_bvalid(m_axi_results_bvalid),
    .m_axi_bready(m_axi_results_bready)
  );
endmodule
/* verilator lint_on PINCONNECTEMPTY */
/* verilator lint_on UNUSEDSIGNAL */
