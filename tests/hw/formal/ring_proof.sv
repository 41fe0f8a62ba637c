/// Properties of ring: a writer and a reader within its contract, which acquire as many elements as they like and pass them on
/// when they like, windows that end at any time, a reset at any time. One element, chosen freely, is followed from its
/// acquisition by the writer to its release. A window may end before its elements are released, since releases come late;
/// that all of them come at last is not assumed.
module ring_proof #(
  parameter int unsigned Depth = 5,
  parameter int unsigned Window = 3,
  parameter int unsigned Width = 2,
  localparam int unsigned AddrWidth = Window > 1 ? $clog2(Window) : 1
) (
  input logic                 clk_i,
  input logic                 rst_ni,
  input logic                 choose_i,
  input logic                 wr_acquire_i,
  input logic                 wr_valid_i,
  input logic [Width-1:0]     wr_data_i,
  input logic                 rd_acquire_i,
  input logic [AddrWidth-1:0] rd_addr_i,
  input logic                 rd_load_i,  // the address is that of a load
  input logic                 rd_last_i,
  input logic                 rd_fresh_i,
  input logic                 rd_release_i
);
  typedef logic [7:0] count_t;
  logic             wr_ready, rd_ready, begin_q;
  logic [Width-1:0] rd_data;

  ring #(.Depth(Depth), .Window(Window), .Width(Width)) dut (
    .clk_i, .rst_ni, .wr_ready_o(wr_ready), .wr_acquire_i, .wr_valid_i, .wr_data_i, .rd_ready_o(rd_ready), .rd_acquire_i,
    .rd_addr_i, .rd_last_i, .rd_fresh_i, .rd_data_o(rd_data), .rd_release_i
  );

  // --- where the elements are, in the order in which they pass --------------------------------------------------------
  count_t writing_q;  // acquired by the writer and not stored
  count_t full_q;     // stored and not acquired by the reader
  count_t pending_q;  // acquired by the reader and not taken into a window
  count_t held_q;     // taken and not released
  count_t old_q;      // of these, those of windows that have ended
  count_t taken_q;    // by the window that is open, released ones too
  count_t all, taken, held, freed;

  assign all = writing_q + full_q + pending_q + held_q;
  assign taken = taken_q + count_t'(rd_fresh_i);
  assign held = held_q + count_t'(rd_fresh_i) - count_t'(rd_release_i);
  assign freed = taken_q - (held_q - old_q) + count_t'(rd_release_i && old_q == '0);  // of the window that is open

  initial begin_q = 1'b1;
  always @(posedge clk_i) begin_q <= 1'b0;
  always_comb begin
    if (begin_q) assume (!rst_ni);
    if (rst_ni) begin
      assume (!wr_acquire_i || wr_ready);
      assume (!wr_valid_i || writing_q + count_t'(wr_acquire_i) != '0);
      assume (!rd_acquire_i || rd_ready);
      assume (!rd_fresh_i || (pending_q + count_t'(rd_acquire_i) != '0 && taken_q < Window && count_t'(rd_addr_i) == taken_q));
      assume (!rd_fresh_i || rd_load_i);
      assume (!rd_load_i || (count_t'(rd_addr_i) < taken && count_t'(rd_addr_i) >= freed));
      assume (!rd_release_i || held_q != '0);  // taken in an earlier cycle
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      writing_q <= '0;
      full_q <= '0;
      pending_q <= '0;
      held_q <= '0;
      old_q <= '0;
      taken_q <= '0;
    end else begin
      writing_q <= writing_q + count_t'(wr_acquire_i) - count_t'(wr_valid_i);
      full_q <= full_q + count_t'(wr_valid_i) - count_t'(rd_acquire_i);
      pending_q <= pending_q + count_t'(rd_acquire_i) - count_t'(rd_fresh_i);
      held_q <= held;
      old_q <= rd_last_i ? held : old_q - count_t'(rd_release_i && old_q != '0);
      taken_q <= rd_last_i ? '0 : taken;
    end
  end

  // --- the element that is followed -----------------------------------------------------------------------------------
  logic             followed_q, stored_q, got_q, open_q;  // got: taken; open: by the window that is open
  count_t           stores_ahead_q, takes_ahead_q, releases_ahead_q;  // elements before the followed one
  count_t           place_q;  // its address in its window
  logic             follow, store_here, take_here, load_here, release_here;
  logic             take_q, take_qq, take_qqq, load_q, load_qq, load_qqq;
  logic [Width-1:0] value_q, value_qq, value_qqq;

  assign follow = wr_acquire_i && choose_i && !followed_q;
  assign store_here = wr_valid_i && ((followed_q && !stored_q && stores_ahead_q == '0) || (follow && writing_q == '0));
  assign take_here = followed_q && !got_q && rd_fresh_i && takes_ahead_q == '0;
  assign load_here = take_here || (followed_q && got_q && open_q && rd_load_i && count_t'(rd_addr_i) == place_q);
  assign release_here = followed_q && rd_release_i && releases_ahead_q == '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      followed_q <= 1'b0;
      {take_q, take_qq, take_qqq} <= '0;
      {load_q, load_qq, load_qqq} <= '0;
    end else begin
      followed_q <= (followed_q || follow) && !release_here;
      {take_q, take_qq, take_qqq} <= {take_here, take_q, take_qq};
      {load_q, load_qq, load_qqq} <= {load_here, load_q, load_qq};
    end
    {value_qq, value_qqq} <= {value_q, value_qq};
    if (follow) begin
      stored_q <= store_here;
      got_q <= 1'b0;
      open_q <= 1'b0;
      stores_ahead_q <= writing_q - count_t'(wr_valid_i);
      takes_ahead_q <= writing_q + full_q + pending_q - count_t'(rd_fresh_i);
      releases_ahead_q <= all - count_t'(rd_release_i);
    end else begin
      stored_q <= stored_q || store_here;
      got_q <= got_q || take_here;
      open_q <= (open_q || take_here) && !rd_last_i;
      stores_ahead_q <= stores_ahead_q - count_t'(wr_valid_i);
      takes_ahead_q <= takes_ahead_q - count_t'(rd_fresh_i);
      releases_ahead_q <= releases_ahead_q - count_t'(rd_release_i);
    end
    if (take_here) place_q <= taken_q;
    if (store_here) value_q <= wr_data_i;
  end

  always_comb if (rst_ni) begin
    p_capacity: assert (all <= Depth);
    p_wr_ready: assert (wr_ready == (all < Depth));
    p_rd_ready: assert (rd_ready == (full_q != '0));
    p_stored:   assert (!take_here || stored_q);
    // the n-th that is taken is the n-th that was stored: what its first load gets, three cycles later
    p_order:    assert (!take_qqq || rd_data == value_qqq);
    // every load of an element until it is released
    p_data:     assert (!load_qqq || rd_data == value_qqq);
    h_all:      assert (writing_q <= Depth && full_q <= Depth && pending_q <= Depth && held_q <= Depth);
    h_counts:   assert (8'(dut.full_q) == full_q && 8'(dut.free_q) + all == Depth);
    h_window:   assert (8'(dut.taken_q) == taken_q && taken_q <= Window && old_q <= held_q && held_q - old_q <= taken_q);
  end

  // --- where the elements lie -----------------------------------------------------------------------------------------
  count_t slot_q, write, base;  // of the followed element, of the next store, of the window
  assign write = 8'(dut.write_q);
  assign base = 8'(dut.base_q);

  function automatic count_t ahead_of(input count_t slot, input count_t by);
    count_t sum;
    sum = slot + by;
    return sum % count_t'(Depth);
  endfunction

  always_ff @(posedge clk_i) if (follow) slot_q <= ahead_of(write, writing_q);

  always_comb if (rst_ni) begin
    h_range: assert (write < Depth && base < Depth);
    h_apart: assert (ahead_of(base, taken_q + pending_q + full_q) == write);
    if (followed_q) begin
      h_slot:     assert (slot_q < Depth);
      h_releases: assert (releases_ahead_q < all);
      if (got_q) begin
        h_held:  assert (stored_q && releases_ahead_q < held_q);
        h_below: assert (ahead_of(slot_q, held_q - releases_ahead_q + pending_q + full_q) == write);
        h_open:  assert (open_q == (releases_ahead_q >= old_q));
        h_place: assert (!open_q || (place_q < taken_q && taken_q - place_q == held_q - releases_ahead_q));
        h_reach: assert (!open_q || ahead_of(base, place_q) == slot_q);
      end else begin
        h_takes:  assert (releases_ahead_q == held_q + takes_ahead_q && takes_ahead_q < all - held_q);
        h_stored: assert (stored_q == (takes_ahead_q < pending_q + full_q));
        h_stores: assert (stored_q || takes_ahead_q == pending_q + full_q + stores_ahead_q);
        h_above:  assert (ahead_of(base, taken_q + takes_ahead_q) == slot_q);
      end
      h_word: assert (!stored_q || dut.memory[slot_q] == value_q);
    end
    h_takes_load: assert ((!take_q || load_q) && (!take_qq || load_qq) && (!take_qqq || load_qqq));
    h_address:    assert (!load_q || (followed_q && stored_q && 8'(dut.word_q) == slot_q));
    h_read:       assert (!load_qq || dut.mem_q == value_qq);
  end
endmodule
