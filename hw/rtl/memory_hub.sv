/// On-chip memory between the streams of an engine and the movers of external memory: `NumRead` read ports and one write
/// port. Requests for the first `Words` words of the address space are served here, others by the mover of their port (`ext_*`).
module memory_hub #(
  parameter int unsigned NumRead = 3,
  parameter int unsigned Banks = 8,
  parameter int unsigned Words = 32768,
  parameter int unsigned AddrWidth = 40,
  parameter int unsigned DataWidth = 128,
  parameter              Style = "ultra"
) (
  input  logic                              clk_i,                   // the only clock
  input  logic                              rst_ni,                  // reset, synchronous, active low
  // reads: requests are addr[AddrWidth-1:0], words, mark (ignored)
  input  logic [NumRead-1:0]                req_valid_i,             // a request is there
  output logic [NumRead-1:0]                req_ready_o,             // it is taken, if it is there
  input  logic [NumRead-1:0][AddrWidth+16:0] req_data_i,             // the request
  output logic [NumRead-1:0]                data_valid_o,            // there is a word
  input  logic [NumRead-1:0]                data_ready_i,            // it is taken, if it is there
  output logic [NumRead-1:0][DataWidth-1:0] data_data_o,             // the word
  output logic [NumRead-1:0]                ext_req_valid_o,         // a request for the mover
  input  logic [NumRead-1:0]                ext_req_ready_i,         // it is taken, if it is there
  output logic [NumRead-1:0][AddrWidth+16:0] ext_req_data_o,         // the request, unchanged
  input  logic [NumRead-1:0]                ext_data_valid_i,        // the mover has a word
  output logic [NumRead-1:0]                ext_data_ready_o,        // it is taken, if it is there
  input  logic [NumRead-1:0][DataWidth-1:0] ext_data_data_i,         // the word
  // writes: requests are addr[AddrWidth-1:0], words, mark; the mover acknowledges marks
  input  logic                              write_req_valid_i,       // a request is there
  output logic                              write_req_ready_o,       // it is taken, if it is there
  input  logic [AddrWidth+16:0]             write_req_data_i,        // the request
  input  logic                              write_data_valid_i,      // there is a word
  output logic                              write_data_ready_o,      // it is taken, if it is there
  input  logic [DataWidth-1:0]              write_data_data_i,       // the word
  output logic                              ext_write_req_valid_o,   // a request, or a mark, for the mover
  input  logic                              ext_write_req_ready_i,   // it is taken, if it is there
  output logic [AddrWidth+16:0]             ext_write_req_data_o,    // the request
  output logic                              ext_write_data_valid_o,  // a word for the mover
  input  logic                              ext_write_data_ready_i,  // it is taken, if it is there
  output logic [DataWidth-1:0]              ext_write_data_data_o    // the word
);
  localparam int unsigned WordBits = $clog2(Words);

  logic [NumRead-1:0]                read_valid, read_ready, answer_valid;
  logic [NumRead-1:0][WordBits-1:0]  read_word;
  logic [NumRead-1:0][DataWidth-1:0] answer_data;
  logic                              write_valid;
  logic [WordBits-1:0]               write_word;
  logic [DataWidth-1:0]              write_data;

  for (genvar p = 0; p < NumRead; p++) begin : gen_reader
    hub_reader #(.AddrWidth(AddrWidth), .DataWidth(DataWidth), .WordBits(WordBits)) i_reader (
      .clk_i, .rst_ni,
      .req_valid_i(req_valid_i[p]), .req_ready_o(req_ready_o[p]), .req_data_i(req_data_i[p]),
      .data_valid_o(data_valid_o[p]), .data_ready_i(data_ready_i[p]), .data_data_o(data_data_o[p]),
      .ext_req_valid_o(ext_req_valid_o[p]), .ext_req_ready_i(ext_req_ready_i[p]), .ext_req_data_o(ext_req_data_o[p]),
      .ext_data_valid_i(ext_data_valid_i[p]), .ext_data_ready_o(ext_data_ready_o[p]), .ext_data_data_i(ext_data_data_i[p]),
      .read_valid_o(read_valid[p]), .read_ready_i(read_ready[p]), .read_word_o(read_word[p]),
      .answer_valid_i(answer_valid[p]), .answer_data_i(answer_data[p])
    );
  end

  hub_writer #(.AddrWidth(AddrWidth), .DataWidth(DataWidth), .WordBits(WordBits)) i_writer (
    .clk_i, .rst_ni,
    .req_valid_i(write_req_valid_i), .req_ready_o(write_req_ready_o), .req_data_i(write_req_data_i),
    .data_valid_i(write_data_valid_i), .data_ready_o(write_data_ready_o), .data_data_i(write_data_data_i),
    .ext_req_valid_o(ext_write_req_valid_o), .ext_req_ready_i(ext_write_req_ready_i), .ext_req_data_o(ext_write_req_data_o),
    .ext_data_valid_o(ext_write_data_valid_o), .ext_data_ready_i(ext_write_data_ready_i),
    .ext_data_data_o(ext_write_data_data_o),
    .write_valid_o(write_valid), .write_word_o(write_word), .write_data_o(write_data)
  );

  hub_banks #(.NumRead(NumRead), .Banks(Banks), .Words(Words), .DataWidth(DataWidth), .Style(Style)) i_banks (
    .clk_i, .rst_ni, .read_valid_i(read_valid), .read_ready_o(read_ready), .read_word_i(read_word),
    .answer_valid_o(answer_valid), .answer_data_o(answer_data),
    .write_valid_i(write_valid), .write_word_i(write_word), .write_data_i(write_data)
  );
endmodule
