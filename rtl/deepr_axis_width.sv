// AXI4-Stream width converter: gathers or splits bytes, lowest byte first.
//
// Law:     the kept bytes of a frame leave in the order in which they came; s_keep_i marks
//          contiguous bytes from the lowest on, all of them except in the last beat of a frame.
//          User data of a frame's last part goes along. Valid never waits for ready; one output
//          beat per cycle when neither side pauses.
// Latency: 1 cycle; none for equal widths.
`include "deepr_macros.svh"

module deepr_axis_width #(
  parameter int InBytes = 4,
  parameter int OutBytes = 8,
  parameter int UserBits = 1
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  s_valid_i,
  output logic                  s_ready_o,
  input  logic [8*InBytes-1:0]  s_data_i,
  input  logic [InBytes-1:0]    s_keep_i,
  input  logic                  s_last_i,
  input  logic [UserBits-1:0]   s_user_i,
  output logic                  m_valid_o,
  input  logic                  m_ready_i,
  output logic [8*OutBytes-1:0] m_data_o,
  output logic [OutBytes-1:0]   m_keep_o,
  output logic                  m_last_o,
  output logic [UserBits-1:0]   m_user_o
);

  if (InBytes == OutBytes) begin : gen_equal
    logic unused_clock;
    assign unused_clock = clk_i ^ rst_ni;
    assign m_valid_o = s_valid_i;
    assign m_data_o = s_data_i;
    assign m_keep_o = s_keep_i;
    assign m_last_o = s_last_i;
    assign m_user_o = s_user_i;
    assign s_ready_o = m_ready_i;
  end else if (InBytes < OutBytes) begin : gen_gather
    localparam int Parts = OutBytes / InBytes, PartBits = $clog2(Parts);

    logic [8*OutBytes-1:0] data_q;
    logic [OutBytes-1:0]   keep_q;
    logic [PartBits-1:0]   part_q;
    logic [UserBits-1:0]   user_q;
    logic                  valid_q, last_q, beat;

    assign s_ready_o = !valid_q || m_ready_i;
    assign beat = s_valid_i && s_ready_o;
    assign m_valid_o = valid_q;
    assign m_data_o = data_q;
    assign m_keep_o = keep_q;
    assign m_last_o = last_q;
    assign m_user_o = user_q;

    for (genvar p = 0; p < Parts; p++) begin : gen_part
      always_ff @(posedge clk_i) begin
        if (beat && part_q == p) data_q[8*InBytes*p+:8*InBytes] <= s_data_i;
        if (beat && part_q == p) keep_q[InBytes*p+:InBytes] <= s_keep_i;
        else if (beat && part_q == '0) keep_q[InBytes*p+:InBytes] <= '0;
      end
    end

    always_ff @(posedge clk_i) begin
      if (beat) begin
        last_q <= s_last_i;
        user_q <= s_user_i;
      end
      if (!rst_ni) begin
        valid_q <= 1'b0;
        part_q <= '0;
      end else begin
        if (beat) part_q <= s_last_i ? '0 : part_q + 1'b1;
        if (beat) valid_q <= s_last_i || part_q == '1;
        else if (m_ready_i) valid_q <= 1'b0;
      end
    end

    `DEEPR_HOLDS(gen_holds, m_valid_o, m_ready_i, {m_last_o, m_user_o, m_keep_o, m_data_o})
  end else begin : gen_split
    localparam int Parts = InBytes / OutBytes, PartBits = $clog2(Parts);

    logic [8*InBytes-1:0] data_q;
    logic [InBytes-1:0]   keep_q;
    logic [Parts:0]       used;
    logic [PartBits-1:0]  part_q;
    logic [UserBits-1:0]  user_q;
    logic                 valid_q, last_q, final_part;

    for (genvar p = 0; p < Parts; p++) begin : gen_used
      assign used[p] = |keep_q[OutBytes*p+:OutBytes];
    end
    assign used[Parts] = 1'b0;
    assign final_part = part_q == '1 || !used[{1'b0, part_q}+1'b1];
    assign s_ready_o = !valid_q || (m_ready_i && final_part);
    assign m_valid_o = valid_q;
    assign m_data_o = data_q[8*OutBytes*part_q+:8*OutBytes];
    assign m_keep_o = keep_q[OutBytes*part_q+:OutBytes];
    assign m_last_o = last_q && final_part;
    assign m_user_o = user_q;

    always_ff @(posedge clk_i) begin
      if (s_valid_i && s_ready_o) begin
        data_q <= s_data_i;
        keep_q <= s_keep_i;
        last_q <= s_last_i;
        user_q <= s_user_i;
      end
      if (!rst_ni) begin
        valid_q <= 1'b0;
        part_q <= '0;
      end else begin
        if (s_ready_o) valid_q <= s_valid_i;
        if (m_valid_o && m_ready_i) part_q <= final_part ? '0 : part_q + 1'b1;
      end
    end

    `DEEPR_HOLDS(gen_holds, m_valid_o, m_ready_i, {m_last_o, m_user_o, m_keep_o, m_data_o})
  end

endmodule
