/// A memory hub with its movers and an external memory, driven by streams.
module hub_bench_top #(
  parameter int unsigned NumRead = 3,
  parameter int unsigned Words = 1024
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic [NumRead-1:0]       req_valid_i,
  output logic [NumRead-1:0]       req_ready_o,
  input  logic [NumRead*57-1:0]    req_data_i,
  output logic [NumRead-1:0]       data_valid_o,
  input  logic [NumRead-1:0]       data_ready_i,
  output logic [NumRead*128-1:0]   data_data_o,
  input  logic                     write_req_valid_i,
  output logic                     write_req_ready_o,
  input  logic [56:0]              write_req_data_i,
  input  logic                     write_data_valid_i,
  output logic                     write_data_ready_o,
  input  logic [127:0]             write_data_data_i,
  output logic                     done_valid_o,
  input  logic                     done_ready_i
);
  logic [NumRead-1:0]        ext_req_valid, ext_req_ready, ext_data_valid, ext_data_ready;
  logic [NumRead-1:0][56:0]  ext_req_data;
  logic [NumRead-1:0][127:0] ext_data_data;
  logic                      wreq_valid, wreq_ready, wdata_valid, wdata_ready;
  logic [56:0]               wreq_data;
  logic [127:0]              wdata_data;
  logic [NumRead-1:0]        arid, rid, arvalid, arready, rlast, rvalid, rready;
  logic [NumRead-1:0][39:0]  araddr;
  logic [NumRead-1:0][7:0]   arlen;
  logic [NumRead-1:0][2:0]   arsize;
  logic [NumRead-1:0][1:0]   arburst, rresp;
  logic [NumRead-1:0][127:0] rdata;
  logic                      awid, awvalid, awready, wlast, wvalid, wready, bid, bvalid, bready;
  logic [39:0]               awaddr;
  logic [7:0]                awlen;
  logic [2:0]                awsize;
  logic [1:0]                awburst, bresp;
  logic [127:0]              wdata;
  logic [15:0]               wstrb;

  memory_hub #(.NumRead(NumRead), .Banks(4), .Words(Words), .Style("auto")) i_hub (
    .clk_i, .rst_ni, .req_valid_i, .req_ready_o, .req_data_i, .data_valid_o, .data_ready_i, .data_data_o,
    .ext_req_valid_o(ext_req_valid), .ext_req_ready_i(ext_req_ready), .ext_req_data_o(ext_req_data),
    .ext_data_valid_i(ext_data_valid), .ext_data_ready_o(ext_data_ready), .ext_data_data_i(ext_data_data),
    .write_req_valid_i, .write_req_ready_o, .write_req_data_i, .write_data_valid_i, .write_data_ready_o, .write_data_data_i,
    .ext_write_req_valid_o(wreq_valid), .ext_write_req_ready_i(wreq_ready), .ext_write_req_data_o(wreq_data),
    .ext_write_data_valid_o(wdata_valid), .ext_write_data_ready_i(wdata_ready), .ext_write_data_data_o(wdata_data)
  );

  for (genvar p = 0; p < NumRead; p++) begin : gen_mover
    axi_read_mover i_mover (
      .clk_i, .rst_ni, .req_valid_i(ext_req_valid[p]), .req_ready_o(ext_req_ready[p]), .req_data_i(ext_req_data[p]),
      .data_valid_o(ext_data_valid[p]), .data_ready_i(ext_data_ready[p]), .data_data_o(ext_data_data[p]), .error_o(),
      .m_axi_arid(arid[p]), .m_axi_araddr(araddr[p]), .m_axi_arlen(arlen[p]), .m_axi_arsize(arsize[p]),
      .m_axi_arburst(arburst[p]), .m_axi_arvalid(arvalid[p]), .m_axi_arready(arready[p]), .m_axi_rid(rid[p]),
      .m_axi_rdata(rdata[p]), .m_axi_rresp(rresp[p]), .m_axi_rlast(rlast[p]), .m_axi_rvalid(rvalid[p]),
      .m_axi_rready(rready[p])
    );
  end

  axi_write_mover i_write (
    .clk_i, .rst_ni, .req_valid_i(wreq_valid), .req_ready_o(wreq_ready), .req_data_i(wreq_data),
    .data_valid_i(wdata_valid), .data_ready_o(wdata_ready), .data_data_i(wdata_data),
    .done_valid_o, .done_ready_i, .done_data_o(), .error_o(),
    .m_axi_awid(awid), .m_axi_awaddr(awaddr), .m_axi_awlen(awlen), .m_axi_awsize(awsize), .m_axi_awburst(awburst),
    .m_axi_awvalid(awvalid), .m_axi_awready(awready), .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast),
    .m_axi_wvalid(wvalid), .m_axi_wready(wready), .m_axi_bid(bid), .m_axi_bresp(bresp), .m_axi_bvalid(bvalid),
    .m_axi_bready(bready)
  );

  axi_ram #(.NumRead(NumRead), .Words(4096)) i_ram (
    .clk_i, .rst_ni, .arid_i(arid), .araddr_i(araddr), .arlen_i(arlen), .arsize_i(arsize), .arburst_i(arburst),
    .arvalid_i(arvalid), .arready_o(arready), .rid_o(rid), .rdata_o(rdata), .rresp_o(rresp), .rlast_o(rlast),
    .rvalid_o(rvalid), .rready_i(rready), .awid_i(awid), .awaddr_i(awaddr), .awlen_i(awlen), .awsize_i(awsize),
    .awburst_i(awburst), .awvalid_i(awvalid), .awready_o(awready), .wdata_i(wdata), .wstrb_i(wstrb), .wlast_i(wlast),
    .wvalid_i(wvalid), .wready_o(wready), .bid_o(bid), .bresp_o(bresp), .bvalid_o(bvalid), .bready_i(bready)
  );
endmodule
