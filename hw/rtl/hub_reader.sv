/// One read port of the memory hub: requests (address, words) for on-chip memory are read from its banks, others are passed
/// to the mover of external memory; the data comes in the order of the requests.
/// The first 2^WordBits words of the address space are on chip. As many words are asked for as there is room for, so
/// answers never wait.
module hub_reader #(
  parameter int unsigned AddrWidth = 40,
  parameter int unsigned DataWidth = 128,
  parameter int unsigned WordBits = 15,  // of an address in the banks
  parameter int unsigned Depth = 32,     // words that wait here
  parameter int unsigned Requests = 64   // requests whose data has not come
) (
  input  logic                 clk_i,             // the only clock
  input  logic                 rst_ni,            // reset, synchronous, active low
  // requests: addr[AddrWidth-1:0], words, mark (ignored)
  input  logic                 req_valid_i,       // a request is there
  output logic                 req_ready_o,       // it is taken, if it is there
  input  logic [AddrWidth+16:0] req_data_i,       // the request
  output logic                 data_valid_o,      // there is a word
  input  logic                 data_ready_i,      // it is taken, if it is there
  output logic [DataWidth-1:0] data_data_o,       // the word
  // the mover of external memory
  output logic                 ext_req_valid_o,   // a request for the mover
  input  logic                 ext_req_ready_i,   // it is taken, if it is there
  output logic [AddrWidth+16:0] ext_req_data_o,   // the request, unchanged
  input  logic                 ext_data_valid_i,  // the mover has a word
  output logic                 ext_data_ready_o,  // it is taken, if it is there
  input  logic [DataWidth-1:0] ext_data_data_i,   // the word
  // the banks
  output logic                 read_valid_o,      // a word is wanted
  input  logic                 read_ready_i,      // its bank has time for it
  output logic [WordBits-1:0]  read_word_o,       // address of the word
  input  logic                 answer_valid_i,    // a word has come, in order
  input  logic [DataWidth-1:0] answer_data_i      // the word
);
  localparam int unsigned Shift = $clog2(DataWidth / 8);
  localparam int unsigned RoomBits = $clog2(Depth + 1);

  // --- a request is noted for the order of the data, and goes to one of the memories ----------------------------------
  logic        on_chip, empty, to_chip, order_ready, take, busy_q, read, stage_ready;
  logic [15:0] left_q;

  assign on_chip = req_data_i[AddrWidth-1:Shift+WordBits] == '0;
  assign empty = req_data_i[AddrWidth+:16] == '0;
  assign stage_ready = !busy_q || (read && left_q == 16'd1);
  assign take = req_valid_i && req_ready_o && !empty;
  assign to_chip = take && on_chip;
  assign req_ready_o = empty || (order_ready && (on_chip ? stage_ready : ext_req_ready_i));
  assign ext_req_valid_o = req_valid_i && order_ready && !on_chip && !empty;
  assign ext_req_data_o = req_data_i;

  logic                order_valid, order_next, order_chip, order_credit;
  logic [15:0]         order_words;
  logic [RoomBits-1:0] room_q;

  fifo #(.Width(17), .Depth(Requests)) i_order (
    .clk_i, .rst_ni, .in_valid_i(take), .in_ready_o(order_ready), .in_data_i({on_chip, req_data_i[AddrWidth+:16]}),
    .out_valid_o(order_valid), .out_ready_i(order_next), .out_data_o({order_chip, order_words}), .credit_o(order_credit)
  );

  // --- on-chip words, one a cycle --------------------------------------------------------------------------------------
  logic local_valid, local_ready, local_room, local_credit;
  logic [DataWidth-1:0] local_data;

  assign read_valid_o = busy_q && room_q != '0;
  assign read = read_valid_o && read_ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) busy_q <= 1'b0;
    else if (stage_ready) busy_q <= to_chip;
    if (to_chip) begin
      read_word_o <= req_data_i[Shift+:WordBits];
      left_q <= req_data_i[AddrWidth+:16];
    end else if (read) begin
      read_word_o <= read_word_o + 1'b1;
      left_q <= left_q - 1'b1;
    end
    if (!rst_ni) room_q <= RoomBits'(Depth);
    else room_q <= room_q - RoomBits'(read) + RoomBits'(local_valid && local_ready);
  end

  fifo #(.Width(DataWidth), .Depth(Depth)) i_words (
    .clk_i, .rst_ni, .in_valid_i(answer_valid_i), .in_ready_o(local_room), .in_data_i(answer_data_i),
    .out_valid_o(local_valid), .out_ready_i(local_ready), .out_data_o(local_data), .credit_o(local_credit)
  );

  // --- data in the order of the requests ---------------------------------------------------------------------------------
  logic [15:0] sent_q;
  logic        move;

  assign data_valid_o = order_valid && (order_chip ? local_valid : ext_data_valid_i);
  assign data_data_o = order_chip ? local_data : ext_data_data_i;
  assign move = data_valid_o && data_ready_i;
  assign local_ready = order_valid && order_chip && data_ready_i;
  assign ext_data_ready_o = order_valid && !order_chip && data_ready_i;
  assign order_next = move && sent_q == order_words - 1'b1;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || order_next) sent_q <= '0;
    else if (move) sent_q <= sent_q + 1'b1;
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni && to_chip) begin
      assert (64'(req_data_i[AddrWidth-1:Shift]) + 64'(req_data_i[AddrWidth+:16]) <= 64'd1 << WordBits)
        else $error("hub_reader: address %h is partly outside the on-chip memory", req_data_i[AddrWidth-1:0]);
    end
  end
`endif

  logic unused;
  assign unused = ^{req_data_i[AddrWidth+16], order_credit, local_credit, local_room};
endmodule
