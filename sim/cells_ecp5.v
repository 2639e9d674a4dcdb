// Behaviour of the two ECP5 cells that yosys knows as black boxes only, in the modes that its mapping uses.
//
// Source: Lattice FPGA-TN-02204 (memory usage guide) and FPGA-TN-02205 (sysDSP usage guide), as
// yosys' techlibs/lattice/brams_map_16kd.v and dsp_map_18x18.v drive them.
//
// DP16KD: 18 kbit of words of 1, 2, 4, 9, 18 or 36 bits, the same width on both ports, no output registers, all zero at
//         power-on. A word of 36 bits is written through port A as {DIB, DIA} and read through port B as {DOB, DOA};
//         narrower ones may be written and read through either port. With 18 and 36 bits the lowest address bits are
//         byte enables, 9 bits each. A word that is read while it is written has no value. Not here: resets of the
//         outputs.
module DP16KD (
  input  DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2,
  input  DIA1, DIA0, ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input  CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
  output DOA1, DOA0,
  input  DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
  input  DIB1, DIB0, ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input  CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
  output DOB1, DOB0
);

  parameter DATA_WIDTH_A = 18;
  parameter DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000";
  parameter CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL";
  parameter WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA";
  parameter CLKBMUX = "CLKB";
  parameter GSR = "AUTO";
  parameter INITVAL_00 = 320'b0;
  parameter INITVAL_01 = 320'b0;
  parameter INITVAL_02 = 320'b0;
  parameter INITVAL_03 = 320'b0;
  parameter INITVAL_04 = 320'b0;
  parameter INITVAL_05 = 320'b0;
  parameter INITVAL_06 = 320'b0;
  parameter INITVAL_07 = 320'b0;
  parameter INITVAL_08 = 320'b0;
  parameter INITVAL_09 = 320'b0;
  parameter INITVAL_0A = 320'b0;
  parameter INITVAL_0B = 320'b0;
  parameter INITVAL_0C = 320'b0;
  parameter INITVAL_0D = 320'b0;
  parameter INITVAL_0E = 320'b0;
  parameter INITVAL_0F = 320'b0;
  parameter INITVAL_10 = 320'b0;
  parameter INITVAL_11 = 320'b0;
  parameter INITVAL_12 = 320'b0;
  parameter INITVAL_13 = 320'b0;
  parameter INITVAL_14 = 320'b0;
  parameter INITVAL_15 = 320'b0;
  parameter INITVAL_16 = 320'b0;
  parameter INITVAL_17 = 320'b0;
  parameter INITVAL_18 = 320'b0;
  parameter INITVAL_19 = 320'b0;
  parameter INITVAL_1A = 320'b0;
  parameter INITVAL_1B = 320'b0;
  parameter INITVAL_1C = 320'b0;
  parameter INITVAL_1D = 320'b0;
  parameter INITVAL_1E = 320'b0;
  parameter INITVAL_1F = 320'b0;
  parameter INITVAL_20 = 320'b0;
  parameter INITVAL_21 = 320'b0;
  parameter INITVAL_22 = 320'b0;
  parameter INITVAL_23 = 320'b0;
  parameter INITVAL_24 = 320'b0;
  parameter INITVAL_25 = 320'b0;
  parameter INITVAL_26 = 320'b0;
  parameter INITVAL_27 = 320'b0;
  parameter INITVAL_28 = 320'b0;
  parameter INITVAL_29 = 320'b0;
  parameter INITVAL_2A = 320'b0;
  parameter INITVAL_2B = 320'b0;
  parameter INITVAL_2C = 320'b0;
  parameter INITVAL_2D = 320'b0;
  parameter INITVAL_2E = 320'b0;
  parameter INITVAL_2F = 320'b0;
  parameter INITVAL_30 = 320'b0;
  parameter INITVAL_31 = 320'b0;
  parameter INITVAL_32 = 320'b0;
  parameter INITVAL_33 = 320'b0;
  parameter INITVAL_34 = 320'b0;
  parameter INITVAL_35 = 320'b0;
  parameter INITVAL_36 = 320'b0;
  parameter INITVAL_37 = 320'b0;
  parameter INITVAL_38 = 320'b0;
  parameter INITVAL_39 = 320'b0;
  parameter INITVAL_3A = 320'b0;
  parameter INITVAL_3B = 320'b0;
  parameter INITVAL_3C = 320'b0;
  parameter INITVAL_3D = 320'b0;
  parameter INITVAL_3E = 320'b0;
  parameter INITVAL_3F = 320'b0;

  localparam Shift = DATA_WIDTH_A == 36 ? 5 : DATA_WIDTH_A == 18 ? 4 : DATA_WIDTH_A == 9 ? 3 : DATA_WIDTH_A == 4 ? 2 :
                     DATA_WIDTH_A == 2 ? 1 : 0;

  reg [35:0]  mem [0:16383];
  reg [35:0]  read_a, read_b;
  wire [35:0] di_a, di_b;
  wire [13:0] ad_a, ad_b;
  wire [3:0]  be_a, be_b;
  wire        write_a, write_b;
  integer     i;

  assign ad_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  assign ad_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  assign di_a[17:0] = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3,
                      DIA2, DIA1, DIA0};
  assign di_a[35:18] = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
                     DIB4, DIB3,
                      DIB2, DIB1, DIB0};
  assign di_b[17:0] = di_a[35:18];
  assign di_b[35:18] = 18'b0;
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3,
                      DOA2, DOA1, DOA0} = DATA_WIDTH_B == 36 ? read_b[17:0] : read_a[17:0];
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3,
                      DOB2, DOB1, DOB0} = DATA_WIDTH_B == 36 ? read_b[35:18] : read_b[17:0];
  assign be_a = DATA_WIDTH_A == 36 ? ad_a[3:0] : DATA_WIDTH_A == 18 ? {2'b00, ad_a[1:0]} : 4'b0001;
  assign be_b = DATA_WIDTH_B == 18 ? {2'b00, ad_b[1:0]} : 4'b0001;
  assign write_a = CEA && WEA && be_a != 0;
  assign write_b = CEB && WEB && be_b != 0;

  initial begin
    for (i = 0; i < 16384; i = i + 1) mem[i] = 36'b0;
    if (DATA_WIDTH_A != DATA_WIDTH_B || REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || CLKAMUX != "CLKA" ||
        CLKBMUX != "CLKB") begin
      $display("DP16KD: a mode that this model lacks");
      $finish;
    end
  end

  always @(posedge CLKA) begin
    if (write_a) begin
      for (i = 0; i < 4; i = i + 1) if (be_a[i]) mem[ad_a >> Shift][9*i+:9] <= di_a[9*i+:9];
    end
    if (RSTA !== 1'b0 || write_a) read_a <= 36'bx;
    else if (CEA) begin
      read_a <= (write_b && ad_a >> Shift == ad_b >> Shift) ? 36'bx : mem[ad_a >> Shift];
    end
  end

  always @(posedge CLKB) begin
    if (write_b) begin
      for (i = 0; i < 4; i = i + 1) if (be_b[i]) mem[ad_b >> Shift][9*i+:9] <= di_b[9*i+:9];
    end
    if (RSTB !== 1'b0 || write_b) read_b <= 36'bx;
    else if (CEB) begin
      read_b <= (write_a && ad_b >> Shift == ad_a >> Shift) ? 36'bx : mem[ad_b >> Shift];
    end
  end

endmodule

module MULT18X18D (
  input  A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0, B17, B16, B15, B14, B13,
  input  B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0, C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7,
  input  C6, C5, C4, C3, C2, C1, C0, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
  output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
  output P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);

  wire signed [18:0] a = {SIGNEDA && A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3,
                     A2, A1, A0};
  wire signed [18:0] b = {SIGNEDB && B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3,
                     B2, B1, B0};
  wire signed [37:0] p = a * b;

  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16,
                      P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = p[35:0];

endmodule
