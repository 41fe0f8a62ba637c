/// The primitives that cells instantiate, as black boxes, for tools that do not bring them: a vendor's does.
(* blackbox *)
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
endmodule

(* blackbox *)
module DSP48E1 #(
  parameter A_INPUT = "DIRECT", parameter B_INPUT = "DIRECT", parameter USE_DPORT = "FALSE",
  parameter USE_MULT = "MULTIPLY", parameter USE_SIMD = "ONE48",
  parameter integer AREG = 1, parameter integer ACASCREG = 1, parameter integer ADREG = 1, parameter integer DREG = 1,
  parameter integer BREG = 1, parameter integer BCASCREG = 1, parameter integer CREG = 1, parameter integer MREG = 1,
  parameter integer PREG = 1, parameter integer ALUMODEREG = 1, parameter integer CARRYINREG = 1,
  parameter integer CARRYINSELREG = 1, parameter integer INMODEREG = 1, parameter integer OPMODEREG = 1
) (
  input  logic        CLK,
  input  logic [29:0] A, ACIN,
  input  logic [17:0] B, BCIN,
  input  logic [47:0] C, PCIN,
  input  logic [24:0] D,
  input  logic [4:0]  INMODE,
  input  logic [6:0]  OPMODE,
  input  logic [3:0]  ALUMODE,
  input  logic [2:0]  CARRYINSEL,
  input  logic        CARRYIN, CARRYCASCIN, MULTSIGNIN,
  input  logic        CEA1, CEA2, CEAD, CED, CEB1, CEB2, CEC, CEM, CEP, CEALUMODE, CECARRYIN, CECTRL, CEINMODE,
  input  logic        RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
  output logic [29:0] ACOUT,
  output logic [17:0] BCOUT,
  output logic [47:0] P, PCOUT,
  output logic [3:0]  CARRYOUT,
  output logic        CARRYCASCOUT, MULTSIGNOUT, OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW
);
endmodule
