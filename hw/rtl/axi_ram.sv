/// Behavioural AXI4 memory for simulation: `NumRead` read ports and `NumWrite` write ports on one array of words.
/// Each port moves a beat per cycle. A read responds at least `axi_latency` cycles after its address, a write
/// `axi_write_latency` cycles after its last beat. A write is visible to reads only from the cycle of its response on, so
/// that a master that does not wait for responses reads stale data. A port accepts at most `axi_outstanding` transactions
/// at a time in each direction.
///
/// With dram_line_cost=N one DRAM serves the transactions of all ports in the order in which their addresses (reads) and
/// last beats (writes) arrive; of those in one cycle, reads first, by port. A transaction occupies the DRAM for N/256
/// cycles per line of dram_line_bytes that it touches, and for dram_page_cost/256 cycles more if it opens another row of
/// dram_page_bytes in its bank (banks are interleaved by row). At the start of every dram_refresh_interval the DRAM serves
/// nothing for dram_refresh cycles.
///
/// Further plusargs: memory=FILE ($readmemh image), axi_stall=N (a channel pauses with probability N/256), axi_seed=N,
/// dump=FILE with dump_first=N and dump_last=N (words, $writememh at the end), write_log=FILE (each beat written by
/// port 0, in order, as 32-bit words in native byte order: cycle, word address, data from its low end up).
module axi_ram #(
  parameter int unsigned NumRead = 1,
  parameter int unsigned NumWrite = 1,
  parameter int unsigned AddrWidth = 40,
  parameter int unsigned DataWidth = 128,
  parameter int unsigned IdWidth = 1,
  parameter int unsigned Words = 65536,
  parameter int unsigned Latency = 24,
  parameter int unsigned Outstanding = 64,
  localparam int unsigned Bytes = DataWidth / 8
) (
  input  logic clk_i,                                    // the only clock
  input  logic rst_ni,                                   // reset, synchronous, active low
  // read ports
  input  logic [NumRead-1:0][IdWidth-1:0]    arid_i,     // returned as rid
  input  logic [NumRead-1:0][AddrWidth-1:0]  araddr_i,   // in bytes, of the first beat
  input  logic [NumRead-1:0][7:0]            arlen_i,    // beats of the burst, less one
  input  logic [NumRead-1:0][2:0]            arsize_i,   // log2 of the bytes of a beat: whole words
  input  logic [NumRead-1:0][1:0]            arburst_i,  // 1: addresses go up
  input  logic [NumRead-1:0]                 arvalid_i,  // a burst is asked for
  output logic [NumRead-1:0]                 arready_o,  // and accepted
  output logic [NumRead-1:0][IdWidth-1:0]    rid_o,      // that of the burst
  output logic [NumRead-1:0][DataWidth-1:0]  rdata_o,    // the word
  output logic [NumRead-1:0][1:0]            rresp_o,    // always 0: OKAY
  output logic [NumRead-1:0]                 rlast_o,    // the last beat of its burst
  output logic [NumRead-1:0]                 rvalid_o,   // there is a word
  input  logic [NumRead-1:0]                 rready_i,   // the word is accepted
  // write ports
  input  logic [NumWrite-1:0][IdWidth-1:0]   awid_i,     // returned as bid
  input  logic [NumWrite-1:0][AddrWidth-1:0] awaddr_i,   // in bytes, of the first beat
  input  logic [NumWrite-1:0][7:0]           awlen_i,    // beats of the burst, less one
  input  logic [NumWrite-1:0][2:0]           awsize_i,   // log2 of the bytes of a beat: whole words
  input  logic [NumWrite-1:0][1:0]           awburst_i,  // 1: addresses go up
  input  logic [NumWrite-1:0]                awvalid_i,  // a burst is announced
  output logic [NumWrite-1:0]                awready_o,  // and accepted
  input  logic [NumWrite-1:0][DataWidth-1:0] wdata_i,    // the word
  input  logic [NumWrite-1:0][Bytes-1:0]     wstrb_i,    // bytes that are written
  input  logic [NumWrite-1:0]                wlast_i,    // the last beat of its burst
  input  logic [NumWrite-1:0]                wvalid_i,   // there is a word
  output logic [NumWrite-1:0]                wready_o,   // and it is accepted
  output logic [NumWrite-1:0][IdWidth-1:0]   bid_o,      // that of the burst
  output logic [NumWrite-1:0][1:0]           bresp_o,    // always 0: OKAY
  output logic [NumWrite-1:0]                bvalid_o,   // a burst has been written
  input  logic [NumWrite-1:0]                bready_i    // the response is accepted
);

  localparam int unsigned Shift = $clog2(Bytes);
  localparam int unsigned WordWidth = AddrWidth - Shift;
  localparam int unsigned IndexWidth = $clog2(Words);
  localparam int unsigned QueueWidth = $clog2(Outstanding);
  localparam int unsigned PendingWidth = 9;  // beats written but not yet visible: 2^PendingWidth
  localparam int unsigned MaxBanks = 64;

  logic [DataWidth-1:0] mem [Words];

  int unsigned latency, write_latency, outstanding, stall, seed;
  int unsigned line_cost, line_bytes, page_cost, page_bytes, banks, refresh, refresh_interval;
  string       image, dump, write_log;
  int unsigned dump_first, dump_last;
  int          log_file;

  initial begin
    if (!$value$plusargs("axi_latency=%d", latency)) latency = Latency;
    if (!$value$plusargs("axi_write_latency=%d", write_latency)) write_latency = latency;
    if (!$value$plusargs("axi_outstanding=%d", outstanding)) outstanding = Outstanding;
    if (!$value$plusargs("dram_line_cost=%d", line_cost)) line_cost = 0;
    if (!$value$plusargs("dram_line_bytes=%d", line_bytes)) line_bytes = 64;
    if (!$value$plusargs("dram_page_cost=%d", page_cost)) page_cost = 0;
    if (!$value$plusargs("dram_page_bytes=%d", page_bytes)) page_bytes = 8192;
    if (!$value$plusargs("dram_banks=%d", banks)) banks = 8;
    if (!$value$plusargs("dram_refresh=%d", refresh)) refresh = 0;
    if (!$value$plusargs("dram_refresh_interval=%d", refresh_interval)) refresh_interval = 1;
    if (banks > MaxBanks || outstanding > Outstanding) $fatal(1, "axi_ram: too many banks or transactions");
    if (!$value$plusargs("axi_stall=%d", stall)) stall = 0;
    if (!$value$plusargs("axi_seed=%d", seed)) seed = 1;
    if ($value$plusargs("memory=%s", image)) $readmemh(image, mem);
    log_file = 0;
    if ($value$plusargs("write_log=%s", write_log)) log_file = $fopen(write_log, "wb");
  end

  final begin
    if (log_file != 0) $fclose(log_file);
    if ($value$plusargs("dump=%s", dump)) begin
      if (!$value$plusargs("dump_first=%d", dump_first)) dump_first = 0;
      if (!$value$plusargs("dump_last=%d", dump_last)) dump_last = Words - 1;
      $writememh(dump, mem, dump_first, dump_last);
    end
  end

  logic [31:0] now_q;
  always_ff @(posedge clk_i) now_q <= rst_ni ? now_q + 1 : '0;

  /// Return the next number of a xorshift generator.
  function automatic logic [31:0] scramble(input logic [31:0] x);
    logic [31:0] y;
    y = x ^ (x << 13);
    y = y ^ (y >> 17);
    return y ^ (y << 5);
  endfunction

  // --- the DRAM behind all ports: for each port of this cycle, how long its transaction waits and is served ----------
  localparam int unsigned NumPorts = NumRead + NumWrite;
  logic [NumPorts-1:0]                arrives;
  logic [NumPorts-1:0][WordWidth-1:0] arrives_word;
  logic [NumPorts-1:0][7:0]           arrives_len;
  logic [NumPorts-1:0][31:0]          served;  // cycles from now until it has been served
  logic [63:0]                        busy_until_q, busy_until;  // 1/256 cycles
  logic [31:0]                        open_page_q [MaxBanks];
  logic [31:0]                        open_page   [MaxBanks];

  function automatic logic [31:0] page_of(input logic [WordWidth-1:0] word);
    return 32'((64'(word) * Bytes) / 64'(page_bytes));
  endfunction

  always_comb begin
    busy_until = busy_until_q;
    open_page = open_page_q;
    served = '0;
    if (line_cost != 0) begin
      for (int unsigned p = 0; p < NumPorts; p++) begin
        if (arrives[p]) begin
          if (busy_until < {24'b0, now_q, 8'b0}) busy_until = {24'b0, now_q, 8'b0};
          if (refresh != 0 && (busy_until >> 8) % 64'(refresh_interval) < 64'(refresh)) begin
            busy_until = ((busy_until >> 8) / 64'(refresh_interval) * 64'(refresh_interval) + 64'(refresh)) << 8;
          end
          busy_until += ((64'(arrives_word[p]) + 64'(arrives_len[p])) * Bytes / 64'(line_bytes)
                         - 64'(arrives_word[p]) * Bytes / 64'(line_bytes) + 1) * 64'(line_cost);
          if (open_page[page_of(arrives_word[p]) % banks] != page_of(arrives_word[p])) begin
            open_page[page_of(arrives_word[p]) % banks] = page_of(arrives_word[p]);
            busy_until += 64'(page_cost);
          end
          served[p] = 32'(busy_until >> 8) - now_q;
        end
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_until_q <= '0;
      for (int unsigned b = 0; b < MaxBanks; b++) open_page_q[b] <= '1;
    end else begin
      busy_until_q <= busy_until;
      open_page_q <= open_page;
    end
  end

  for (genvar p = 0; p < NumRead; p++) begin : gen_read
    typedef struct packed {
      logic [IdWidth-1:0]   id;
      logic [WordWidth-1:0] word;
      logic [7:0]           len;
      logic [31:0]          due;
    } request_t;

    request_t              queue [Outstanding];
    request_t              head;
    logic [QueueWidth-1:0] head_q, tail_q;
    logic [QueueWidth:0]   count_q;
    logic [7:0]            beat_q;
    logic [31:0]           random_q;
    logic                  pause_ar_q, push, pop, move;

    assign head = queue[head_q];
    assign arready_o[p] = rst_ni && 32'(count_q) < outstanding && !pause_ar_q;
    assign push = arvalid_i[p] && arready_o[p];
    assign arrives[p] = push;
    assign arrives_word[p] = araddr_i[p][AddrWidth-1:Shift];
    assign arrives_len[p] = arlen_i[p];
    assign move = (!rvalid_o[p] || rready_i[p]) && count_q != 0 && head.due <= now_q
                  && (stall == 0 || random_q[15:8] >= 8'(stall));
    assign pop = move && beat_q == head.len;
    assign rresp_o[p] = 2'b00;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        head_q <= '0;
        tail_q <= '0;
        count_q <= '0;
        beat_q <= '0;
        random_q <= scramble(32'(seed) * 32'h9e3779b9 + 32'(p) * 2 + 1);
        pause_ar_q <= 1'b0;
        rvalid_o[p] <= 1'b0;
      end else begin
        if (stall != 0) begin
          random_q <= scramble(random_q);
          pause_ar_q <= random_q[7:0] < 8'(stall);
        end
        if (push) begin
          queue[tail_q] <= '{id: arid_i[p], word: araddr_i[p][AddrWidth-1:Shift], len: arlen_i[p],
                             due: now_q + latency - 1 + served[p]};
          tail_q <= tail_q + 1'b1;
        end
        count_q <= count_q + (QueueWidth + 1)'(push) - (QueueWidth + 1)'(pop);
        if (move) begin
          rvalid_o[p] <= 1'b1;
          rid_o[p] <= head.id;
          rdata_o[p] <= mem[IndexWidth'(head.word + WordWidth'(beat_q))];
          rlast_o[p] <= pop;
          beat_q <= pop ? '0 : beat_q + 1'b1;
          head_q <= head_q + QueueWidth'(pop);
        end else if (rready_i[p]) begin
          rvalid_o[p] <= 1'b0;
        end
      end
    end

`ifndef SYNTHESIS
    logic                 waiting_q;
    logic [AddrWidth-1:0] addr_q;
    always_ff @(posedge clk_i) begin
      waiting_q <= rst_ni && arvalid_i[p] && !arready_o[p];
      addr_q <= araddr_i[p];
      if (rst_ni && waiting_q) begin
        assert (arvalid_i[p] && araddr_i[p] == addr_q) else $error("read port %0d: ARVALID or ARADDR moved before ARREADY", p);
      end
      if (rst_ni && push) begin
        assert (arburst_i[p] == 2'b01 && arsize_i[p] == 3'(Shift)) else $error("read port %0d: not a full-width INCR burst", p);
        assert (araddr_i[p][Shift-1:0] == '0) else $error("read port %0d: address %h is not aligned", p, araddr_i[p]);
        assert (32'(araddr_i[p][11:0]) + (32'(arlen_i[p]) + 1) * Bytes <= 4096)
          else $error("read port %0d: burst at %h of %0d beats crosses 4 KiB", p, araddr_i[p], arlen_i[p] + 9'd1);
        assert (64'(araddr_i[p] >> Shift) + 64'(arlen_i[p]) < 64'(Words))
          else $error("read port %0d: address %h is outside the memory", p, araddr_i[p]);
      end
    end
`endif
  end

  for (genvar p = 0; p < NumWrite; p++) begin : gen_write
    typedef struct packed {
      logic [IdWidth-1:0]   id;
      logic [WordWidth-1:0] word;
      logic [7:0]           len;
    } request_t;
    typedef struct packed {
      logic [IdWidth-1:0]   id;
      logic [WordWidth-1:0] word;
      logic [DataWidth-1:0] data;
      logic [Bytes-1:0]     strb;
      logic                 last;
      logic [31:0]          due;
    } beat_t;

    request_t                queue [Outstanding];
    request_t                head;
    beat_t                   pending [2**PendingWidth];
    beat_t                   oldest;
    logic [QueueWidth-1:0]   head_q, tail_q;
    logic [QueueWidth:0]     count_q;  // bursts whose data is not complete
    logic [QueueWidth:0]     open_q;   // bursts whose response was not taken
    logic [PendingWidth-1:0] pending_head_q, pending_tail_q;
    logic [PendingWidth:0]   pending_count_q;
    logic [7:0]              beat_q;
    logic [31:0]             random_q;
    logic                    pause_aw_q, pause_w_q, push, take, commit;

    assign head = queue[head_q];
    assign oldest = pending[pending_head_q];
    assign awready_o[p] = rst_ni && 32'(open_q) < outstanding && !pause_aw_q;
    assign wready_o[p] = count_q != 0 && !pending_count_q[PendingWidth] && !pause_w_q;
    assign push = awvalid_i[p] && awready_o[p];
    assign take = wvalid_i[p] && wready_o[p];
    assign arrives[NumRead+p] = take && wlast_i[p];
    assign arrives_word[NumRead+p] = head.word;
    assign arrives_len[NumRead+p] = head.len;
    assign commit = pending_count_q != 0 && oldest.due <= now_q && (!oldest.last || !bvalid_o[p] || bready_i[p]);
    assign bresp_o[p] = 2'b00;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        head_q <= '0;
        tail_q <= '0;
        count_q <= '0;
        open_q <= '0;
        pending_head_q <= '0;
        pending_tail_q <= '0;
        pending_count_q <= '0;
        beat_q <= '0;
        random_q <= scramble(32'(seed) * 32'h85ebca6b + 32'(p) * 2 + 1);
        pause_aw_q <= 1'b0;
        pause_w_q <= 1'b0;
        bvalid_o[p] <= 1'b0;
      end else begin
        if (stall != 0) begin
          random_q <= scramble(random_q);
          pause_aw_q <= random_q[7:0] < 8'(stall);
          pause_w_q <= random_q[15:8] < 8'(stall);
        end
        if (push) begin
          queue[tail_q] <= '{id: awid_i[p], word: awaddr_i[p][AddrWidth-1:Shift], len: awlen_i[p]};
          tail_q <= tail_q + 1'b1;
        end
        if (take) begin
          pending[pending_tail_q] <= '{id: head.id, word: head.word + WordWidth'(beat_q), data: wdata_i[p],
                                       strb: wstrb_i[p], last: wlast_i[p],
                                       due: now_q + write_latency - 1 + served[NumRead+p]};
          pending_tail_q <= pending_tail_q + 1'b1;
          beat_q <= wlast_i[p] ? '0 : beat_q + 1'b1;
          head_q <= head_q + QueueWidth'(wlast_i[p]);
        end
        count_q <= count_q + (QueueWidth + 1)'(push) - (QueueWidth + 1)'(take && wlast_i[p]);
        open_q <= open_q + (QueueWidth + 1)'(push) - (QueueWidth + 1)'(bvalid_o[p] && bready_i[p]);
        pending_head_q <= pending_head_q + PendingWidth'(commit);
        pending_count_q <= pending_count_q + (PendingWidth + 1)'(take) - (PendingWidth + 1)'(commit);
        if (commit && oldest.last) begin
          bvalid_o[p] <= 1'b1;
          bid_o[p] <= oldest.id;
        end else if (bready_i[p]) begin
          bvalid_o[p] <= 1'b0;
        end
      end
    end

    if (p == 0) begin : gen_log
      always @(posedge clk_i) begin
        if (rst_ni && take && log_file != 0) begin
          $fwrite(log_file, "%u%u%u", now_q, 32'(head.word + WordWidth'(beat_q)), wdata_i[p]);
        end
      end
    end

    // `always`, not `always_ff`: the write ports share the array.
    always @(posedge clk_i) begin
      if (rst_ni && commit) begin
        if (&oldest.strb) begin
          mem[IndexWidth'(oldest.word)] <= oldest.data;
        end else begin
          for (int unsigned b = 0; b < Bytes; b++) begin
            if (oldest.strb[b]) mem[IndexWidth'(oldest.word)][8*b+:8] <= oldest.data[8*b+:8];
          end
        end
      end
    end

`ifndef SYNTHESIS
    logic                 waiting_aw_q, waiting_w_q;
    logic [AddrWidth-1:0] addr_q;
    logic [DataWidth-1:0] data_q;
    always_ff @(posedge clk_i) begin
      waiting_aw_q <= rst_ni && awvalid_i[p] && !awready_o[p];
      waiting_w_q <= rst_ni && wvalid_i[p] && !wready_o[p];
      addr_q <= awaddr_i[p];
      data_q <= wdata_i[p];
      if (rst_ni && waiting_aw_q) begin
        assert (awvalid_i[p] && awaddr_i[p] == addr_q) else $error("write port %0d: AWVALID or AWADDR moved before AWREADY", p);
      end
      if (rst_ni && waiting_w_q) begin
        assert (wvalid_i[p] && wdata_i[p] == data_q) else $error("write port %0d: WVALID or WDATA moved before WREADY", p);
      end
      if (rst_ni && take) begin
        assert (wlast_i[p] == (beat_q == head.len)) else $error("write port %0d: WLAST is not on the last beat", p);
      end
      if (rst_ni && push) begin
        assert (awburst_i[p] == 2'b01 && awsize_i[p] == 3'(Shift)) else $error("write port %0d: not a full-width INCR burst", p);
        assert (awaddr_i[p][Shift-1:0] == '0) else $error("write port %0d: address %h is not aligned", p, awaddr_i[p]);
        assert (32'(awaddr_i[p][11:0]) + (32'(awlen_i[p]) + 1) * Bytes <= 4096)
          else $error("write port %0d: burst at %h of %0d beats crosses 4 KiB", p, awaddr_i[p], awlen_i[p] + 9'd1);
        assert (64'(awaddr_i[p] >> Shift) + 64'(awlen_i[p]) < 64'(Words))
          else $error("write port %0d: address %h is outside the memory", p, awaddr_i[p]);
      end
    end
`endif
  end

endmodule
