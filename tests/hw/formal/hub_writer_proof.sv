/// Properties of hub_writer: any requests, on chip and off chip in any order, and any data, which stay until they are taken;
/// a mover that takes both after any time; a reset of all of them at any time. One word of a request, chosen freely, is
/// followed to its memory.
module hub_writer_proof #(
  parameter int unsigned AddrWidth = 8,
  parameter int unsigned DataWidth = 16,
  parameter int unsigned WordBits = 3,
  localparam int unsigned Bytes = DataWidth / 8,
  localparam int unsigned Shift = $clog2(Bytes)
) (
  input logic                       clk_i,
  input logic                       rst_ni,
  input logic                       choose_i,
  input logic [15:0]                offset_i,
  input logic                       req_valid_i,
  input logic [AddrWidth-Shift-1:0] word_i,
  input logic [15:0]                words_i,
  input logic                       mark_i,
  input logic                       data_valid_i,
  input logic [DataWidth-1:0]       data_i,
  input logic                       ext_req_ready_i,
  input logic                       ext_data_ready_i
);
  typedef logic [24:0] words_t;
  logic                  req_ready, data_ready, ext_req_valid, ext_data_valid, write_valid, begin_q;
  logic [AddrWidth+16:0] req, ext_req;
  logic [DataWidth-1:0]  ext_data, write_data;
  logic [WordBits-1:0]   write_word;

  assign req = {mark_i, words_i, word_i, Shift'(0)};
  hub_writer #(.AddrWidth(AddrWidth), .DataWidth(DataWidth), .WordBits(WordBits)) dut (
    .clk_i, .rst_ni, .req_valid_i, .req_ready_o(req_ready), .req_data_i(req), .data_valid_i, .data_ready_o(data_ready),
    .data_data_i(data_i), .ext_req_valid_o(ext_req_valid), .ext_req_ready_i, .ext_req_data_o(ext_req),
    .ext_data_valid_o(ext_data_valid), .ext_data_ready_i, .ext_data_data_o(ext_data), .write_valid_o(write_valid),
    .write_word_o(write_word), .write_data_o(write_data)
  );

  logic take, on_chip, data, ext, ext_word;
  assign take = req_valid_i && req_ready && (words_i != '0 || mark_i);
  assign on_chip = word_i[AddrWidth-Shift-1:WordBits] == '0;
  assign data = data_valid_i && data_ready;
  assign ext = ext_req_valid && ext_req_ready_i;
  assign ext_word = ext_data_valid && ext_data_ready_i;

  // --- the environment -------------------------------------------------------------------------------------------------
  logic                       asks_q, gives_q;
  logic [AddrWidth+16:0]      asked_q;
  logic [DataWidth-1:0]       given_q;

  initial begin_q = 1'b1;
  always @(posedge clk_i) begin_q <= 1'b0;
  always_ff @(posedge clk_i) begin
    asks_q <= rst_ni && req_valid_i && !req_ready;
    asked_q <= req;
    gives_q <= rst_ni && data_valid_i && !data_ready;
    given_q <= data_i;
  end
  always_comb begin
    if (begin_q) assume (!rst_ni);
    if (rst_ni) begin
      assume (!asks_q || (req_valid_i && req == asked_q));
      assume (!gives_q || (data_valid_i && data_i == given_q));
      assume (!on_chip || 32'(word_i) + 32'(words_i) <= 1 << WordBits);
    end
  end

  // --- words whose data has not been taken: of the request at hand, and of requests that the mover has -----------------
  logic                  busy_q, chip_q, ends;
  logic [AddrWidth+16:0] request_q;  // the last request
  words_t                left_q, owed_q;

  assign ends = ext || (write_valid && chip_q && left_q == 1 && !request_q[AddrWidth+16]);
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      left_q <= '0;
      owed_q <= '0;
    end else begin
      busy_q <= take || (busy_q && !ends);
      if (take) left_q <= words_t'(words_i);
      else left_q <= ext ? '0 : left_q - words_t'(write_valid);
      owed_q <= owed_q + (ext && !chip_q ? left_q : '0) - words_t'(ext_word);
    end
    if (take) begin
      request_q <= req;
      chip_q <= on_chip;
    end
  end

  // --- the word that is followed ---------------------------------------------------------------------------------------
  logic                       followed_q, on_chip_q;
  logic [AddrWidth-Shift-1:0] word_q;
  words_t                     ahead_q, wanted;

  assign wanted = left_q + owed_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      followed_q <= 1'b0;
    end else if (take && choose_i && !followed_q && offset_i < words_i) begin
      followed_q <= 1'b1;
      on_chip_q <= on_chip;
      word_q <= word_i + (AddrWidth - Shift)'(offset_i);
      ahead_q <= wanted - words_t'(data) + words_t'(offset_i);
    end else if (data) begin
      ahead_q <= ahead_q - 1'b1;
      if (ahead_q == '0) followed_q <= 1'b0;
    end
  end

  // --- the cycle before ------------------------------------------------------------------------------------------------
  logic                  held_ext_q, held_data_q;
  logic [AddrWidth+16:0] held_req_q;
  logic [DataWidth-1:0]  held_word_q;
  logic [1:0]            idle_q;
  logic                  waits;  // for somebody else

  assign waits = (ext_req_valid && !ext_req_ready_i) || (ext_data_valid && !ext_data_ready_i)
                 || (wanted != '0 && !data_valid_i) || (!busy_q && wanted == '0 && !req_valid_i);
  always_ff @(posedge clk_i) begin
    held_ext_q <= rst_ni && ext_req_valid && !ext_req_ready_i;
    held_req_q <= ext_req;
    held_data_q <= rst_ni && ext_data_valid && !ext_data_ready_i;
    held_word_q <= ext_data;
    idle_q <= !rst_ni || waits || (req_valid_i && req_ready) || data || ext ? '0 : idle_q + 1'b1;
  end

  always_comb if (rst_ni) begin
    // the words of the data stream go to the places that the requests name, in their order
    p_place:      assert (!followed_q || !data || ahead_q != '0
                          || (on_chip_q ? write_valid && (AddrWidth - Shift)'(write_word) == word_q && write_data == data_i
                              : ext_word && ext_data == data_i));
    p_one_place:  assert (data == (write_valid || ext_word) && !(write_valid && ext_word));
    p_wanted:     assert (!data_ready || wanted != '0);
    p_owed:       assert (!ext_data_valid || owed_q != '0);  // the mover has the request before its data
    p_passed:     assert (!ext_req_valid || (busy_q && (chip_q ? ext_req[AddrWidth+:17] == {1'b1, 16'd0}
                                                         : ext_req == request_q)));
    p_mark:       assert (!ext_req_valid || !chip_q || (request_q[AddrWidth+16] && left_q == '0));  // stored before its mark
    p_accepts:    assert (!req_ready || !busy_q || ends);
    p_ext_stable: assert (!held_ext_q || (ext_req_valid && ext_req == held_req_q));
    p_data_stable: assert (!held_data_q || (ext_data_valid && ext_data == held_word_q));
    p_moves:      assert (idle_q == '0);
  end

  // --- what the registers hold -----------------------------------------------------------------------------------------
  always_comb if (rst_ni) begin
    h_busy:    assert (dut.busy_q == busy_q && (!busy_q || (dut.chip_q == chip_q && dut.mark_q == request_q[AddrWidth+16])));
    h_left:    assert (left_q == (busy_q ? words_t'(dut.left_q) : '0) && (!busy_q || left_q != '0 || dut.mark_q));
    h_address: assert (!busy_q || chip_q || (dut.address_q == request_q[AddrWidth-1:0]
                                               && dut.left_q == request_q[AddrWidth+:16]));
    h_owed:    assert (words_t'(dut.owed_q) == owed_q && owed_q < words_t'((1 << 23) + (1 << 16)));
    h_chip:    assert (!busy_q || !chip_q
                       || 32'(dut.address_q[AddrWidth-1:Shift]) + 32'(left_q) <= 1 << WordBits);
    if (followed_q) begin
      h_ahead: assert (ahead_q < wanted);
      h_where: assert (ahead_q < owed_q ? !on_chip_q : on_chip_q == chip_q
                       && (!chip_q || dut.address_q[AddrWidth-1:Shift] + (AddrWidth - Shift)'(ahead_q - owed_q) == word_q));
    end
  end
endmodule
