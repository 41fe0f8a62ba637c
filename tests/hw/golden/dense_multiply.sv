/* verilator lint_off UNUSEDSIGNAL */ // fields that this process does not read
/// Process multiply.
module dense_multiply (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic jobs_valid_i,
  output logic jobs_ready_o,
  input  logic [7:0] jobs_data_i,
  input  logic x_valid_i,
  output logic x_ready_o,
  input  logic [63:0] x_data_i,
  input  logic w_valid_i,
  output logic w_ready_o,
  input  logic [63:0] w_data_i,
  output logic sums_valid_o,
  output logic [127:0] sums_data_o,
  input  logic sums_credit_i,
  output logic shifts_valid_o,
  output logic [3:0] shifts_data_o,
  input  logic shifts_credit_i
);
  // control
  logic [3:0] k_q;
  logic first_k, last_k;
  logic [3:0] k_ahead_q;
  logic done_k;
  logic carry_k, nest_end;
  logic walks, started, skip, slot;
  logic issue, step;
  logic [3:0] sums_credit_q, sums_credit_n;
  logic sums_room_q;
  logic [2:0] shifts_credit_q, shifts_credit_n;
  logic shifts_room_q;
  logic [4:1] valid_q;  // by stage after issue

  // data, _sN: in stage N
  logic [3:0] c_depth;
  logic signed [7:0] x_1 [2] [4];
  logic signed [7:0] w_1 [2] [4];
  logic signed [26:0] raised_1 [1] [4];
  logic signed [26:0] sum_1 [1] [4];
  logic signed [34:0] product_1 [1] [2] [4];
  logic signed [26:0] sum_1_s1 [1] [4];
  logic signed [7:0] w_1_s1 [2] [4];
  logic signed [34:0] product_1_n [1] [2] [4];
  logic signed [35:0] sum_2 [1] [2] [2];
  logic signed [36:0] sum_3 [1] [2] [1];
  logic signed [18:0] wrapped_1 [1] [2];
  logic signed [16:0] wrapped_2 [1] [2];
  logic signed [17:0] lowered_1 [1] [2];
  logic [0:0] field_1 [1] [2];
  logic signed [16:0] sum_4 [1] [2];
  logic signed [17:0] lowered_1_s3 [1] [2];
  logic [0:0] field_1_s3 [1] [2];
  logic signed [16:0] row_1 [1] [2] [2];
  logic signed [16:0] wrapped_2_s3 [1] [2];
  logic signed [31:0] total [2] [2];
  logic signed [31:0] total_n [2] [2];
  logic [0:0] first_k_s1;
  logic [0:0] first_k_s2;
  logic [0:0] first_k_s3;
  logic [3:0] c_shift;
  logic [0:0] last_k_s1;
  logic [0:0] last_k_s2;
  logic [0:0] last_k_s3;
  logic [0:0] last_k_s4;

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
  assign sums_valid_o = valid_q[4] && last_k_s4;
  assign shifts_valid_o = issue && last_k;

  // stage 0
  assign c_depth = jobs_data_i[3:0];
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 4; j++) begin
        x_1[i][j] = signed'(x_data_i[32*i+8*j+:8]);
        w_1[i][j] = signed'(w_data_i[32*i+8*j+:8]);
      end
    end
  end
  always_comb begin
    for (int j = 0; j < 4; j++) begin
      raised_1[0][j] = 27'(x_1[1][j]) << 19;
      sum_1[0][j] = raised_1[0][j] + 27'(x_1[0][j]);
    end
  end
  assign c_shift = jobs_data_i[7:4];
  assign shifts_data_o[3:0] = c_shift;

  // stage 1
  always_ff @(posedge clk_i) begin
    sum_1_s1 <= sum_1;
    w_1_s1 <= w_1;
    first_k_s1 <= first_k;
    last_k_s1 <= last_k;
  end
  always_comb begin
    for (int j = 0; j < 2; j++) begin
      for (int l = 0; l < 4; l++) begin
        product_1_n[0][j][l] = 35'(sum_1_s1[0][l]) * 35'(w_1_s1[j][l]);
      end
    end
  end

  // stage 2
  always_ff @(posedge clk_i) begin
    product_1 <= product_1_n;
    first_k_s2 <= first_k_s1;
    last_k_s2 <= last_k_s1;
  end
  always_comb begin
    for (int j = 0; j < 2; j++) begin
      for (int l = 0; l < 2; l++) begin
        sum_2[0][j][l] = 36'(product_1[0][j][2*l]) + 36'(product_1[0][j][2*l+1]);
      end
    end
  end
  always_comb begin
    for (int j = 0; j < 2; j++) begin
      sum_3[0][j][0] = 37'(sum_2[0][j][0]) + 37'(sum_2[0][j][1]);
    end
  end
  always_comb begin
    for (int j = 0; j < 2; j++) begin
      wrapped_1[0][j] = 19'(sum_3[0][j][0]);
      wrapped_2[0][j] = 17'(wrapped_1[0][j]);
      lowered_1[0][j] = signed'(sum_3[0][j][0][36:19]);
      field_1[0][j] = sum_3[0][j][0][18:18];
    end
  end

  // stage 3
  always_ff @(posedge clk_i) begin
    lowered_1_s3 <= lowered_1;
    field_1_s3 <= field_1;
    wrapped_2_s3 <= wrapped_2;
    first_k_s3 <= first_k_s2;
    last_k_s3 <= last_k_s2;
  end
  always_comb begin
    for (int j = 0; j < 2; j++) begin
      sum_4[0][j] = 17'(lowered_1_s3[0][j]) + 17'(signed'({1'b0, field_1_s3[0][j]}));
    end
  end
  always_comb begin
    for (int l = 0; l < 2; l++) begin
      row_1[0][0][l] = wrapped_2_s3[0][l];
    end
    for (int l = 0; l < 2; l++) begin
      row_1[0][1][l] = sum_4[0][l];
    end
  end
  always_comb begin
    for (int i = 0; i < 2; i++) begin
      for (int j = 0; j < 2; j++) begin
        total_n[i][j] = first_k_s3 ? 32'(row_1[0][i][j]) : (total[i][j] + 32'(row_1[0][i][j]));
      end
    end
  end

  // stage 4
  always_ff @(posedge clk_i) begin
    if (valid_q[3]) total <= total_n;
    last_k_s4 <= last_k_s3;
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
      sums_credit_q <= 4'd8;
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
    else valid_q <= {valid_q[3:1], issue};
  end
endmodule
