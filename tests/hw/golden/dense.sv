/// Block dense: 2 processes.
module dense (
  input  logic clk_i,   // the only clock
  input  logic rst_ni,  // reset of the control, synchronous, active low
  // jobs: stream from outside; a token is Job, 8 bits:
  //   depth u4 [3:0], shift u4 [7:4]
  input  logic jobs_valid_i,       // there is a token
  output logic jobs_ready_o,       // it is taken, if there is one
  input  logic [7:0] jobs_data_i,  // the token
  // x: stream from outside; a token is i8[2, 4], 64 bits, the first element in the lowest
  input  logic x_valid_i,        // there is a token
  output logic x_ready_o,        // it is taken, if there is one
  input  logic [63:0] x_data_i,  // the token
  // w: stream from outside; a token is i8[2, 4], 64 bits, the first element in the lowest
  input  logic w_valid_i,        // there is a token
  output logic w_ready_o,        // it is taken, if there is one
  input  logic [63:0] w_data_i,  // the token
  // y: stream out of the block; a token is i8[2, 2], 32 bits, the first element in the lowest
  output logic y_valid_o,       // there is a token
  input  logic y_ready_i,       // it is taken, if there is one
  output logic [31:0] y_data_o  // the token
);
  logic unused_jobs_credit;  // its writer observes ready instead
  logic jobs_out_valid, jobs_out_ready;
  logic [7:0] jobs_out_data;
  logic unused_x_credit;  // its writer observes ready instead
  logic x_out_valid, x_out_ready;
  logic [63:0] x_out_data;
  logic unused_w_credit;  // its writer observes ready instead
  logic w_out_valid, w_out_ready;
  logic [63:0] w_out_data;
  logic y_credit;
  logic y_in_valid, y_in_ready;
  logic [31:0] y_in_data;
  logic sums_credit;
  logic sums_in_valid, sums_in_ready;
  logic [127:0] sums_in_data;
  logic sums_out_valid, sums_out_ready;
  logic [127:0] sums_out_data;
  logic shifts_credit;
  logic shifts_in_valid, shifts_in_ready;
  logic [3:0] shifts_in_data;
  logic shifts_out_valid, shifts_out_ready;
  logic [3:0] shifts_out_data;

  // jobs: input jobs to process multiply; a token is Job, 8 bits
  fifo #(.Width(8), .Depth(2), .Style("registers")) i_jobs_fifo (
    .clk_i(clk_i),
    .rst_ni(rst_ni),
    .in_valid_i(jobs_valid_i),
    .in_ready_o(jobs_ready_o),
    .in_data_i(jobs_data_i),
    .out_valid_o(jobs_out_valid),
    .out_ready_i(jobs_out_ready),
    .out_data_o(jobs_out_data),
    .credit_o(unused_jobs_credit)
  );

  // x: input x to process multiply; a token is i8[2, 4]
  fifo #(.Width(64), .Depth(2), .Style("registers")) i_x_fifo (
    .clk_i(clk_i),
    .rst_ni(rst_ni),
    .in_valid_i(x_valid_i),
    .in_ready_o(x_ready_o),
    .in_data_i(x_data_i),
    .out_valid_o(x_out_valid),
    .out_ready_i(x_out_ready),
    .out_data_o(x_out_data),
    .credit_o(unused_x_credit)
  );

  // w: input w to process multiply; a token is i8[2, 4]
  fifo #(.Width(64), .Depth(2), .Style("registers")) i_w_fifo (
    .clk_i(clk_i),
    .rst_ni(rst_ni),
    .in_valid_i(w_valid_i),
    .in_ready_o(w_ready_o),
    .in_data_i(w_data_i),
    .out_valid_o(w_out_valid),
    .out_ready_i(w_out_ready),
    .out_data_o(w_out_data),
    .credit_o(unused_w_credit)
  );

  // y: process requantise to output y; a token is i8[2, 2]
  fifo #(.Width(32), .Depth(5), .Style("distributed")) i_y_fifo (
    .clk_i(clk_i),
    .rst_ni(rst_ni),
    .in_valid_i(y_in_valid),
    .in_ready_o(y_in_ready),
    .in_data_i(y_in_data),
    .out_valid_o(y_valid_o),
    .out_ready_i(y_ready_i),
    .out_data_o(y_data_o),
    .credit_o(y_credit)
  );

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) assert (!y_in_valid || y_in_ready) else $error("y: a token without room");
  end
`endif

  // sums: process multiply to process requantise; a token is i32[2, 2]
  fifo #(.Width(128), .Depth(13), .Bypass(1'b0), .Style("distributed")) i_sums_fifo (
    .clk_i(clk_i),
    .rst_ni(rst_ni),
    .in_valid_i(sums_in_valid),
    .in_ready_o(sums_in_ready),
    .in_data_i(sums_in_data),
    .out_valid_o(sums_out_valid),
    .out_ready_i(sums_out_ready),
    .out_data_o(sums_out_data),
    .credit_o(sums_credit)
  );

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) assert (!sums_in_valid || sums_in_ready) else $error("sums: a token without room");
  end
`endif

  // shifts: process multiply to process requantise; a token is u4
  fifo #(.Width(4), .Depth(4), .Style("distributed")) i_shifts_fifo (
    .clk_i(clk_i),
    .rst_ni(rst_ni),
    .in_valid_i(shifts_in_valid),
    .in_ready_o(shifts_in_ready),
    .in_data_i(shifts_in_data),
    .out_valid_o(shifts_out_valid),
    .out_ready_i(shifts_out_ready),
    .out_data_o(shifts_out_data),
    .credit_o(shifts_credit)
  );

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) assert (!shifts_in_valid || shifts_in_ready) else $error("shifts: a token without room");
  end
`endif

  dense_multiply i_multiply (
    .clk_i(clk_i),
    .rst_ni(rst_ni),
    .jobs_valid_i(jobs_out_valid),
    .jobs_ready_o(jobs_out_ready),
    .jobs_data_i(jobs_out_data),
    .x_valid_i(x_out_valid),
    .x_ready_o(x_out_ready),
    .x_data_i(x_out_data),
    .w_valid_i(w_out_valid),
    .w_ready_o(w_out_ready),
    .w_data_i(w_out_data),
    .sums_valid_o(sums_in_valid),
    .sums_data_o(sums_in_data),
    .sums_credit_i(sums_credit),
    .shifts_valid_o(shifts_in_valid),
    .shifts_data_o(shifts_in_data),
    .shifts_credit_i(shifts_credit)
  );

  dense_requantise i_requantise (
    .clk_i(clk_i),
    .rst_ni(rst_ni),
    .sums_valid_i(sums_out_valid),
    .sums_ready_o(sums_out_ready),
    .sums_data_i(sums_out_data),
    .shifts_valid_i(shifts_out_valid),
    .shifts_ready_o(shifts_out_ready),
    .shifts_data_i(shifts_out_data),
    .y_valid_o(y_in_valid),
    .y_data_o(y_in_data),
    .y_credit_i(y_credit)
  );
endmodule
