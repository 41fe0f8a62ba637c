/// Properties of memory_hub, whose parts have proofs of their own: any requests on every port, on chip and off chip in any
/// order, that stay until they are taken; movers that answer each port in order after any time; any consumers; a reset in
/// the first cycle. One word of a request of one port, one word of the memory and one write of it, all chosen freely, are
/// followed.
module memory_hub_proof #(
  parameter int unsigned NumRead = 2,
  parameter int unsigned Banks = 2,
  parameter int unsigned Words = 4,
  parameter int unsigned AddrWidth = 6,
  parameter int unsigned DataWidth = 16,
  localparam int unsigned Shift = $clog2(DataWidth / 8),
  localparam int unsigned WordWidth = AddrWidth - Shift,
  localparam int unsigned WordBits = $clog2(Words),
  localparam int unsigned BankBits = $clog2(Banks)
) (
  input logic                              clk_i,
  input logic                              rst_ni,
  input logic [$clog2(NumRead)-1:0]        port_i,
  input logic [WordBits-1:0]               at_i,
  input logic [DataWidth-1:0]              old_i,
  input logic                              choose_i,
  input logic [2:0]                        offset_i,
  input logic [NumRead-1:0]                req_valid_i,
  input logic [NumRead-1:0][WordWidth-1:0] req_word_i,
  input logic [NumRead-1:0][2:0]           req_words_i,
  input logic [NumRead-1:0]                data_ready_i,
  input logic [NumRead-1:0]                ext_req_ready_i,
  input logic [NumRead-1:0]                ext_data_valid_i,
  input logic [NumRead-1:0][DataWidth-1:0] ext_data_i,
  input logic                              write_req_valid_i,
  input logic [WordWidth-1:0]              write_word_i,
  input logic [2:0]                        write_words_i,
  input logic                              write_mark_i,
  input logic                              write_data_valid_i,
  input logic [DataWidth-1:0]              write_data_i,
  input logic                              ext_write_req_ready_i,
  input logic                              ext_write_data_ready_i
);
  typedef logic [5:0] words_t;
  logic [NumRead-1:0]                 req_ready, data_valid, ext_req_valid, ext_data_ready;
  logic [NumRead-1:0][AddrWidth+16:0] req, ext_req;
  logic [NumRead-1:0][DataWidth-1:0]  data;
  logic                               write_req_ready, write_data_ready, ext_write_req_valid, ext_write_data_valid;
  logic [AddrWidth+16:0]              write_req, ext_write_req;
  logic [DataWidth-1:0]               ext_write_data;

  memory_hub #(
    .NumRead(NumRead), .Banks(Banks), .Words(Words), .AddrWidth(AddrWidth), .DataWidth(DataWidth), .Style("auto")
  ) dut (
    .clk_i, .rst_ni, .req_valid_i, .req_ready_o(req_ready), .req_data_i(req), .data_valid_o(data_valid), .data_ready_i,
    .data_data_o(data), .ext_req_valid_o(ext_req_valid), .ext_req_ready_i, .ext_req_data_o(ext_req), .ext_data_valid_i,
    .ext_data_ready_o(ext_data_ready), .ext_data_data_i(ext_data_i),
    .write_req_valid_i, .write_req_ready_o(write_req_ready), .write_req_data_i(write_req), .write_data_valid_i,
    .write_data_ready_o(write_data_ready), .write_data_data_i(write_data_i),
    .ext_write_req_valid_o(ext_write_req_valid), .ext_write_req_ready_i, .ext_write_req_data_o(ext_write_req),
    .ext_write_data_valid_o(ext_write_data_valid), .ext_write_data_ready_i, .ext_write_data_data_o(ext_write_data)
  );

  defparam dut.gen_reader[0].i_reader.Depth = 3;
  defparam dut.gen_reader[0].i_reader.Requests = 3;
  defparam dut.gen_reader[1].i_reader.Depth = 3;
  defparam dut.gen_reader[1].i_reader.Requests = 3;

  // --- what is followed, chosen in the first cycle: a port and a word of the memory ------------------------------------
  logic                       begin_q;
  logic [$clog2(NumRead)-1:0] port_q;
  logic [WordBits-1:0]        at_q;

  initial begin_q = 1'b1;
  always @(posedge clk_i) begin
    begin_q <= 1'b0;
    if (begin_q) begin
      port_q <= port_i;
      at_q <= at_i;
    end
  end
  always_comb assume (rst_ni == !begin_q);

  // --- each read port --------------------------------------------------------------------------------------------------
  logic [NumRead-1:0]   take, on_chip, pop, ext_pop;
  words_t [NumRead-1:0] all_q, owed_q;  // words asked for and not delivered; those of them that the mover delivers

  for (genvar p = 0; p < NumRead; p++) begin : gen_port
    logic                  asks_q, gives_q, held_q, held_ext_q;
    logic [AddrWidth+16:0] asked_q, held_req_q;
    logic [DataWidth-1:0]  given_q, held_data_q;

    assign req[p] = {1'b0, 13'd0, req_words_i[p], req_word_i[p], Shift'(0)};
    assign on_chip[p] = req_word_i[p][WordWidth-1:WordBits] == '0;
    assign take[p] = req_valid_i[p] && req_ready[p] && req_words_i[p] != '0;
    assign pop[p] = data_valid[p] && data_ready_i[p];
    assign ext_pop[p] = ext_data_valid_i[p] && ext_data_ready[p];

    always_ff @(posedge clk_i) begin
      asks_q <= rst_ni && req_valid_i[p] && !req_ready[p];
      asked_q <= req[p];
      gives_q <= rst_ni && ext_data_valid_i[p] && !ext_data_ready[p];
      given_q <= ext_data_i[p];
      held_q <= rst_ni && data_valid[p] && !data_ready_i[p];
      held_data_q <= data[p];
      held_ext_q <= rst_ni && ext_req_valid[p] && !ext_req_ready_i[p];
      held_req_q <= ext_req[p];
      if (!rst_ni) begin
        all_q[p] <= '0;
        owed_q[p] <= '0;
      end else begin
        all_q[p] <= all_q[p] + (take[p] ? words_t'(req_words_i[p]) : '0) - words_t'(pop[p]);
        owed_q[p] <= owed_q[p] + (take[p] && !on_chip[p] ? words_t'(req_words_i[p]) : '0) - words_t'(ext_pop[p]);
      end
    end

    always_comb if (rst_ni) begin
      assume (!asks_q || (req_valid_i[p] && req[p] == asked_q));
      assume (!gives_q || (ext_data_valid_i[p] && ext_data_i[p] == given_q));
      assume (!on_chip[p] || 32'(req_word_i[p]) + 32'(req_words_i[p]) <= Words);
      assume (!ext_data_valid_i[p] || owed_q[p] != '0);
      p_count:      assert (!data_valid[p] || all_q[p] != '0);
      p_stable:     assert (!held_q || (data_valid[p] && data[p] == held_data_q));
      p_ext_stable: assert (!held_ext_q || (ext_req_valid[p] && ext_req[p] == held_req_q));
      p_passed:     assert ((ext_req_valid[p] && ext_req_ready_i[p]) == (take[p] && !on_chip[p])
                            && (!ext_req_valid[p] || ext_req[p] == req[p]));
    end
  end

  // --- the write port: one request may write the followed word, and no other does --------------------------------------
  logic                  write_take, write_pop, asks_q, gives_q, covers, written_q, writing_q, follow_write;
  logic [AddrWidth+16:0] asked_q;
  logic [DataWidth-1:0]  given_q, old_q, new_q;
  words_t                wanted_q, write_ahead_q;

  assign write_req = {write_mark_i, 13'd0, write_words_i, write_word_i, Shift'(0)};
  assign write_take = write_req_valid_i && write_req_ready;
  assign write_pop = write_data_valid_i && write_data_ready;
  assign covers = write_word_i <= WordWidth'(at_q) && 32'(at_q) < 32'(write_word_i) + 32'(write_words_i);
  assign follow_write = write_take && covers;

  always_ff @(posedge clk_i) begin
    asks_q <= rst_ni && write_req_valid_i && !write_req_ready;
    asked_q <= write_req;
    gives_q <= rst_ni && write_data_valid_i && !write_data_ready;
    given_q <= write_data_i;
    if (!rst_ni) begin
      wanted_q <= '0;
      writing_q <= 1'b0;
    end else begin
      wanted_q <= wanted_q + (write_take ? words_t'(write_words_i) : '0) - words_t'(write_pop);
      if (follow_write) begin
        writing_q <= 1'b1;
        write_ahead_q <= wanted_q - words_t'(write_pop) + words_t'(at_q) - words_t'(write_word_i);
      end else if (write_pop) begin
        write_ahead_q <= write_ahead_q - 1'b1;
        if (writing_q && !written_q && write_ahead_q == '0) new_q <= write_data_i;
      end
    end
    if (begin_q) old_q <= old_i;
  end
  initial written_q = 1'b0;
  always @(posedge clk_i) begin
    if (rst_ni && writing_q && write_pop && write_ahead_q == '0) written_q <= 1'b1;
  end
  always_comb if (rst_ni) begin
    assume (!asks_q || (write_req_valid_i && write_req == asked_q));
    assume (!gives_q || (write_data_valid_i && write_data_i == given_q));
    assume (write_word_i[WordWidth-1:WordBits] != '0 || 32'(write_word_i) + 32'(write_words_i) <= Words);
    assume (!follow_write || (!writing_q && !written_q));
    assume (32'(wanted_q) < 32);
  end

  // --- the word of a read that is followed -----------------------------------------------------------------------------
  logic                 followed_q, chip_q, here_q, follow, sure_new_q;
  words_t               ahead_q, ext_ahead_q;
  logic [WordWidth-1:0] followed_word;

  assign follow = take[port_q] && choose_i && !followed_q && offset_i < req_words_i[port_q];
  assign followed_word = req_word_i[port_q] + WordWidth'(offset_i);
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      followed_q <= 1'b0;
    end else if (follow) begin
      followed_q <= 1'b1;
      chip_q <= on_chip[port_q];
      here_q <= followed_word == WordWidth'(at_q);
      ahead_q <= all_q[port_q] - words_t'(pop[port_q]) + words_t'(offset_i);
      ext_ahead_q <= owed_q[port_q] - words_t'(ext_pop[port_q]) + words_t'(offset_i);
      sure_new_q <= written_q;  // the word had been written when it was asked for
    end else begin
      ahead_q <= ahead_q - words_t'(pop[port_q]);
      ext_ahead_q <= ext_ahead_q - words_t'(ext_pop[port_q]);
      if (pop[port_q] && ahead_q == '0) followed_q <= 1'b0;
    end
  end

  logic [NumRead-1:0] arrives;  // the followed word is at the consumer
  always_comb arrives = followed_q && ahead_q == '0 ? data_valid & (NumRead'(1) << port_q) : '0;

  for (genvar b = 0; b < Banks; b++) begin : gen_bank
    always_comb begin
      if (begin_q && at_i[BankBits-1:0] == BankBits'(b)) begin
        assume (dut.i_banks.gen_bank[b].memory[at_i[WordBits-1:BankBits]] == old_i);
      end
      if (begin_q) assume (!dut.i_banks.write_valid_q);
    end
  end

  always_comb if (rst_ni) begin
    p_order: assert (arrives == '0 || chip_q || (ext_ahead_q == '0 && ext_pop[port_q] == pop[port_q]
                                                 && ext_data_valid_i[port_q] && data[port_q] == ext_data_i[port_q]));
    p_old:   assert (arrives == '0 || !chip_q || !here_q || written_q || data[port_q] == old_q);
    p_new:   assert (arrives == '0 || !chip_q || !here_q || !sure_new_q || data[port_q] == new_q);
    p_chip:  assert (arrives == '0 || !chip_q || !ext_pop[port_q]);
    p_write_passed: assert (!ext_write_req_valid || ext_write_req[AddrWidth+16]
                            || ext_write_req[AddrWidth-1:Shift+WordBits] != '0);
    p_write_data:   assert (!ext_write_data_valid || (write_data_valid_i && ext_write_data == write_data_i));
    p_write_wanted: assert (!write_data_ready || wanted_q != '0);
  end

endmodule
