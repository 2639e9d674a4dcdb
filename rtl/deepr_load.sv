// Load port: 32-bit words into the slots, biases and layer descriptors of the bank that is not running.
//
// Address = {region[3:0], lane[3:0], index[15:0]}
//   region 0  slot       {last, mac, weight[7:0], address[21:0]}
//   region 1  bias       two's complement, the half of the rounding included
//   region 2  layer      {0000, final, reads_input, x_signed, y_signed, y_bits-1 [2:0], shift[4:0], last_row[15:0]}
//   region 3  frame      index 0: words per input frame - 1, index 1: logits per frame - 1
// Errors:  range_o: no such word, or a value that the word can't hold; busy_o: a write while the only bank is running,
//          or of region 3 while a sample is under way. The write does not take place.
// Order:   swap_i goes through the same stages: it comes after every word accepted up to its own cycle; the port waits
//          while a swap is under way (swapping_o), and no sample starts in between (hold_o).
// Latency: the word is written at the end of the second cycle after the one that accepted it.
module deepr_load #(
  parameter int Lanes = 8,
  parameter int Rows = 512,
  parameter int Words = 512,
  parameter int BiasWords = 256,
  parameter int Layers = 8,
  parameter int Classes = 16,
  parameter int AccBits = 32,
  parameter int Banks = 2,
  localparam int AddrBits = $clog2(Words) + $clog2(Lanes)
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         idle_i,
  input  logic                         swap_i,
  output logic                         swap_o,
  input  logic                         swapping_i,
  output logic                         swapping_o,
  output logic                         hold_o,
  // load port
  input  logic                         valid_i,
  output logic                         ready_o,
  input  logic [23:0]                  addr_i,
  input  logic [31:0]                  data_i,
  // memories
  output logic [Lanes-1:0]             slot_we_o,
  output logic [Lanes-1:0]             bias_we_o,
  output logic                         layer_we_o,
  output logic [$clog2(Rows)-1:0]      row_o,
  output logic [$clog2(BiasWords)-1:0] word_o,
  output logic [$clog2(Layers)-1:0]    index_o,
  output logic [AddrBits+9:0]          slot_o,
  output logic [AccBits-1:0]           bias_o,
  output logic [$clog2(Rows)+11:0]     layer_o,
  output logic [$clog2(Words)-2:0]     last_word_o,
  output logic [$clog2(Classes)-1:0]   last_class_o,
  output logic                         range_o,
  output logic                         busy_o
);

  // Stage 1: take the word, check it. All depths are powers of two, so a check is that the bits above are 0.
  logic        valid_q, swap_q, good, allowed;
  logic [23:0] addr_q;
  logic [31:0] data_q;
  logic [15:0] index;
  logic [3:0]  region, lane, fits;

  assign swapping_o = swap_q || swap_o || swapping_i;
  assign hold_o = swap_i || swap_q || swap_o;
  assign ready_o = !swapping_o;
  assign {region, lane, index} = addr_q;
  assign fits[0] = {1'b0, lane} < 5'(Lanes) && (index >> $clog2(Rows)) == '0 && (data_q[21:0] >> AddrBits) == '0;
  assign fits[1] = {1'b0, lane} < 5'(Lanes) && (index >> $clog2(BiasWords)) == '0 &&
                   (data_q[31:AccBits-1] == '0 || data_q[31:AccBits-1] == '1);
  assign fits[2] = lane == '0 && (index >> $clog2(Layers)) == '0 && data_q[31:28] == '0 &&
                   (data_q[15:0] >> $clog2(Rows)) == '0;
  assign fits[3] = lane == '0 && index[15:1] == '0 &&
                   (data_q >> (index[0] ? $clog2(Classes) : $clog2(Words) - 1)) == '0;
  assign good = region[3:2] == '0 && fits[region[1:0]];
  assign allowed = idle_i || (Banks == 2 && region != 4'd3);

  always_ff @(posedge clk_i) begin
    addr_q <= addr_i;
    data_q <= data_i;
    if (!rst_ni) begin
      {valid_q, swap_q, swap_o, range_o, busy_o} <= '0;
    end else begin
      valid_q <= valid_i && ready_o;
      swap_q <= swap_i;
      swap_o <= swap_q;
      range_o <= valid_q && !good;
      busy_o <= valid_q && good && !allowed;
    end
  end

  // Stage 2: write.
  localparam int Deepest = (Rows > BiasWords) ? Rows : BiasWords;
  localparam int IndexBits = $clog2((Deepest > Layers) ? Deepest : Layers);

  logic                 write_q;
  logic [3:0]           region_q, lane_q;
  logic [IndexBits-1:0] index_q;
  logic [31:0]          word_q;

  assign row_o = index_q[$clog2(Rows)-1:0];
  assign word_o = index_q[$clog2(BiasWords)-1:0];
  assign index_o = index_q[$clog2(Layers)-1:0];
  assign slot_o = {word_q[31:22], word_q[AddrBits-1:0]};
  assign bias_o = word_q[AccBits-1:0];
  assign layer_o = {word_q[27:16], word_q[$clog2(Rows)-1:0]};
  assign layer_we_o = write_q && region_q == 4'd2;

  for (genvar l = 0; l < Lanes; l++) begin : gen_we
    assign slot_we_o[l] = write_q && region_q == 4'd0 && lane_q == l;
    assign bias_we_o[l] = write_q && region_q == 4'd1 && lane_q == l;
  end

  always_ff @(posedge clk_i) begin
    {region_q, lane_q} <= addr_q[23:16];
    index_q <= index[IndexBits-1:0];
    word_q <= data_q;
    if (!rst_ni) begin
      {write_q, last_word_o, last_class_o} <= '0;
    end else begin
      write_q <= valid_q && good && allowed;
      if (write_q && region_q == 4'd3 && !index_q[0]) last_word_o <= word_q[$clog2(Words)-2:0];
      if (write_q && region_q == 4'd3 && index_q[0]) last_class_o <= word_q[$clog2(Classes)-1:0];
    end
  end

`ifdef PROVE_LOAD
`include "load.svh"
`endif
endmodule
