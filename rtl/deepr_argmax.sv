// Index of the largest value of a frame, ties to the lowest index.
//
// Latency: index_o is valid in the cycle after the frame's last value and until the next frame's
//          first one.
`include "deepr_macros.svh"

module deepr_argmax #(
  parameter int ValueBits = 32,
  parameter int IndexBits = 8
) (
  input  logic                        clk_i,
  input  logic                        valid_i,
  input  logic [IndexBits-1:0]        index_i,
  input  logic signed [ValueBits-1:0] value_i,
  output logic [IndexBits-1:0]        index_o
);

  logic signed [ValueBits-1:0] best_q;

  always_ff @(posedge clk_i) begin
    if (valid_i && (index_i == '0 || value_i > best_q)) begin
      best_q <= value_i;
      index_o <= index_i;
    end
  end

  logic [IndexBits-1:0] next_q;
  logic                 inside_q;
  initial inside_q = 1'b0;

  always_ff @(posedge clk_i) if (valid_i) {inside_q, next_q} <= {1'b1, index_i + 1'b1};

  `DEEPR_ASSUME_ALWAYS("argmax", "the classes of a frame come in order, from 0 on",
    !valid_i || !(|index_i) || (inside_q && index_i == next_q))

`ifdef PROVE_ARGMAX
`include "argmax.svh"
`endif
endmodule
