/// DSP48E2 as UG579 describes it, for the modes that the engine uses: A or A + D (figure 2-5, table 2-1) times B, plus PCIN or
/// nothing (tables 2-2 to 2-5). Registers follow the attributes; all others of its modes stop the simulation.
module DSP48E2 #(
  parameter A_INPUT = "DIRECT", parameter B_INPUT = "DIRECT", parameter AMULTSEL = "A", parameter BMULTSEL = "B",
  parameter PREADDINSEL = "A", parameter USE_MULT = "MULTIPLY", parameter USE_SIMD = "ONE48",
  parameter integer AREG = 1, parameter integer ACASCREG = 1, parameter integer ADREG = 1, parameter integer DREG = 1,
  parameter integer BREG = 1, parameter integer BCASCREG = 1, parameter integer CREG = 1, parameter integer MREG = 1,
  parameter integer PREG = 1, parameter integer ALUMODEREG = 1, parameter integer CARRYINREG = 1,
  parameter integer CARRYINSELREG = 1, parameter integer INMODEREG = 1, parameter integer OPMODEREG = 1
) (
  input  logic        CLK,
  input  logic [29:0] A, ACIN,
  input  logic [17:0] B, BCIN,
  input  logic [47:0] C, PCIN,
  input  logic [26:0] D,
  input  logic [4:0]  INMODE,
  input  logic [8:0]  OPMODE,
  input  logic [3:0]  ALUMODE,
  input  logic [2:0]  CARRYINSEL,
  input  logic        CARRYIN, CARRYCASCIN, MULTSIGNIN,
  input  logic        CEA1, CEA2, CEAD, CED, CEB1, CEB2, CEC, CEM, CEP, CEALUMODE, CECARRYIN, CECTRL, CEINMODE,
  input  logic        RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
  output logic [29:0] ACOUT,
  output logic [17:0] BCOUT,
  output logic [47:0] P, PCOUT,
  output logic [3:0]  CARRYOUT,
  output logic [7:0]  XOROUT,
  output logic        CARRYCASCOUT, MULTSIGNOUT, OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW
);
  initial begin
    if (A_INPUT != "DIRECT" || B_INPUT != "DIRECT" || USE_MULT != "MULTIPLY" || USE_SIMD != "ONE48" || BMULTSEL != "B")
      $fatal(1, "DSP48E2: inputs or arithmetic that this model does not know");
    if (ALUMODEREG + CARRYINREG + CARRYINSELREG + INMODEREG + OPMODEREG != 0) $fatal(1, "DSP48E2: registered modes");
    if (AMULTSEL != "AD" || PREADDINSEL != "A") $fatal(1, "DSP48E2: no pre-adder");
  end
  always_ff @(posedge CLK)
    if (INMODE != 5'b00100 || OPMODE[8:7] != 0 || OPMODE[3:0] != 4'b0101 || !(OPMODE[6:4] inside {3'b000, 3'b001}) ||
        ALUMODE != 0 || CARRYIN || CARRYINSEL != 0) $fatal(1, "DSP48E2: a mode that this model does not know");

  logic [29:0] a1_q, a2_q, a2;
  logic [17:0] b1_q, b2_q, b2;
  logic signed [26:0] d_q, d, ad_q, ad;
  logic signed [44:0] m_q, m;
  logic signed [47:0] p_q, p, z;
  assign a2 = AREG == 0 ? A : a2_q;
  assign b2 = BREG == 0 ? B : b2_q;
  assign d  = DREG == 0 ? D : d_q;
  assign ad = ADREG == 0 ? d + a2[26:0] : ad_q;
  assign m  = MREG == 0 ? 45'(ad) * 45'(signed'(b2)) : m_q;
  assign z  = OPMODE[6:4] == 3'b001 ? PCIN : '0;
  assign p  = PREG == 0 ? z + 48'(m) : p_q;
  always_ff @(posedge CLK) begin
    if (RSTA) {a1_q, a2_q} <= '0;
    else begin
      if (CEA1) a1_q <= A;
      if (CEA2) a2_q <= AREG == 2 ? a1_q : A;
    end
    if (RSTB) {b1_q, b2_q} <= '0;
    else begin
      if (CEB1) b1_q <= B;
      if (CEB2) b2_q <= BREG == 2 ? b1_q : B;
    end
    if (RSTD) {d_q, ad_q} <= '0;
    else begin
      if (CED) d_q <= D;
      if (CEAD) ad_q <= d + a2[26:0];
    end
    if (RSTM) m_q <= '0;
    else if (CEM) m_q <= 45'(ad) * 45'(signed'(b2));
    if (RSTP) p_q <= '0;
    else if (CEP) p_q <= z + 48'(m);
  end
  assign P = p;
  assign PCOUT = p;
  assign {ACOUT, BCOUT, CARRYOUT, XOROUT, CARRYCASCOUT, MULTSIGNOUT} = '0;
  assign {OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW} = '0;
endmodule
