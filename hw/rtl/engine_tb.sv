/// Test bench of a whole engine: runs a list of jobs on one memory, driven by no other process.
/// Plusarg jobs=FILE names a text file with one job per line: input file or "-", program address (hexadecimal), number of
/// descriptors (decimal). A job loads its input file ($readmemh) over the memory, starts the engine, counts cycles until
/// `finished`, and writes words dump_first to dump_last into out_<job>.hex. cycles.txt gets a line per job: cycles, then
/// beats moved by each reading port and the writing one. limit=N bounds a job's cycles; quiet=N is the
/// number of cycles without a beat on any port after which the engine counts as stuck. Plusargs of axi_ram apply.
module engine_tb #(
  parameter int unsigned Words = 1 << 20
) (
  input  logic        clk_i,     // the only clock
  input  logic        rst_ni,    // reset, synchronous, active low
  output logic        done_o,    // all jobs have ended, or one has failed
  output logic [1:0]  status_o,  // 0: all jobs finished, 1: over the limit, 2: no port moves data
  output logic [31:0] job_o,     // the current job, or the number of jobs when done
  output logic [31:0] cycles_o   // of the current job
);

  localparam int unsigned NumRead = 6;

  logic [NumRead-1:0]          arid;
  logic [NumRead-1:0][39:0]    araddr;
  logic [NumRead-1:0][7:0]     arlen;
  logic [NumRead-1:0][2:0]     arsize;
  logic [NumRead-1:0][1:0]     arburst;
  logic [NumRead-1:0]          arvalid;
  logic [NumRead-1:0]          arready;
  logic [NumRead-1:0]          rid;
  logic [NumRead-1:0][127:0]   rdata;
  logic [NumRead-1:0][1:0]     rresp;
  logic [NumRead-1:0]          rlast;
  logic [NumRead-1:0]          rvalid;
  logic [NumRead-1:0]          rready;
  logic         awid;
  logic [39:0]  awaddr;
  logic [7:0]   awlen;
  logic [2:0]   awsize;
  logic [1:0]   awburst;
  logic         awvalid;
  logic         awready;
  logic [127:0] wdata;
  logic [15:0]  wstrb;
  logic         wlast;
  logic         wvalid;
  logic         wready;
  logic         bid;
  logic [1:0]   bresp;
  logic         bvalid;
  logic         bready;

  // Everything may start at random, rst_ni and the clock too: an edge before the first reset must count as a reset.
  logic was_reset, reset_n;
  initial was_reset = 1'b0;
  always @(posedge clk_i) if (!rst_ni) was_reset <= 1'b1;
  assign reset_n = rst_ni && was_reset;

  typedef enum logic [1:0] {Load, Start, Run, Done} state_e;
  state_e      state_q;
  logic        start_valid, start_ready, finished_valid, finished_ready;
  logic [55:0] start_data;
  logic        finished_data;

  // The wires of one reading master.
  `define READ_MASTER(NAME, INDEX) \
    .m_axi_``NAME``_arid(arid[INDEX]), .m_axi_``NAME``_araddr(araddr[INDEX]), .m_axi_``NAME``_arlen(arlen[INDEX]), \
    .m_axi_``NAME``_arsize(arsize[INDEX]), .m_axi_``NAME``_arburst(arburst[INDEX]), \
    .m_axi_``NAME``_arvalid(arvalid[INDEX]), .m_axi_``NAME``_arready(arready[INDEX]), \
    .m_axi_``NAME``_rid(rid[INDEX]), .m_axi_``NAME``_rdata(rdata[INDEX]), .m_axi_``NAME``_rresp(rresp[INDEX]), \
    .m_axi_``NAME``_rlast(rlast[INDEX]), .m_axi_``NAME``_rvalid(rvalid[INDEX]), .m_axi_``NAME``_rready(rready[INDEX])

  // Each job starts on an engine that was reset, as with axil_control.
  engine i_engine (
    .clk_i, .rst_ni(reset_n && state_q != Load),
    .start_valid_i(start_valid), .start_ready_o(start_ready), .start_data_i(start_data),
    .finished_valid_o(finished_valid), .finished_ready_i(finished_ready), .finished_data_o(finished_data),
    `READ_MASTER(program, 0),
    `READ_MASTER(weights_0, 1),
    `READ_MASTER(weights_1, 2),
    `READ_MASTER(operands, 3),
    `READ_MASTER(activations, 4),
    `READ_MASTER(residual, 5),
    .m_axi_results_awid(awid), .m_axi_results_awaddr(awaddr), .m_axi_results_awlen(awlen),
    .m_axi_results_awsize(awsize), .m_axi_results_awburst(awburst), .m_axi_results_awvalid(awvalid),
    .m_axi_results_awready(awready), .m_axi_results_wdata(wdata), .m_axi_results_wstrb(wstrb),
    .m_axi_results_wlast(wlast), .m_axi_results_wvalid(wvalid), .m_axi_results_wready(wready),
    .m_axi_results_bid(bid), .m_axi_results_bresp(bresp), .m_axi_results_bvalid(bvalid),
    .m_axi_results_bready(bready)
  );

  axi_ram #(.NumRead(NumRead), .NumWrite(1), .Words(Words)) i_ram (
    .clk_i, .rst_ni(reset_n),
    .arid_i(arid), .araddr_i(araddr), .arlen_i(arlen), .arsize_i(arsize), .arburst_i(arburst), .arvalid_i(arvalid),
    .arready_o(arready), .rid_o(rid), .rdata_o(rdata), .rresp_o(rresp), .rlast_o(rlast), .rvalid_o(rvalid),
    .rready_i(rready), .awid_i(awid), .awaddr_i(awaddr), .awlen_i(awlen), .awsize_i(awsize), .awburst_i(awburst),
    .awvalid_i(awvalid), .awready_o(awready), .wdata_i(wdata), .wstrb_i(wstrb), .wlast_i(wlast), .wvalid_i(wvalid),
    .wready_o(wready), .bid_o(bid), .bresp_o(bresp), .bvalid_o(bvalid), .bready_i(bready)
  );

  // --- jobs --------------------------------------------------------------------------------------------------------
  string       jobs_file, input_file;
  int          jobs, report;
  int unsigned limit, quiet, dump_first, dump_last;
  logic [15:0] count;
  logic [39:0] program_address;

  initial begin
    if (!$value$plusargs("jobs=%s", jobs_file)) jobs_file = "jobs.txt";
    if (!$value$plusargs("limit=%d", limit)) limit = 100_000_000;
    if (!$value$plusargs("quiet=%d", quiet)) quiet = 1 << 20;
    if (!$value$plusargs("dump_first=%d", dump_first)) dump_first = 0;
    if (!$value$plusargs("dump_last=%d", dump_last)) dump_last = Words - 1;
    jobs = $fopen(jobs_file, "r");
    if (jobs == 0) $fatal(1, "cannot open %s", jobs_file);
    report = $fopen("cycles.txt", "w");
  end

  logic [31:0]               cycles_q, quiet_q;
  logic [NumRead-1:0]        read_beats;
  logic                      write_beat;
  logic [NumRead-1:0][31:0]  reads_q;
  logic [31:0]               writes_q;

  assign read_beats = rvalid & rready;
  assign write_beat = wvalid && wready;
  assign start_valid = state_q == Start;
  assign start_data = {count, program_address};
  assign finished_ready = state_q == Run;
  assign done_o = state_q == Done;
  assign cycles_o = cycles_q;

  always_ff @(posedge clk_i) begin
    if (!reset_n) begin
      state_q <= Load;
      job_o <= '0;
      status_o <= '0;
    end else begin
      cycles_q <= cycles_q + 1;
      quiet_q <= (|read_beats || write_beat) ? '0 : quiet_q + 1;
      writes_q <= writes_q + 32'(write_beat);
      for (int unsigned p = 0; p < NumRead; p++) reads_q[p] <= reads_q[p] + 32'(read_beats[p]);
      unique case (state_q)
        Load: begin
          cycles_q <= '0;
          quiet_q <= '0;
          reads_q <= '0;
          writes_q <= '0;
          if ($fscanf(jobs, "%s %h %d", input_file, program_address, count) == 3) begin
            if (input_file != "-") $readmemh(input_file, i_ram.mem);
            state_q <= Start;
          end else begin
            state_q <= Done;
            $fflush(report);
          end
        end
        Start: if (start_ready) state_q <= Run;
        Run: if (finished_valid) begin
          $fwrite(report, "%0d", cycles_q + 1);
          for (int unsigned p = 0; p < NumRead; p++) $fwrite(report, " %0d", reads_q[p]);
          $fdisplay(report, " %0d", writes_q);
          $writememh($sformatf("out_%0d.hex", job_o), i_ram.mem, dump_first, dump_last);
          job_o <= job_o + 1;
          state_q <= Load;
        end
        default: ;
      endcase
      if ((state_q == Start || state_q == Run) && (cycles_q >= limit || quiet_q >= quiet)) begin
        status_o <= cycles_q >= limit ? 2'd1 : 2'd2;
        state_q <= Done;
        $fflush(report);
      end
    end
  end

  logic unused;
  assign unused = ^finished_data;

endmodule
