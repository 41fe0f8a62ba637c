/// Process requantise, printed from golden_block.py:40.
module dense_requantise (
  input  logic clk_i,   // the only clock
  input  logic rst_ni,  // reset of the control, synchronous, active low
  // sums: stream from process multiply; a token is i32[2, 2], 128 bits, the first element in the lowest
  input  logic sums_valid_i,         // there is a token
  output logic sums_ready_o,         // it is taken, if there is one
  input  logic [127:0] sums_data_i,  // the token
  // shifts: stream from process multiply; a token is u4
  input  logic shifts_valid_i,       // there is a token
  output logic shifts_ready_o,       // it is taken, if there is one
  input  logic [3:0] shifts_data_i,  // the token
  // y: stream to output y, by credits; a token is i8[2, 2], 32 bits, the first element in the lowest
  output logic y_valid_o,        // a token for the FIFO, which has room for it
  output logic [31:0] y_data_o,  // the token
  input  logic y_credit_i        // a token has left the FIFO: room for one more
);
  // control
  logic n_q;  // counter of loop n
  logic last_n;
  logic done_n;  // the iteration is the last one of its loop, or the nest is empty
  logic carry_n;  // all loops inside are done
  logic walks, started, skip, slot;  // counters move, there is a nest, it is empty, an iteration is made
  logic issue, step;  // an iteration issues, what waits for that moves
  logic [2:0] y_credit_q, y_credit_n;  // free places in the FIFO of y, and then
  logic y_room_q;  // there is one
  logic [1:1] valid_q;  // by stage after issue

  // data, _sN: in stage N
  logic signed [31:0] sums_token [2] [2];
  logic [3:0] shifts_token;
  logic signed [32:0] y_shl_1 [2] [2];
  logic signed [32:0] y_shr [2] [2];
  logic signed [33:0] y_plus_1 [2] [2];
  logic signed [32:0] y_rounded [2] [2];
  logic signed [31:0] y_wrapped [2] [2], y_wrapped_s1 [2] [2];
  logic signed [7:0] y_value [2] [2];

  // nest, issue (in stage 0) and what leaves
  assign done_n = last_n;
  assign carry_n = 1'b1;
  assign started = 1'b1;
  assign skip = 1'b0;
  assign slot = started && !skip;
  assign step = issue || !slot;
  assign walks = step && started;
  assign sums_ready_o = issue;
  assign shifts_ready_o = issue;
  assign y_credit_n = y_credit_q + 3'(y_credit_i) - 3'(issue);
  assign issue = slot
    && sums_valid_i
    && shifts_valid_i
    && y_room_q;
  assign y_valid_o = valid_q[1];

  // stage 0: p.write(y, sat(round_shift(p.read(sums), p.read(shifts)), i(8)))   golden_block.py:42
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 2; j++) begin
        sums_token[i][j] = signed'(sums_data_i[64*i+32*j+:32]);
      end
    end
  end
  assign shifts_token = shifts_data_i[3:0];
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 2; j++) begin
        y_shl_1[i][j] = 33'(sums_token[i][j]) << 1;
        y_shr[i][j] = y_shl_1[i][j] >>> shifts_token;
        y_plus_1[i][j] = 34'(y_shr[i][j]) + 34'sh1;
        y_rounded[i][j] = signed'(y_plus_1[i][j][33:1]);
        y_wrapped[i][j] = 32'(y_rounded[i][j]);
      end
    end
  end

  // stage 1: p.write(y, sat(round_shift(p.read(sums), p.read(shifts)), i(8)))   golden_block.py:42
  always_ff @(posedge clk_i) begin
    y_wrapped_s1 <= y_wrapped;
  end
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 2; j++) begin
        y_value[i][j] = (y_wrapped_s1[i][j] > 32'sd127) ? 8'sd127 : (y_wrapped_s1[i][j] < -32'sd128) ? 8'sh80 : 8'(y_wrapped_s1[i][j]);
        y_data_o[16*i+8*j+:8] = unsigned'(y_value[i][j]);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      n_q <= '0;
      last_n <= 1'b1;
    end else if (walks) begin
      if (carry_n) begin
        n_q <= done_n ? '0 : n_q + 1'd1;
        last_n <= done_n ? 1'b1 : 1'b0;
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      y_credit_q <= 3'd5;
      y_room_q <= 1'b1;
    end else begin
      y_credit_q <= y_credit_n;
      y_room_q <= y_credit_n != '0;
    end
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= issue;
  end
endmodule
