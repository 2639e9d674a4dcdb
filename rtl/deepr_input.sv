// Writes input frames into the two input buffers of the activation memory and checks their length.
//
// Word w of a frame goes to word {buffer, w}; a frame has last_word_i + 1 words and carries last_i on the final one.
// A beat waits while the lanes write (hold_i) or both buffers are full. full_o: a frame is there to start with (until
// start_i); buffer_o: the buffer of the sample under way, free again after release_i.
// Errors:  short_o: last_i too early, the words so far are dropped; long_o: no last_i on the final word, the frame is
//          dropped up to its last_i. The next frame starts afresh.
module deepr_input #(
  parameter int Words = 512
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       enable_i,
  input  logic [$clog2(Words)-2:0]   last_word_i,
  input  logic                       hold_i,
  input  logic                       start_i,
  input  logic                       release_i,
  output logic                       full_o,
  output logic                       buffer_o,
  input  logic                       valid_i,
  output logic                       ready_o,
  input  logic                       last_i,
  output logic                       we_o,
  output logic [$clog2(Words)-1:0]   waddr_o,
  output logic                       short_o,
  output logic                       long_o
);

  logic [$clog2(Words)-2:0] word_q;
  logic [1:0]               full_q, waiting_q;
  logic                     load_q, start_q, read_q, drop_q;
  logic                     beat, final_word, done;

  assign ready_o = enable_i && !hold_i && !full_q[load_q];
  assign beat = valid_i && ready_o;
  assign we_o = beat && !drop_q;
  assign waddr_o = {load_q, word_q};
  assign final_word = word_q == last_word_i;
  assign done = we_o && final_word && last_i;
  assign full_o = waiting_q[start_q];
  assign buffer_o = !start_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {word_q, load_q, start_q, read_q, drop_q, short_o, long_o} <= '0;
      {full_q, waiting_q} <= '0;  // apart: yosys mixes no bit-selected names with others on the left
    end else begin
      short_o <= we_o && last_i && !final_word;
      long_o <= we_o && !last_i && final_word;
      if (we_o) word_q <= (last_i || final_word) ? '0 : word_q + 1'b1;
      if (beat) drop_q <= !last_i && (drop_q || final_word);
      load_q <= load_q ^ done;
      start_q <= start_q ^ start_i;
      read_q <= read_q ^ release_i;
      full_q <= (full_q | ({1'b0, done} << load_q)) & ~({1'b0, release_i} << read_q);
      waiting_q <= (waiting_q | ({1'b0, done} << load_q)) & ~({1'b0, start_i} << start_q);
    end
  end

`ifdef PROVE_INPUT
`include "input.svh"
`endif
endmodule
