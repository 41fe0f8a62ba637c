`ifdef SYNTHESIS  // `dot_cascade` simulates without it
/// One term of a cascade in one DSP: ((odd << Shift) + even) * weight + cascade, four cycles after its operands and one after
/// the cascade. Registers: operands, pre-adder, product and sum (UG579, figures 2-1 and 2-5; UG479 for the DSP48E1).
module dsp_product #(
  parameter int unsigned Shift  = 19,
  parameter bit          First  = 1'b0,  // nothing comes in along the cascade
  parameter              Family = "DSP48E2"
) (
  input  logic        clk_i,      // the only clock
  input  logic [7:0]  even_i,     // element of the even row, i8
  input  logic [7:0]  odd_i,      // element of the odd row, i8
  input  logic [7:0]  weight_i,   // element of the column, i8
  input  logic [47:0] cascade_i,  // sum of the terms before, from the DSP below
  output logic [47:0] cascade_o,  // the sum, to the DSP above
  output logic [47:0] sum_o       // the same, to the fabric
);
  logic [29:0] a;
  logic [17:0] b;
  assign a = 30'(signed'(even_i));
  assign b = 18'(signed'(weight_i));

  if (Family == "DSP48E1") begin : g_e1
    logic [24:0] d;
    assign d = 25'(signed'(odd_i)) << Shift;
    DSP48E1 #(
      .A_INPUT("DIRECT"), .B_INPUT("DIRECT"), .USE_DPORT("TRUE"), .USE_MULT("MULTIPLY"), .USE_SIMD("ONE48"),
      .AREG(1), .ACASCREG(1), .ADREG(1), .DREG(1), .BREG(2), .BCASCREG(2), .CREG(0), .MREG(1), .PREG(1),
      .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0), .OPMODEREG(0)
    ) dsp (
      .CLK(clk_i), .A(a), .B(b), .C('0), .D(d), .P(sum_o), .PCIN(cascade_i), .PCOUT(cascade_o),
      .INMODE(5'b00100), .OPMODE(First ? 7'b000_01_01 : 7'b001_01_01), .ALUMODE('0), .CARRYIN('0), .CARRYINSEL('0),
      .ACIN('0), .BCIN('0), .CARRYCASCIN('0), .MULTSIGNIN('0),
      .CEA1('1), .CEA2('1), .CEAD('1), .CED('1), .CEB1('1), .CEB2('1), .CEC('0), .CEM('1), .CEP('1),
      .CEALUMODE('0), .CECARRYIN('0), .CECTRL('0), .CEINMODE('0),
      .RSTA('0), .RSTALLCARRYIN('0), .RSTALUMODE('0), .RSTB('0), .RSTC('0), .RSTCTRL('0), .RSTD('0), .RSTINMODE('0),
      .RSTM('0), .RSTP('0),
      .ACOUT(), .BCOUT(), .CARRYCASCOUT(), .CARRYOUT(), .MULTSIGNOUT(), .OVERFLOW(), .PATTERNBDETECT(),
      .PATTERNDETECT(), .UNDERFLOW()
    );
  end else begin : g_e2
    logic [26:0] d;
    assign d = 27'(signed'(odd_i)) << Shift;
    DSP48E2 #(
      .A_INPUT("DIRECT"), .B_INPUT("DIRECT"), .AMULTSEL("AD"), .BMULTSEL("B"), .PREADDINSEL("A"), .USE_MULT("MULTIPLY"),
      .USE_SIMD("ONE48"),
      .AREG(1), .ACASCREG(1), .ADREG(1), .DREG(1), .BCASCREG(2), .BREG(2), .CREG(0), .MREG(1), .PREG(1),
      .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0), .OPMODEREG(0)
    ) dsp (
      .CLK(clk_i), .A(a), .B(b), .C('0), .D(d), .P(sum_o), .PCIN(cascade_i), .PCOUT(cascade_o),
      .INMODE(5'b00100), .OPMODE(First ? 9'b00_000_01_01 : 9'b00_001_01_01), .ALUMODE('0), .CARRYIN('0), .CARRYINSEL('0),
      .ACIN('0), .BCIN('0), .CARRYCASCIN('0), .MULTSIGNIN('0),
      .CEA1('1), .CEA2('1), .CEAD('1), .CED('1), .CEB1('1), .CEB2('1), .CEC('0), .CEM('1), .CEP('1),
      .CEALUMODE('0), .CECARRYIN('0), .CECTRL('0), .CEINMODE('0),
      .RSTA('0), .RSTALLCARRYIN('0), .RSTALUMODE('0), .RSTB('0), .RSTC('0), .RSTCTRL('0), .RSTD('0), .RSTINMODE('0),
      .RSTM('0), .RSTP('0),
      .ACOUT(), .BCOUT(), .CARRYCASCOUT(), .CARRYOUT(), .MULTSIGNOUT(), .OVERFLOW(), .PATTERNBDETECT(),
      .PATTERNDETECT(), .UNDERFLOW(), .XOROUT()
    );
  end
endmodule
`endif
