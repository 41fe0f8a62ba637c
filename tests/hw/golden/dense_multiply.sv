/// Process multiply, printed from golden_block.py:34.
module dense_multiply (
  input  logic clk_i,   // the only clock
  input  logic rst_ni,  // reset of the control, synchronous, active low
  // jobs: command of process multiply, from input jobs; a token is Job, 8 bits:
  //   depth u4 [3:0], shift u4 [7:4]
  input  logic jobs_valid_i,       // there is a token
  output logic jobs_ready_o,       // it is taken, if there is one
  input  logic [7:0] jobs_data_i,  // the token
  // x: stream from input x; a token is i8[2, 4], 64 bits, the first element in the lowest
  input  logic x_valid_i,        // there is a token
  output logic x_ready_o,        // it is taken, if there is one
  input  logic [63:0] x_data_i,  // the token
  // w: stream from input w; a token is i8[2, 4], 64 bits, the first element in the lowest
  input  logic w_valid_i,        // there is a token
  output logic w_ready_o,        // it is taken, if there is one
  input  logic [63:0] w_data_i,  // the token
  // sums: stream to process requantise, by credits; a token is i32[2, 2], 128 bits, the first element in the lowest
  output logic sums_valid_o,         // a token for the FIFO, which has room for it
  output logic [127:0] sums_data_o,  // the token
  input  logic sums_credit_i,        // a token has left the FIFO: room for one more
  // shifts: stream to process requantise, by credits; a token is u4
  output logic shifts_valid_o,       // a token for the FIFO, which has room for it
  output logic [3:0] shifts_data_o,  // the token
  input  logic shifts_credit_i       // a token has left the FIFO: room for one more
);
  // control
  logic [3:0] k_q;  // counter of loop k
  logic first_k, last_k;
  logic [3:0] k_ahead_q;  // one more than it
  logic done_k;  // the iteration is the last one of its loop, or the nest is empty
  logic carry_k, nest_end;  // all loops inside are done
  logic walks, started, skip, slot;  // counters move, there is a nest, it is empty, an iteration is made
  logic issue, step;  // an iteration issues, what waits for that moves
  logic [3:0] sums_credit_q, sums_credit_n;  // free places in the FIFO of sums, and then
  logic sums_room_q;  // there is one
  logic [2:0] shifts_credit_q, shifts_credit_n;  // free places in the FIFO of shifts, and then
  logic shifts_room_q;  // there is one
  logic [8:1] valid_q;  // by stage after issue

  // data, _sN: in stage N
  logic [3:0] c_depth;
  logic signed [7:0] x_token [2] [4];
  logic signed [7:0] w_token [2] [4];
  logic signed [37:0] total_cascade [1] [2];
  logic [31:0] total_cascade_even, total_cascade_odd;
  logic [63:0] total_cascade_weights;
  logic [75:0] total_cascade_sums;
  logic signed [18:0] total_wrapped [1] [2];
  logic signed [16:0] total_wrapped_2 [1] [2];
  logic signed [18:0] total_shr_19 [1] [2];
  logic total_field [1] [2];
  logic signed [16:0] total_sum [1] [2];
  logic signed [16:0] total_joined [1] [2] [2];
  logic signed [31:0] total [2] [2], total_n [2] [2];
  logic first_k_s1, first_k_s2, first_k_s3, first_k_s4, first_k_s5, first_k_s6, first_k_s7;
  logic [3:0] c_shift;
  logic last_k_s1, last_k_s2, last_k_s3, last_k_s4, last_k_s5, last_k_s6, last_k_s7, last_k_s8;
  dot_cascade #(.Pairs(1), .Outs(2), .Terms(4), .Shift(19)) total_cascade_cascade (.clk_i, .even_i(total_cascade_even),
    .odd_i(total_cascade_odd), .weights_i(total_cascade_weights), .sums_o(total_cascade_sums));

  // nest, issue (in stage 0) and what leaves
  assign last_k = k_ahead_q == c_depth;
  assign done_k = last_k || (c_depth == 4'd0);
  assign carry_k = 1'b1;
  assign nest_end = carry_k && done_k;
  assign started = jobs_valid_i;
  assign skip = (c_depth == 4'd0);
  assign slot = started && !skip;
  assign step = issue || !slot;
  assign walks = step && started;
  assign jobs_ready_o = step && started && nest_end;
  assign x_ready_o = issue;
  assign w_ready_o = issue;
  assign sums_credit_n = sums_credit_q + 4'(sums_credit_i) - 4'(issue && last_k);
  assign shifts_credit_n = shifts_credit_q + 3'(shifts_credit_i) - 3'(issue && last_k);
  assign issue = slot
    && x_valid_i
    && w_valid_i
    && (sums_room_q || !last_k)
    && (shifts_room_q || !last_k);
  assign sums_valid_o = valid_q[8] && last_k_s8;
  assign shifts_valid_o = issue && last_k;

  // stage 0:
  //   the command's fields, from jobs_data_i
  //   total = p.accumulate(dot(p.read(x), p.read(w)), clear=first(k), type=i(32))   golden_block.py:36
  //   p.write(shifts, c.shift, when=last(k))   golden_block.py:38
  assign c_depth = jobs_data_i[3:0];
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 4; j++) begin
        x_token[i][j] = signed'(x_data_i[32*i+8*j+:8]);
        w_token[i][j] = signed'(w_data_i[32*i+8*j+:8]);
      end
    end
  end
  always_comb begin
    for (int j = 0; j < 4; j++) begin
      total_cascade_even[8*j+:8] = unsigned'(x_token[0][j]);
      total_cascade_odd[8*j+:8] = unsigned'(x_token[1][j]);
    end
  end
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 4; j++) begin
        total_cascade_weights[32*i+8*j+:8] = unsigned'(w_token[i][j]);
      end
    end
  end
  assign c_shift = jobs_data_i[7:4];
  assign shifts_data_o[3:0] = c_shift;

  // stage 1: what later stages read
  always_ff @(posedge clk_i) begin
    first_k_s1 <= first_k;
    last_k_s1 <= last_k;
  end

  // stage 2: what later stages read
  always_ff @(posedge clk_i) begin
    first_k_s2 <= first_k_s1;
    last_k_s2 <= last_k_s1;
  end

  // stage 3: what later stages read
  always_ff @(posedge clk_i) begin
    first_k_s3 <= first_k_s2;
    last_k_s3 <= last_k_s2;
  end

  // stage 4: what later stages read
  always_ff @(posedge clk_i) begin
    first_k_s4 <= first_k_s3;
    last_k_s4 <= last_k_s3;
  end

  // stage 5: what later stages read
  always_ff @(posedge clk_i) begin
    first_k_s5 <= first_k_s4;
    last_k_s5 <= last_k_s4;
  end

  // stage 6: what later stages read
  always_ff @(posedge clk_i) begin
    first_k_s6 <= first_k_s5;
    last_k_s6 <= last_k_s5;
  end

  // stage 7: total = p.accumulate(dot(p.read(x), p.read(w)), clear=first(k), type=i(32))   golden_block.py:36
  always_ff @(posedge clk_i) begin
    first_k_s7 <= first_k_s6;
    last_k_s7 <= last_k_s6;
  end
  always_comb begin
    for (int j = 0; j < 2; j++) begin
      total_cascade[0][j] = signed'(total_cascade_sums[38*j+:38]);
      total_wrapped[0][j] = 19'(total_cascade[0][j]);
      total_wrapped_2[0][j] = 17'(total_wrapped[0][j]);
      total_shr_19[0][j] = signed'(total_cascade[0][j][37:19]);
      total_field[0][j] = total_cascade[0][j][18];
      total_sum[0][j] = 17'(total_shr_19[0][j]) + 17'(signed'({1'b0, total_field[0][j]}));
    end
  end
  always_comb begin
    for (int l = 0; l < 2; l++) begin
      total_joined[0][0][l] = total_wrapped_2[0][l];
    end
    for (int l = 0; l < 2; l++) begin
      total_joined[0][1][l] = total_sum[0][l];
    end
  end
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 2; j++) begin
        total_n[i][j] = 32'(total_joined[0][i][j]) + (first_k_s7 ? 32'sd0 : total[i][j]);
      end
    end
  end

  // stage 8:
  //   total = p.accumulate(dot(p.read(x), p.read(w)), clear=first(k), type=i(32))   golden_block.py:36
  //   p.write(sums, total, when=last(k))   golden_block.py:37
  always_ff @(posedge clk_i) begin
    if (valid_q[7]) total <= total_n;
    last_k_s8 <= last_k_s7;
  end
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 2; j++) begin
        sums_data_o[64*i+32*j+:32] = unsigned'(total[i][j]);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      k_q <= '0;
      first_k <= 1'b1;
      k_ahead_q <= 4'd1;
    end else if (walks) begin
      if (carry_k) begin
        k_q <= done_k ? '0 : k_q + 4'd1;
        first_k <= done_k;
        k_ahead_q <= done_k ? 4'd1 : k_ahead_q + 4'd1;
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      sums_credit_q <= 4'd13;
      sums_room_q <= 1'b1;
    end else begin
      sums_credit_q <= sums_credit_n;
      sums_room_q <= sums_credit_n != '0;
    end
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      shifts_credit_q <= 3'd4;
      shifts_room_q <= 1'b1;
    end else begin
      shifts_credit_q <= shifts_credit_n;
      shifts_room_q <= shifts_credit_n != '0;
    end
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[7:1], issue};
  end
endmodule
