// Load port: 32-bit words into the bank that is not running, and the decision whether that bank
// may take over.
//
// Words:   load_address_t, region_e, slot_t, descriptor_t, frame_e in deepr_pkg.sv.
// Banks:   a frame's sizes belong to the bank like everything else. The last word of an image,
//          the logits per frame, says that the bank is loaded; any other word says that it no
//          longer is. Reset leaves sizes and loaded_o.
// Errors:  range_o: no such word, or a value that the word can't hold; refused_o: a write while
//          the only bank is running, or a swap to a bank that is not loaded, or while the engine
//          runs to one with other sizes, or while a swap is under way. It does not take place.
// Order:   swap_i comes after every word accepted up to its own cycle; the port waits while a swap
//          is under way (swapping_o), and no sample starts and no beat is taken in between
//          (hold_o).
// flush_o: the sizes change in this cycle: frames that wait are of the wrong size.
// Latency: the word is written at the end of the second cycle after the one that accepted it;
//          swap_o: 3 cycles.
`include "deepr_macros.svh"

module deepr_load
  `DEEPR_IMPORT
#(
  `DEEPR_PARAMETERS,
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
  output logic                         refused_o
);

  // Stage 1: take the word, check it. All depths are powers of two, so a check is that the bits
  // above are 0.
  logic          valid_q, good, allowed, exchange;
  logic [2:0]    swap_q;
  logic [31:0]   above;
  load_address_t addr_q;
  logic [3:0]    region;
  logic [31:0]   data_q;
  descriptor_t   layer;
  logic          lane_fits, slot_fits, bias_fits, layer_fits, frame_fits;
  // verilator lint_off UNUSEDSIGNAL
  slot_t         slot;  // its operation may be any
  // verilator lint_on UNUSEDSIGNAL

  assign region = addr_q.region;
  assign swapping_o = swap_q != '0 || swapping_i || !settled_i;
  assign hold_o = swap_i || swap_q != '0 || (swapping_i && !running_i) || exchange || flush_o;
  assign ready_o = !swapping_o;

  assign slot = data_q;
  assign layer = data_q;
  assign above = $signed(data_q) >>> (AccBits - 1);
  assign lane_fits = {1'b0, addr_q.lane} < 5'(Lanes);
  assign slot_fits = lane_fits && (addr_q.index >> $clog2(Rows)) == '0 &&
                     (slot.address >> AddrBits) == '0;
  assign bias_fits = lane_fits && (addr_q.index >> $clog2(BiasWords)) == '0 &&
                     (above == '0 || above == '1);
  assign layer_fits = addr_q.lane == '0 && (addr_q.index >> $clog2(Layers)) == '0 &&
                      layer.zero == '0 && int'(layer.layer.requantize.shift) <= AccBits &&
                      (layer.last_row >> $clog2(Rows)) == '0;
  assign frame_fits = addr_q.lane == '0 && addr_q.index[15:1] == '0 &&
                      (data_q >> (addr_q.index[0] == FrameLogits ? ClassBits : AddrBits - 1)) == '0;
  assign allowed = idle_i || Banks == 2;

  always_comb begin
    case (region)
      RegionSlot:     good = slot_fits;
      RegionBias:     good = bias_fits;
      RegionLayer:    good = layer_fits;
      RegionFrame:    good = frame_fits;
      RegionHighBias: good = bias_fits && AccBits == 33;
      default:        good = 1'b0;
    endcase
  end

  always_ff @(posedge clk_i) begin
    addr_q <= addr_i;
    data_q <= data_i;
    if (!rst_ni) begin
      valid_q <= 1'b0;
      swap_q <= '0;
      range_o <= 1'b0;
      refused_o <= 1'b0;
    end else begin
      valid_q <= valid_i && ready_o;
      swap_q <= {swap_q[1:0], swap_i && !swapping_o};
      range_o <= valid_q && !good;
      refused_o <= (valid_q && good && !allowed) || (swap_q[2] && !swap_o) ||
                   (swap_i && swapping_o);
    end
  end

  // Stage 2: write.
  localparam int Deepest = (Rows > BiasWords) ? Rows : BiasWords;
  localparam int IndexBits = $clog2((Deepest > Layers) ? Deepest : Layers);

  logic                 write_q, frame, sizes_bytes, sizes_logits;
  logic [3:0]           region_q, lane_q;
  logic [IndexBits-1:0] index_q;
  logic [31:0]          word_q;
  slot_t                slot_word;
  // verilator lint_off UNUSEDSIGNAL
  descriptor_t          layer_word;  // its zero is checked above
  // verilator lint_on UNUSEDSIGNAL

  assign slot_word = word_q;
  assign layer_word = word_q;
  assign row_o = index_q[$clog2(Rows)-1:0];
  assign word_o = index_q[$clog2(BiasWords)-1:0];
  assign index_o = index_q[$clog2(Layers)-1:0];
  assign slot_o = {slot_word.op, slot_word.address[AddrBits-1:0]};
  assign bias_o = AccBits'($signed({word_q[31] && region_q == RegionBias, word_q}));
  assign layer_o = {layer_word.layer, layer_word.last_row[$clog2(Rows)-1:0]};
  assign layer_we_o = write_q && region_q == RegionLayer;
  assign frame = write_q && region_q == RegionFrame;
  assign sizes_bytes = frame && index_q[0] == FrameBytes;
  assign sizes_logits = frame && index_q[0] == FrameLogits;

  for (genvar l = 0; l < Lanes; l++) begin : gen_we
    assign slot_we_o[l] = write_q && region_q == RegionSlot && lane_q == l;
    assign bias_we_o[l] = write_q && (region_q == RegionBias || region_q == RegionHighBias) &&
                          lane_q == l;
  end

  always_ff @(posedge clk_i) begin
    region_q <= region;
    lane_q <= addr_q.lane;
    index_q <= addr_q.index[IndexBits-1:0];
    word_q <= data_q;
    write_q <= valid_q && good && allowed && rst_ni;
  end

  // The frame sizes of the bank that runs, and of the one that is written; with one bank only the
  // latter.
  logic [AddrBits-2:0]  byte_q, other_byte_q;
  logic [ClassBits-1:0] class_q, other_class_q;
  logic                 loaded_q, other_loaded_q, bank_q, same;

  // Of the bitstream, not of a reset
  initial begin
    write_q = 1'b0;
    loaded_q = 1'b0;
    other_loaded_q = 1'b0;
    bank_q = 1'b0;
    byte_q = '0;
    other_byte_q = '0;
    class_q = '0;
    other_class_q = '0;
  end

  assign same = byte_q == other_byte_q && class_q == other_class_q;
  assign swap_o = swap_q[2] && Banks == 2 && other_loaded_q && (idle_i || same);
  assign exchange = bank_q != bank_i;
  assign flush_o = (Banks == 2) ? exchange && !same : sizes_bytes;
  assign last_byte_o = (Banks == 2) ? byte_q : other_byte_q;
  assign last_class_o = (Banks == 2) ? class_q : other_class_q;
  assign loaded_o = (Banks == 2) ? loaded_q : other_loaded_q;

  always_ff @(posedge clk_i) begin
    bank_q <= bank_i;
    if (exchange) begin
      {byte_q, class_q, loaded_q} <= {other_byte_q, other_class_q, other_loaded_q};
      {other_byte_q, other_class_q, other_loaded_q} <= {byte_q, class_q, loaded_q};
    end else if (write_q) begin
      if (sizes_bytes) other_byte_q <= word_q[AddrBits-2:0];
      if (sizes_logits) other_class_q <= word_q[ClassBits-1:0];
      other_loaded_q <= sizes_logits;
    end
  end

  logic pending_q;  // from the swap on until the bank has changed

  always_ff @(posedge clk_i) pending_q <= rst_ni && (swap_o || (pending_q && !exchange));

  `DEEPR_RESET_FIRST("load")
  `DEEPR_ASSUME_ALWAYS("load", "the bank changes only after a swap, unsettled",
    !exchange || (pending_q && !settled_i))
  `DEEPR_ASSUME("load", "a swap is under way until the bank has changed",
    !pending_q || exchange || swapping_i)
  `DEEPR_ASSERT("a word goes to one lane at most",
    (slot_we_o & (slot_we_o - 1'b1)) == '0 && (bias_we_o & (bias_we_o - 1'b1)) == '0)
  `DEEPR_ASSERT("a word goes to one memory at most",
    {1'b0, |slot_we_o} + {1'b0, |bias_we_o} + {1'b0, layer_we_o} <= 2'd1)

`ifdef PROVE_LOAD
`include "load.svh"
`endif
endmodule
