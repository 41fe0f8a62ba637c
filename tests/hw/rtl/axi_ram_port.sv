/// axi_ram with one read and one write port, named as one AXI slave.
module axi_ram_port (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic [0:0]   s_axi_arid,
  input  logic [39:0]  s_axi_araddr,
  input  logic [7:0]   s_axi_arlen,
  input  logic [2:0]   s_axi_arsize,
  input  logic [1:0]   s_axi_arburst,
  input  logic         s_axi_arvalid,
  output logic         s_axi_arready,
  output logic [0:0]   s_axi_rid,
  output logic [127:0] s_axi_rdata,
  output logic [1:0]   s_axi_rresp,
  output logic         s_axi_rlast,
  output logic         s_axi_rvalid,
  input  logic         s_axi_rready,
  input  logic [0:0]   s_axi_awid,
  input  logic [39:0]  s_axi_awaddr,
  input  logic [7:0]   s_axi_awlen,
  input  logic [2:0]   s_axi_awsize,
  input  logic [1:0]   s_axi_awburst,
  input  logic         s_axi_awvalid,
  output logic         s_axi_awready,
  input  logic [127:0] s_axi_wdata,
  input  logic [15:0]  s_axi_wstrb,
  input  logic         s_axi_wlast,
  input  logic         s_axi_wvalid,
  output logic         s_axi_wready,
  output logic [0:0]   s_axi_bid,
  output logic [1:0]   s_axi_bresp,
  output logic         s_axi_bvalid,
  input  logic         s_axi_bready
);
  // The master starts a transfer at any byte; the memory takes whole words with strobes, and gives whole words.
  axi_ram #(.Words(4096), .Latency(6)) i_ram (
    .clk_i, .rst_ni,
    .arid_i(s_axi_arid), .araddr_i({s_axi_araddr[39:4], 4'd0}), .arlen_i(s_axi_arlen), .arsize_i(s_axi_arsize),
    .arburst_i(s_axi_arburst), .arvalid_i(s_axi_arvalid), .arready_o(s_axi_arready), .rid_o(s_axi_rid),
    .rdata_o(s_axi_rdata), .rresp_o(s_axi_rresp), .rlast_o(s_axi_rlast), .rvalid_o(s_axi_rvalid), .rready_i(s_axi_rready),
    .awid_i(s_axi_awid), .awaddr_i({s_axi_awaddr[39:4], 4'd0}), .awlen_i(s_axi_awlen), .awsize_i(s_axi_awsize),
    .awburst_i(s_axi_awburst), .awvalid_i(s_axi_awvalid), .awready_o(s_axi_awready), .wdata_i(s_axi_wdata),
    .wstrb_i(s_axi_wstrb), .wlast_i(s_axi_wlast), .wvalid_i(s_axi_wvalid), .wready_o(s_axi_wready), .bid_o(s_axi_bid),
    .bresp_o(s_axi_bresp), .bvalid_o(s_axi_bvalid), .bready_i(s_axi_bready)
  );
endmodule
