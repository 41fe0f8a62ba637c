/// AXI4-Lite registers of the engine: they start a program by a `start` token and receive a `finished` token at its end.
///
/// registers (hw/registers.py)
///   0x00 control, after reset 0x0
///          0 wo  start: run the program; refused if count is 0, ignored while busy
///          1 wo  clear: clear done and all of errors
///          2 rw  interrupt: interrupt while done or failed; every write sets it
///          3 wo  abort: stop the program, complete its AXI transactions, reset the engine; errors stay
///          4 wo  forget: abort, and forget AXI transactions: the memory was reset and has lost them
///   0x04 status, after reset 0x0
///          0 ro  busy: a program was started and has neither finished nor been aborted
///          1 ro  done: a program has finished since the last start
///          2 ro  failed: one of errors 18..0 is set
///          3 ro  draining: no program runs, but AXI transactions are outstanding; a start waits for them
///   0x08 address_low, after reset 0x0
///      31..0 rw  address: of the program, a multiple of 16
///   0x0c address_high, after reset 0x0
///       7..0 rw  address: bits 39..32
///   0x10 count, after reset 0x0
///      15..0 rw  count: descriptors of the program
///   0x14 cycles_low, after reset 0x0
///      31..0 ro  cycles: of the last program, or of the running one so far
///   0x18 cycles_high, after reset 0x0
///      31..0 ro  cycles: bits 63..32
///   0x1c id, after reset 0x45574754
///      31..0 ro  id: "EWGT"
///   0x20 version, after reset 0x10000
///      31..0 ro  version: parameter of engine_top
///   0x24 errors, after reset 0x0
///          0 w1c slverr_program: the program port received SLVERR
///          1 w1c slverr_weights_0: the weights_0 port received SLVERR
///          2 w1c slverr_weights_1: the weights_1 port received SLVERR
///          3 w1c slverr_operands: the operands port received SLVERR
///          4 w1c slverr_activations: the activations port received SLVERR
///          5 w1c slverr_residual: the residual port received SLVERR
///          6 w1c slverr_results: the results port received SLVERR
///          8 w1c decerr_program: the program port received DECERR
///          9 w1c decerr_weights_0: the weights_0 port received DECERR
///         10 w1c decerr_weights_1: the weights_1 port received DECERR
///         11 w1c decerr_operands: the operands port received DECERR
///         12 w1c decerr_activations: the activations port received DECERR
///         13 w1c decerr_residual: the residual port received DECERR
///         14 w1c decerr_results: the results port received DECERR
///         16 w1c no_progress: no AXI port moved data for `watchdog` cycles; busy stays until an abort
///         17 w1c over_limit: the program has run for `cycle_limit` cycles; busy stays until an abort
///         18 w1c no_descriptors: a start was refused: count is 0
///         19 w1c busy_start: a start was ignored: a program was running. Not counted as failed
///         20 w1c forgot: AXI transactions were forgotten. Not counted as failed
///   0x28 watchdog, after reset 0x100000
///      31..0 rw  cycles: without progress until no_progress; 0: never
///   0x2c cycle_limit, after reset 0x0
///      31..0 rw  cycles: of a program until over_limit; 0: none; set it before start
/// end of registers
///
/// `engine_rst_no` resets the engine after each program as well as on request, so that one program leaves no state for
/// the next. The engine stays in reset until no AXI port has outstanding transactions; a start in the meantime is kept.
/// `rst_ni` also resets these registers. If it is asserted while transactions are outstanding and the memory then moves
/// nothing for `Patience` cycles, the memory is assumed to have been reset too, and they are forgotten.
/// Writes to read-only registers are ignored.
module axil_control #(
  parameter logic [31:0] VersionValue = 32'h0001_0000,
  parameter int unsigned Patience = 4096  // cycles, a power of two
) (
  input  logic        clk_i,             // the only clock
  input  logic        rst_ni,            // reset, synchronous, active low
  output logic        interrupt_o,       // high while enabled and done or failed
  output logic        idle_o,            // no program runs and no AXI port has outstanding transactions
  output logic        engine_rst_no,     // reset of the engine, active low
  output logic        forget_o,          // while set, respond to outstanding transactions in place of the memory
  input  logic        memory_reset_i,    // the memory is in reset, and loses outstanding transactions
  input  logic        silent_i,          // no AXI port has outstanding transactions
  input  logic        progress_i,        // something moved on an AXI port
  input  logic [6:0]  slverr_i,          // responses by port, in the order of the bits of errors
  input  logic [6:0]  decerr_i,          // the same for DECERR
  input  logic [5:0]  s_axil_awaddr,     // byte offset of the register
  input  logic [2:0]  s_axil_awprot,     // not read
  input  logic        s_axil_awvalid,    // an address to write
  output logic        s_axil_awready,    // and accepted, with its data
  input  logic [31:0] s_axil_wdata,      // the value
  input  logic [3:0]  s_axil_wstrb,      // bytes that are written
  input  logic        s_axil_wvalid,     // there is a value
  output logic        s_axil_wready,     // and accepted, with its address
  output logic [1:0]  s_axil_bresp,      // always 0: OKAY
  output logic        s_axil_bvalid,     // the register is written
  input  logic        s_axil_bready,     // the response is accepted
  input  logic [5:0]  s_axil_araddr,     // byte offset of the register
  input  logic [2:0]  s_axil_arprot,     // not read
  input  logic        s_axil_arvalid,    // an address to read
  output logic        s_axil_arready,    // and accepted
  output logic [31:0] s_axil_rdata,      // the value
  output logic [1:0]  s_axil_rresp,      // always 0: OKAY
  output logic        s_axil_rvalid,     // there is a value
  input  logic        s_axil_rready,     // the value is accepted
  output logic        start_valid_o,     // a program is to run
  input  logic        start_ready_i,     // the engine takes it
  output logic [55:0] start_data_o,      // addr[39:0], count[55:40]
  input  logic        finished_valid_i,  // the program has ended
  output logic        finished_ready_o,  // always 1
  input  logic        finished_data_i    // not read
);

  localparam logic [31:0] IdValue = 32'h4557_4754;
  localparam logic [31:0] WatchdogReset = 32'd1_048_576;
  // offsets (hw/registers.py)
  localparam logic [3:0] Control = 0;
  localparam logic [3:0] Status = 1;
  localparam logic [3:0] AddressLow = 2;
  localparam logic [3:0] AddressHigh = 3;
  localparam logic [3:0] Count = 4;
  localparam logic [3:0] CyclesLow = 5;
  localparam logic [3:0] CyclesHigh = 6;
  localparam logic [3:0] Id = 7;
  localparam logic [3:0] Version = 8;
  localparam logic [3:0] Errors = 9;
  localparam logic [3:0] Watchdog = 10;
  localparam logic [3:0] CycleLimit = 11;
  // end of offsets
  localparam int unsigned PatienceBits = $clog2(Patience);

  typedef struct packed {
    logic       forgot, busy_start;  // reported, but not errors
    logic       no_descriptors, over_limit, no_progress;
    logic [7:0] decerr, slverr;
  } events_t;  // bits 20..0 of the register

  logic        busy_q, done_q, interrupt_q;
  logic [39:0] address_q;
  logic [15:0] count_q;
  logic [63:0] cycles_q;
  logic [31:0] watchdog_q, limit_q;
  events_t     events_q, found, cleared;

  logic impatient, failed;

  // --- writes: address and data are accepted together----------------------------------------------------------------
  logic        write, command, start, clear, abort, forget;
  logic [3:0]  target;
  logic [31:0] mask;

  assign write = s_axil_awvalid && s_axil_wvalid && (!s_axil_bvalid || s_axil_bready);
  assign s_axil_awready = write;
  assign s_axil_wready = write;
  assign s_axil_bresp = 2'b00;
  assign target = s_axil_awaddr[5:2];
  assign mask = {{8{s_axil_wstrb[3]}}, {8{s_axil_wstrb[2]}}, {8{s_axil_wstrb[1]}}, {8{s_axil_wstrb[0]}}};
  assign command = write && target == Control && s_axil_wstrb[0];
  assign clear = command && s_axil_wdata[1];
  assign forget = (command && s_axil_wdata[4]) || memory_reset_i;
  assign abort = (command && s_axil_wdata[3]) || forget;
  assign start = command && s_axil_wdata[0] && (!busy_q || abort) && count_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      s_axil_bvalid <= 1'b0;
      interrupt_q <= 1'b0;
      address_q <= '0;
      count_q <= '0;
      watchdog_q <= WatchdogReset;
      limit_q <= '0;
    end else begin
      if (write) s_axil_bvalid <= 1'b1;
      else if (s_axil_bready) s_axil_bvalid <= 1'b0;
      if (command) interrupt_q <= s_axil_wdata[2];
      if (write && target == AddressLow) address_q[31:0] <= (address_q[31:0] & ~mask) | (s_axil_wdata & mask);
      if (write && target == AddressHigh && s_axil_wstrb[0]) address_q[39:32] <= s_axil_wdata[7:0];
      if (write && target == Count) count_q <= (count_q & ~mask[15:0]) | (s_axil_wdata[15:0] & mask[15:0]);
      if (write && target == Watchdog) watchdog_q <= (watchdog_q & ~mask) | (s_axil_wdata & mask);
      if (write && target == CycleLimit) limit_q <= (limit_q & ~mask) | (s_axil_wdata & mask);
    end
  end

  // --- the program -------------------------------------------------------------------------------------------------
  logic start_q, end_of_program;

  assign start_valid_o = start_q && engine_rst_no;
  assign finished_ready_o = 1'b1;
  assign end_of_program = finished_valid_i && busy_q && engine_rst_no;
  assign interrupt_o = interrupt_q && (done_q || failed);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_q <= 1'b0;
      start_q <= 1'b0;
      cycles_q <= '0;
    end else begin
      start_q <= start || (start_q && !(start_ready_i && engine_rst_no) && !abort);
      busy_q <= start || (busy_q && !end_of_program && !abort);
      done_q <= (done_q || end_of_program) && !start && !clear;
      if (start) cycles_q <= '0;
      else if (busy_q) cycles_q <= cycles_q + 1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (start) start_data_o <= {count_q, address_q};
  end

  // --- reset of the engine: at least two cycles, and until nothing is outstanding ----------------------------------
  logic stopping_q, settled_q, forgetting_q, unplanned_q, stopped;

  assign engine_rst_no = !stopping_q;
  assign forget_o = forgetting_q;
  assign stopped = settled_q && silent_i;
  assign idle_o = !busy_q && !stopping_q && silent_i;

  // Not reset: `rst_ni` is one of the causes of a stop. Initially as after a reset.
  initial begin
    stopping_q = 1'b1;
    settled_q = 1'b0;
    forgetting_q = 1'b0;
    unplanned_q = 1'b0;
  end
  always @(posedge clk_i) begin
    stopping_q <= !rst_ni || abort || end_of_program || (stopping_q && !stopped);
    settled_q <= rst_ni && !abort && !impatient && stopping_q;
    forgetting_q <= forget || impatient || (forgetting_q && !stopped);
    unplanned_q <= !rst_ni || (unplanned_q && stopping_q);
  end

  // --- errors ------------------------------------------------------------------------------------------------------
  logic [31:0] quiet_q;  // cycles without progress
  logic        quiet_too_long, told_q;

  assign quiet_too_long = busy_q && watchdog_q != '0 && quiet_q >= watchdog_q;
  assign impatient = unplanned_q && stopping_q && !forgetting_q && !silent_i && quiet_q[PatienceBits];
  assign failed = |{events_q.no_descriptors, events_q.over_limit, events_q.no_progress, events_q.decerr, events_q.slverr};

  always_comb begin
    found = '0;
    found.forgot = (forget || impatient) && !silent_i;
    found.busy_start = command && s_axil_wdata[0] && busy_q && !abort;
    found.no_descriptors = command && s_axil_wdata[0] && count_q == '0 && (!busy_q || abort);
    if (busy_q) begin
      found.over_limit = limit_q != '0 && cycles_q == 64'(limit_q);
      found.no_progress = quiet_too_long && !told_q;
      if (!stopping_q) begin
        found.decerr = 8'(decerr_i);
        found.slverr = 8'(slverr_i);
      end
    end
  end

  always_comb begin
    cleared = '0;
    if (write && target == Errors) cleared = 21'(s_axil_wdata & mask);
    if (clear) cleared = '1;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      events_q <= '0;
      quiet_q <= '0;
      told_q <= 1'b0;
    end else begin
      events_q <= (events_q & ~cleared) | found;
      if (progress_i || start || !(busy_q || stopping_q)) quiet_q <= '0;
      else if (quiet_q != '1) quiet_q <= quiet_q + 1;
      told_q <= quiet_too_long && !progress_i && !start;
    end
  end

  // --- reads -------------------------------------------------------------------------------------------------------
  logic        read;
  logic [31:0] value;

  assign read = s_axil_arvalid && (!s_axil_rvalid || s_axil_rready);
  assign s_axil_arready = read;
  assign s_axil_rresp = 2'b00;

  always_comb begin
    unique case (s_axil_araddr[5:2])
      Control:     value = {29'd0, interrupt_q, 2'd0};
      Status:      value = {28'd0, !busy_q && !silent_i, failed, done_q, busy_q};
      AddressLow:  value = address_q[31:0];
      AddressHigh: value = {24'd0, address_q[39:32]};
      Count:       value = {16'd0, count_q};
      CyclesLow:   value = cycles_q[31:0];
      CyclesHigh:  value = cycles_q[63:32];
      Id:          value = IdValue;
      Version:     value = VersionValue;
      Errors:      value = 32'(events_q);
      Watchdog:    value = watchdog_q;
      CycleLimit:  value = limit_q;
      default:     value = '0;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) s_axil_rvalid <= 1'b0;
    else if (read) s_axil_rvalid <= 1'b1;
    else if (s_axil_rready) s_axil_rvalid <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (read) s_axil_rdata <= value;
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni && engine_rst_no && finished_valid_i) begin
      assert (busy_q) else $error("axil_control: a program finished that was not started");
    end
    if (rst_ni && start) begin
      assert (address_q[3:0] == '0) else $error("axil_control: program address %h is not a multiple of 16", address_q);
    end
  end
`endif

  logic unused;
  assign unused = ^{s_axil_awprot, s_axil_arprot, s_axil_awaddr[1:0], s_axil_araddr[1:0], finished_data_i};

endmodule
