/// The engine as a block design takes it: AXI4-Lite registers in front (axil_control), five AXI4 masters behind.
/// What the engine has asked of a memory is completed even when the engine is reset meanwhile, by an abort or by `rst_ni`.
/// The one thing that this cannot know is whether the memory, or the interconnect in between, was reset as well and has
/// lost what was outstanding: drive `m_axi_rst_i` with its reset (active high), or abort and wait for `idle_o` before
/// resetting it. See axil_control for the registers.
/// Plain Verilog, since Vivado takes no SystemVerilog file as the top of a module reference or a packaged core.
module engine_top #(
  parameter [31:0] Version = 32'h0001_0000
) (
  (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 clk_i CLK" *)
  (* X_INTERFACE_PARAMETER = "ASSOCIATED_RESET rst_ni, ASSOCIATED_BUSIF s_axil:m_axi_program:m_axi_weights:m_axi_activations:m_axi_residual:m_axi_results" *)
  input  wire          clk_i,
  (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 rst_ni RST" *)
  (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
  input  wire          rst_ni,
  (* X_INTERFACE_INFO = "xilinx.com:signal:interrupt:1.0 interrupt_o INTERRUPT" *)
  (* X_INTERFACE_PARAMETER = "SENSITIVITY LEVEL_HIGH" *)
  output wire          interrupt_o,
  output wire          idle_o,       // no program runs and no AXI port has anything outstanding
  (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 m_axi_rst_i RST" *)
  (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_HIGH" *)
  input  wire          m_axi_rst_i,  // reset of the memory side; 0 if it is never reset alone or together with rst_ni
  // registers
  input  wire  [5:0]   s_axil_awaddr,
  input  wire  [2:0]   s_axil_awprot,
  input  wire          s_axil_awvalid,
  output wire          s_axil_awready,
  input  wire  [31:0]  s_axil_wdata,
  input  wire  [3:0]   s_axil_wstrb,
  input  wire          s_axil_wvalid,
  output wire          s_axil_wready,
  output wire  [1:0]   s_axil_bresp,
  output wire          s_axil_bvalid,
  input  wire          s_axil_bready,
  input  wire  [5:0]   s_axil_araddr,
  input  wire  [2:0]   s_axil_arprot,
  input  wire          s_axil_arvalid,
  output wire          s_axil_arready,
  output wire  [31:0]  s_axil_rdata,
  output wire  [1:0]   s_axil_rresp,
  output wire          s_axil_rvalid,
  input  wire          s_axil_rready,
  // program
  output wire  [0:0]   m_axi_program_arid,
  output wire  [39:0]  m_axi_program_araddr,
  output wire  [7:0]   m_axi_program_arlen,
  output wire  [2:0]   m_axi_program_arsize,
  output wire  [1:0]   m_axi_program_arburst,
  output wire          m_axi_program_arvalid,
  input  wire          m_axi_program_arready,
  input  wire  [0:0]   m_axi_program_rid,
  input  wire  [127:0] m_axi_program_rdata,
  input  wire  [1:0]   m_axi_program_rresp,
  input  wire          m_axi_program_rlast,
  input  wire          m_axi_program_rvalid,
  output wire          m_axi_program_rready,
  // weights
  output wire  [0:0]   m_axi_weights_arid,
  output wire  [39:0]  m_axi_weights_araddr,
  output wire  [7:0]   m_axi_weights_arlen,
  output wire  [2:0]   m_axi_weights_arsize,
  output wire  [1:0]   m_axi_weights_arburst,
  output wire          m_axi_weights_arvalid,
  input  wire          m_axi_weights_arready,
  input  wire  [0:0]   m_axi_weights_rid,
  input  wire  [127:0] m_axi_weights_rdata,
  input  wire  [1:0]   m_axi_weights_rresp,
  input  wire          m_axi_weights_rlast,
  input  wire          m_axi_weights_rvalid,
  output wire          m_axi_weights_rready,
  // activations
  output wire  [0:0]   m_axi_activations_arid,
  output wire  [39:0]  m_axi_activations_araddr,
  output wire  [7:0]   m_axi_activations_arlen,
  output wire  [2:0]   m_axi_activations_arsize,
  output wire  [1:0]   m_axi_activations_arburst,
  output wire          m_axi_activations_arvalid,
  input  wire          m_axi_activations_arready,
  input  wire  [0:0]   m_axi_activations_rid,
  input  wire  [127:0] m_axi_activations_rdata,
  input  wire  [1:0]   m_axi_activations_rresp,
  input  wire          m_axi_activations_rlast,
  input  wire          m_axi_activations_rvalid,
  output wire          m_axi_activations_rready,
  // residual
  output wire  [0:0]   m_axi_residual_arid,
  output wire  [39:0]  m_axi_residual_araddr,
  output wire  [7:0]   m_axi_residual_arlen,
  output wire  [2:0]   m_axi_residual_arsize,
  output wire  [1:0]   m_axi_residual_arburst,
  output wire          m_axi_residual_arvalid,
  input  wire          m_axi_residual_arready,
  input  wire  [0:0]   m_axi_residual_rid,
  input  wire  [127:0] m_axi_residual_rdata,
  input  wire  [1:0]   m_axi_residual_rresp,
  input  wire          m_axi_residual_rlast,
  input  wire          m_axi_residual_rvalid,
  output wire          m_axi_residual_rready,
  // results
  output wire  [0:0]   m_axi_results_awid,
  output wire  [39:0]  m_axi_results_awaddr,
  output wire  [7:0]   m_axi_results_awlen,
  output wire  [2:0]   m_axi_results_awsize,
  output wire  [1:0]   m_axi_results_awburst,
  output wire          m_axi_results_awvalid,
  input  wire          m_axi_results_awready,
  output wire  [127:0] m_axi_results_wdata,
  output wire  [15:0]  m_axi_results_wstrb,
  output wire          m_axi_results_wlast,
  output wire          m_axi_results_wvalid,
  input  wire          m_axi_results_wready,
  input  wire  [0:0]   m_axi_results_bid,
  input  wire  [1:0]   m_axi_results_bresp,
  input  wire          m_axi_results_bvalid,
  output wire          m_axi_results_bready
);

  wire        start_valid, start_ready, finished_valid, finished_ready, finished_data;
  wire [55:0] start_data;
  wire        engine_rst_n, forget;

  // --- AXI: bit 0 program, 1 weights, 2 activations, 3 residual, 4 results ----------------------------------------
  // With `forget` the memory is left alone, and what the engine is owed is answered here.
  wire [4:0] asks, taken, answers, last, owed, silent;  // address valid and ready, response valid and last of a transaction
  wire [4:0] memory_valid, beats;
  wire [9:0] responses;
  wire       w_valid, w_ready, b_ready;
  reg  [4:0] slverr_q, decerr_q;
  reg        progress_q;

  assign {m_axi_results_awvalid, m_axi_residual_arvalid, m_axi_activations_arvalid, m_axi_weights_arvalid, m_axi_program_arvalid}
    = forget ? 5'd0 : asks;
  assign taken = {5{forget}} | {m_axi_results_awready, m_axi_residual_arready, m_axi_activations_arready,
                                m_axi_weights_arready, m_axi_program_arready};
  assign memory_valid = {m_axi_results_bvalid, m_axi_residual_rvalid, m_axi_activations_rvalid,
                         m_axi_weights_rvalid, m_axi_program_rvalid};
  assign answers = forget ? owed : memory_valid;
  assign last = {5{forget}} | {1'b1, m_axi_residual_rlast, m_axi_activations_rlast, m_axi_weights_rlast, m_axi_program_rlast};
  assign beats = answers & {b_ready, m_axi_residual_rready, m_axi_activations_rready, m_axi_weights_rready, m_axi_program_rready};
  assign m_axi_results_wvalid = w_valid && !forget;
  assign w_ready = m_axi_results_wready || forget;
  assign m_axi_results_bready = b_ready;

  axi_outstanding i_outstanding [4:0] (
    .clk_i(clk_i), .address_valid_i(asks), .address_ready_i(taken), .last_i(beats & last), .owed_o(owed), .silent_o(silent)
  );

  // An error response loses data without stopping the engine; the registers tell of it.
  assign responses = {m_axi_results_bresp, m_axi_residual_rresp, m_axi_activations_rresp, m_axi_weights_rresp, m_axi_program_rresp};
  always @(posedge clk_i) begin
    slverr_q <= beats & ~{5{forget}} & {responses[9], responses[7], responses[5], responses[3], responses[1]}
                & ~{responses[8], responses[6], responses[4], responses[2], responses[0]};
    decerr_q <= beats & ~{5{forget}} & {responses[9], responses[7], responses[5], responses[3], responses[1]}
                & {responses[8], responses[6], responses[4], responses[2], responses[0]};
    progress_q <= |{asks & taken, beats, w_valid && w_ready};
  end

  axil_control #(.VersionValue(Version)) i_control (
    .clk_i(clk_i), .rst_ni(rst_ni), .interrupt_o(interrupt_o), .idle_o(idle_o),
    .engine_rst_no(engine_rst_n), .forget_o(forget), .memory_reset_i(m_axi_rst_i), .silent_i(&silent),
    .progress_i(progress_q), .slverr_i(slverr_q), .decerr_i(decerr_q),
    .s_axil_awaddr(s_axil_awaddr), .s_axil_awprot(s_axil_awprot), .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(s_axil_awready),
    .s_axil_wdata(s_axil_wdata), .s_axil_wstrb(s_axil_wstrb), .s_axil_wvalid(s_axil_wvalid), .s_axil_wready(s_axil_wready),
    .s_axil_bresp(s_axil_bresp), .s_axil_bvalid(s_axil_bvalid), .s_axil_bready(s_axil_bready),
    .s_axil_araddr(s_axil_araddr), .s_axil_arprot(s_axil_arprot), .s_axil_arvalid(s_axil_arvalid), .s_axil_arready(s_axil_arready),
    .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp), .s_axil_rvalid(s_axil_rvalid), .s_axil_rready(s_axil_rready),
    .start_valid_o(start_valid), .start_ready_i(start_ready), .start_data_o(start_data),
    .finished_valid_i(finished_valid), .finished_ready_o(finished_ready), .finished_data_i(finished_data)
  );

  engine i_engine (
    .clk_i(clk_i), .rst_ni(engine_rst_n),
    .start_valid_i(start_valid), .start_ready_o(start_ready), .start_data_i(start_data),
    .finished_valid_o(finished_valid), .finished_ready_i(finished_ready), .finished_data_o(finished_data),
    .m_axi_program_arid(m_axi_program_arid), .m_axi_program_araddr(m_axi_program_araddr),
    .m_axi_program_arlen(m_axi_program_arlen), .m_axi_program_arsize(m_axi_program_arsize),
    .m_axi_program_arburst(m_axi_program_arburst), .m_axi_program_arvalid(asks[0]),
    .m_axi_program_arready(taken[0]), .m_axi_program_rid(m_axi_program_rid),
    .m_axi_program_rdata(m_axi_program_rdata), .m_axi_program_rresp(m_axi_program_rresp),
    .m_axi_program_rlast(last[0]), .m_axi_program_rvalid(answers[0]),
    .m_axi_program_rready(m_axi_program_rready),
    .m_axi_weights_arid(m_axi_weights_arid), .m_axi_weights_araddr(m_axi_weights_araddr),
    .m_axi_weights_arlen(m_axi_weights_arlen), .m_axi_weights_arsize(m_axi_weights_arsize),
    .m_axi_weights_arburst(m_axi_weights_arburst), .m_axi_weights_arvalid(asks[1]),
    .m_axi_weights_arready(taken[1]), .m_axi_weights_rid(m_axi_weights_rid),
    .m_axi_weights_rdata(m_axi_weights_rdata), .m_axi_weights_rresp(m_axi_weights_rresp),
    .m_axi_weights_rlast(last[1]), .m_axi_weights_rvalid(answers[1]),
    .m_axi_weights_rready(m_axi_weights_rready),
    .m_axi_activations_arid(m_axi_activations_arid), .m_axi_activations_araddr(m_axi_activations_araddr),
    .m_axi_activations_arlen(m_axi_activations_arlen), .m_axi_activations_arsize(m_axi_activations_arsize),
    .m_axi_activations_arburst(m_axi_activations_arburst), .m_axi_activations_arvalid(asks[2]),
    .m_axi_activations_arready(taken[2]), .m_axi_activations_rid(m_axi_activations_rid),
    .m_axi_activations_rdata(m_axi_activations_rdata), .m_axi_activations_rresp(m_axi_activations_rresp),
    .m_axi_activations_rlast(last[2]), .m_axi_activations_rvalid(answers[2]),
    .m_axi_activations_rready(m_axi_activations_rready),
    .m_axi_residual_arid(m_axi_residual_arid), .m_axi_residual_araddr(m_axi_residual_araddr),
    .m_axi_residual_arlen(m_axi_residual_arlen), .m_axi_residual_arsize(m_axi_residual_arsize),
    .m_axi_residual_arburst(m_axi_residual_arburst), .m_axi_residual_arvalid(asks[3]),
    .m_axi_residual_arready(taken[3]), .m_axi_residual_rid(m_axi_residual_rid),
    .m_axi_residual_rdata(m_axi_residual_rdata), .m_axi_residual_rresp(m_axi_residual_rresp),
    .m_axi_residual_rlast(last[3]), .m_axi_residual_rvalid(answers[3]),
    .m_axi_residual_rready(m_axi_residual_rready),
    .m_axi_results_awid(m_axi_results_awid), .m_axi_results_awaddr(m_axi_results_awaddr),
    .m_axi_results_awlen(m_axi_results_awlen), .m_axi_results_awsize(m_axi_results_awsize),
    .m_axi_results_awburst(m_axi_results_awburst), .m_axi_results_awvalid(asks[4]),
    .m_axi_results_awready(taken[4]), .m_axi_results_wdata(m_axi_results_wdata),
    .m_axi_results_wstrb(m_axi_results_wstrb), .m_axi_results_wlast(m_axi_results_wlast),
    .m_axi_results_wvalid(w_valid), .m_axi_results_wready(w_ready),
    .m_axi_results_bid(m_axi_results_bid), .m_axi_results_bresp(m_axi_results_bresp),
    .m_axi_results_bvalid(answers[4]), .m_axi_results_bready(b_ready)
  );

endmodule
