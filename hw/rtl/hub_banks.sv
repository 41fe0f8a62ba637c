/// On-chip memory of `Words` words in `Banks` banks, interleaved by word: one write port and `NumRead` read ports.
///
/// A bank takes one write and one read in a cycle. Ports that want the same bank take turns: `read_ready_o` says whose word
/// is read, and the word comes `Latency` cycles later, in order. A read in the cycle of a write to the same word gets the old
/// word. The RAM has an address register and an output register, so that UltraRAM reaches its clock.
module hub_banks #(
  parameter int unsigned NumRead = 3,
  parameter int unsigned Banks = 8,      // a power of two, at least 2
  parameter int unsigned Words = 32768,  // a power of two, at least twice Banks
  parameter int unsigned DataWidth = 128,
  /* verilator lint_off UNUSEDPARAM */  // of an attribute only
  parameter              Style = "ultra",  // ram_style
  /* verilator lint_on UNUSEDPARAM */
  localparam int unsigned WordBits = $clog2(Words)
) (
  input  logic                              clk_i,           // the only clock
  input  logic                              rst_ni,          // reset, synchronous, active low
  input  logic [NumRead-1:0]                read_valid_i,    // a port wants a word
  output logic [NumRead-1:0]                read_ready_o,    // it is its turn
  input  logic [NumRead-1:0][WordBits-1:0]  read_word_i,     // address of the word
  output logic [NumRead-1:0]                answer_valid_o,  // a word has come, in order
  output logic [NumRead-1:0][DataWidth-1:0] answer_data_o,   // the word
  input  logic                              write_valid_i,   // a word is stored, always at once
  input  logic [WordBits-1:0]               write_word_i,    // its address
  input  logic [DataWidth-1:0]              write_data_i     // the word
);
  localparam int unsigned BankBits = $clog2(Banks);
  localparam int unsigned RowBits = WordBits - BankBits;
  localparam int unsigned PortBits = NumRead > 1 ? $clog2(NumRead) : 1;
  localparam int unsigned Latency = 4;

  // --- whose turn it is: the port that goes first when several want one bank -----------------------------------------
  logic [PortBits-1:0] first_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) first_q <= '0;
    else first_q <= first_q == PortBits'(NumRead - 1) ? '0 : first_q + 1'b1;
  end

  logic [Banks-1:0]              chosen_valid;
  logic [Banks-1:0][RowBits-1:0] chosen_row;

  always_comb begin
    chosen_valid = '0;
    chosen_row = '0;
    read_ready_o = '0;
    for (int unsigned i = 0; i < NumRead; i++) begin
      for (int unsigned p = 0; p < NumRead; p++) begin
        if (p == (32'(first_q) + i) % NumRead && read_valid_i[p] && !chosen_valid[read_word_i[p][BankBits-1:0]]) begin
          chosen_valid[read_word_i[p][BankBits-1:0]] = 1'b1;
          chosen_row[read_word_i[p][BankBits-1:0]] = read_word_i[p][WordBits-1:BankBits];
          read_ready_o[p] = 1'b1;
        end
      end
    end
  end

  // --- the banks -----------------------------------------------------------------------------------------------------
  logic [Banks-1:0][DataWidth-1:0] data;
  logic                            write_valid_q;
  logic [WordBits-1:0]             write_word_q;
  logic [DataWidth-1:0]            write_data_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) write_valid_q <= 1'b0;
    else write_valid_q <= write_valid_i;
    write_word_q <= write_word_i;
    write_data_q <= write_data_i;
  end

  for (genvar b = 0; b < Banks; b++) begin : gen_bank
    (* ram_style = Style *) logic [DataWidth-1:0] memory [Words / Banks];
    logic [RowBits-1:0]   row_q;
    logic [DataWidth-1:0] word_q, data_q;

    always_ff @(posedge clk_i) begin
      if (write_valid_q && write_word_q[BankBits-1:0] == BankBits'(b)) memory[write_word_q[WordBits-1:BankBits]] <= write_data_q;
    end
    always_ff @(posedge clk_i) begin
      row_q <= chosen_row[b];
      word_q <= memory[row_q];
      data_q <= word_q;
    end
    assign data[b] = data_q;
  end

  // --- each port's word from its bank --------------------------------------------------------------------------------
  for (genvar p = 0; p < NumRead; p++) begin : gen_port
    logic [Latency-2:0]               valid_q;
    logic [Latency-2:0][BankBits-1:0] bank_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        valid_q <= '0;
        answer_valid_o[p] <= 1'b0;
      end else begin
        valid_q <= {valid_q[Latency-3:0], read_valid_i[p] && read_ready_o[p]};
        answer_valid_o[p] <= valid_q[Latency-2];
      end
      bank_q <= {bank_q[Latency-3:0], read_word_i[p][BankBits-1:0]};
      answer_data_o[p] <= data[bank_q[Latency-2]];
    end
  end

`ifndef SYNTHESIS
  initial begin
    assert (Banks >= 2 && (1 << BankBits) == Banks && (1 << WordBits) == Words && Words >= 2 * Banks)
      else $fatal(1, "hub_banks: Banks and Words are powers of two, and Words at least twice Banks");
  end
`endif
endmodule
