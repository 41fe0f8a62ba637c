/// Properties of pingpong: a writer and a reader within its contract, which hold as many banks as they like, a reset at any
/// time. One word of one bank, both chosen freely, is followed from its store to the bank's release.
module pingpong_proof #(
  parameter int unsigned Depth = 2,
  parameter int unsigned Banks = 2,
  parameter int unsigned Lanes = 2,
  parameter int unsigned LaneWidth = 2,
  parameter int unsigned Ports = 2,
  localparam int unsigned Width = Lanes * LaneWidth,
  localparam int unsigned AddrWidth = Depth > 1 ? $clog2(Depth) : 1,
  localparam int unsigned LaneBits = Lanes > 1 ? $clog2(Lanes) : 1
) (
  input logic                            clk_i,
  input logic                            rst_ni,
  input logic                            choose_i,
  input logic [AddrWidth-1:0]            at_i,
  input logic [LaneBits-1:0]             lane_i,
  input logic                            wr_acquire_i,
  input logic                            wr_valid_i,
  input logic [AddrWidth-1:0]            wr_addr_i,
  input logic [Lanes-1:0]                wr_mask_i,
  input logic [Width-1:0]                wr_data_i,
  input logic                            wr_commit_i,
  input logic                            rd_acquire_i,
  input logic [Ports-1:0][AddrWidth-1:0] rd_addr_i,
  input logic [Ports-1:0]                rd_load_i,  // the port's address is that of a load
  input logic [Ports-1:0]                rd_last_i,
  input logic                            rd_release_i
);
  typedef logic [7:0] count_t;
  logic                        wr_ready, rd_ready, begin_q;
  logic [Ports-1:0][Width-1:0] rd_data;

  pingpong #(.Depth(Depth), .Banks(Banks), .Lanes(Lanes), .LaneWidth(LaneWidth), .Ports(Ports)) dut (
    .clk_i, .rst_ni, .wr_ready_o(wr_ready), .wr_acquire_i, .wr_valid_i, .wr_addr_i, .wr_mask_i, .wr_data_i, .wr_commit_i,
    .rd_ready_o(rd_ready), .rd_acquire_i, .rd_addr_i, .rd_last_i, .rd_data_o(rd_data), .rd_release_i
  );

  // --- what the environment holds: banks that it has acquired and not passed on, by the port that counts ---------------
  count_t             writing_q, reading_q, full_q;  // full: committed and not acquired by the reader
  count_t [Ports-1:0] loading_q;                     // of the reader's banks, those that a port has not done with
  count_t             done_before_q;                 // of the reader's banks, those that every port had done with a cycle ago
  count_t [Ports-1:0] loading;
  logic               all_done;

  always_comb begin
    all_done = 1'b1;
    for (int p = 0; p < Ports; p++) begin
      loading[p] = loading_q[p] + count_t'(rd_acquire_i);
      all_done = all_done && reading_q > loading_q[p];
    end
  end

  initial begin_q = 1'b1;
  always @(posedge clk_i) begin_q <= 1'b0;
  always_comb begin
    if (begin_q) assume (!rst_ni);
    if (rst_ni) begin
      assume (!wr_acquire_i || wr_ready);
      assume (!rd_acquire_i || rd_ready);
      assume (!wr_valid_i || (writing_q + count_t'(wr_acquire_i) != '0 && 32'(wr_addr_i) < Depth));
      assume (!wr_commit_i || writing_q + count_t'(wr_acquire_i) != '0);
      for (int p = 0; p < Ports; p++) begin
        assume (!rd_load_i[p] || (loading[p] != '0 && 32'(rd_addr_i[p]) < Depth));
        assume (!rd_last_i[p] || loading[p] != '0);
      end
      assume (!rd_release_i || all_done);
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      writing_q <= '0;
      reading_q <= '0;
      full_q <= '0;
      loading_q <= '0;
    end else begin
      writing_q <= writing_q + count_t'(wr_acquire_i) - count_t'(wr_commit_i);
      reading_q <= reading_q + count_t'(rd_acquire_i) - count_t'(rd_release_i);
      full_q <= full_q + count_t'(wr_commit_i) - count_t'(rd_acquire_i);
      for (int p = 0; p < Ports; p++) loading_q[p] <= loading[p] - count_t'(rd_last_i[p]);
    end
  end

  // --- the word that is followed ---------------------------------------------------------------------------------------
  logic [AddrWidth-1:0] at;    // its address, chosen in the first cycle
  logic [LaneBits-1:0]  lane;
  logic                 followed_q, stored_q;
  count_t               stores_ahead_q, release_ahead_q;  // banks before the followed one
  count_t [Ports-1:0]   loads_ahead_q;
  logic [LaneWidth-1:0] value_q;
  logic                 follow, stores_here, release_here;
  logic [Ports-1:0]     loads_here, load_q, load_qq, load_qqq;
  logic [LaneWidth-1:0] value_qq, value_qqq;

  assign follow = wr_acquire_i && choose_i && !followed_q;
  assign stores_here = wr_valid_i && wr_addr_i == at && wr_mask_i[lane]
                       && ((followed_q && stores_ahead_q == '0) || (follow && writing_q == '0));
  assign release_here = followed_q && rd_release_i && release_ahead_q == '0;
  always_comb begin
    if (!begin_q) assume (32'(lane) < Lanes && 32'(at) < Depth);
    for (int p = 0; p < Ports; p++) begin
      loads_here[p] = followed_q && stored_q && rd_load_i[p] && loads_ahead_q[p] == '0 && rd_addr_i[p] == at;
    end
  end

  always_ff @(posedge clk_i) begin
    if (begin_q) begin
      at <= at_i;
      lane <= lane_i;
    end
    if (!rst_ni) begin
      followed_q <= 1'b0;
      load_q <= '0;
      load_qq <= '0;
      load_qqq <= '0;
    end else begin
      followed_q <= (followed_q || follow) && !release_here;
      load_q <= loads_here;
      load_qq <= load_q;
      load_qqq <= load_qq;
    end
    value_qq <= value_q;
    value_qqq <= value_qq;
    if (follow) begin
      stored_q <= stores_here;
      stores_ahead_q <= writing_q - count_t'(wr_commit_i);
      release_ahead_q <= writing_q + full_q + reading_q - count_t'(rd_release_i);
      for (int p = 0; p < Ports; p++) loads_ahead_q[p] <= writing_q + full_q + loading_q[p] - count_t'(rd_last_i[p]);
    end else begin
      stored_q <= stored_q || stores_here;
      stores_ahead_q <= stores_ahead_q - count_t'(wr_commit_i);
      release_ahead_q <= release_ahead_q - count_t'(rd_release_i);
      for (int p = 0; p < Ports; p++) loads_ahead_q[p] <= loads_ahead_q[p] - count_t'(rd_last_i[p]);
    end
    if (stores_here) value_q <= wr_data_i[lane*LaneWidth+:LaneWidth];
  end

  always_comb if (rst_ni) begin
    // a bank belongs to one side: what is acquired for writing, full, or acquired for reading are never more than all
    p_wr_ready: assert (wr_ready == (writing_q + full_q + reading_q < Banks));
    p_rd_ready: assert (rd_ready == (full_q != '0));
    h_banks:    assert (writing_q <= Banks && full_q <= Banks && reading_q <= Banks && writing_q + full_q + reading_q <= Banks);
    h_counts:   assert (8'(dut.full_q) == full_q && 8'(dut.free_q) + writing_q + full_q + reading_q == Banks);
  end

  // --- where the bank lies ---------------------------------------------------------------------------------------------
  count_t slot_q, write_slot_q;  // of the followed bank, of the store port
  logic [Ports-1:0][7:0] read_slot_q;

  function automatic count_t ahead_of(input count_t slot, input count_t by);
    count_t sum;
    sum = slot + by;
    return sum % count_t'(Banks);
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_slot_q <= '0;
      read_slot_q <= '0;
    end else begin
      if (wr_commit_i) write_slot_q <= ahead_of(write_slot_q, 1);
      for (int p = 0; p < Ports; p++) if (rd_last_i[p]) read_slot_q[p] <= ahead_of(read_slot_q[p], 1);
    end
    if (follow) slot_q <= ahead_of(write_slot_q, writing_q);
  end

  always_comb if (rst_ni) begin
    h_write_slot: assert (write_slot_q < Banks && 32'(dut.wr_base_q) == write_slot_q * Depth);
    if (followed_q) begin
      h_slot: assert (slot_q < Banks);
      h_release: assert (release_ahead_q < writing_q + full_q + reading_q);
      h_stores:  assert (stores_ahead_q == release_ahead_q - full_q - reading_q);
      h_where:   assert (ahead_of(write_slot_q + count_t'(Banks), stores_ahead_q) == slot_q);
    end
  end

  for (genvar p = 0; p < Ports; p++) begin : gen_port
    logic [Width-1:0] word, word_at;
    assign word = dut.gen_port[p].memory[32'(slot_q) * Depth + 32'(at)];
    always_comb if (rst_ni) begin
      // what a load gets is what was last stored at its address of its bank, three cycles later
      p_data: assert (!load_qqq[p] || rd_data[p][lane*LaneWidth+:LaneWidth] == value_qqq);
      h_loading:   assert (loading_q[p] <= reading_q);
      h_read_slot: assert (read_slot_q[p] < Banks && 32'(dut.gen_port[p].base_q) == read_slot_q[p] * Depth);
      h_apart:     assert (ahead_of(read_slot_q[p], full_q + loading_q[p]) == write_slot_q);
      h_word:      assert (!followed_q || !stored_q || word[lane*LaneWidth+:LaneWidth] == value_q);
      h_address:   assert (!load_q[p] || (followed_q && stored_q
                                          && 32'(dut.gen_port[p].word_q) == 32'(slot_q) * Depth + 32'(at)));
      h_read:      assert (!load_qq[p] || dut.gen_port[p].mem_q[lane*LaneWidth+:LaneWidth] == value_qq);
      h_ahead: assert (!followed_q || release_ahead_q - loads_ahead_q[p] == reading_q - loading_q[p]);
    end
  end
endmodule
