/// Converts requests (address, beats, mark) and a stream of data to AXI4 write bursts.
/// A request with `mark` gives one token on `done` when every beat up to and including its own has been acknowledged; a
/// marked request of no beats does so when all beats before it have been. Bursts end at multiples of `MaxBurst` beats,
/// hence at 4 KiB boundaries too. One single-beat request is accepted per cycle as long as `Outstanding` bursts cover the
/// memory's latency.
/// `rst_ni` empties the streams at any time, also in the middle of bursts. Obligations on AXI survive it: AWVALID and WVALID
/// stay until they are accepted, issued bursts are completed with beats that write nothing (WSTRB 0), and their responses
/// are awaited before a new burst is issued. The memory must not lose bursts on its own; logic that resets it too must
/// respond in its place (engine_top does).
module axi_write_mover #(
  parameter int unsigned AddrWidth = 40,
  parameter int unsigned DataWidth = 128,
  parameter int unsigned IdWidth = 1,
  parameter int unsigned Outstanding = 64,  // bursts, a power of two
  parameter int unsigned MaxBurst = 16      // beats, a power of two, at most 256 and 4 KiB
) (
  input  logic                   clk_i,          // the only clock
  input  logic                   rst_ni,         // reset, synchronous, active low
  // requests: addr[AddrWidth-1:0], beats, mark
  input  logic                   req_valid_i,    // a request is there
  output logic                   req_ready_o,    // it is taken, if it is there
  input  logic [AddrWidth+16:0]  req_data_i,     // the request
  input  logic                   data_valid_i,   // there is a word
  output logic                   data_ready_o,   // it is taken, if it is there
  input  logic [DataWidth-1:0]   data_data_i,    // the word
  output logic                   done_valid_o,   // all beats up to a mark are acknowledged
  input  logic                   done_ready_i,   // the token is taken, if it is there
  output logic                   done_data_o,    // always 1
  output logic                   error_o,        // a response was not OKAY; stays set until reset
  output logic [IdWidth-1:0]     m_axi_awid,     // always 0: bursts are answered in order
  output logic [AddrWidth-1:0]   m_axi_awaddr,   // in bytes; a burst stays within 4 KiB
  output logic [7:0]             m_axi_awlen,    // beats of the burst, less one
  output logic [2:0]             m_axi_awsize,   // bytes of a beat, as a power of two
  output logic [1:0]             m_axi_awburst,  // always 1: addresses go up
  output logic                   m_axi_awvalid,  // a burst is asked for
  input  logic                   m_axi_awready,  // and accepted
  output logic [DataWidth-1:0]   m_axi_wdata,    // the word
  output logic [DataWidth/8-1:0] m_axi_wstrb,    // all bytes, or none after a reset
  output logic                   m_axi_wlast,    // the last beat of its burst
  output logic                   m_axi_wvalid,   // there is a word
  input  logic                   m_axi_wready,   // and it is accepted
  input  logic [IdWidth-1:0]     m_axi_bid,      // not read
  input  logic [1:0]             m_axi_bresp,    // bit 1: an error
  input  logic                   m_axi_bvalid,   // a burst has been written
  output logic                   m_axi_bready    // always 1
);

  localparam int unsigned Shift = $clog2(DataWidth / 8);
  localparam int unsigned WordWidth = AddrWidth - Shift;
  localparam int unsigned BurstBits = $clog2(MaxBurst);
  localparam int unsigned QueueBits = $clog2(Outstanding);

  // --- the current request -----------------------------------------------------------------------------------------
  logic                 busy_q, mark_q;
  logic [WordWidth-1:0] word_q;
  logic [15:0]          left_q;
  logic [BurstBits:0]   to_boundary, burst;
  logic                 empty, ends, issue;

  assign empty = left_q == '0;
  assign to_boundary = (BurstBits + 1)'(MaxBurst) - (BurstBits + 1)'(word_q[BurstBits-1:0]);
  assign ends = left_q <= 16'(to_boundary);
  assign burst = ends ? left_q[BurstBits:0] : to_boundary;
  assign req_ready_o = !busy_q || (issue && ends);

  always @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
    end else if (req_ready_o) begin
      busy_q <= req_valid_i && (req_data_i[AddrWidth+16] || req_data_i[AddrWidth+:16] != '0);
    end
  end

  always_ff @(posedge clk_i) begin
    if (req_ready_o) begin
      word_q <= req_data_i[AddrWidth-1:Shift];
      left_q <= req_data_i[AddrWidth+:16];
      mark_q <= req_data_i[AddrWidth+16];
    end else if (issue) begin
      word_q <= word_q + WordWidth'(burst);
      left_q <= left_q - 16'(burst);
    end
  end

  // --- one queue of bursts with three ends: issued, data sent, acknowledged ----------------------------------------
  typedef struct packed {
    logic                 empty;  // no burst, only a mark
    logic                 mark;
    logic [BurstBits-1:0] len;    // beats - 1
  } burst_t;

  burst_t               queue [Outstanding];
  burst_t               sending, acknowledging;
  // Not reset: the queue holds obligations on AXI. `stale_q` while it holds bursts from before the last reset.
  logic [QueueBits:0]   issued_q, sent_q, acknowledged_q;
  logic [BurstBits-1:0] beat_q;
  logic                 stale_q, full, send_next, acknowledge, done_room;

  assign full = issued_q == {~acknowledged_q[QueueBits], acknowledged_q[QueueBits-1:0]};
  assign sending = queue[sent_q[QueueBits-1:0]];
  assign acknowledging = queue[acknowledged_q[QueueBits-1:0]];
  assign issue = busy_q && !stale_q && !full && (empty || !m_axi_awvalid || m_axi_awready);

  always_ff @(posedge clk_i) begin
    if (issue) queue[issued_q[QueueBits-1:0]] <= '{empty: empty, mark: mark_q && ends, len: BurstBits'(burst - 1'b1)};
  end

  initial begin
    busy_q = 1'b0;
    m_axi_awvalid = 1'b0;
    m_axi_wvalid = 1'b0;
    stale_q = 1'b0;
    issued_q = '0;
    sent_q = '0;
    acknowledged_q = '0;
    beat_q = '0;
  end

  // `always`, not `always_ff`, for registers with an initial value.
  always @(posedge clk_i) begin
    issued_q <= issued_q + (QueueBits + 1)'(issue);
    sent_q <= sent_q + (QueueBits + 1)'(send_next);
    acknowledged_q <= acknowledged_q + (QueueBits + 1)'(acknowledge);
    stale_q <= !rst_ni || (stale_q && acknowledged_q != issued_q);
  end

  // --- AW ----------------------------------------------------------------------------------------------------------
  logic [WordWidth-1:0] awaddr_q;

  assign m_axi_awid = '0;
  assign m_axi_awaddr = {awaddr_q, Shift'(0)};
  assign m_axi_awsize = 3'(Shift);
  assign m_axi_awburst = 2'b01;

  always @(posedge clk_i) begin
    if (issue && !empty) m_axi_awvalid <= 1'b1;
    else if (m_axi_awready) m_axi_awvalid <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (issue && !empty) begin
      awaddr_q <= word_q;
      m_axi_awlen <= 8'(burst - 1'b1);
    end
  end

  // --- W -----------------------------------------------------------------------------------------------------------
  logic                 has_burst, has_room, take, last, write_q;

  assign has_burst = sent_q != issued_q;
  assign has_room = has_burst && !sending.empty && (!m_axi_wvalid || m_axi_wready);
  assign data_ready_o = has_room && !stale_q;
  assign take = has_room && (data_valid_i || stale_q);
  assign last = beat_q == sending.len;
  assign send_next = has_burst && (sending.empty || (take && last));
  assign m_axi_wstrb = {DataWidth / 8{write_q}};

  always @(posedge clk_i) begin
    if (take) begin
      m_axi_wvalid <= 1'b1;
      beat_q <= last ? '0 : beat_q + 1'b1;
    end else if (m_axi_wready) begin
      m_axi_wvalid <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (take) begin
      m_axi_wdata <= data_data_i;
      m_axi_wlast <= last;
      write_q <= !stale_q;
    end
  end

  // --- B and done --------------------------------------------------------------------------------------------------
  logic [7:0] done_q;
  logic       expecting;

  assign done_room = done_q != '1;
  assign expecting = acknowledged_q != sent_q && done_room;
  assign m_axi_bready = expecting && !acknowledging.empty;
  assign acknowledge = expecting && (acknowledging.empty || m_axi_bvalid);
  assign done_valid_o = done_q != '0;
  assign done_data_o = 1'b1;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      done_q <= '0;
      error_o <= 1'b0;
    end else begin
      done_q <= done_q + 8'(acknowledge && acknowledging.mark && !stale_q) - 8'(done_valid_o && done_ready_i);
      error_o <= error_o || (m_axi_bvalid && m_axi_bready && m_axi_bresp[1] && !stale_q);
    end
  end

`ifndef SYNTHESIS
  initial begin
    assert (MaxBurst <= 256 && MaxBurst * DataWidth / 8 <= 4096 && (1 << BurstBits) == MaxBurst
            && (1 << QueueBits) == Outstanding) else $fatal(1, "axi_write_mover: MaxBurst and Outstanding do not fit");
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && req_valid_i && req_ready_o) begin
      assert (req_data_i[Shift-1:0] == '0) else $error("axi_write_mover: address %h is not aligned", req_data_i[AddrWidth-1:0]);
    end
    if (rst_ni && m_axi_bvalid && done_room) begin
      assert (acknowledged_q != sent_q) else $error("axi_write_mover: a response came for no burst");
    end
  end
`endif

  logic unused;
  assign unused = ^{req_data_i[Shift-1:0], m_axi_bid, m_axi_bresp[0], sending.mark, acknowledging.len};

endmodule
