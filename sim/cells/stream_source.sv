/// Sends a file of tokens to a stream: ceil(Width/8) bytes per token, most significant byte first.
/// `idle_i`/256 is the probability of a pause before a token; a valid token stays until it is accepted. If it is not 0,
/// every 64 cycles are of one phase: pauses of that probability, none, or one long pause.
module stream_source #(
  parameter int unsigned Width = 1,
  parameter int unsigned Index = 0,
  parameter              File = "tokens.bin"
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [31:0]      seed_i,
  input  logic [8:0]       idle_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o,
  output logic [31:0]      sent_o
);

  localparam int unsigned Bytes = (Width + 7) / 8;

  logic [8*Bytes-1:0] token;
  logic [31:0]        random_q, age_q;
  logic [1:0]         mood_q;
  logic               pause, unused;
  int                 handle;

  initial begin
    handle = $fopen(File, "rb");
    if (handle == 0) $fatal(1, "cannot open %s", File);
  end

  /// Return the next number of a xorshift generator.
  function automatic logic [31:0] scramble(input logic [31:0] x);
    logic [31:0] y;
    y = x ^ (x << 13);
    y = y ^ (y >> 17);
    return y ^ (y << 5);
  endfunction

  assign pause = idle_i != 0 && (mood_q == 2'd0 || (mood_q != 2'd1 && {1'b0, random_q[7:0]} < idle_i));

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_o <= 1'b0;
      sent_o <= '0;
      age_q <= '0;
      mood_q <= 2'd2;
      random_q <= scramble(seed_i * 32'h9e3779b9 + 32'(Index) * 2 + 1);
    end else begin
      age_q <= age_q + 1;
      if (idle_i != 0) random_q <= scramble(random_q);
      if (age_q[5:0] == '1) mood_q <= random_q[31:30];
      if (valid_o && ready_i) sent_o <= sent_o + 1;
      if (!valid_o || ready_i) begin
        valid_o <= 1'b0;
        if (!pause && $fread(token, handle) == Bytes) begin
          valid_o <= 1'b1;
          data_o <= token[Width-1:0];
        end
      end
    end
  end

  assign unused = ^token;  // the padding of the first byte

endmodule
