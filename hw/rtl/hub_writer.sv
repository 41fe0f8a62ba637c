/// The write port of the memory hub: data of requests (address, words, mark) for on-chip memory is stored in its banks, that
/// of others is passed to the mover of external memory, all in order.
/// The first 2^WordBits words of the address space are on chip. A mark is acknowledged by the mover, so that it stands for
/// every word before it in either memory: the mover takes longer to answer than the banks to store.
/// Plusarg stored_log=FILE (simulation): each word as it is taken, as 32-bit words in native byte order: cycle, word address,
/// data from its low end up.
module hub_writer #(
  parameter int unsigned AddrWidth = 40,
  parameter int unsigned DataWidth = 128,
  parameter int unsigned WordBits = 15  // of an address in the banks
) (
  input  logic                  clk_i,             // the only clock
  input  logic                  rst_ni,            // reset, synchronous, active low
  // requests: addr[AddrWidth-1:0], words, mark
  input  logic                  req_valid_i,       // a request is there
  output logic                  req_ready_o,       // it is taken, if it is there
  input  logic [AddrWidth+16:0] req_data_i,        // the request
  input  logic                  data_valid_i,      // there is a word
  output logic                  data_ready_o,      // it is taken, if it is there
  input  logic [DataWidth-1:0]  data_data_i,       // the word
  // the mover of external memory
  output logic                  ext_req_valid_o,   // a request, or a mark, for the mover
  input  logic                  ext_req_ready_i,   // it is taken, if it is there
  output logic [AddrWidth+16:0] ext_req_data_o,    // the request
  output logic                  ext_data_valid_o,  // a word for the mover
  input  logic                  ext_data_ready_i,  // it is taken, if it is there
  output logic [DataWidth-1:0]  ext_data_data_o,   // the word
  // the banks
  output logic                  write_valid_o,     // a word for the banks, taken at once
  output logic [WordBits-1:0]   write_word_o,      // its address
  output logic [DataWidth-1:0]  write_data_o       // the word
);
  localparam int unsigned Shift = $clog2(DataWidth / 8);

  logic                  busy_q, chip_q, mark_q, store, forward, ends;
  logic [AddrWidth-1:0]  address_q;
  logic [15:0]           left_q;
  logic [23:0]           owed_q;  // words of requests that the mover has, which it has not got yet

  // the request at hand: on-chip words are stored one a cycle; then its mark, if any, goes to the mover
  assign store = busy_q && chip_q && left_q != '0 && owed_q == '0 && data_valid_i;
  assign ext_req_valid_o = busy_q && !owed_q[23] && (!chip_q || left_q == '0);
  assign ext_req_data_o = {mark_q, left_q, address_q};
  assign forward = ext_req_valid_o && ext_req_ready_i;
  assign ends = forward || (store && left_q == 16'd1 && !mark_q);
  assign req_ready_o = !busy_q || ends;

  assign write_valid_o = store;
  assign write_word_o = address_q[Shift+:WordBits];
  assign write_data_o = data_data_i;

  assign ext_data_valid_o = data_valid_i && owed_q != '0;
  assign ext_data_data_o = data_data_i;
  assign data_ready_o = owed_q != '0 ? ext_data_ready_i : busy_q && chip_q && left_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      owed_q <= '0;
    end else begin
      if (req_ready_o) busy_q <= req_valid_i && (req_data_i[AddrWidth+16] || req_data_i[AddrWidth+:16] != '0);
      owed_q <= owed_q + (forward ? 24'(left_q) : '0) - 24'(ext_data_valid_o && ext_data_ready_i);
    end
    if (req_ready_o) begin
      address_q <= req_data_i[AddrWidth-1:0];
      left_q <= req_data_i[AddrWidth+:16];
      mark_q <= req_data_i[AddrWidth+16];
      chip_q <= req_data_i[AddrWidth-1:Shift+WordBits] == '0;
    end else if (store) begin
      address_q <= address_q + AddrWidth'(DataWidth / 8);
      left_q <= left_q - 1'b1;
    end
  end

`ifndef SYNTHESIS
  string       log_name;
  int          log_file;
  logic [31:0] now_q;
  logic [31:0] pending [$];  // words that the mover gets next

  initial begin
    log_file = 0;
    if ($value$plusargs("stored_log=%s", log_name)) log_file = $fopen(log_name, "wb");
  end
  final if (log_file != 0) $fclose(log_file);

  always_ff @(posedge clk_i) now_q <= rst_ni ? now_q + 1 : '0;

  always @(posedge clk_i) begin
    if (!rst_ni) pending.delete();
    else begin
      if (ext_data_valid_o && ext_data_ready_i) begin
        if (log_file != 0) $fwrite(log_file, "%u%u%u", now_q, pending[0], data_data_i);
        void'(pending.pop_front());
      end
      if (store && log_file != 0) $fwrite(log_file, "%u%u%u", now_q, 32'(address_q >> Shift), data_data_i);
      if (forward) begin
        for (int unsigned i = 0; i < 32'(left_q); i++) pending.push_back(32'(address_q >> Shift) + i);
      end
      if (store) begin
        assert (address_q[AddrWidth-1:Shift+WordBits] == '0)
          else $error("hub_writer: address %h is outside the on-chip memory", address_q);
      end
    end
  end
`endif
endmodule
