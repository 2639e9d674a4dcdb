// A rule that the environment of module deepr_<Of> keeps: assumed where that module is proven, asserted elsewhere.
//
// Law:     from reset on ok_i is not 0 at any clock edge, and the first edge finds the module in reset (Reset = 0: it
//          has none). A simulation stops with Message where that is broken; the bounded proofs prove it.
// Synthesis makes nothing of it. (yosys: no unsized constant in the expression at ok_i.)
module deepr_rule #(
  parameter Of = "",
  parameter Message = "",
  parameter logic Reset = 1'b1
) (
  input logic clk_i,
  input logic rst_ni,
  input logic ok_i
);

`ifdef FORMAL
`ifdef PROVE_ARGMAX
  localparam Proven = "argmax";
`elsif PROVE_INPUT
  localparam Proven = "input";
`elsif PROVE_LOAD
  localparam Proven = "load";
`elsif PROVE_LOGITS
  localparam Proven = "logits";
`elsif PROVE_REQUANTIZE
  localparam Proven = "requantize";
`elsif PROVE_SEQUENCER
  localparam Proven = "sequencer";
`else
  localparam Proven = "engine";
`endif

  if (Of == Proven) begin : gen_given
    if (Reset) initial assume (!rst_ni);
    always_comb assume (!rst_ni || ok_i);
  end else if (Reset) begin : gen_due
`ifdef BOUNDED  // a proof by induction would need more of the surroundings
    always_ff @(posedge clk_i) if (rst_ni) rule: assert (ok_i);
`endif
  end
`elsif SYNTHESIS
  logic unused;
  assign unused = ^{clk_i, rst_ni, ok_i, Reset};
`else
  logic first_q;
  initial first_q = Reset;

  always @(posedge clk_i) begin
    first_q <= 1'b0;
    if (first_q && rst_ni !== 1'b0) $fatal(1, "deepr_%s: reset comes first", Of);
    if (rst_ni && ok_i === 1'b0) $fatal(1, "deepr_%s: %s", Of, Message);
  end
`endif

endmodule
