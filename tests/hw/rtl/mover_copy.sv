/// Copies memory: what the read mover fetches, the write mover stores.
module mover_copy (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         from_valid_i,
  output logic         from_ready_o,
  input  logic [56:0]  from_data_i,
  input  logic         to_valid_i,
  output logic         to_ready_o,
  input  logic [56:0]  to_data_i,
  output logic         done_valid_o,
  input  logic         done_ready_i,
  output logic [0:0]   done_data_o,
  output logic [0:0]   m_axi_source_arid,
  output logic [39:0]  m_axi_source_araddr,
  output logic [7:0]   m_axi_source_arlen,
  output logic [2:0]   m_axi_source_arsize,
  output logic [1:0]   m_axi_source_arburst,
  output logic         m_axi_source_arvalid,
  input  logic         m_axi_source_arready,
  input  logic [0:0]   m_axi_source_rid,
  input  logic [127:0] m_axi_source_rdata,
  input  logic [1:0]   m_axi_source_rresp,
  input  logic         m_axi_source_rlast,
  input  logic         m_axi_source_rvalid,
  output logic         m_axi_source_rready,
  output logic [0:0]   m_axi_target_awid,
  output logic [39:0]  m_axi_target_awaddr,
  output logic [7:0]   m_axi_target_awlen,
  output logic [2:0]   m_axi_target_awsize,
  output logic [1:0]   m_axi_target_awburst,
  output logic         m_axi_target_awvalid,
  input  logic         m_axi_target_awready,
  output logic [127:0] m_axi_target_wdata,
  output logic [15:0]  m_axi_target_wstrb,
  output logic         m_axi_target_wlast,
  output logic         m_axi_target_wvalid,
  input  logic         m_axi_target_wready,
  input  logic [0:0]   m_axi_target_bid,
  input  logic [1:0]   m_axi_target_bresp,
  input  logic         m_axi_target_bvalid,
  output logic         m_axi_target_bready
);
  logic         valid, ready;
  logic [127:0] data;

  axi_read_mover i_read (
    .clk_i, .rst_ni, .req_valid_i(from_valid_i), .req_ready_o(from_ready_o), .req_data_i(from_data_i),
    .data_valid_o(valid), .data_ready_i(ready), .data_data_o(data), .error_o(),
    .m_axi_arid(m_axi_source_arid), .m_axi_araddr(m_axi_source_araddr), .m_axi_arlen(m_axi_source_arlen),
    .m_axi_arsize(m_axi_source_arsize), .m_axi_arburst(m_axi_source_arburst), .m_axi_arvalid(m_axi_source_arvalid),
    .m_axi_arready(m_axi_source_arready), .m_axi_rid(m_axi_source_rid), .m_axi_rdata(m_axi_source_rdata),
    .m_axi_rresp(m_axi_source_rresp), .m_axi_rlast(m_axi_source_rlast), .m_axi_rvalid(m_axi_source_rvalid),
    .m_axi_rready(m_axi_source_rready)
  );

  axi_write_mover i_write (
    .clk_i, .rst_ni, .req_valid_i(to_valid_i), .req_ready_o(to_ready_o), .req_data_i(to_data_i),
    .data_valid_i(valid), .data_ready_o(ready), .data_data_i(data),
    .done_valid_o, .done_ready_i, .done_data_o, .error_o(),
    .m_axi_awid(m_axi_target_awid), .m_axi_awaddr(m_axi_target_awaddr), .m_axi_awlen(m_axi_target_awlen),
    .m_axi_awsize(m_axi_target_awsize), .m_axi_awburst(m_axi_target_awburst), .m_axi_awvalid(m_axi_target_awvalid),
    .m_axi_awready(m_axi_target_awready), .m_axi_wdata(m_axi_target_wdata), .m_axi_wstrb(m_axi_target_wstrb),
    .m_axi_wlast(m_axi_target_wlast), .m_axi_wvalid(m_axi_target_wvalid), .m_axi_wready(m_axi_target_wready),
    .m_axi_bid(m_axi_target_bid), .m_axi_bresp(m_axi_target_bresp), .m_axi_bvalid(m_axi_target_bvalid),
    .m_axi_bready(m_axi_target_bready)
  );
endmodule
