// One lane: its slots, its copy of the activations, its biases, one multiply-accumulate, one
// requantizer.
//
// Law:     a slot (slot_t of deepr_pkg.sv, its address as wide as the memory needs) of row_s0_i
//          multiplies its weight with the byte at its address (top word bit flipped by flip_s1_i);
//          `last` ends an output: its sum plus bias leaves as t_s8_o, requantized as y_s11_o. A
//          logit fits 32 bits, a hidden sum with the half of the rounding may need 33.
// Latency: x_s<n>_i and x_s<n>_o belong to stage n; the activation is read at the end of stage 2.
`include "deepr_macros.svh"

module deepr_lane
  `DEEPR_IMPORT
#(
  parameter int Lanes = 8,
  parameter int RowDepth = 1024,
  parameter int Words = 512,
  parameter int BiasDepth = 512,
  parameter int AccBits = 32,
  localparam int LaneBits = $clog2(Lanes),
  localparam int AddrBits = $clog2(Words) + LaneBits,
  localparam int SlotBits = AddrBits + 10,
  localparam int LogitBits = (AccBits < 32) ? AccBits : 32
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  // load
  input  logic                         slot_we_i,
  input  logic [$clog2(RowDepth)-1:0]  slot_waddr_i,
  input  logic [SlotBits-1:0]          slot_wdata_i,
  input  logic                         bias_we_i,
  input  logic [$clog2(BiasDepth)-1:0] bias_waddr_i,
  input  logic [AccBits-1:0]           bias_wdata_i,
  // activations
  input  logic                         act_we_i,
  input  logic [$clog2(Words)-1:0]     act_waddr_i,
  input  logic [8*Lanes-1:0]           act_wdata_i,
  // schedule
  input  logic [$clog2(RowDepth)-1:0]  row_s0_i,
  input  logic                         valid_s1_i,
  input  logic                         flip_s1_i,
  input  logic                         xsigned_s4_i,
  input  logic [$clog2(BiasDepth)-1:0] biasaddr_s5_i,
  input  requantize_t                  requantize_s8_i,
  output logic                         last_s2_o,
  output logic                         mac_s2_o,
  // results
  output logic                         last_s8_o,
  output logic [LogitBits-1:0]         t_s8_o,
  output logic [7:0]                   y_s11_o
);

  logic [SlotBits-1:0]             slot_s1;
  slot_op_t                        op_s1;
  logic [AddrBits-1:0]             addr_s2_q;
  logic [StageSelect:StageAddress] last_q, mac_q;
  logic [7:0]                      weight_s2_q, weight_s3_q, weight_s4_q;

  deepr_ram #(
    .Width(SlotBits),
    .Depth(RowDepth)
  ) u_slots (
    .clk_i,
    .we_i(slot_we_i),
    .waddr_i(slot_waddr_i),
    .wdata_i(slot_wdata_i),
    .raddr_i(row_s0_i),
    .rdata_o(slot_s1)
  );

  assign op_s1 = slot_s1[SlotBits-1:AddrBits];

  always_ff @(posedge clk_i) begin
    addr_s2_q <= slot_s1[AddrBits-1:0] ^ {flip_s1_i, {(AddrBits - 1){1'b0}}};
    weight_s2_q <= op_s1.weight;
    weight_s3_q <= weight_s2_q;
    weight_s4_q <= weight_s3_q;
    if (!rst_ni) begin
      mac_q <= '0;
      last_q <= '0;
    end else begin
      mac_q <= {mac_q[StageSelect-1:StageAddress], op_s1.mac && valid_s1_i};
      last_q <= {last_q[StageSelect-1:StageAddress], op_s1.last && valid_s1_i};
    end
  end

  assign last_s2_o = last_q[StageAddress];
  assign mac_s2_o = mac_q[StageAddress];

  logic [8*Lanes-1:0] word_s3, word_s4_q;
  logic [7:0]         x_s4;

  deepr_ram #(
    .Width(8 * Lanes),
    .Depth(Words)
  ) u_activations (
    .clk_i,
    .we_i(act_we_i),
    .waddr_i(act_waddr_i),
    .wdata_i(act_wdata_i),
    .raddr_i(addr_s2_q[AddrBits-1:LaneBits]),
    .rdata_o(word_s3)
  );

  // A block RAM is slow to answer: the byte is selected a cycle later.
  always_ff @(posedge clk_i) word_s4_q <= word_s3;

  if (Lanes == 1) begin : gen_byte
    assign x_s4 = word_s4_q;
  end else begin : gen_select
    logic [LaneBits-1:0] byte_s3_q, byte_s4_q;
    always_ff @(posedge clk_i) begin
      byte_s3_q <= addr_s2_q[LaneBits-1:0];
      byte_s4_q <= byte_s3_q;
    end
    assign x_s4 = word_s4_q[{byte_s4_q, 3'b000}+:8];
  end

  logic [AccBits-1:0] bias_s6, bias_s7_q, t_s8;

  deepr_ram #(
    .Width(AccBits),
    .Depth(BiasDepth)
  ) u_biases (
    .clk_i,
    .we_i(bias_we_i),
    .waddr_i(bias_waddr_i),
    .wdata_i(bias_wdata_i),
    .raddr_i(biasaddr_s5_i),
    .rdata_o(bias_s6)
  );

  always_ff @(posedge clk_i) bias_s7_q <= bias_s6;

  assign t_s8_o = t_s8[LogitBits-1:0];

  deepr_mac #(
    .AccBits(AccBits)
  ) u_mac (
    .clk_i,
    .rst_ni,
    .mac_i(mac_q[StageSelect]),
    .last_i(last_q[StageSelect]),
    .xsigned_i(xsigned_s4_i),
    .x_i(x_s4),
    .weight_i(weight_s4_q),
    .bias_i(bias_s7_q),
    .last_o(last_s8_o),
    .t_o(t_s8)
  );

  deepr_requantize #(
    .AccBits(AccBits)
  ) u_requantize (
    .clk_i,
    .t_i(t_s8),
    .shift_i(requantize_s8_i.shift),
    .ysigned_i(requantize_s8_i.y_signed),
    .ybits_i(requantize_s8_i.y_bits),
    .y_o(y_s11_o)
  );

endmodule
