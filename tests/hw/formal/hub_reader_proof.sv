/// Properties of hub_reader: any requests, on chip and off chip in any order, that stay until they are taken; banks and a
/// mover that answer in order after any time; any consumer; a reset of all of them at any time. One word of a request,
/// chosen freely, is followed to the consumer.
module hub_reader_proof #(
  parameter int unsigned AddrWidth = 8,
  parameter int unsigned DataWidth = 16,
  parameter int unsigned WordBits = 2,
  parameter int unsigned Depth = 3,
  parameter int unsigned Requests = 3,
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
  input logic                       data_ready_i,
  input logic                       ext_req_ready_i,
  input logic                       ext_data_valid_i,
  input logic [DataWidth-1:0]       ext_data_i,
  input logic                       read_ready_i,
  input logic                       answer_valid_i,
  input logic [DataWidth-1:0]       answer_data_i
);
  localparam int unsigned Longest = 1 << WordBits;  // words of a request
  typedef logic [5:0] words_t;
  logic                  req_ready, data_valid, ext_req_valid, ext_data_ready, read_valid, begin_q;
  logic [DataWidth-1:0]  data;
  logic [AddrWidth+16:0] req, ext_req;
  logic [WordBits-1:0]   read_word;

  assign req = {1'b0, words_i, word_i, Shift'(0)};
  hub_reader #(
    .AddrWidth(AddrWidth), .DataWidth(DataWidth), .WordBits(WordBits), .Depth(Depth), .Requests(Requests)
  ) dut (
    .clk_i, .rst_ni, .req_valid_i, .req_ready_o(req_ready), .req_data_i(req), .data_valid_o(data_valid), .data_ready_i,
    .data_data_o(data), .ext_req_valid_o(ext_req_valid), .ext_req_ready_i, .ext_req_data_o(ext_req), .ext_data_valid_i,
    .ext_data_ready_o(ext_data_ready), .ext_data_data_i(ext_data_i), .read_valid_o(read_valid), .read_ready_i,
    .read_word_o(read_word), .answer_valid_i, .answer_data_i
  );

  logic take, on_chip, ext, read, pop, ext_pop;
  assign take = req_valid_i && req_ready && words_i != '0;
  assign on_chip = word_i[AddrWidth-Shift-1:WordBits] == '0;
  assign ext = ext_req_valid && ext_req_ready_i;
  assign read = read_valid && read_ready_i;
  assign pop = data_valid && data_ready_i;
  assign ext_pop = ext_data_valid_i && ext_data_ready;

  // --- words of requests: all that are not delivered; on chip: not read, read and not answered, not delivered; off chip
  words_t all_q, unread_q, reading_q, stored_q, owed_q;
  words_t chip_pop;  // on-chip words are those that the mover does not deliver
  assign chip_pop = words_t'(pop && !ext_pop);
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      all_q <= '0;
      unread_q <= '0;
      reading_q <= '0;
      stored_q <= '0;
      owed_q <= '0;
    end else begin
      all_q <= all_q + (take ? words_t'(words_i) : '0) - words_t'(pop);
      unread_q <= unread_q + (take && on_chip ? words_t'(words_i) : '0) - words_t'(read);
      reading_q <= reading_q + words_t'(read) - words_t'(answer_valid_i);
      stored_q <= stored_q + words_t'(answer_valid_i) - chip_pop;
      owed_q <= owed_q + (take && !on_chip ? words_t'(words_i) : '0) - words_t'(ext_pop);
    end
  end

  // --- the environment -------------------------------------------------------------------------------------------------
  logic                       asks_q, gives_q;
  logic [AddrWidth-Shift-1:0] asked_word_q;
  logic [15:0]                asked_words_q;
  logic [DataWidth-1:0]       given_q;

  initial begin_q = 1'b1;
  always @(posedge clk_i) begin_q <= 1'b0;
  always_ff @(posedge clk_i) begin
    asks_q <= rst_ni && req_valid_i && !req_ready;
    asked_word_q <= word_i;
    asked_words_q <= words_i;
    gives_q <= rst_ni && ext_data_valid_i && !ext_data_ready;
    given_q <= ext_data_i;
  end
  always_comb begin
    if (begin_q) assume (!rst_ni);
    if (rst_ni) begin
      assume (!asks_q || (req_valid_i && word_i == asked_word_q && words_i == asked_words_q));
      assume (!gives_q || (ext_data_valid_i && ext_data_i == given_q));
      assume (32'(words_i) <= Longest && (!on_chip || 32'(word_i) + 32'(words_i) <= Longest));
      assume (!ext_data_valid_i || owed_q != '0);
      assume (!answer_valid_i || reading_q != '0);
    end
  end

  // --- the word that is followed: how many are before it, at the consumer, of its memory, unanswered, unread -----------
  logic                       followed_q, chip_q, read_q, answered_q, follow;
  logic [AddrWidth-Shift-1:0] word_q;
  logic [DataWidth-1:0]       value_q;
  words_t                     ahead_q, memory_ahead_q, answers_ahead_q, reads_ahead_q;

  assign follow = take && choose_i && !followed_q && offset_i < words_i;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      followed_q <= 1'b0;
    end else if (follow) begin
      followed_q <= 1'b1;
      chip_q <= on_chip;
      read_q <= 1'b0;
      answered_q <= 1'b0;
      word_q <= word_i + (AddrWidth - Shift)'(offset_i);
      ahead_q <= all_q - words_t'(pop) + words_t'(offset_i);
      memory_ahead_q <= (on_chip ? unread_q + reading_q + stored_q - chip_pop : owed_q - words_t'(ext_pop))
                        + words_t'(offset_i);
      answers_ahead_q <= unread_q + reading_q - words_t'(answer_valid_i) + words_t'(offset_i);
      reads_ahead_q <= unread_q - words_t'(read) + words_t'(offset_i);
    end else if (followed_q) begin
      ahead_q <= ahead_q - words_t'(pop);
      memory_ahead_q <= memory_ahead_q - (chip_q ? chip_pop : words_t'(ext_pop));
      if (!answered_q) answers_ahead_q <= answers_ahead_q - words_t'(answer_valid_i);
      if (!read_q) reads_ahead_q <= reads_ahead_q - words_t'(read);
      if (read && reads_ahead_q == '0) read_q <= 1'b1;
      if (answer_valid_i && answers_ahead_q == '0 && chip_q && !answered_q) begin
        answered_q <= 1'b1;
        value_q <= answer_data_i;
      end
      if (pop && ahead_q == '0) followed_q <= 1'b0;
    end
  end

  // --- the cycle before ------------------------------------------------------------------------------------------------
  logic                  held_ext_q, held_read_q, held_q;
  logic [AddrWidth+16:0] held_ext_req_q;
  logic [WordBits-1:0]   held_word_q;
  logic [DataWidth-1:0]  held_data_q;
  logic [2:0]            idle_q;
  logic                  waits;  // for somebody else

  assign waits = (ext_req_valid && !ext_req_ready_i) || (read_valid && !read_ready_i) || (data_valid && !data_ready_i)
                 || (reading_q != '0 && !answer_valid_i) || (owed_q != '0 && !ext_data_valid_i)
                 || (all_q == '0 && !req_valid_i);
  always_ff @(posedge clk_i) begin
    held_ext_q <= rst_ni && ext_req_valid && !ext_req_ready_i;
    held_ext_req_q <= ext_req;
    held_read_q <= rst_ni && read_valid && !read_ready_i;
    held_word_q <= read_word;
    held_q <= rst_ni && data_valid && !data_ready_i;
    held_data_q <= data;
    idle_q <= !rst_ni || waits || (req_valid_i && req_ready) || pop || read || answer_valid_i ? '0 : idle_q + 1'b1;
  end

  always_comb if (rst_ni) begin
    p_order:      assert (!followed_q || !data_valid || ahead_q != '0
                          || (chip_q ? answered_q && data == value_q && !ext_pop
                              : memory_ahead_q == '0 && ext_data_valid_i && data == ext_data_i
                                && ext_data_ready == data_ready_i));
    p_count:      assert (!data_valid || all_q != '0);
    p_address:    assert (!followed_q || !chip_q || read_q || !read_valid || reads_ahead_q != '0
                          || (AddrWidth - Shift)'(read_word) == word_q);
    p_read_count: assert (!read_valid || unread_q != '0);
    p_room:       assert (reading_q + stored_q <= words_t'(Depth));  // an answer finds room
    p_passed:     assert (ext == (take && !on_chip) && (!ext_req_valid || ext_req == req));
    p_ext_stable: assert (!held_ext_q || (ext_req_valid && ext_req == held_ext_req_q));
    p_read_stable: assert (!held_read_q || (read_valid && read_word == held_word_q));
    p_stable:     assert (!held_q || (data_valid && data == held_data_q));
    p_moves:      assert (idle_q < 3);
  end

  // --- what the registers hold -----------------------------------------------------------------------------------------
  localparam int unsigned Slots = Requests - 1;
  localparam int unsigned WordSlots = Depth - 1;
  localparam int unsigned SlotBits = $clog2(Requests);
  words_t                  entry_q;   // of the followed request in the queue of requests
  words_t                  offset_q;  // of the followed word in its request
  words_t                  count, count_stored, left, sum_chip, sum_ext, before_chip, before_ext;
  logic [Requests-1:0]     is_chip;
  words_t                  size [Requests];
  logic                    sizes;

  assign count = words_t'(dut.i_order.valid_q) + words_t'(dut.i_order.gen_store.fill_q);
  assign count_stored = words_t'(dut.i_words.valid_q) + words_t'(dut.i_words.gen_store.fill_q);
  logic                    fits [Requests];
  assign is_chip[0] = dut.i_order.out_q[16];
  assign size[0] = dut.i_order.out_q[5:0];
  assign fits[0] = 32'(dut.i_order.out_q[15:0]) <= Longest;
  for (genvar i = 1; i < Requests; i++) begin : gen_entry
    logic [16:0] stored;
    assign stored = dut.i_order.gen_store.store[(SlotBits + 1)'((SlotBits + 1)'(dut.i_order.gen_store.read_q) + i - 1) % Slots];
    assign is_chip[i] = stored[16];
    assign size[i] = stored[5:0];
    assign fits[i] = 32'(stored[15:0]) <= Longest;
  end
  always_comb begin
    sum_chip = '0;
    sum_ext = '0;
    before_chip = '0;
    before_ext = '0;
    sizes = 1'b1;
    for (int unsigned i = 0; i < Requests; i++) begin
      left = size[i] - (i == 0 ? words_t'(dut.sent_q) : '0);
      if (words_t'(i) < count) begin
        sizes = sizes && fits[i] && left != '0 && 32'(left) <= Longest;
        if (is_chip[i]) sum_chip = sum_chip + left;
        else sum_ext = sum_ext + left;
        if (words_t'(i) < entry_q) begin
          if (is_chip[i]) before_chip = before_chip + left;
          else before_ext = before_ext + left;
        end
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (follow) begin
      entry_q <= count - words_t'(dut.order_next);
      offset_q <= words_t'(offset_i);
    end else begin
      entry_q <= entry_q - words_t'(dut.order_next);
    end
  end

  words_t here;  // words of its own request before the followed one
  assign here = offset_q - (entry_q == '0 ? words_t'(dut.sent_q) : '0);
  always_comb if (rst_ni) begin
    h_order:  assert (32'(dut.i_order.gen_store.read_q) < Slots && 32'(dut.i_order.gen_store.write_q) < Slots
                      && (32'(dut.i_order.gen_store.read_q) + 32'(dut.i_order.gen_store.fill_q)) % Slots
                      == 32'(dut.i_order.gen_store.write_q) && 32'(dut.i_order.gen_store.fill_q) <= Slots
                      && (dut.i_order.valid_q || dut.i_order.gen_store.fill_q == '0));
    h_words:  assert (32'(dut.i_words.gen_store.read_q) < WordSlots && 32'(dut.i_words.gen_store.write_q) < WordSlots
                      && (32'(dut.i_words.gen_store.read_q) + 32'(dut.i_words.gen_store.fill_q)) % WordSlots
                      == 32'(dut.i_words.gen_store.write_q) && 32'(dut.i_words.gen_store.fill_q) <= WordSlots
                      && (dut.i_words.valid_q || dut.i_words.gen_store.fill_q == '0));
    h_sizes:  assert (sizes && (count == '0 ? dut.sent_q == '0 : 32'(dut.sent_q) < Longest));
    h_stored: assert (stored_q == count_stored);
    h_room:   assert (32'(dut.room_q) + 32'(reading_q) + 32'(stored_q) == Depth);
    h_unread: assert (unread_q == (dut.busy_q ? words_t'(dut.left_q) : '0)
                      && (!dut.busy_q || (dut.left_q != '0 && 32'(read_word) + 32'(dut.left_q) <= Longest)));
    h_chip:   assert (unread_q + reading_q + stored_q == sum_chip);
    h_ext:    assert (owed_q == sum_ext);
    h_all:    assert (all_q == sum_chip + sum_ext);
    if (followed_q) begin
      h_entry:  assert (entry_q < count && is_chip[2'(entry_q)] == chip_q && offset_q < size[2'(entry_q)] && !here[5]);
      h_ahead:  assert (ahead_q == before_chip + before_ext + here);
      h_memory: assert (memory_ahead_q == (chip_q ? before_chip : before_ext) + here);
      if (chip_q) begin
        h_flags: assert (answered_q == (memory_ahead_q < stored_q) && read_q == (memory_ahead_q < stored_q + reading_q));
        if (answered_q) begin
          h_value: assert (value_q == (memory_ahead_q == '0 ? dut.i_words.out_q : dut.i_words.gen_store.store[
                                       (32'(dut.i_words.gen_store.read_q) + 32'(memory_ahead_q) - 1) % WordSlots]));
        end else begin
          h_answers: assert (answers_ahead_q == memory_ahead_q - stored_q);
        end
        if (!read_q) begin
          h_reads: assert (reads_ahead_q == memory_ahead_q - stored_q - reading_q
                           && (AddrWidth - Shift)'(read_word) + (AddrWidth - Shift)'(reads_ahead_q) == word_q
                           && reads_ahead_q < unread_q);
        end
      end
    end
  end
endmodule
