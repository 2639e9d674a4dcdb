// Keeps the logits of two samples, streams them out in class order, the winning class beside them.
//
// A frame is last_class_i + 1 beats, m_last_o on the final one; m_class_o is the same in all.
// At most two frames may be on their way (the sequencer counts); done_o tells that one has left.
// Latency: the first beat is offered 3 cycles after the last logit came in.
`include "deepr_macros.svh"

module deepr_logits #(
  parameter int Classes = 16,
  parameter int AccBits = 32
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic [$clog2(Classes)-1:0] last_class_i,
  input  logic                       valid_i,
  input  logic                       last_i,
  input  logic [$clog2(Classes)-1:0] class_i,
  input  logic [AccBits-1:0]         logit_i,
  output logic                       done_o,
  output logic                       m_valid_o,
  input  logic                       m_ready_i,
  output logic                       m_last_o,
  output logic [31:0]                m_data_o,
  output logic [$clog2(Classes)-1:0] m_class_o
);

  localparam int ClassBits = $clog2(Classes);

  logic [1:0][ClassBits-1:0] winner_q;
  logic [ClassBits-1:0]      winner, beat_q, beat_d;
  logic [1:0]                frames_q, frames_d;
  logic                      write_q, read_q, read_d, commit_q, valid_q, fire;
  logic [AccBits-1:0]        logit;

  deepr_argmax #(
    .ValueBits(AccBits),
    .IndexBits(ClassBits)
  ) u_argmax (
    .clk_i,
    .valid_i,
    .index_i(class_i),
    .value_i(logit_i),
    .index_o(winner)
  );

  deepr_ram #(
    .Width(AccBits),
    .Depth(2 * Classes)
  ) u_store (
    .clk_i,
    .we_i(valid_i),
    .waddr_i({write_q, class_i}),
    .wdata_i(logit_i),
    .raddr_i({read_d, beat_d}),
    .rdata_o(logit)
  );

  // The store is read one cycle ahead: rdata is always the beat on offer.
  assign fire = valid_q && m_ready_i;
  assign beat_d = !fire ? beat_q : m_last_o ? '0 : beat_q + 1'b1;
  assign read_d = read_q ^ done_o;
  assign frames_d = frames_q + {1'b0, commit_q} - {1'b0, done_o};

  assign done_o = fire && m_last_o;
  assign m_valid_o = valid_q;
  assign m_last_o = beat_q == last_class_i;
  assign m_data_o = 32'($signed(logit));
  assign m_class_o = winner_q[read_q];

  always_ff @(posedge clk_i) begin
    if (commit_q) winner_q[!write_q] <= winner;
    if (!rst_ni) begin
      write_q <= 1'b0;
      read_q <= 1'b0;
      commit_q <= 1'b0;
      valid_q <= 1'b0;
      beat_q <= '0;
      frames_q <= '0;
    end else begin
      commit_q <= valid_i && last_i;
      write_q <= write_q ^ (valid_i && last_i);
      beat_q <= beat_d;
      read_q <= read_d;
      frames_q <= frames_d;
      valid_q <= frames_d != '0;
    end
  end

  logic [ClassBits-1:0] coming_q, last_class_q;
  logic [1:0]           open_q;  // frames from their first logit to their last beat
  logic                 fixed_q;

  always_ff @(posedge clk_i) begin
    {last_class_q, fixed_q} <= {last_class_i, rst_ni && (valid_i || open_q != '0)};
    if (!rst_ni) begin
      coming_q <= '0;
      open_q <= '0;
    end else begin
      if (valid_i) coming_q <= last_i ? '0 : class_i + 1'b1;
      open_q <= open_q + {1'b0, valid_i && class_i == '0} - {1'b0, done_o};
    end
  end

  `DEEPR_RESET_FIRST("logits")
  `DEEPR_ASSUME("logits", "the logits of a frame come in class order up to the last class",
    !valid_i || (class_i == coming_q && last_i == (class_i == last_class_i)))
  `DEEPR_ASSUME("logits", "no third frame comes before the first one has left",
    !valid_i || |class_i || !open_q[1])
  `DEEPR_ASSUME("logits", "the number of classes stays while a frame is on its way",
    !fixed_q || last_class_i == last_class_q)
  `DEEPR_ASSERT("no beat goes beyond the last class", beat_q <= last_class_i || !m_valid_o)
  `DEEPR_HOLDS(gen_holds, m_valid_o, m_ready_i, {m_last_o, m_class_o, m_data_o})

`ifdef PROVE_LOGITS
`include "logits.svh"
`endif
endmodule
