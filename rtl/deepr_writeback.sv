// Where results go: counts the bias words (stage 5) and the activation words that the lanes write
// (stage 11).
//
// Every row in which any lane ends an output takes the next bias word; if the layer is not final,
// also the next activation word. Both start afresh with each sample. Activation words are the ones
// that the two input buffers leave free: F .. Words/2-1, then Words/2+F .. Words-1, F being
// last_word_i + 1.
`include "deepr_macros.svh"

module deepr_writeback #(
  parameter int Words = 512,
  parameter int BiasWords = 256
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic [$clog2(Words)-2:0]     last_word_i,
  input  logic                         valid_s4_i,
  input  logic                         end_s4_i,
  input  logic                         any_last_s4_i,
  output logic [$clog2(BiasWords)-1:0] bias_addr_s5_o,
  input  logic                         valid_s11_i,
  input  logic                         end_s11_i,
  input  logic                         we_s11_i,
  output logic [$clog2(Words)-1:0]     waddr_s11_o
);

  logic [$clog2(BiasWords)-1:0] bias_q;
  logic [$clog2(Words)-1:0]     word_q;
  logic [$clog2(Words)-2:0]     first_word;

  assign first_word = last_word_i + 1'b1;
  assign waddr_s11_o = word_q;

  always_ff @(posedge clk_i) begin
    bias_addr_s5_o <= bias_q;
    if (!valid_s4_i || end_s4_i) bias_q <= '0;
    else if (any_last_s4_i) bias_q <= bias_q + 1'b1;

    if (!valid_s11_i || end_s11_i) word_q <= {1'b0, first_word};
    else if (we_s11_i) word_q <= (word_q[$clog2(Words)-2:0] == '1) ? {1'b1, first_word}
                                                                   : word_q + 1'b1;
  end

  `DEEPR_ASSERT("results stay out of the input buffers",
    !we_s11_i || word_q[$clog2(Words)-2:0] >= first_word)

endmodule
