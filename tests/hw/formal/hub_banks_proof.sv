/// Properties of hub_banks: ports that ask for any words at any time and keep asking until they are served, any writes, a
/// reset at any time. One word of the memory, chosen freely, is compared with what was written to it last.
module hub_banks_proof #(
  parameter int unsigned NumRead = 3,
  parameter int unsigned Banks = 2,
  parameter int unsigned Words = 8,
  parameter int unsigned DataWidth = 2,
  localparam int unsigned WordBits = $clog2(Words),
  localparam int unsigned BankBits = $clog2(Banks)
) (
  input logic                             clk_i,
  input logic                             rst_ni,
  input logic [WordBits-1:0]              word_i,
  input logic [NumRead-1:0]               read_valid_i,
  input logic [NumRead-1:0][WordBits-1:0] read_word_i,
  input logic                             write_valid_i,
  input logic [WordBits-1:0]              write_word_i,
  input logic [DataWidth-1:0]             write_data_i
);
  localparam int unsigned Latency = 4;
  logic [NumRead-1:0]                read_ready, answer_valid;
  logic [NumRead-1:0][DataWidth-1:0] answer_data;

  hub_banks #(.NumRead(NumRead), .Banks(Banks), .Words(Words), .DataWidth(DataWidth), .Style("auto")) dut (
    .clk_i, .rst_ni, .read_valid_i, .read_ready_o(read_ready), .read_word_i, .answer_valid_o(answer_valid),
    .answer_data_o(answer_data), .write_valid_i, .write_word_i, .write_data_i
  );

  // --- the word that is followed: chosen in the first cycle, known once it has been written ----------------------------
  logic                 begin_q, known_q;
  logic [WordBits-1:0]  word_q;
  logic [DataWidth-1:0] value_q;

  initial begin
    begin_q = 1'b1;
    known_q = 1'b0;
  end
  always @(posedge clk_i) begin
    begin_q <= 1'b0;
    if (begin_q) word_q <= word_i;
    else if (rst_ni && write_valid_i && write_word_i == word_q) begin
      known_q <= 1'b1;
      value_q <= write_data_i;
    end
  end
  always_comb if (begin_q) assume (!rst_ni);

  // --- the arbiter -----------------------------------------------------------------------------------------------------
  logic one_each, none_idle, none_else;
  always_comb begin
    one_each = 1'b1;
    none_idle = 1'b1;
    none_else = (read_ready & ~read_valid_i) == '0;
    for (int unsigned b = 0; b < Banks; b++) begin
      logic [7:0] wanted, granted;
      wanted = '0;
      granted = '0;
      for (int unsigned p = 0; p < NumRead; p++) begin
        wanted = wanted + 8'(read_valid_i[p] && read_word_i[p][BankBits-1:0] == BankBits'(b));
        granted = granted + 8'(read_ready[p] && read_word_i[p][BankBits-1:0] == BankBits'(b));
      end
      one_each = one_each && granted <= 8'd1;
      none_idle = none_idle && (wanted == '0 || granted != '0);
    end
  end

  always_comb if (rst_ni) begin
    p_one_each:  assert (one_each);   // a bank serves one port in a cycle
    p_none_idle: assert (none_idle);  // and none of those that want it only if none does
    p_none_else: assert (none_else);
  end

  // --- each port: served in time, answered in time, with the word as it was when it was served -------------------------
  for (genvar p = 0; p < NumRead; p++) begin : gen_port
    logic                              asks_q, served, here;
    logic [WordBits-1:0]               asked_q;
    logic [7:0]                        waited_q;
    logic [Latency-1:0]                served_q, here_q;
    logic [Latency-1:0][DataWidth-1:0] expected_q;

    assign served = read_valid_i[p] && read_ready[p];
    assign here = served && known_q && read_word_i[p] == word_q;
    always_comb if (rst_ni && asks_q) assume (read_valid_i[p] && read_word_i[p] == asked_q);

    always_ff @(posedge clk_i) begin
      asks_q <= rst_ni && read_valid_i[p] && !read_ready[p];
      asked_q <= read_word_i[p];
      waited_q <= rst_ni && read_valid_i[p] && !read_ready[p] ? waited_q + 1'b1 : '0;
      served_q <= rst_ni ? {served_q[Latency-2:0], served} : '0;
      here_q <= rst_ni ? {here_q[Latency-2:0], here} : '0;
      expected_q <= {expected_q[Latency-2:0], value_q};
    end

    always_comb if (rst_ni) begin
      p_no_starving: assert (waited_q < 8'(NumRead));  // served at the latest in the NumRead-th cycle
      p_answers:     assert (answer_valid[p] == served_q[Latency-1]);
      p_data:        assert (!here_q[Latency-1] || answer_data[p] == expected_q[Latency-1]);
    end

    // what the registers hold
    logic [7:0] until_first;  // cycles until the port goes first
    assign until_first = dut.first_q <= 2'(p) ? 8'(p) - 8'(dut.first_q) : 8'(p) + 8'(NumRead) - 8'(dut.first_q);
    always_comb if (rst_ni) begin
      h_waited:  assert (waited_q + until_first < 8'(NumRead));
      h_valid:   assert (dut.gen_port[p].valid_q == served_q[Latency-2:0]);
      h_subset:  assert ((here_q & ~served_q) == '0);
      h_bank:    assert ((!here_q[0] || dut.gen_port[p].bank_q[0] == word_q[BankBits-1:0])
                         && (!here_q[1] || dut.gen_port[p].bank_q[1] == word_q[BankBits-1:0])
                         && (!here_q[2] || dut.gen_port[p].bank_q[2] == word_q[BankBits-1:0]));
      h_known:   assert (here_q == '0 || known_q);
    end
    for (genvar b = 0; b < Banks; b++) begin : gen_bank
      always_comb if (rst_ni && word_q[BankBits-1:0] == BankBits'(b)) begin
        h_row:  assert (!here_q[0] || dut.gen_bank[b].row_q == word_q[WordBits-1:BankBits]);
        h_word: assert (!here_q[1] || dut.gen_bank[b].word_q == expected_q[1]);
        h_data: assert (!here_q[2] || dut.gen_bank[b].data_q == expected_q[2]);
        h_now:  assert (!here_q[0] || dut.gen_bank[b].memory[word_q[WordBits-1:BankBits]] == expected_q[0]);
      end
    end
  end
  for (genvar b = 0; b < Banks; b++) begin : gen_memory
    logic pending;  // a write of the word that is under way
    assign pending = dut.write_valid_q && dut.write_word_q == word_q;
    always_comb if (word_q[BankBits-1:0] == BankBits'(b)) begin
      h_memory: assert (!known_q || value_q
                        == (pending ? dut.write_data_q : dut.gen_bank[b].memory[word_q[WordBits-1:BankBits]]));
    end
  end
  always_comb begin
    h_begin: assert (!begin_q || !known_q);
    if (rst_ni) h_first: assert (32'(dut.first_q) < NumRead);
  end
endmodule
