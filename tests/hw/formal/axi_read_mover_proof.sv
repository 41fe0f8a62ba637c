/// Properties of axi_read_mover: any requests, any consumer, and any memory that answers bursts in their order, with any
/// pauses, also across a reset at any time. One beat, chosen freely, is followed from its request over AR and R to the
/// consumer.
module axi_read_mover_proof #(
  parameter int unsigned AddrWidth = 14,
  parameter int unsigned DataWidth = 16,
  parameter int unsigned Depth = 4,
  parameter int unsigned MaxBurst = 2,
  localparam int unsigned Bytes = DataWidth / 8,
  localparam int unsigned Shift = $clog2(Bytes)
) (
  input logic                       clk_i,
  input logic                       rst_ni,
  input logic                       choose_i,
  input logic [15:0]                offset_i,
  input logic                       req_valid_i,
  input logic [AddrWidth-Shift-1:0] word_i,
  input logic [15:0]                beats_i,
  input logic                       data_ready_i,
  input logic                       arready_i,
  input logic                       rvalid_i,
  input logic [DataWidth-1:0]       rdata_i,
  input logic [1:0]                 rresp_i
);
  typedef logic [19:0] beats_t;
  logic                 req_ready, data_valid, error, arvalid, rready, rlast, begin_q;
  logic [DataWidth-1:0] data;
  logic [AddrWidth-1:0] araddr;
  logic [7:0]           arlen;
  logic [2:0]           arsize;
  logic [1:0]           arburst;

  axi_read_mover #(.AddrWidth(AddrWidth), .DataWidth(DataWidth), .Depth(Depth), .MaxBurst(MaxBurst)) dut (
    .clk_i, .rst_ni, .req_valid_i, .req_ready_o(req_ready), .req_data_i({1'b0, beats_i, word_i, Shift'(0)}),
    .data_valid_o(data_valid), .data_ready_i, .data_data_o(data), .error_o(error),
    .m_axi_arid(), .m_axi_araddr(araddr), .m_axi_arlen(arlen), .m_axi_arsize(arsize), .m_axi_arburst(arburst),
    .m_axi_arvalid(arvalid), .m_axi_arready(arready_i),
    .m_axi_rid('0), .m_axi_rdata(rdata_i), .m_axi_rresp(rresp_i), .m_axi_rlast(rlast), .m_axi_rvalid(rvalid_i),
    .m_axi_rready(rready)
  );

  logic take, ar, r, pop;
  assign take = req_valid_i && req_ready;
  assign ar = arvalid && arready_i;
  assign r = rvalid_i && rready;
  assign pop = data_valid && data_ready_i;

  // --- the memory: a queue of bursts that it owes, oldest first --------------------------------------------------------
  logic [7:0]             owed_q, beat_q;
  logic [Depth-1:0][7:0]  len_q;

  assign rlast = beat_q == len_q[0];
  initial begin
    begin_q = 1'b1;
    owed_q = '0;
    beat_q = '0;
  end
  always @(posedge clk_i) begin
    begin_q <= 1'b0;
    owed_q <= owed_q + 8'(ar) - 8'(r && rlast);
    if (r) beat_q <= rlast ? '0 : beat_q + 1'b1;
    for (int unsigned i = 0; i < Depth; i++) begin
      if (ar && 8'(i) == owed_q - 8'(r && rlast)) len_q[i] <= arlen;
      else if (r && rlast && i + 1 < Depth) len_q[i] <= len_q[i+1];
    end
  end
  always_comb begin
    if (begin_q) assume (!rst_ni);
    assume (!rvalid_i || owed_q != '0);
  end

  // --- bursts from before the last reset, the one on AR included -------------------------------------------------------
  logic [7:0] stale, stale_q;
  logic       reset_q, held_q, fresh;

  assign stale = reset_q ? owed_q + 8'(arvalid) : stale_q;
  assign fresh = stale == '0;
  initial begin
    reset_q = 1'b1;
    held_q = 1'b0;
  end
  always @(posedge clk_i) begin
    reset_q <= !rst_ni;
    stale_q <= stale - 8'(r && rlast && !fresh);
    held_q <= arvalid && !arready_i;
  end

  // --- beats of requests since the last reset: not yet on AR, on AR but not received, received but not delivered -------
  beats_t requested_q, expected_q, inside_q, on_ar, on_r;

  assign on_ar = ar && fresh ? beats_t'(arlen) + 1'b1 : '0;
  assign on_r = beats_t'(r && fresh);
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      requested_q <= '0;
      expected_q <= '0;
      inside_q <= '0;
    end else begin
      requested_q <= requested_q + (take ? beats_t'(beats_i) : '0) - on_ar;
      expected_q <= expected_q + on_ar - on_r;
      inside_q <= inside_q + on_r - beats_t'(pop);
    end
  end

  // --- the beat that is followed: how many are before it on AR, on R and at the consumer -------------------------------
  logic                       followed_q, addressed_q, received_q, follow;
  logic [AddrWidth-Shift-1:0] word_q;
  logic [DataWidth-1:0]       value_q;
  beats_t                     ar_ahead_q, r_ahead_q, ahead_q;

  assign follow = take && choose_i && !followed_q && offset_i < beats_i;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      followed_q <= 1'b0;
    end else if (follow) begin
      followed_q <= 1'b1;
      addressed_q <= 1'b0;
      received_q <= 1'b0;
      word_q <= word_i + (AddrWidth - Shift)'(offset_i);
      ar_ahead_q <= requested_q - on_ar + beats_t'(offset_i);
      r_ahead_q <= requested_q + expected_q - on_r + beats_t'(offset_i);
      ahead_q <= requested_q + expected_q + inside_q - beats_t'(pop) + beats_t'(offset_i);
    end else if (followed_q) begin
      if (ar_ahead_q < on_ar) addressed_q <= 1'b1;
      if (!addressed_q) ar_ahead_q <= ar_ahead_q - on_ar;
      if (on_r != '0 && !received_q && r_ahead_q == '0) begin
        received_q <= 1'b1;
        value_q <= rdata_i;
      end
      if (!received_q) r_ahead_q <= r_ahead_q - on_r;
      if (pop && ahead_q == '0) followed_q <= 1'b0;
      ahead_q <= ahead_q - beats_t'(pop);
    end
  end

  // --- the payload of the cycle before, and how long nothing has moved while something could ---------------------------
  logic [AddrWidth-1:0] held_addr_q;
  logic [7:0]           held_len_q;
  logic                 held_data_valid_q;
  logic [DataWidth-1:0] held_data_q;
  logic [2:0]           idle_q;
  logic                 waits;  // for somebody else

  assign waits = arvalid || owed_q != '0 || data_valid || requested_q == '0;
  always_ff @(posedge clk_i) begin
    held_addr_q <= araddr;
    held_len_q <= arlen;
    held_data_valid_q <= rst_ni && data_valid && !data_ready_i;
    held_data_q <= data;
    idle_q <= rst_ni && !waits ? idle_q + 1'b1 : '0;
  end

  logic error_q;
  always_ff @(posedge clk_i) error_q <= rst_ni && (error_q || (r && fresh && rresp_i[1]));

  always_comb begin  // AXI: resets do not end what AXI has begun
    p_ar_stable: assert (!held_q || (arvalid && araddr == held_addr_q && arlen == held_len_q));
    p_r_taken:   assert (rready);
    if (arvalid) begin
      p_ar_length: assert (32'(arlen) < MaxBurst);
      p_ar_block:  assert (32'(araddr) % (MaxBurst * Bytes) + (32'(arlen) + 1) * Bytes <= MaxBurst * Bytes);
      p_ar_4kib:   assert (32'(araddr[11:0]) + (32'(arlen) + 1) * Bytes <= 4096);
      p_ar_kind:   assert (arburst == 2'b01 && 32'(arsize) == Shift && 32'(araddr) % Bytes == 0);
    end
    p_drained:   assert (!arvalid || held_q || reset_q || fresh);  // no new burst before the data of old ones has come
    p_bounded:   assert (32'(owed_q) + 32'(arvalid) <= Depth);
  end
  always_comb if (rst_ni) begin
    p_address: assert (!followed_q || addressed_q || !arvalid || !fresh || ar_ahead_q > beats_t'(arlen)
                       || araddr[AddrWidth-1:Shift] + (AddrWidth - Shift)'(ar_ahead_q) == word_q);
    p_order:   assert (!followed_q || !data_valid || ahead_q != '0 || (received_q && data == value_q));
    p_count:   assert (!data_valid || inside_q != '0);
    p_asked:   assert (!arvalid || !fresh || beats_t'(arlen) < requested_q);
    p_room:    assert (expected_q + inside_q <= beats_t'(Depth) + 1);
    p_stable:  assert (!held_data_valid_q || (data_valid && data == held_data_q));
    p_moves:   assert (idle_q < 4);
    p_error:   assert (error == error_q);
  end

  // --- what the registers hold -----------------------------------------------------------------------------------------
  beats_t fill, owed_beats, offered;
  logic   fits;
  assign fill = beats_t'(($clog2(Depth) + 1)'(dut.write_q - dut.read_q));
  assign offered = arvalid && fresh ? beats_t'(arlen) + 1'b1 : '0;
  always_comb begin
    owed_beats = '0;
    fits = 1'b1;
    for (int unsigned i = 0; i < Depth; i++) begin
      if (8'(i) < owed_q) begin
        owed_beats = owed_beats + beats_t'(len_q[i]) + 1'b1;
        fits = fits && 32'(len_q[i]) < MaxBurst;
      end
    end
    h_len:    assert (fits);
    h_bursts: assert (8'(dut.bursts_q) == owed_q + 8'(arvalid));
    h_beat:   assert (owed_q == '0 ? beat_q == '0 : beat_q <= len_q[0]);
    h_stale:  assert (fresh || reset_q || dut.stale_q);
    h_old:    assert (stale <= owed_q + 8'(arvalid) && (fresh || stale == owed_q + 8'(arvalid)));
    h_reset:  assert (begin_q || !reset_q || dut.stale_q);
    h_empty:  assert (!dut.stale_q || !fresh || (owed_q == '0 && !arvalid));
  end
  always_comb if (rst_ni) begin
    h_requested: assert (requested_q == (dut.busy_q ? beats_t'(dut.left_q) : '0) + offered);
    h_busy:      assert (!dut.busy_q || dut.left_q != '0);
    h_expected:  assert (expected_q == (fresh ? owed_beats - beats_t'(beat_q) : '0));
    h_inside:    assert (inside_q == fill + beats_t'(data_valid) && fill <= beats_t'(Depth));
    h_room:      assert (beats_t'(dut.room_q) + fill + expected_q + offered == beats_t'(Depth));
    if (followed_q) begin
      h_flags: assert (addressed_q || !received_q);
      if (received_q) begin
        h_place: assert (ahead_q < inside_q);
        h_value: assert (ahead_q == '0 && data_valid ? data == value_q
                         : dut.fifo[$clog2(Depth)'(dut.read_q + ($clog2(Depth) + 1)'(ahead_q - beats_t'(data_valid)))]
                           == value_q);
      end else begin
        h_r_ahead: assert (r_ahead_q == ahead_q - inside_q && ahead_q >= inside_q);
        h_where:   assert (addressed_q == (r_ahead_q < expected_q));
      end
      if (!addressed_q) begin
        h_ar_ahead: assert (ar_ahead_q == r_ahead_q - expected_q && ar_ahead_q < requested_q);
        h_word: assert (ar_ahead_q < offered || dut.word_q + (AddrWidth - Shift)'(ar_ahead_q - offered) == word_q);
      end
    end
  end
endmodule
