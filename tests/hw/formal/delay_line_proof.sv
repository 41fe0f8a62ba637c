/// Properties of delay_line: values shifted in at any time, lines that begin anew at any shift, of any length within the cell's
/// contract. One value, chosen freely, is followed from its shift to the last tap, or to the end of its line.
module delay_line_proof #(
  parameter int unsigned Width = 2,
  parameter int unsigned Taps  = 2,
  parameter int unsigned Most  = 4,
  parameter bit          Block = 1'b0,
  localparam int unsigned LengthWidth = $clog2(Most + 1),
  localparam int unsigned Least = Block ? 3 : 1
) (
  input logic                   clk_i,
  input logic                   choose_i,
  input logic                   shift_i,
  input logic                   clear_i,
  input logic [LengthWidth-1:0] length_i,
  input logic [Width-1:0]       data_i
);
  typedef logic [7:0] count_t;
  logic [Taps-1:0][Width-1:0] taps, taps_q;

  delay_line #(.Width(Width), .Taps(Taps), .Most(Most), .Block(Block)) dut (
    .clk_i, .shift_i, .clear_i, .length_i, .data_i, .taps_o(taps)
  );

  // --- lines ----------------------------------------------------------------------------------------------------------
  logic   started_q;
  count_t length_q;  // of the line that is open

  initial started_q = 1'b0;
  always_comb begin
    if (shift_i) begin
      assume (count_t'(length_i) >= Least && count_t'(length_i) <= Most);
      assume (clear_i || (started_q && count_t'(length_i) == length_q));
    end
  end
  always_ff @(posedge clk_i) begin
    if (shift_i) begin
      started_q <= 1'b1;
      length_q  <= count_t'(length_i);
    end
    taps_q <= taps;
  end

  // --- the value that is followed -------------------------------------------------------------------------------------
  logic             chosen_q, followed_q, follow, hit;
  count_t           slot_q;   // its place
  count_t           phase_q;  // shifts since it came, less those of whole rounds
  count_t           level_q;  // whole rounds, and so the tap that it comes to next
  logic [Width-1:0] value_q;

  assign follow = shift_i && choose_i && !chosen_q;
  assign hit = followed_q && shift_i && !clear_i && phase_q + 8'd1 == length_q;

  initial {chosen_q, followed_q} = '0;
  always_ff @(posedge clk_i) begin
    chosen_q <= chosen_q || follow;
    if (follow) begin
      followed_q <= 1'b1;
      slot_q     <= count_t'(dut.at);
      phase_q    <= '0;
      level_q    <= '0;
      value_q    <= data_i;
    end else if (followed_q && shift_i) begin
      followed_q <= !clear_i && !(hit && level_q == count_t'(Taps - 1));
      phase_q    <= hit ? '0 : phase_q + 8'd1;
      level_q    <= level_q + count_t'(hit);
    end
  end

  logic [3:1]       hit_q, new_q, shifted_q;  // by cycles since the shift: it gives the value, it brings it, there was one
  count_t           tap_q [1:3];
  logic [Width-1:0] given_q [1:3];
  initial begin
    hit_q = '0;
    new_q = '0;
    shifted_q = '0;
  end
  always_ff @(posedge clk_i) begin
    hit_q      <= {hit_q[2:1], hit};
    new_q      <= {new_q[2:1], follow};
    shifted_q  <= {shifted_q[2:1], shift_i};
    tap_q[1]   <= level_q;
    given_q[1] <= follow ? data_i : value_q;
    for (int n = 2; n <= 3; n++) begin
      tap_q[n]   <= tap_q[n-1];
      given_q[n] <= given_q[n-1];
    end
  end

  localparam int unsigned Latency = Block ? 3 : 2;
  logic [3:0] settled_q;  // cycles since the start, up to four
  initial settled_q = '0;
  always_ff @(posedge clk_i) if (settled_q != 4'd4) settled_q <= settled_q + 1'b1;

  always_comb begin
    p_tap:  assert (!hit_q[Latency] || taps[tap_q[Latency]] == given_q[Latency]);
    p_stay: assert (settled_q != 4'd4 || shifted_q[Latency] || taps == taps_q);
  end

  // --- where it lies --------------------------------------------------------------------------------------------------
  count_t age, later, round_;  // shifts since it came, those of them that are not written, and the rounds that are
  function automatic count_t ahead_of(input count_t slot, input count_t by);
    ahead_of = slot + by >= length_q ? slot + by - length_q : slot + by;
  endfunction
  /// The place of the shift before the last `back` ones.
  function automatic count_t place_of(input count_t back);
    place_of = ahead_of(slot_q, phase_q >= back ? phase_q - back : phase_q + length_q - back);
  endfunction

  assign age = level_q * length_q + phase_q;
  assign round_ = level_q - count_t'(phase_q < later);

  always_comb begin
    h_started: assert (!followed_q || (started_q && length_q >= Least && length_q <= Most));
    h_open:    assert (!started_q || 8'(dut.at_q) < length_q);
    h_range:   assert (!followed_q || (slot_q < length_q && phase_q < length_q && level_q < Taps));
    h_at:      assert (!followed_q || 8'(dut.at_q) == ahead_of(slot_q, phase_q + 8'd1));
    h_shifted: assert (settled_q == '0 || dut.shift_q == shifted_q[1]);
    h_tap:     assert ((!hit_q[1] || tap_q[1] < Taps) && (!hit_q[2] || tap_q[2] < Taps) && (!hit_q[3] || tap_q[3] < Taps));
    h_last:    assert (!followed_q || !dut.shift_q || 8'(dut.place_q) == place_of(0));
    h_new:     assert (!new_q[1] || (dut.data_q == given_q[1] && shifted_q[1]));
    h_age:     assert (!followed_q || (new_q[1] == (shifted_q[1] && age == '0)));
    h_value:   assert (!followed_q || (!new_q[1] && !hit_q[1]) || given_q[1] == value_q);
    h_hits:    assert (!followed_q || (hit_q[1] == (shifted_q[1] && phase_q == '0 && level_q != '0)));
    h_hit_tap: assert (!followed_q || !hit_q[1] || tap_q[1] == level_q - 8'd1);
    h_settled: assert (settled_q <= 4'd4);
    h_chosen:  assert (chosen_q || (!followed_q && new_q == '0 && hit_q == '0));
    h_shift:   assert (((hit_q | new_q) & ~shifted_q) == '0 && (hit_q & new_q) == '0);
    h_early:   assert ((settled_q > 4'd1 || !(hit_q[2] || new_q[2])) && (settled_q > 4'd2 || !(hit_q[3] || new_q[3])));
    h_elapsed: assert (!followed_q || settled_q == 4'd4 || age < 8'(settled_q));
    h_before:  assert (settled_q != '0 || (!followed_q && !started_q && new_q == '0 && hit_q == '0));
  end

  if (Block) begin : g_block
    logic [2:0] flight;
    assign flight = {dut.g_block.shift_qqq, dut.g_block.shift_qq, dut.shift_q};
    assign later = count_t'(flight[0]) + count_t'(flight[1]) + count_t'(flight[2]);
    always_comb begin
      h_flight: assert ((settled_q < 4'd2 || flight[1] == shifted_q[2]) && (settled_q < 4'd3 || flight[2] == shifted_q[3]));
      h_second: assert (!followed_q || !flight[1] || age < 8'(flight[0])
                        || 8'(dut.g_block.place_qq) == place_of(8'(flight[0])));
      h_third:  assert (!followed_q || !flight[2] || age < 8'(flight[0]) + 8'(flight[1])
                        || 8'(dut.g_block.place_qqq) == place_of(8'(flight[0]) + 8'(flight[1])));
      h_data:   assert ((!new_q[2] || dut.g_block.data_qq == given_q[2]) && (!new_q[3] || dut.g_block.data_qqq == given_q[3]));
      h_came:   assert (!followed_q || age >= later || (new_q[1] || new_q[2] || new_q[3]));
      h_new_2:  assert (!followed_q || (new_q[2] == (flight[1] && shifted_q[2] && age == 8'(flight[0]))));
      h_new_3:  assert (!followed_q || (new_q[3] == (flight[2] && shifted_q[3] && age == 8'(flight[0]) + 8'(flight[1]))));
      h_same:   assert (!followed_q || ((!new_q[2] && !hit_q[2]) || given_q[2] == value_q || age < 8'(flight[0])));
      h_same_3: assert (!followed_q || ((!new_q[3] && !hit_q[3]) || given_q[3] == value_q || age < 8'(flight[0]) + 8'(flight[1])));
      h_hits_2: assert (!followed_q || age < 8'(flight[0])
                        || hit_q[2] == (shifted_q[2] && phase_q == 8'(flight[0]) && level_q != '0));
      h_hits_3: assert (!followed_q || age < 8'(flight[0]) + 8'(flight[1])
                        || hit_q[3] == (shifted_q[3] && phase_q == 8'(flight[0]) + 8'(flight[1]) && level_q != '0));
      h_tap_2:  assert (!followed_q || age < 8'(flight[0]) || !hit_q[2] || tap_q[2] == level_q - 8'd1);
      h_tap_3:  assert (!followed_q || age < 8'(flight[0]) + 8'(flight[1]) || !hit_q[3] || tap_q[3] == level_q - 8'd1);
      h_memory: assert (!followed_q || age < later || dut.g_block.memory[slot_q][round_] == value_q);
      h_place:  assert (!hit_q[1] || dut.g_block.memory[dut.place_q][tap_q[1]] == given_q[1]);
      h_word:   assert (!hit_q[2] || dut.g_block.word_q[tap_q[2]] == given_q[2]);
    end
  end else begin : g_luts
    assign later = count_t'(dut.shift_q);
    always_comb begin
      h_memory: assert (!followed_q || age < later || dut.g_luts.memory[slot_q][round_] == value_q);
      h_place:  assert (!hit_q[1] || dut.g_luts.memory[dut.place_q][tap_q[1]] == given_q[1]);
    end
  end
endmodule
