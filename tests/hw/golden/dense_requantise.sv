/* verilator lint_off UNUSEDSIGNAL */ // fields that this process does not read
/// Process requantise.
module dense_requantise (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic sums_valid_i,
  output logic sums_ready_o,
  input  logic [127:0] sums_data_i,
  input  logic shifts_valid_i,
  output logic shifts_ready_o,
  input  logic [3:0] shifts_data_i,
  output logic y_valid_o,
  output logic [31:0] y_data_o,
  input  logic y_credit_i
);
  // control
  logic [0:0] n_q;
  logic first_n, last_n;
  logic done_n;
  logic carry_n, nest_end;
  logic walks, started, skip, slot;
  logic issue, step;
  logic [2:0] y_credit_q, y_credit_n;
  logic y_room_q;
  logic [1:1] valid_q;  // by stage after issue

  // data, _sN: in stage N
  logic signed [31:0] sums_1 [2] [2];
  logic [3:0] shifts_1;
  logic signed [32:0] raised_1 [2] [2];
  logic signed [32:0] lowered_by_1 [2] [2];
  logic signed [33:0] sum_1 [2] [2];
  logic signed [32:0] lowered_1 [2] [2];
  logic signed [31:0] wrapped_1 [2] [2];
  logic signed [7:0] saturated_1 [2] [2];
  logic signed [31:0] wrapped_1_s1 [2] [2];

  // nest, issue (in stage 0) and what leaves
  assign done_n = last_n;
  assign carry_n = 1'b1;
  assign nest_end = carry_n && done_n;
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

  // stage 0
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 2; j++) begin
        sums_1[i][j] = signed'(sums_data_i[64*i+32*j+:32]);
      end
    end
  end
  assign shifts_1 = shifts_data_i[3:0];
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 2; j++) begin
        raised_1[i][j] = 33'(sums_1[i][j]) << 1;
        lowered_by_1[i][j] = raised_1[i][j] >>> shifts_1;
        sum_1[i][j] = 34'(lowered_by_1[i][j]) + 34'sh1;
        lowered_1[i][j] = signed'(sum_1[i][j][33:1]);
        wrapped_1[i][j] = 32'(lowered_1[i][j]);
      end
    end
  end

  // stage 1
  always_ff @(posedge clk_i) begin
    wrapped_1_s1 <= wrapped_1;
  end
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 2; j++) begin
        saturated_1[i][j] = (wrapped_1_s1[i][j] > 32'sd127) ? 8'sd127 : (wrapped_1_s1[i][j] < -32'sd128) ? 8'sh80 : 8'(wrapped_1_s1[i][j]);
        y_data_o[16*i+8*j+:8] = unsigned'(saturated_1[i][j]);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      n_q <= '0;
      first_n <= 1'b1;
      last_n <= 1'b1;
    end else if (walks) begin
      if (carry_n) begin
        n_q <= done_n ? '0 : n_q + 1'd1;
        first_n <= done_n;
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
