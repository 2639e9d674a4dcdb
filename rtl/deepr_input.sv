// Writes input frames into the two input buffers of the activation memory and checks their length.
//
// Word w of a frame goes to word {buffer, w}; a frame has last_byte_i + 1 bytes and carries last_i
// on its final word. keep_i marks the bytes that count: all, but in the final word the lowest ones
// only. A beat waits while the lanes write (hold_i) or both buffers are full. full_o: a frame is
// there to start with (until start_i); buffer_o: the buffer of the sample under way, free again
// after release_i. flush_i, while nothing runs: frames that wait are dropped, the one under way
// too.
// Errors:  short_o: bytes are missing (last_i too early, a null byte), or frames were flushed;
//          long_o: bytes too many, or no last_i on the final word. The frame is dropped up to its
//          last_i, the next one starts afresh.
`include "deepr_macros.svh"

module deepr_input #(
  parameter int Lanes = 8,
  parameter int Words = 512,
  localparam int LaneBits = $clog2(Lanes),
  localparam int WordBits = $clog2(Words)
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         enable_i,
  input  logic [WordBits+LaneBits-2:0] last_byte_i,
  input  logic                         flush_i,
  input  logic                         hold_i,
  input  logic                         start_i,
  input  logic                         release_i,
  output logic                         full_o,
  output logic                         buffer_o,
  input  logic                         valid_i,
  output logic                         ready_o,
  input  logic                         last_i,
  input  logic [Lanes-1:0]             keep_i,
  output logic                         we_o,
  output logic [WordBits-1:0]          waddr_o,
  output logic                         short_o,
  output logic                         long_o
);

  logic [WordBits-2:0] word_q, last_word;
  logic [1:0]          full_q, waiting_q;
  logic                load_q, start_q, read_q, drop_q;
  logic                beat, final_word, hole, missing, extra, done;
  logic [Lanes-1:0]    wanted;

  assign ready_o = enable_i && !hold_i && !full_q[load_q];
  assign beat = valid_i && ready_o;
  assign we_o = beat && !drop_q;
  assign waddr_o = {load_q, word_q};
  assign last_word = last_byte_i[WordBits+LaneBits-2:LaneBits];
  assign final_word = word_q == last_word;
  assign hole = !(&keep_i);
  assign missing = |(wanted & ~keep_i);
  assign extra = |(keep_i & ~wanted);
  assign done = we_o && final_word && last_i && !missing && !extra;
  assign full_o = waiting_q[start_q];
  assign buffer_o = !start_q;

  if (Lanes == 1) begin : gen_one_lane
    assign wanted = '1;
  end else begin : gen_lanes
    assign wanted = ~({{(Lanes - 1){1'b1}}, 1'b0} << last_byte_i[LaneBits-1:0]);
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      word_q <= '0;
      load_q <= 1'b0;
      start_q <= 1'b0;
      read_q <= 1'b0;
      drop_q <= 1'b0;
      short_o <= 1'b0;
      long_o <= 1'b0;
      full_q <= '0;
      waiting_q <= '0;
    end else if (flush_i) begin
      word_q <= '0;
      load_q <= 1'b0;
      start_q <= 1'b0;
      read_q <= 1'b0;
      drop_q <= drop_q || word_q != '0;
      short_o <= full_q != '0 || word_q != '0;
      long_o <= 1'b0;
      full_q <= '0;
      waiting_q <= '0;
    end else begin
      short_o <= we_o && (final_word ? last_i && missing : last_i || hole);
      long_o <= we_o && final_word && (!last_i || (extra && !missing));
      if (we_o) word_q <= (last_i || final_word || hole) ? '0 : word_q + 1'b1;
      if (beat) drop_q <= !last_i && (drop_q || final_word || hole);
      load_q <= load_q ^ done;
      start_q <= start_q ^ start_i;
      read_q <= read_q ^ release_i;
      full_q <= (full_q | ({1'b0, done} << load_q)) & ~({1'b0, release_i} << read_q);
      waiting_q <= (waiting_q | ({1'b0, done} << load_q)) & ~({1'b0, start_i} << start_q);
    end
  end

  logic [WordBits+LaneBits-2:0] last_byte_q;
  logic                         fixed_q;

  always_ff @(posedge clk_i) {last_byte_q, fixed_q} <= {last_byte_i, rst_ni && !flush_i};

  `DEEPR_RESET_FIRST("input")
  `DEEPR_ASSUME("input", "a sample starts only when a frame is there", !start_i || full_o)
  `DEEPR_ASSUME("input", "a buffer is released once, after its sample has started",
    !release_i || (full_q[read_q] && !waiting_q[read_q]))
  `DEEPR_ASSUME("input", "frames are flushed only while nothing runs and no beat is taken",
    !flush_i || (!enable_i && !start_i && !release_i && full_q == waiting_q))
  `DEEPR_ASSUME("input", "the size of a frame changes only with a flush",
    !fixed_q || last_byte_i == last_byte_q)
  `DEEPR_ASSERT("a word lies within its frame", word_q <= last_word || flush_i)
  `DEEPR_ASSERT("a buffer that waits is full", (waiting_q & ~full_q) == '0)

`ifdef PROVE_INPUT
`include "input.svh"
`endif
endmodule
