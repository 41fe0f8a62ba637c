/// Properties of axi_write_mover: any requests, any producer of data, any consumer of marks, and any memory that answers a
/// burst when it has its address and its last beat, with any pauses, also across a reset at any time. One burst, one beat of
/// a request and one marked request, all chosen freely, are followed.
module axi_write_mover_proof #(
  parameter int unsigned AddrWidth = 14,
  parameter int unsigned DataWidth = 16,
  parameter int unsigned Outstanding = 4,
  parameter int unsigned MaxBurst = 2,
  localparam int unsigned Bytes = DataWidth / 8,
  localparam int unsigned Shift = $clog2(Bytes)
) (
  input logic                       clk_i,
  input logic                       rst_ni,
  input logic                       choose_i,
  input logic                       choose_burst_i,
  input logic                       choose_mark_i,
  input logic [15:0]                offset_i,
  input logic                       req_valid_i,
  input logic [AddrWidth-Shift-1:0] word_i,
  input logic [15:0]                beats_i,
  input logic                       mark_i,
  input logic                       data_valid_i,
  input logic [DataWidth-1:0]       data_i,
  input logic                       done_ready_i,
  input logic                       awready_i,
  input logic                       wready_i,
  input logic                       bvalid_i,
  input logic [1:0]                 bresp_i
);
  typedef logic [19:0] beats_t;
  typedef logic [9:0] count_t;
  logic                 req_ready, data_ready, done_valid, done_data, error, awvalid, wlast, wvalid, bready;
  logic [AddrWidth-1:0] awaddr;
  logic [7:0]           awlen;
  logic [2:0]           awsize;
  logic [1:0]           awburst;
  logic [DataWidth-1:0] wdata;
  logic [Bytes-1:0]     wstrb;

  axi_write_mover #(
    .AddrWidth(AddrWidth), .DataWidth(DataWidth), .Outstanding(Outstanding), .MaxBurst(MaxBurst)
  ) dut (
    .clk_i, .rst_ni, .req_valid_i, .req_ready_o(req_ready), .req_data_i({mark_i, beats_i, word_i, Shift'(0)}),
    .data_valid_i, .data_ready_o(data_ready), .data_data_i(data_i),
    .done_valid_o(done_valid), .done_ready_i, .done_data_o(done_data), .error_o(error),
    .m_axi_awid(), .m_axi_awaddr(awaddr), .m_axi_awlen(awlen), .m_axi_awsize(awsize), .m_axi_awburst(awburst),
    .m_axi_awvalid(awvalid), .m_axi_awready(awready_i),
    .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast), .m_axi_wvalid(wvalid), .m_axi_wready(wready_i),
    .m_axi_bid('0), .m_axi_bresp(bresp_i), .m_axi_bvalid(bvalid_i), .m_axi_bready(bready)
  );

  logic take, aw, w, b, data, done, marked;
  assign take = req_valid_i && req_ready;
  assign marked = take && mark_i;
  assign aw = awvalid && awready_i;
  assign w = wvalid && wready_i;
  assign b = bvalid_i && bready;
  assign data = data_valid_i && data_ready;
  assign done = done_valid && done_ready_i;

  // --- the memory: bursts whose address, whose last beat it has, and has not answered ----------------------------------
  count_t addressed_q, ended_q;
  logic   begin_q, asks_q;  // asks: a response was offered and not taken

  initial begin
    begin_q = 1'b1;
    asks_q = 1'b0;
    addressed_q = '0;
    ended_q = '0;
  end
  always @(posedge clk_i) begin
    begin_q <= 1'b0;
    asks_q <= bvalid_i && !bready;
    addressed_q <= addressed_q + count_t'(aw) - count_t'(b);
    ended_q <= ended_q + count_t'(w && wlast) - count_t'(b);
  end
  always_comb begin
    if (begin_q) assume (!rst_ni);
    assume (!bvalid_i || (addressed_q != '0 && ended_q != '0));
    assume (!asks_q || bvalid_i);
  end

  // --- bursts that were offered on AW and are not answered, and those of them from before the last reset ---------------
  logic   reset_q, held_q, held_w_q, fresh, offer;
  count_t owed, stale, stale_q;

  assign owed = addressed_q + count_t'(awvalid);
  assign stale = reset_q ? owed : stale_q;
  assign fresh = stale == '0;
  assign offer = awvalid && !held_q;  // the first cycle of a burst on AW
  initial begin
    reset_q = 1'b1;
    held_q = 1'b0;
    held_w_q = 1'b0;
  end
  always @(posedge clk_i) begin
    reset_q <= !rst_ni;
    stale_q <= stale - count_t'(b && !fresh);
    held_q <= awvalid && !awready_i;
    held_w_q <= wvalid && !wready_i;
  end

  // --- beats of requests since the last reset: not yet offered on AW, not yet taken from the data stream; marks --------
  beats_t requested, requested_q, wanted_q, offered;  // `requested`: without what AW offers in this cycle
  count_t marks_q;

  assign offered = offer && fresh ? beats_t'(awlen) + 1'b1 : '0;
  assign requested = requested_q - offered;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      requested_q <= '0;
      wanted_q <= '0;
      marks_q <= '0;
    end else begin
      requested_q <= requested + (take ? beats_t'(beats_i) : '0);
      wanted_q <= wanted_q + (take ? beats_t'(beats_i) : '0) - beats_t'(data);
      marks_q <= marks_q + count_t'(marked) - count_t'(done);
    end
  end

  // --- the beat whose address is followed ------------------------------------------------------------------------------
  logic                       followed_q;
  logic [AddrWidth-Shift-1:0] word_q;
  beats_t                     ahead_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      followed_q <= 1'b0;
    end else if (take && choose_i && !followed_q && offset_i < beats_i) begin
      followed_q <= 1'b1;
      word_q <= word_i + (AddrWidth - Shift)'(offset_i);
      ahead_q <= requested + beats_t'(offset_i);
    end else begin
      if (ahead_q < offered) followed_q <= 1'b0;
      ahead_q <= ahead_q - offered;
    end
  end

  // --- the burst whose beats are followed ------------------------------------------------------------------------------
  logic       burst_q;
  logic [7:0] len_q, beat_q;
  count_t     ends_ahead_q, ends_q;  // last beats of bursts before it; of all bursts that were offered
  count_t     ends;

  assign ends = ends_q + count_t'(offer);
  initial begin
    burst_q = 1'b0;
    ends_q = '0;
  end
  always @(posedge clk_i) begin
    ends_q <= ends - count_t'(w && wlast);
    if (offer && choose_burst_i && !burst_q) begin
      burst_q <= 1'b1;
      len_q <= awlen;
      beat_q <= '0;
      ends_ahead_q <= ends_q - count_t'(w && wlast);
    end else if (w) begin
      if (wlast) ends_ahead_q <= ends_ahead_q - 1'b1;
      if (ends_ahead_q == '0) beat_q <= beat_q + 1'b1;
      if (ends_ahead_q == '0 && wlast) burst_q <= 1'b0;
    end
  end

  // --- the mark that is followed: beats before it not yet on AW, then bursts before it not yet answered ----------------
  logic   mark_q;
  beats_t mark_beats, mark_beats_q;
  count_t mark_bursts, mark_bursts_q, marks_ahead_q;
  logic   last_offer;

  assign mark_beats = mark_beats_q - (mark_beats_q == '0 ? '0 : offered);
  assign last_offer = mark_beats_q != '0 && mark_beats == '0;
  assign mark_bursts = last_offer ? owed : mark_bursts_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      mark_q <= 1'b0;
    end else if (marked && choose_mark_i && !mark_q) begin
      mark_q <= 1'b1;
      mark_beats_q <= requested + beats_t'(beats_i);
      mark_bursts_q <= owed - count_t'(b);
      marks_ahead_q <= marks_q - count_t'(done);
    end else begin
      mark_beats_q <= mark_beats;
      mark_bursts_q <= mark_bursts - count_t'(b && mark_bursts != '0);
      marks_ahead_q <= marks_ahead_q - count_t'(done);
      if (done && marks_ahead_q == '0) mark_q <= 1'b0;
    end
  end

  // --- the cycle before ------------------------------------------------------------------------------------------------
  logic [AddrWidth-1:0] held_addr_q;
  logic [7:0]           held_len_q;
  logic [DataWidth-1:0] held_data_q, data_q;
  logic [Bytes-1:0]     held_strb_q;
  logic                 held_last_q, data_taken_q, held_done_q, error_q;
  logic [3:0]           idle_q;
  logic                 waits;  // for somebody else

  assign waits = awvalid || wvalid || (data_ready && !data_valid_i) || (addressed_q != '0 && ended_q != '0 && !bvalid_i)
                 || done_valid || (requested_q == '0 && marks_q == '0 && owed == '0);
  initial data_taken_q = 1'b0;
  always @(posedge clk_i) begin
    held_addr_q <= awaddr;
    held_len_q <= awlen;
    held_data_q <= wdata;
    held_strb_q <= wstrb;
    held_last_q <= wlast;
    data_q <= data_i;
    data_taken_q <= data;
    held_done_q <= rst_ni && done_valid && !done_ready_i;
    error_q <= rst_ni && (error_q || (b && fresh && bresp_i[1]));
    idle_q <= rst_ni && !waits && !b && !data ? idle_q + 1'b1 : '0;
  end

  always_comb begin  // AXI: resets do not end what AXI has begun
    p_aw_stable: assert (!held_q || (awvalid && awaddr == held_addr_q && awlen == held_len_q));
    p_w_stable:  assert (!held_w_q || (wvalid && wdata == held_data_q && wstrb == held_strb_q && wlast == held_last_q));
    if (awvalid) begin
      p_aw_length: assert (32'(awlen) < MaxBurst);
      p_aw_block:  assert (32'(awaddr) % (MaxBurst * Bytes) + (32'(awlen) + 1) * Bytes <= MaxBurst * Bytes);
      p_aw_4kib:   assert (32'(awaddr[11:0]) + (32'(awlen) + 1) * Bytes <= 4096);
      p_aw_kind:   assert (awburst == 2'b01 && 32'(awsize) == Shift && 32'(awaddr) % Bytes == 0);
    end
    p_wlast:     assert (!burst_q || !wvalid || ends_ahead_q != '0 || wlast == (beat_q == len_q));
    p_w_offered: assert (!wvalid || ends_q != '0);  // no beat without a burst
    // a beat carries the word taken in the cycle before, all of it; or, of a burst from before a reset, nothing
    p_w_data:    assert (!wvalid || held_w_q || (data_taken_q ? wdata == data_q && wstrb == '1 : wstrb == '0));
    p_w_taken:   assert (!data_taken_q || (wvalid && !held_w_q));
    p_w_empty:   assert (!wvalid || held_w_q || data_taken_q || !fresh);
    p_drained:   assert (!offer || reset_q || fresh);  // no new burst before all old ones are answered
    p_bounded:   assert (32'(owed) <= Outstanding);
  end
  always_comb if (rst_ni) begin
    p_address: assert (!followed_q || ahead_q >= offered
                       || awaddr[AddrWidth-1:Shift] + (AddrWidth - Shift)'(ahead_q) == word_q);
    p_asked:   assert (offered <= requested_q);
    p_wanted:  assert (!data_ready || wanted_q != '0);
    p_done:    assert (!done_valid || !mark_q || marks_ahead_q != '0 || (mark_beats == '0 && mark_bursts == '0));
    p_marks:   assert (!done_valid || (done_data && marks_q != '0));
    p_stable:  assert (!held_done_q || done_valid);
    p_moves:   assert (32'(idle_q) < Outstanding + 6);
    p_error:   assert (error == error_q);
  end

  // --- what the registers hold -----------------------------------------------------------------------------------------
  localparam int unsigned QueueBits = $clog2(Outstanding);
  typedef logic [QueueBits:0] pointer_t;
  pointer_t issued, sent, answered, used;
  assign issued = dut.issued_q;
  assign sent = dut.sent_q;
  assign answered = dut.acknowledged_q;
  assign used = issued - answered;

  function automatic count_t bursts(input pointer_t from, input pointer_t to);
    count_t n;
    n = '0;
    for (int unsigned i = 0; i < Outstanding; i++) begin
      if (pointer_t'(i) < pointer_t'(to - from) && !dut.queue[QueueBits'(from + pointer_t'(i))].empty) n = n + 1'b1;
    end
    return n;
  endfunction
  function automatic count_t marks(input pointer_t from, input pointer_t to);
    count_t n;
    n = '0;
    for (int unsigned i = 0; i < Outstanding; i++) begin
      if (pointer_t'(i) < pointer_t'(to - from) && dut.queue[QueueBits'(from + pointer_t'(i))].mark) n = n + 1'b1;
    end
    return n;
  endfunction
  function automatic beats_t beats(input pointer_t from, input pointer_t to);
    beats_t n;
    n = '0;
    for (int unsigned i = 0; i < Outstanding; i++) begin
      if (pointer_t'(i) < pointer_t'(to - from) && !dut.queue[QueueBits'(from + pointer_t'(i))].empty) begin
        n = n + beats_t'(dut.queue[QueueBits'(from + pointer_t'(i))].len) + 1'b1;
      end
    end
    return n;
  endfunction

  pointer_t slot_q, mark_slot_q;  // of the followed burst and mark
  logic     mark_busy_q, mark_answered_q;
  logic     last_held, in_queue;
  assign last_held = wvalid && wlast;
  assign in_queue = pointer_t'(slot_q - sent) < pointer_t'(issued - sent);
  always_ff @(posedge clk_i) begin
    if (offer && choose_burst_i && !burst_q) slot_q <= issued - 1'b1;
    if (marked && choose_mark_i && !mark_q) begin
      mark_busy_q <= 1'b1;
      mark_answered_q <= 1'b0;
    end else if (dut.issue && dut.ends && mark_busy_q) begin
      mark_busy_q <= 1'b0;
      mark_slot_q <= issued;
    end else if (dut.acknowledge && !mark_busy_q && answered == mark_slot_q) begin
      mark_answered_q <= 1'b1;
    end
  end

  always_comb begin
    h_pointers: assert (used <= pointer_t'(Outstanding) && pointer_t'(sent - answered) <= used);
    h_owed:     assert (owed == bursts(answered, issued));
    h_ended:    assert (ended_q + count_t'(last_held) == bursts(answered, sent));
    h_ends:     assert (ends == bursts(sent, issued) + count_t'(last_held));
    h_beat:     assert (sent == issued || dut.sending.empty ? dut.beat_q == '0 : dut.beat_q <= dut.sending.len);
    h_w:        assert (!wvalid || (wlast ? dut.beat_q == '0 : dut.beat_q != '0));
    h_offer:    assert (!offer || (used != '0 && !dut.queue[QueueBits'(issued - 1'b1)].empty
                                   && 8'(dut.queue[QueueBits'(issued - 1'b1)].len) == awlen));
    h_reset:    assert (begin_q || !reset_q || dut.stale_q);
    h_stale:    assert (fresh || reset_q || dut.stale_q);
    h_old:      assert (stale <= owed && (fresh || stale == owed));
    h_empty:    assert (!dut.stale_q || !fresh || owed == '0);
    h_strobe:   assert (!wvalid || wstrb == '0 || wstrb == '1);
    if (burst_q) begin
      h_slot: assert (pointer_t'(slot_q - answered) < used && !dut.queue[QueueBits'(slot_q)].empty
                      && 8'(dut.queue[QueueBits'(slot_q)].len) == len_q);
      if (in_queue) begin
        h_ends_ahead: assert (ends_ahead_q == bursts(sent, slot_q) + count_t'(last_held));
        h_at: assert (beat_q + 8'(wvalid && ends_ahead_q == '0) == (ends_ahead_q == '0 ? 8'(dut.beat_q) : 8'd0));
      end else begin
        h_leaving: assert (last_held && ends_ahead_q == '0 && beat_q == len_q && bursts(slot_q + 1'b1, sent) == '0);
      end
    end
  end
  always_comb if (rst_ni) begin
    h_busy:      assert (!dut.busy_q || dut.left_q != '0 || dut.mark_q);
    h_requested: assert (requested == (dut.busy_q ? beats_t'(dut.left_q) : '0) && offered <= requested_q);
    h_wanted:    assert (wanted_q == requested + (dut.stale_q ? '0 : beats(sent, issued) - beats_t'(dut.beat_q)));
    h_marks:     assert (marks_q == count_t'(dut.done_q) + (dut.stale_q ? '0 : marks(answered, issued))
                                    + count_t'(dut.busy_q && dut.mark_q));
    h_ahead: assert (!followed_q || ahead_q < offered
                     || (ahead_q < requested_q && dut.word_q + (AddrWidth - Shift)'(ahead_q - offered) == word_q));
    if (mark_q && mark_busy_q) begin
      h_mark_busy: assert (!mark_answered_q && dut.busy_q && dut.mark_q && mark_beats == beats_t'(dut.left_q)
                           && (mark_beats != '0 || mark_bursts == owed)
                           && marks_ahead_q == count_t'(dut.done_q) + (dut.stale_q ? '0 : marks(answered, issued)));
    end else if (mark_q && !mark_answered_q) begin
      h_mark_slot: assert (!dut.stale_q && pointer_t'(mark_slot_q - answered) < used
                           && dut.queue[QueueBits'(mark_slot_q)].mark && mark_beats == '0
                           && mark_bursts == bursts(answered, mark_slot_q + 1'b1)
                           && marks_ahead_q == count_t'(dut.done_q) + marks(answered, mark_slot_q));
    end else if (mark_q) begin
      h_mark_answered: assert (mark_beats == '0 && mark_bursts == '0 && marks_ahead_q < count_t'(dut.done_q));
    end
  end
endmodule
