// The package, the engine's parameters as one list, and assertions, as every tool reads them.
//
// DEEPR_IMPORT         in a module's header: the package; yosys has it global, it knows no import.
// DEEPR_PARAMETERS     declares the engine's parameters, DEEPR_PASS hands them on.
// DEEPR_ASSERT         a law of the module: ok at every clock edge outside reset.
// DEEPR_HOLDS          of a stream that the module drives: a beat on offer stays until it is taken.
// DEEPR_ASSUME         what the environment of module `of` keeps: assumed where that module is
//                      proven, asserted wherever else it is used.
// DEEPR_ASSUME_ALWAYS  the same, in reset, too.
// DEEPR_RESET_FIRST    the same: the first clock edge finds the module in reset.
// An assertion that fails ends a simulation with its message; synthesis makes nothing of it.
`ifndef DEEPR_MACROS_SVH
`define DEEPR_MACROS_SVH

`ifdef YOSYS
`define DEEPR_IMPORT
`else
`define DEEPR_IMPORT import deepr_pkg::*;
`endif

`define DEEPR_PARAMETERS \
  parameter int Lanes = 8, \
  parameter int Rows = 512, \
  parameter int Words = 512, \
  parameter int BiasWords = 256, \
  parameter int Layers = 8, \
  parameter int Classes = 16, \
  parameter int AccBits = 32, \
  parameter int Banks = 2

`define DEEPR_PASS \
  .Lanes(Lanes), \
  .Rows(Rows), \
  .Words(Words), \
  .BiasWords(BiasWords), \
  .Layers(Layers), \
  .Classes(Classes), \
  .AccBits(AccBits), \
  .Banks(Banks)

`ifdef FORMAL

`ifdef PROVE_ARGMAX
`define DEEPR_PROVEN "argmax"
`elsif PROVE_INPUT
`define DEEPR_PROVEN "input"
`elsif PROVE_LOAD
`define DEEPR_PROVEN "load"
`elsif PROVE_LOGITS
`define DEEPR_PROVEN "logits"
`elsif PROVE_REQUANTIZE
`define DEEPR_PROVEN "requantize"
`elsif PROVE_SEQUENCER
`define DEEPR_PROVEN "sequencer"
`else
`define DEEPR_PROVEN "engine"
`endif

`define DEEPR_ASSERT(message, ok) \
  always_ff @(posedge clk_i) if (rst_ni) assert (ok);

`define DEEPR_HOLDS(name, valid, ready, payload)  // the proofs say it in their own words

// A proof by induction would need more of the surroundings than a rule of them.
`ifdef BOUNDED
`define DEEPR_DUE(ok) always_ff @(posedge clk_i) if (rst_ni) assert (ok);
`else
`define DEEPR_DUE(ok)
`endif

`define DEEPR_ASSUME(of, message, ok) \
  if (of == `DEEPR_PROVEN) begin \
    always_comb assume (!rst_ni || (ok)); \
  end else begin \
    `DEEPR_DUE(ok) \
  end

`define DEEPR_ASSUME_ALWAYS(of, message, ok) \
  if (of == `DEEPR_PROVEN) begin \
    always_comb assume (ok); \
  end

`define DEEPR_RESET_FIRST(of) \
  if (of == `DEEPR_PROVEN) begin \
    initial assume (!rst_ni); \
  end

`elsif SYNTHESIS

`define DEEPR_ASSERT(message, ok)
`define DEEPR_HOLDS(name, valid, ready, payload)
`define DEEPR_ASSUME(of, message, ok)
`define DEEPR_ASSUME_ALWAYS(of, message, ok)
`define DEEPR_RESET_FIRST(of)

`else

`define DEEPR_ASSUME_ALWAYS(of, message, ok) \
  always @(posedge clk_i) if ((ok) === 1'b0) $fatal(1, "%m: %s", message);

`define DEEPR_ASSERT(message, ok) \
  always @(posedge clk_i) if (rst_ni && (ok) === 1'b0) $fatal(1, "%m: %s", message);

`define DEEPR_ASSUME(of, message, ok) `DEEPR_ASSERT(message, ok)

`define DEEPR_HOLDS(name, valid, ready, payload) \
  if (1) begin : name \
    logic                   waits_q; \
    logic [$bits(payload)-1:0] offered_q; \
    always @(posedge clk_i) begin \
      waits_q <= rst_ni && valid && !ready; \
      offered_q <= payload; \
      if (rst_ni && waits_q === 1'b1 && (!valid || offered_q !== (payload))) \
        $fatal(1, "%m: a beat changed while it waited"); \
    end \
  end

`define DEEPR_RESET_FIRST(of) \
  if (1) begin : gen_reset_first \
    logic first_q; \
    initial first_q = 1'b1; \
    always @(posedge clk_i) begin \
      first_q <= 1'b0; \
      if (first_q && rst_ni !== 1'b0) $fatal(1, "%m: reset comes first"); \
    end \
  end

`endif
`endif
