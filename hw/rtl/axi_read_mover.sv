/// Converts requests (address, beats) to AXI4 read bursts and returns their data, in order, as a stream.
/// A burst is issued only when the data FIFO has space for all of it, so RREADY is constant and R never stalls. Bursts
/// end at multiples of `MaxBurst` beats, hence at 4 KiB boundaries too. One single-beat request is accepted per cycle as
/// long as `Depth` beats cover the memory's latency. Requests of no beats are dropped.
/// `rst_ni` empties the streams at any time, also in the middle of bursts. Obligations on AXI survive it: ARVALID stays
/// until it is accepted, and the data of outstanding bursts is received and dropped before a new burst is issued.
/// The memory must not lose bursts on its own; logic that resets it too must respond in its place (engine_top does).
module axi_read_mover #(
  parameter int unsigned AddrWidth = 40,
  parameter int unsigned DataWidth = 128,
  parameter int unsigned IdWidth = 1,
  parameter int unsigned Depth = 64,    // beats, a power of two
  parameter int unsigned MaxBurst = 16  // beats, a power of two, at most Depth, 256 and 4 KiB
) (
  input  logic                   clk_i,          // the only clock
  input  logic                   rst_ni,         // reset, synchronous, active low
  // requests: addr[AddrWidth-1:0], beats, mark (ignored)
  input  logic                   req_valid_i,    // a request is there
  output logic                   req_ready_o,    // it is taken, if it is there
  input  logic [AddrWidth+16:0]  req_data_i,     // the request
  output logic                   data_valid_o,   // there is a word
  input  logic                   data_ready_i,   // it is taken, if it is there
  output logic [DataWidth-1:0]   data_data_o,    // the word
  output logic                   error_o,        // a response was not OKAY; stays set until reset
  output logic [IdWidth-1:0]     m_axi_arid,     // always 0: bursts are answered in order
  output logic [AddrWidth-1:0]   m_axi_araddr,   // in bytes; a burst stays within 4 KiB
  output logic [7:0]             m_axi_arlen,    // beats of the burst, less one
  output logic [2:0]             m_axi_arsize,   // bytes of a beat, as a power of two
  output logic [1:0]             m_axi_arburst,  // always 1: addresses go up
  output logic                   m_axi_arvalid,  // a burst is asked for
  input  logic                   m_axi_arready,  // and accepted
  input  logic [IdWidth-1:0]     m_axi_rid,      // not read
  input  logic [DataWidth-1:0]   m_axi_rdata,    // the word
  input  logic [1:0]             m_axi_rresp,    // bit 1: an error
  input  logic                   m_axi_rlast,    // the last beat of its burst
  input  logic                   m_axi_rvalid,   // there is a word
  output logic                   m_axi_rready    // always 1: there is room for what was asked for
);

  localparam int unsigned Shift = $clog2(DataWidth / 8);
  localparam int unsigned WordWidth = AddrWidth - Shift;
  localparam int unsigned BurstBits = $clog2(MaxBurst);
  localparam int unsigned DepthBits = $clog2(Depth);

  // --- the current request -----------------------------------------------------------------------------------------
  logic                 busy_q;
  logic [WordWidth-1:0] word_q;
  logic [15:0]          left_q;
  logic [BurstBits:0]   to_boundary, burst;
  logic                 ends, issue;

  assign to_boundary = (BurstBits + 1)'(MaxBurst) - (BurstBits + 1)'(word_q[BurstBits-1:0]);
  assign ends = left_q <= 16'(to_boundary);
  assign burst = ends ? left_q[BurstBits:0] : to_boundary;
  assign req_ready_o = !busy_q || (issue && ends);

  always @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
    end else if (req_ready_o) begin
      busy_q <= req_valid_i && req_data_i[AddrWidth+:16] != '0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (req_ready_o) begin
      word_q <= req_data_i[AddrWidth-1:Shift];
      left_q <= req_data_i[AddrWidth+:16];
    end else if (issue) begin
      word_q <= word_q + WordWidth'(burst);
      left_q <= left_q - 16'(burst);
    end
  end

  // --- outstanding bursts, and whether they were issued before the last reset; neither is reset ---------------------
  logic [DepthBits:0] bursts_q;
  logic               stale_q, end_of_burst;

  assign end_of_burst = m_axi_rvalid && m_axi_rlast && bursts_q != '0;

  initial begin
    busy_q = 1'b0;
    m_axi_arvalid = 1'b0;
    bursts_q = '0;
    stale_q = 1'b0;
  end

  // `always`, not `always_ff`, for registers with an initial value.
  always @(posedge clk_i) begin
    bursts_q <= bursts_q + (DepthBits + 1)'(issue) - (DepthBits + 1)'(end_of_burst);
    stale_q <= !rst_ni || (stale_q && bursts_q != '0);
  end

  // --- AR, and the space left in the FIFO --------------------------------------------------------------------------
  logic [DepthBits:0]   room_q;
  logic [WordWidth-1:0] araddr_q;
  logic                 pop;

  assign issue = busy_q && !stale_q && room_q >= (DepthBits + 1)'(burst) && (!m_axi_arvalid || m_axi_arready);

  assign m_axi_arid = '0;
  assign m_axi_araddr = {araddr_q, Shift'(0)};
  assign m_axi_arsize = 3'(Shift);
  assign m_axi_arburst = 2'b01;

  always @(posedge clk_i) begin
    if (issue) m_axi_arvalid <= 1'b1;
    else if (m_axi_arready) m_axi_arvalid <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      room_q <= (DepthBits + 1)'(Depth);
    end else begin
      room_q <= room_q - (issue ? (DepthBits + 1)'(burst) : '0) + (DepthBits + 1)'(pop);
    end
  end

  always_ff @(posedge clk_i) begin
    if (issue) begin
      araddr_q <= word_q;
      m_axi_arlen <= 8'(burst - 1'b1);
    end
  end

  // --- R into the FIFO, the FIFO into a register -------------------------------------------------------------------
  (* ram_style = "block" *) logic [DataWidth-1:0] fifo [Depth];
  logic [DepthBits:0]   write_q, read_q;
  logic                 take;

  assign m_axi_rready = 1'b1;
  assign take = m_axi_rvalid && !stale_q && bursts_q != '0;
  assign pop = write_q != read_q && (!data_valid_o || data_ready_i);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q <= '0;
      read_q <= '0;
      data_valid_o <= 1'b0;
      error_o <= 1'b0;
    end else begin
      write_q <= write_q + (DepthBits + 1)'(take);
      read_q <= read_q + (DepthBits + 1)'(pop);
      if (pop) data_valid_o <= 1'b1;
      else if (data_ready_i) data_valid_o <= 1'b0;
      error_o <= error_o || (take && m_axi_rresp[1]);
    end
  end

  always_ff @(posedge clk_i) begin
    if (take) fifo[write_q[DepthBits-1:0]] <= m_axi_rdata;
    if (pop) data_data_o <= fifo[read_q[DepthBits-1:0]];
  end

`ifndef SYNTHESIS
  initial begin
    assert (MaxBurst <= Depth && MaxBurst <= 256 && MaxBurst * DataWidth / 8 <= 4096 && (1 << BurstBits) == MaxBurst
            && (1 << DepthBits) == Depth) else $fatal(1, "axi_read_mover: MaxBurst and Depth do not fit");
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      if (m_axi_rvalid) assert (bursts_q != '0) else $error("axi_read_mover: a beat came that was not asked for");
      if (req_valid_i && req_ready_o) begin
        assert (req_data_i[Shift-1:0] == '0) else $error("axi_read_mover: address %h is not aligned", req_data_i[AddrWidth-1:0]);
      end
    end
  end
`endif

  logic unused;
  assign unused = ^{req_data_i[AddrWidth+16], req_data_i[Shift-1:0], m_axi_rid, m_axi_rresp[0]};

endmodule
