/// Properties of axil_control: any host on AXI4-Lite that keeps to its handshakes, any engine, any AXI ports, a reset at any
/// time. The registers that the host reads back are compared for one register, chosen freely.
module axil_control_proof #(
  parameter int unsigned Patience = 4
) (
  input logic        clk_i,
  input logic        rst_ni,
  input logic        memory_reset_i,
  input logic        silent_i,
  input logic        progress_i,
  input logic [6:0]  slverr_i,
  input logic [6:0]  decerr_i,
  input logic [5:0]  awaddr_i,
  input logic        awvalid_i,
  input logic [31:0] wdata_i,
  input logic [3:0]  wstrb_i,
  input logic        wvalid_i,
  input logic        bready_i,
  input logic [5:0]  araddr_i,
  input logic        arvalid_i,
  input logic        rready_i,
  input logic        start_ready_i,
  input logic        finished_i
);
  logic        interrupt, idle, engine_rst_n, forget, awready, wready, bvalid, arready, rvalid, start_valid, begin_q;
  logic [31:0] rdata;
  logic [55:0] start_data;

  axil_control #(.Patience(Patience)) dut (
    .clk_i, .rst_ni, .interrupt_o(interrupt), .idle_o(idle), .engine_rst_no(engine_rst_n), .forget_o(forget), .memory_reset_i,
    .silent_i, .progress_i, .slverr_i, .decerr_i,
    .s_axil_awaddr(awaddr_i), .s_axil_awprot('0), .s_axil_awvalid(awvalid_i), .s_axil_awready(awready),
    .s_axil_wdata(wdata_i), .s_axil_wstrb(wstrb_i), .s_axil_wvalid(wvalid_i), .s_axil_wready(wready),
    .s_axil_bresp(), .s_axil_bvalid(bvalid), .s_axil_bready(bready_i),
    .s_axil_araddr(araddr_i), .s_axil_arprot('0), .s_axil_arvalid(arvalid_i), .s_axil_arready(arready),
    .s_axil_rdata(rdata), .s_axil_rresp(), .s_axil_rvalid(rvalid), .s_axil_rready(rready_i),
    .start_valid_o(start_valid), .start_ready_i, .start_data_o(start_data), .finished_valid_i(finished_i), .finished_ready_o(),
    .finished_data_i(1'b1)
  );

  logic write, read;
  assign write = awvalid_i && awready;
  assign read = arvalid_i && arready;

  // --- commands, as the register map describes them --------------------------------------------------------------------
  logic        command, stops, starts, finishes, running_q, waiting_q;
  logic [55:0] program_q, started_q;

  assign command = write && awaddr_i[5:2] == 4'd0 && wstrb_i[0];
  assign stops = (command && (wdata_i[3] || wdata_i[4])) || memory_reset_i;
  assign starts = command && wdata_i[0] && (!running_q || stops) && program_q[55:40] != '0;
  assign finishes = finished_i && running_q && engine_rst_n;

  initial begin_q = 1'b1;
  always @(posedge clk_i) begin_q <= 1'b0;
  always_comb begin
    if (begin_q) assume (!rst_ni);
    assume (!finished_i || (running_q && !waiting_q));  // an engine that was started, once
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
      waiting_q <= 1'b0;
      program_q <= '0;
    end else begin
      running_q <= starts || (running_q && !stops && !finishes);
      waiting_q <= starts || (waiting_q && !stops && !(start_valid && start_ready_i));
      for (int unsigned i = 0; i < 4; i++) begin
        if (write && wstrb_i[i] && awaddr_i[5:2] == 4'd2) program_q[8*i+:8] <= wdata_i[8*i+:8];
        if (write && wstrb_i[i] && awaddr_i[5:2] == 4'd3 && i == 0) program_q[39:32] <= wdata_i[7:0];
        if (write && wstrb_i[i] && awaddr_i[5:2] == 4'd4 && i < 2) program_q[40+8*i+:8] <= wdata_i[8*i+:8];
      end
    end
    if (starts) started_q <= program_q;
  end

  // --- what the host has been told, and the cycle before ---------------------------------------------------------------
  logic        done_q, enabled_q, answering_q, reading_q, held_start_q, held_read_q, must_stop_q, loud_q;
  logic [31:0] held_data_q;
  logic [55:0] held_program_q;
  logic [1:0]  stopped_q;  // cycles of reset up to this one, at most 3

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      answering_q <= 1'b0;
      reading_q <= 1'b0;
      done_q <= 1'b0;
      enabled_q <= 1'b0;
    end else begin
      answering_q <= write || (answering_q && !bready_i);
      reading_q <= read || (reading_q && !rready_i);
      done_q <= (done_q || finishes) && !starts && !(command && wdata_i[1]);
      if (command) enabled_q <= wdata_i[2];
    end
    held_start_q <= rst_ni && start_valid && !start_ready_i && !stops && !starts;
    held_program_q <= start_data;
    held_read_q <= rst_ni && rvalid && !rready_i;
    held_data_q <= rdata;
  end
  initial begin
    must_stop_q = 1'b0;
    loud_q = 1'b1;
    stopped_q = '0;
  end
  always @(posedge clk_i) begin
    must_stop_q <= !rst_ni || stops || finishes;
    loud_q <= !silent_i;
    stopped_q <= engine_rst_n ? '0 : stopped_q + 2'(stopped_q != 2'd3);
  end

  always_comb if (rst_ni) begin
    // AXI4-Lite
    p_write_once:  assert (bvalid == answering_q && awready == wready
                           && (!write || wvalid_i) && (!write || !bvalid || bready_i));
    p_read_once:   assert (rvalid == reading_q && (!read || !rvalid || rready_i));
    p_read_stable: assert (!held_read_q || (rvalid && rdata == held_data_q));
    // a program is started once for each accepted start, as its registers were then, when the engine is out of reset
    p_start:        assert (!start_valid || (waiting_q && engine_rst_n && start_data == started_q));
    p_start_kept:   assert (!waiting_q || !engine_rst_n || start_valid);
    p_start_stable: assert (!held_start_q || !engine_rst_n || (start_valid && start_data == held_program_q));
    // status and interrupt
    p_busy:      assert (dut.busy_q == running_q);
    p_done:      assert (dut.done_q == done_q);
    p_interrupt: assert (interrupt == (enabled_q && (done_q || dut.failed)));
    p_idle:      assert (!idle || (!running_q && silent_i && engine_rst_n));
  end
  // reset of the engine: after a reset, an abort or an end, not otherwise, for two cycles at least and until all is silent
  always_comb if (!begin_q) begin
    p_reset:    assert (!must_stop_q || !engine_rst_n);
    p_no_reset: assert (must_stop_q || stopped_q != '0 || engine_rst_n);
    p_silence:  assert (!engine_rst_n || stopped_q == '0 || (stopped_q >= 2'd2 && !loud_q));
    p_forget:   assert (!forget || !engine_rst_n);
  end

  always_comb begin
    h_settled: assert (!dut.settled_q || engine_rst_n || stopped_q != '0);
    h_stopped: assert (must_stop_q || begin_q || engine_rst_n || stopped_q != '0);
    h_begin:   assert (!begin_q || (!engine_rst_n && !dut.settled_q && !forget));
    if (rst_ni) begin
      h_program: assert (program_q == {dut.count_q, dut.address_q});
      h_waiting: assert (dut.start_q == waiting_q && (!waiting_q || (running_q && dut.start_data_o == started_q)));
      h_enabled: assert (dut.interrupt_q == enabled_q);
    end
  end
endmodule
