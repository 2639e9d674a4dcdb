// Load port: 32-bit words into the bank that is not running, and the decision whether that bank may take over.
//
// Address = {region[3:0], lane[3:0], index[15:0]}
//   region 0  slot       {last, mac, weight[7:0], address[21:0]}
//   region 1  bias       two's complement, the half of the rounding included
//   region 2  layer      {0000, final, reads_input, x_signed, y_signed, y_bits-1 [2:0], shift[4:0], last_row[15:0]}
//   region 3  frame      index 0: bytes per input frame - 1, index 1: logits per frame - 1
//   region 4  bias of 2**31 and more, unsigned; only with AccBits = 33
// Banks:   a frame's sizes belong to the bank like everything else. The last word of an image is region 3, index 1: it
//          says that the bank is loaded; any other word says that it no longer is. Reset leaves sizes and loaded_o.
// Errors:  range_o: no such word, or a value that the word can't hold; busy_o: a write while the only bank is running,
//          or a swap to a bank that is not loaded, or while the engine runs to one with other sizes, or while a swap is
//          under way. It does not take place.
// Order:   swap_i comes after every word accepted up to its own cycle; the port waits while a swap is under way
//          (swapping_o), and no sample starts and no beat is taken in between (hold_o).
// flush_o: the sizes change in this cycle: frames that wait are of the wrong size.
// Latency: the word is written at the end of the second cycle after the one that accepted it; swap_o: 3 cycles.
module deepr_load #(
  parameter int Lanes = 8,
  parameter int Rows = 512,
  parameter int Words = 512,
  parameter int BiasWords = 256,
  parameter int Layers = 8,
  parameter int Classes = 16,
  parameter int AccBits = 32,
  parameter int Banks = 2,
  localparam int AddrBits = $clog2(Words) + $clog2(Lanes),
  localparam int ClassBits = $clog2(Classes)
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         idle_i,
  input  logic                         swap_i,
  output logic                         swap_o,
  input  logic                         swapping_i,
  input  logic                         running_i,
  input  logic                         settled_i,
  input  logic                         bank_i,
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
  output logic [AddrBits-2:0]          last_byte_o,
  output logic [ClassBits-1:0]         last_class_o,
  output logic                         loaded_o,
  output logic                         flush_o,
  output logic                         range_o,
  output logic                         busy_o
);

  // Stage 1: take the word, check it. All depths are powers of two, so a check is that the bits above are 0.
  logic        valid_q, good, allowed, exchange;
  logic [2:0]  swap_q;
  logic [31:0] above;
  logic [23:0] addr_q;
  logic [31:0] data_q;
  logic [15:0] index;
  logic [3:0]  region, lane;
  logic [4:0]  fits;

  assign swapping_o = swap_q != '0 || swapping_i || !settled_i;
  assign hold_o = swap_i || swap_q != '0 || (swapping_i && !running_i) || exchange || flush_o;
  assign ready_o = !swapping_o;
  assign {region, lane, index} = addr_q;
  assign fits[0] = {1'b0, lane} < 5'(Lanes) && (index >> $clog2(Rows)) == '0 && (data_q[21:0] >> AddrBits) == '0;
  assign above = $signed(data_q) >>> (AccBits - 1);
  assign fits[1] = {1'b0, lane} < 5'(Lanes) && (index >> $clog2(BiasWords)) == '0 && (above == '0 || above == '1);
  assign fits[2] = lane == '0 && (index >> $clog2(Layers)) == '0 && data_q[31:28] == '0 &&
                   int'(data_q[20:16]) <= AccBits &&
                   (data_q[15:0] >> $clog2(Rows)) == '0;
  assign fits[3] = lane == '0 && index[15:1] == '0 &&
                   (data_q >> (index[0] ? ClassBits : AddrBits - 1)) == '0;
  assign fits[4] = fits[1] && AccBits == 33;
  assign good = region <= 4'd4 && fits[region[2:0]];
  assign allowed = idle_i || Banks == 2;

  always_ff @(posedge clk_i) begin
    addr_q <= addr_i;
    data_q <= data_i;
    if (!rst_ni) begin
      {valid_q, swap_q, range_o, busy_o} <= '0;
    end else begin
      valid_q <= valid_i && ready_o;
      swap_q <= {swap_q[1:0], swap_i && !swapping_o};
      range_o <= valid_q && !good;
      busy_o <= (valid_q && good && !allowed) || (swap_q[2] && !swap_o) || (swap_i && swapping_o);
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
  assign bias_o = AccBits'($signed({word_q[31] && region_q[0], word_q}));
  assign layer_o = {word_q[27:16], word_q[$clog2(Rows)-1:0]};
  assign layer_we_o = write_q && region_q == 4'd2;

  for (genvar l = 0; l < Lanes; l++) begin : gen_we
    assign slot_we_o[l] = write_q && region_q == 4'd0 && lane_q == l;
    assign bias_we_o[l] = write_q && (region_q == 4'd1 || region_q == 4'd4) && lane_q == l;
  end

  always_ff @(posedge clk_i) begin
    {region_q, lane_q} <= addr_q[23:16];
    index_q <= index[IndexBits-1:0];
    word_q <= data_q;
    write_q <= valid_q && good && allowed && rst_ni;
  end

  // The frame sizes of the bank that runs, and of the one that is written; with one bank only the latter.
  logic [AddrBits-2:0]  byte_q, other_byte_q;
  logic [ClassBits-1:0] class_q, other_class_q;
  logic                 loaded_q, other_loaded_q, bank_q, same;

  initial {write_q, loaded_q, other_loaded_q, bank_q} = '0;  // of the bitstream, not of a reset
  initial {byte_q, other_byte_q, class_q, other_class_q} = '0;

  assign same = byte_q == other_byte_q && class_q == other_class_q;
  assign swap_o = swap_q[2] && Banks == 2 && other_loaded_q && (idle_i || same);
  assign exchange = bank_q != bank_i;
  assign flush_o = (Banks == 2) ? exchange && !same : write_q && region_q == 4'd3 && !index_q[0];
  assign last_byte_o = (Banks == 2) ? byte_q : other_byte_q;
  assign last_class_o = (Banks == 2) ? class_q : other_class_q;
  assign loaded_o = (Banks == 2) ? loaded_q : other_loaded_q;

  always_ff @(posedge clk_i) begin
    bank_q <= bank_i;
    if (exchange) begin
      {byte_q, class_q, loaded_q} <= {other_byte_q, other_class_q, other_loaded_q};
      {other_byte_q, other_class_q, other_loaded_q} <= {byte_q, class_q, loaded_q};
    end else if (write_q) begin
      if (region_q == 4'd3 && !index_q[0]) other_byte_q <= word_q[AddrBits-2:0];
      if (region_q == 4'd3 && index_q[0]) other_class_q <= word_q[ClassBits-1:0];
      other_loaded_q <= region_q == 4'd3 && index_q[0];
    end
  end

  logic pending_q;  // from the swap on until the bank has changed

  always_ff @(posedge clk_i) pending_q <= rst_ni && (swap_o || (pending_q && !exchange));

  deepr_rule #(.Of("load"), .Message("the bank changes only after a swap, unsettled"), .Reset(1'b0)) u_bank (
    .clk_i(clk_i), .rst_ni(1'b1), .ok_i(!exchange || (pending_q && !settled_i))
  );
  deepr_rule #(.Of("load"), .Message("a swap is under way until the bank has changed")) u_swapping (
    .clk_i(clk_i), .rst_ni(rst_ni), .ok_i(!pending_q || exchange || swapping_i)
  );

`ifdef PROVE_LOAD
`include "load.svh"
`endif
endmodule
