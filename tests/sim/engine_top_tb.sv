/// Test bench of engine_top that follows a script: registers, interrupt, resets, error responses; memory behind it.
/// Plusarg script=FILE names a text file with one command and two hexadecimal numbers a line; script.log gets a line with
/// a number for each command that measures something:
///   w ADDRESS DATA   write a register                      r ADDRESS 0    read a register: its value
///   d CYCLES 0       let time pass                         i CYCLES 0     wait for the interrupt: cycles waited
///   q CYCLES 0       wait for idle_o: cycles waited        m 0 0          beats written by the results port so far
///   x CYCLES 0       reset the engine, not the memory      y CYCLES 0     reset both and tell the engine of it
///   z CYCLES 0       reset both without telling            l 0 0          load image.hex over the memory
///   e PORT KIND|N<<4 answer KIND in the N-th beat from now on of a port: 0 program, ..., 6 results
///   s 0 0            silence the memory from here on       t 0 0          let it speak again
/// Waiting stops after CYCLES and then measures ffffffff. Plusargs of axi_ram apply.
module engine_top_tb #(
  parameter int unsigned Words = 1 << 16
) (
  input  logic clk_i,
  input  logic rst_ni,
  output logic done_o
);
  localparam int unsigned NumRead = 6;

  logic [NumRead-1:0][0:0]   arid, rid;
  logic [NumRead-1:0][39:0]  araddr;
  logic [NumRead-1:0][7:0]   arlen;
  logic [NumRead-1:0][2:0]   arsize;
  logic [NumRead-1:0][1:0]   arburst, rresp, ram_rresp;
  logic [NumRead-1:0]        arvalid, arready, rlast, rvalid, rready, ram_arready, ram_rvalid;
  logic [NumRead-1:0][127:0] rdata;
  logic [0:0]   awid, bid;
  logic [39:0]  awaddr;
  logic [7:0]   awlen;
  logic [2:0]   awsize;
  logic [1:0]   awburst, bresp, ram_bresp;
  logic         awvalid, awready, wlast, wvalid, wready, bvalid, bready, ram_awready, ram_wready, ram_bvalid;
  logic [127:0] wdata;
  logic [15:0]  wstrb;

  logic was_reset, reset_n, top_reset_n, ram_reset_n, ram_reset, silent;
  initial was_reset = 1'b0;
  always @(posedge clk_i) if (!rst_ni) was_reset <= 1'b1;
  assign reset_n = rst_ni && was_reset;

  logic        interrupt, idle;
  logic [5:0]  address;
  logic [31:0] wdata_lite, rdata_lite;
  logic        awvalid_lite, awready_lite, wvalid_lite, wready_lite, bvalid_lite, arvalid_lite, arready_lite, rvalid_lite;
  logic [1:0]  bresp_lite, rresp_lite;

  // The wires of one reading master.
  `define READ_MASTER(NAME, INDEX) \
    .m_axi_``NAME``_arid(arid[INDEX]), .m_axi_``NAME``_araddr(araddr[INDEX]), .m_axi_``NAME``_arlen(arlen[INDEX]), \
    .m_axi_``NAME``_arsize(arsize[INDEX]), .m_axi_``NAME``_arburst(arburst[INDEX]), \
    .m_axi_``NAME``_arvalid(arvalid[INDEX]), .m_axi_``NAME``_arready(arready[INDEX]), \
    .m_axi_``NAME``_rid(rid[INDEX]), .m_axi_``NAME``_rdata(rdata[INDEX]), .m_axi_``NAME``_rresp(rresp[INDEX]), \
    .m_axi_``NAME``_rlast(rlast[INDEX]), .m_axi_``NAME``_rvalid(rvalid[INDEX]), .m_axi_``NAME``_rready(rready[INDEX])

  engine_top i_top (
    .clk_i, .rst_ni(top_reset_n), .interrupt_o(interrupt), .idle_o(idle), .m_axi_rst_i(ram_reset),
    .s_axil_awaddr(address), .s_axil_awprot(3'd0), .s_axil_awvalid(awvalid_lite), .s_axil_awready(awready_lite),
    .s_axil_wdata(wdata_lite), .s_axil_wstrb(4'hf), .s_axil_wvalid(wvalid_lite), .s_axil_wready(wready_lite),
    .s_axil_bresp(bresp_lite), .s_axil_bvalid(bvalid_lite), .s_axil_bready(1'b1),
    .s_axil_araddr(address), .s_axil_arprot(3'd0), .s_axil_arvalid(arvalid_lite), .s_axil_arready(arready_lite),
    .s_axil_rdata(rdata_lite), .s_axil_rresp(rresp_lite), .s_axil_rvalid(rvalid_lite), .s_axil_rready(1'b1),
    `READ_MASTER(program, 0),
    `READ_MASTER(weights_0, 1),
    `READ_MASTER(weights_1, 2),
    `READ_MASTER(operands, 3),
    `READ_MASTER(activations, 4),
    `READ_MASTER(residual, 5),
    .m_axi_results_awid(awid), .m_axi_results_awaddr(awaddr), .m_axi_results_awlen(awlen),
    .m_axi_results_awsize(awsize), .m_axi_results_awburst(awburst), .m_axi_results_awvalid(awvalid),
    .m_axi_results_awready(awready), .m_axi_results_wdata(wdata), .m_axi_results_wstrb(wstrb),
    .m_axi_results_wlast(wlast), .m_axi_results_wvalid(wvalid), .m_axi_results_wready(wready),
    .m_axi_results_bid(bid), .m_axi_results_bresp(bresp), .m_axi_results_bvalid(bvalid),
    .m_axi_results_bready(bready)
  );

  // A silent memory takes and gives nothing; what it owes comes when it speaks again.
  assign arready = silent ? '0 : ram_arready;
  assign rvalid = silent ? '0 : ram_rvalid;
  assign awready = ram_awready && !silent;
  assign wready = ram_wready && !silent;
  assign bvalid = ram_bvalid && !silent;

  axi_ram #(.NumRead(NumRead), .NumWrite(1), .Words(Words)) i_ram (
    .clk_i, .rst_ni(ram_reset_n),
    .arid_i(arid), .araddr_i(araddr), .arlen_i(arlen), .arsize_i(arsize), .arburst_i(arburst),
    .arvalid_i(silent ? '0 : arvalid), .arready_o(ram_arready), .rid_o(rid), .rdata_o(rdata), .rresp_o(ram_rresp),
    .rlast_o(rlast), .rvalid_o(ram_rvalid), .rready_i(silent ? '0 : rready), .awid_i(awid), .awaddr_i(awaddr),
    .awlen_i(awlen), .awsize_i(awsize), .awburst_i(awburst), .awvalid_i(awvalid && !silent), .awready_o(ram_awready),
    .wdata_i(wdata), .wstrb_i(wstrb), .wlast_i(wlast), .wvalid_i(wvalid && !silent), .wready_o(ram_wready),
    .bid_o(bid), .bresp_o(ram_bresp), .bvalid_o(ram_bvalid), .bready_i(bready && !silent)
  );

  // --- error responses ---------------------------------------------------------------------------------------------
  logic [NumRead:0]       moved;
  logic [NumRead:0][27:0] left_q;  // beats up to the one with an error; 0: none
  logic [NumRead:0][1:0]  kind_q;

  assign moved = {bvalid && bready, rvalid & rready};
  assign bresp = left_q[NumRead] == 28'd1 ? kind_q[NumRead] : ram_bresp;
  for (genvar p = 0; p < NumRead; p++) begin : gen_response
    assign rresp[p] = left_q[p] == 28'd1 ? kind_q[p] : ram_rresp[p];
  end

  // --- the script --------------------------------------------------------------------------------------------------
  typedef enum logic [3:0] {Fetch, Write, Written, Read, Given, Delay, Interrupt, Idle, Reset, Done} state_e;

  string       script_file;
  int          script, results;
  byte         command;
  logic [31:0] first, second;
  initial begin
    if (!$value$plusargs("script=%s", script_file)) script_file = "script.txt";
    script = $fopen(script_file, "r");
    if (script == 0) $fatal(1, "cannot open %s", script_file);
    results = $fopen("script.log", "w");
  end

  state_e      state_q;
  logic        reset_top_q, reset_ram_q, tell_q, silent_q;
  logic [31:0] waited_q, writes_q;

  assign top_reset_n = reset_n && !reset_top_q;
  assign ram_reset_n = reset_n && !reset_ram_q;
  assign ram_reset = reset_ram_q && tell_q;
  assign silent = silent_q;
  assign done_o = state_q == Done;
  assign address = first[5:0];
  assign wdata_lite = second;

  always_ff @(posedge clk_i) begin
    if (!reset_n) begin
      state_q <= Fetch;
      {awvalid_lite, wvalid_lite, arvalid_lite, reset_top_q, reset_ram_q, tell_q, silent_q} <= '0;
      left_q <= '0;
      writes_q <= '0;
    end else begin
      writes_q <= writes_q + 32'(wvalid && wready && ram_reset_n);
      for (int unsigned p = 0; p <= NumRead; p++) if (moved[p] && left_q[p] != '0) left_q[p] <= left_q[p] - 1'b1;
      waited_q <= waited_q + 1;
      unique case (state_q)
        Fetch: begin
          waited_q <= '0;
          if ($fscanf(script, " %c %h %h", command, first, second) == 3) begin
            unique case (command)
              "w": begin
                {awvalid_lite, wvalid_lite} <= '1;
                state_q <= Write;
              end
              "r": begin
                arvalid_lite <= 1'b1;
                state_q <= Read;
              end
              "d": state_q <= Delay;
              "i": state_q <= Interrupt;
              "q": state_q <= Idle;
              "m": $fdisplay(results, "%h", writes_q);
              "l": $readmemh("image.hex", i_ram.mem);
              "e": begin
                left_q[first[2:0]] <= second[31:4];
                kind_q[first[2:0]] <= second[1:0];
              end
              "s": silent_q <= 1'b1;
              "t": silent_q <= 1'b0;
              default: begin
                reset_top_q <= 1'b1;
                reset_ram_q <= command != "x";
                tell_q <= command == "y";
                state_q <= Reset;
              end
            endcase
          end else begin
            state_q <= Done;
            $fflush(results);
          end
        end
        Write: begin
          if (awready_lite) awvalid_lite <= 1'b0;
          if (wready_lite) wvalid_lite <= 1'b0;
          if (awready_lite && wready_lite) state_q <= Written;
        end
        Written: if (bvalid_lite) state_q <= Fetch;
        Read: if (arready_lite) begin
          arvalid_lite <= 1'b0;
          state_q <= Given;
        end
        Given: if (rvalid_lite) begin
          $fdisplay(results, "%h", rdata_lite);
          state_q <= Fetch;
        end
        Delay: if (waited_q >= first) state_q <= Fetch;
        Interrupt: if (interrupt || waited_q >= first) begin
          $fdisplay(results, "%h", interrupt ? waited_q : 32'hffff_ffff);
          state_q <= Fetch;
        end
        Idle: if (idle || waited_q >= first) begin
          $fdisplay(results, "%h", idle ? waited_q : 32'hffff_ffff);
          state_q <= Fetch;
        end
        Reset: if (waited_q >= first) begin
          {reset_top_q, reset_ram_q, tell_q} <= '0;
          state_q <= Fetch;
        end
        default: ;
      endcase
    end
  end

  logic unused;
  assign unused = ^{bresp_lite, rresp_lite};
endmodule
