// One lane: its slots, its copy of the activations, its biases, one multiply-accumulate, one requantizer.
//
// Slot = {last, mac, weight[7:0], address[AddrBits-1:0]}; the address counts bytes of the activation memory.
// Law:     the row_i-th slot multiplies its weight with the byte at its address (top word bit flipped by flip_i);
//          `last` ends an output: its sum plus bias leaves as t_o, requantized as y_o. A logit fits 32 bits, a hidden
//          sum with the half of the rounding may need 33.
// Latency: row_i in stage 0; the activation is read at the end of stage 2, t_o is in stage 8, y_o in stage 11.
//          valid_i belongs to stage 1, flip_i to 1, xsigned_i to 4, biasaddr_i to 5, shift_i, ysigned_i, ybits_i to 8.
module deepr_lane #(
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
  input  logic [$clog2(RowDepth)-1:0]  row_i,
  input  logic                         valid_i,
  input  logic                         flip_i,
  input  logic                         xsigned_i,
  input  logic [$clog2(BiasDepth)-1:0] biasaddr_i,
  input  logic [4:0]                   shift_i,
  input  logic                         ysigned_i,
  input  logic [2:0]                   ybits_i,
  output logic                         last_s2_o,
  output logic                         mac_s2_o,
  // results
  output logic                         last_s8_o,
  output logic [LogitBits-1:0]         t_o,
  output logic [7:0]                   y_o
);

  logic [SlotBits-1:0] slot;
  logic [AddrBits-1:0] addr_q;
  logic [7:0]          weight_q, weight_s3_q, weight_s4_q;
  logic                last_q, mac_q, last_s3_q, mac_s3_q, last_s4_q, mac_s4_q;

  deepr_ram #(.Width(SlotBits), .Depth(RowDepth)) u_slots (
    .clk_i, .we_i(slot_we_i), .waddr_i(slot_waddr_i), .wdata_i(slot_wdata_i), .raddr_i(row_i), .rdata_o(slot)
  );

  always_ff @(posedge clk_i) begin
    addr_q <= slot[AddrBits-1:0] ^ {flip_i, {(AddrBits - 1){1'b0}}};
    weight_q <= slot[AddrBits+:8];
    weight_s3_q <= weight_q;
    weight_s4_q <= weight_s3_q;
    if (!rst_ni) begin
      {mac_q, last_q, mac_s3_q, last_s3_q, mac_s4_q, last_s4_q} <= '0;
    end else begin
      mac_q <= slot[SlotBits-2] && valid_i;
      last_q <= slot[SlotBits-1] && valid_i;
      mac_s3_q <= mac_q;
      last_s3_q <= last_q;
      mac_s4_q <= mac_s3_q;
      last_s4_q <= last_s3_q;
    end
  end

  assign last_s2_o = last_q;
  assign mac_s2_o = mac_q;

  logic [8*Lanes-1:0] word, word_q;
  logic [7:0]         x;

  deepr_ram #(.Width(8 * Lanes), .Depth(Words)) u_activations (
    .clk_i, .we_i(act_we_i), .waddr_i(act_waddr_i), .wdata_i(act_wdata_i),
    .raddr_i(addr_q[AddrBits-1:LaneBits]), .rdata_o(word)
  );

  // A block RAM is slow to answer: the byte is selected a cycle later.
  always_ff @(posedge clk_i) word_q <= word;

  if (Lanes == 1) begin : gen_byte
    assign x = word_q;
  end else begin : gen_select
    logic [LaneBits-1:0] byte_s3_q, byte_s4_q;
    always_ff @(posedge clk_i) begin
      byte_s3_q <= addr_q[LaneBits-1:0];
      byte_s4_q <= byte_s3_q;
    end
    assign x = word_q[{byte_s4_q, 3'b000}+:8];
  end

  logic [AccBits-1:0] bias, bias_q;

  deepr_ram #(.Width(AccBits), .Depth(BiasDepth)) u_biases (
    .clk_i, .we_i(bias_we_i), .waddr_i(bias_waddr_i), .wdata_i(bias_wdata_i), .raddr_i(biasaddr_i), .rdata_o(bias)
  );

  always_ff @(posedge clk_i) bias_q <= bias;

  logic [AccBits-1:0] t;
  assign t_o = t[LogitBits-1:0];

  deepr_mac #(.AccBits(AccBits)) u_mac (
    .clk_i, .rst_ni, .mac_i(mac_s4_q), .last_i(last_s4_q), .xsigned_i, .x_i(x), .weight_i(weight_s4_q),
    .bias_i(bias_q), .last_o(last_s8_o), .t_o(t)
  );

  deepr_requantize #(.AccBits(AccBits)) u_requantize (
    .clk_i, .t_i(t), .shift_i, .ysigned_i, .ybits_i, .y_o
  );

endmodule
