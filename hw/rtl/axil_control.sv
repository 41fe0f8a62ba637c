/// AXI4-Lite registers of the engine: a program goes in as a `start` token, its end comes back as a `finished` token.
///   0x00 control   write bit 0: start, unless busy; bit 1: clear done; bit 2: interrupt when done (kept, readable)
///   0x04 status    bit 0: busy; bit 1: done since the last start; bit 2: a memory answered with an error
///   0x08, 0x0c     address of the program: bits 31..0, bits 39..32; a multiple of 16
///   0x10 count     number of descriptors, 16 bits
///   0x14, 0x18     cycles of the last program, or of the running one so far: bits 31..0, bits 63..32
///   0x1c id        0x45574754 ("EWGT")
///   0x20 version
/// Writes to read-only registers are ignored.
module axil_control #(
  parameter logic [31:0] Version = 32'h0001_0000
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  output logic        interrupt_o,
  input  logic        error_i,
  input  logic [5:0]  s_axil_awaddr,
  input  logic [2:0]  s_axil_awprot,
  input  logic        s_axil_awvalid,
  output logic        s_axil_awready,
  input  logic [31:0] s_axil_wdata,
  input  logic [3:0]  s_axil_wstrb,
  input  logic        s_axil_wvalid,
  output logic        s_axil_wready,
  output logic [1:0]  s_axil_bresp,
  output logic        s_axil_bvalid,
  input  logic        s_axil_bready,
  input  logic [5:0]  s_axil_araddr,
  input  logic [2:0]  s_axil_arprot,
  input  logic        s_axil_arvalid,
  output logic        s_axil_arready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0]  s_axil_rresp,
  output logic        s_axil_rvalid,
  input  logic        s_axil_rready,
  output logic        start_valid_o,
  input  logic        start_ready_i,
  output logic [55:0] start_data_o,  // addr[39:0], count[55:40]
  input  logic        finished_valid_i,
  output logic        finished_ready_o,
  input  logic [0:0]  finished_data_i
);

  localparam logic [31:0] Id = 32'h4557_4754;
  localparam logic [3:0] Control = 0, Status = 1, AddressLow = 2, AddressHigh = 3, Count = 4, CyclesLow = 5, CyclesHigh = 6,
                         IdWord = 7, VersionWord = 8;

  logic        busy_q, done_q, interrupt_q;
  logic [39:0] address_q;
  logic [15:0] count_q;
  logic [63:0] cycles_q;

  // --- writes: address and data are taken together -----------------------------------------------------------------
  logic        write, start, clear;
  logic [3:0]  target;
  logic [31:0] mask;

  assign write = s_axil_awvalid && s_axil_wvalid && (!s_axil_bvalid || s_axil_bready);
  assign s_axil_awready = write;
  assign s_axil_wready = write;
  assign s_axil_bresp = 2'b00;
  assign target = s_axil_awaddr[5:2];
  assign mask = {{8{s_axil_wstrb[3]}}, {8{s_axil_wstrb[2]}}, {8{s_axil_wstrb[1]}}, {8{s_axil_wstrb[0]}}};
  assign start = write && target == Control && s_axil_wdata[0] && s_axil_wstrb[0] && !busy_q;
  assign clear = write && target == Control && s_axil_wdata[1] && s_axil_wstrb[0];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      s_axil_bvalid <= 1'b0;
      interrupt_q <= 1'b0;
      address_q <= '0;
      count_q <= '0;
    end else begin
      if (write) s_axil_bvalid <= 1'b1;
      else if (s_axil_bready) s_axil_bvalid <= 1'b0;
      if (write && target == Control && s_axil_wstrb[0]) interrupt_q <= s_axil_wdata[2];
      if (write && target == AddressLow) address_q[31:0] <= (address_q[31:0] & ~mask) | (s_axil_wdata & mask);
      if (write && target == AddressHigh && s_axil_wstrb[0]) address_q[39:32] <= s_axil_wdata[7:0];
      if (write && target == Count) count_q <= (count_q & ~mask[15:0]) | (s_axil_wdata[15:0] & mask[15:0]);
    end
  end

  // --- the program -------------------------------------------------------------------------------------------------
  logic end_of_program;

  assign finished_ready_o = 1'b1;
  assign end_of_program = finished_valid_i && busy_q;
  assign interrupt_o = interrupt_q && done_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_q <= 1'b0;
      start_valid_o <= 1'b0;
      cycles_q <= '0;
    end else begin
      if (start) start_valid_o <= 1'b1;
      else if (start_ready_i) start_valid_o <= 1'b0;
      busy_q <= (busy_q || start) && !end_of_program;
      done_q <= (done_q || end_of_program) && !start && !clear;
      if (start) cycles_q <= '0;
      else if (busy_q) cycles_q <= cycles_q + 1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (start) start_data_o <= {count_q, address_q};
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
      Status:      value = {29'd0, error_i, done_q, busy_q};
      AddressLow:  value = address_q[31:0];
      AddressHigh: value = {24'd0, address_q[39:32]};
      Count:       value = {16'd0, count_q};
      CyclesLow:   value = cycles_q[31:0];
      CyclesHigh:  value = cycles_q[63:32];
      IdWord:      value = Id;
      VersionWord: value = Version;
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
    if (rst_ni && finished_valid_i) begin
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
