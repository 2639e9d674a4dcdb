// Walks the rows of the slot memory, layer after layer, sample after sample, without a gap.
//
// A layer is a descriptor_t of deepr_pkg.sv, its last row as wide as the memory needs.
// A sample starts when an input buffer is full, a place for its logits is free and enable_i is
// high; the next one follows the last row of the one before without a bubble. A swap of banks takes
// place between two samples; reset leaves the bank. busy_o: a sample is under way, from its start
// to its last logit.
// Errors:  overrun_o: the rows or the layers came to their end before a final layer did; the sample
//          is ended there.
// Latency: all outputs belong to stage 0, except release_o: stage 2, when the last row has read its
//          activations.
`include "deepr_macros.svh"

module deepr_sequencer
  `DEEPR_IMPORT
#(
  parameter int Rows = 512,
  parameter int Layers = 8,
  parameter int Banks = 2,
  localparam int RowBits = $clog2(Rows),
  localparam int DescBits = RowBits + 12
) (
  input  logic                            clk_i,
  input  logic                            rst_ni,
  input  logic                            enable_i,
  input  logic                            swap_i,
  output logic                            swapping_o,
  output logic                            bank_o,
  // load
  input  logic                            we_i,
  input  logic [$clog2(Banks*Layers)-1:0] waddr_i,
  input  logic [DescBits-1:0]             wdata_i,
  // samples
  input  logic                            full_i,
  input  logic                            done_i,
  output logic                            start_o,
  output logic                            release_o,
  output logic                            busy_o,
  // row
  output logic                            valid_o,
  output logic [RowBits-1:0]              row_o,
  output logic                            end_o,
  output layer_t                          layer_o,
  output logic                            overrun_o
);

  localparam int LayerBits = (Layers > 1) ? $clog2(Layers) : 1;

  deepr_require #(
    .Ok(Layers >= 2 && Layers == 1 << LayerBits && (Banks == 1 || Banks == 2)),
    .Message("deepr_sequencer: Layers must be a power of two, at least 2, and Banks 1 or 2")
  ) u_layers ();

  logic [DescBits-1:0]  layers [Banks*Layers];
  logic [DescBits-1:0]  word;
  layer_t               next, current_q;
  logic [RowBits-1:0]   last_row_q;
  logic [LayerBits-1:0] index_q;
  logic [RowBits-1:0]   row_q;
  logic [1:0]           inflight_q;
  logic                 running_q, bank_q, swap_q, released_q;
  logic [1:0]           release_q;
  logic                 bank, layer_end, sample_end, forced, start, next_final, free;

  assign bank = bank_q ^ (swap_q && index_q == '0);

  if (Banks == 2) begin : gen_two_banks
    assign word = layers[{bank, index_q}];
  end else begin : gen_one_bank
    assign word = layers[index_q];
  end

  assign next = word[DescBits-1-:12];
  assign next_final = next.is_final || index_q == '1;
  assign forced = running_q && row_q == '1 && !(last_row_q == '1 && current_q.is_final);
  assign layer_end = running_q && row_q == last_row_q;
  assign sample_end = (layer_end && current_q.is_final) || forced;
  assign start = enable_i && full_i && !inflight_q[1] && ((sample_end && !forced) || !running_q);
  assign free = running_q && !released_q &&
                (sample_end || (layer_end && current_q.reads_input && !next.reads_input));

  initial bank_q = 1'b0;  // of the bitstream, not of a reset

  always_ff @(posedge clk_i) begin
    if (we_i) layers[waddr_i] <= wdata_i;
    if (rst_ni && (sample_end || !running_q)) bank_q <= bank;
    if (start || layer_end) begin
      current_q <= {next_final, next.reads_input, next.x_signed, next.requantize};
      last_row_q <= word[RowBits-1:0];
    end
    if (!rst_ni) begin
      running_q <= 1'b0;
      row_q <= '0;
      index_q <= '0;
      swap_q <= 1'b0;
      release_q <= '0;
      released_q <= 1'b0;
      inflight_q <= '0;
      overrun_o <= 1'b0;
    end else begin
      if (sample_end || !running_q) begin
        running_q <= start;
        row_q <= '0;
        swap_q <= (swap_i || (swap_q && index_q != '0)) && Banks == 2;
      end else begin
        row_q <= row_q + 1'b1;
        swap_q <= (swap_q || swap_i) && Banks == 2;
      end
      if (sample_end && !start) index_q <= '0;
      else if (start || layer_end) index_q <= next_final ? '0 : index_q + 1'b1;
      release_q <= {release_q[0], free};
      released_q <= (released_q || free) && !sample_end;
      overrun_o <= forced || ((start || layer_end) && next_final && !next.is_final);
      inflight_q <= inflight_q + {1'b0, start} - {1'b0, done_i};
    end
  end

  assign swapping_o = swap_q;
  assign bank_o = bank_q;
  assign busy_o = inflight_q != '0;
  assign start_o = start;
  assign release_o = release_q[1];
  assign valid_o = running_q;
  assign row_o = row_q;
  assign end_o = sample_end;
  assign layer_o = current_q;

  `DEEPR_RESET_FIRST("sequencer")
  `DEEPR_ASSUME("sequencer", "only a sample under way can be done", !done_i || |inflight_q)
  `DEEPR_ASSERT("two samples at most are under way", inflight_q <= 2'd2)
  `DEEPR_ASSERT("a row belongs to a sample", running_q || row_q == '0)

`ifdef PROVE_SEQUENCER
`include "sequencer.svh"
`endif
endmodule
