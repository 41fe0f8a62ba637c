/// Writes the tokens of a stream to a file, one line of hexadecimal digits each, and checks the handshake.
/// `stall_i`/256 is the probability of a cycle without ready, in phases of 64 cycles as in stream_source.
module stream_sink #(
  parameter int unsigned Width = 1,
  parameter int unsigned Index = 0,
  parameter              File = "tokens.hex"
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [31:0]      seed_i,
  input  logic [8:0]       stall_i,
  input  logic             close_i,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  output logic [31:0]      received_o
);

  logic [31:0]      random_q, age_q;
  logic [1:0]       mood_q;
  logic             waiting_q;
  logic [Width-1:0] data_q;
  int               handle;

  initial handle = $fopen(File, "w");

  /// Return the next number of a xorshift generator.
  function automatic logic [31:0] scramble(input logic [31:0] x);
    logic [31:0] y;
    y = x ^ (x << 13);
    y = y ^ (y >> 17);
    return y ^ (y << 5);
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ready_o <= 1'b0;
      received_o <= '0;
      age_q <= '0;
      mood_q <= 2'd2;
      random_q <= scramble(seed_i * 32'hc2b2ae35 + 32'(Index) * 2 + 1);
      waiting_q <= 1'b0;
    end else begin
      age_q <= age_q + 1;
      if (stall_i != 0) random_q <= scramble(random_q);
      if (age_q[5:0] == '1) mood_q <= random_q[31:30];
      ready_o <= stall_i == 0 || (mood_q != 2'd0 && (mood_q == 2'd1 || {1'b0, random_q[7:0]} >= stall_i));
      if (valid_i && ready_o) begin
        received_o <= received_o + 1;
        $fwrite(handle, "%h\n", data_i);
      end
      waiting_q <= valid_i && !ready_o;
      data_q <= data_i;
      if (waiting_q) begin
        assert (valid_i) else $error("%s: valid fell before ready", File);
        assert (data_i === data_q) else $error("%s: data moved before ready", File);
      end
      if (close_i) $fflush(handle);
    end
  end

endmodule
