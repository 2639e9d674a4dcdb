// The engine behind six pins: every port of it in a shift register. For timing runs and the first
// light on a board.
//
// Use:     shift InBits bits in through d_i, the last field of `in` first; then apply_i for one
//          cycle: the valid, ready and pulse inputs act in the next one, enable from then on. In
//          that cycle the outputs are captured; shift OutBits bits to read them at d_o.
// Latency: one cycle from apply_i to the engine; every path into and out of the engine begins or
//          ends in a register.
`include "deepr_macros.svh"

module deepr_scan
  `DEEPR_IMPORT
#(
  `DEEPR_PARAMETERS
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic shift_i,
  input  logic apply_i,
  input  logic d_i,
  output logic d_o
);

  localparam int InBits = 63 + 9 * Lanes;
  localparam int OutBits = 168 + EngineErrors + $clog2(Classes);

  logic [InBits-1:0]  in_q;
  logic [OutBits-1:0] out, out_q;
  logic               apply_q, enable_q, reset_nq;

  logic               enable, clear, swap, load_valid, s_valid, s_last, m_ready;
  logic [23:0]        load_addr;
  logic [31:0]        load_data;
  logic [Lanes-1:0]   s_keep;
  logic [8*Lanes-1:0] s_data;

  logic                       swapping, bank, loaded, load_ready, s_ready, m_valid, m_last, busy;
  logic [31:0]                m_data, samples, cycles, stalls, macs;
  logic [$clog2(Classes)-1:0] m_class;
  logic [EngineErrors-1:0]    error;

  assign {enable, clear, swap, load_valid, load_addr, load_data,
          s_valid, s_last, m_ready, s_keep, s_data} = in_q;
  assign out = {swapping, bank, loaded, load_ready, s_ready, m_valid, m_last, busy, error, m_class,
                m_data, samples, cycles, stalls, macs};
  assign d_o = out_q[OutBits-1];

  always_ff @(posedge clk_i) begin
    reset_nq <= rst_ni;
    apply_q <= apply_i && rst_ni;
    if (shift_i) in_q <= {in_q[InBits-2:0], d_i};
    if (apply_q) out_q <= out;
    else if (shift_i) out_q <= {out_q[OutBits-2:0], 1'b0};
    if (!rst_ni) enable_q <= 1'b0;
    else if (apply_i) enable_q <= enable;
  end

  deepr_engine #(
    `DEEPR_PASS
  ) u_engine (
    .clk_i,
    .rst_ni(reset_nq),
    .enable_i(enable_q),
    .clear_i(clear && apply_q),
    .swap_i(swap && apply_q),
    .swapping_o(swapping),
    .bank_o(bank),
    .loaded_o(loaded),
    .load_valid_i(load_valid && apply_q),
    .load_ready_o(load_ready),
    .load_addr_i(load_addr),
    .load_data_i(load_data),
    .s_valid_i(s_valid && apply_q),
    .s_ready_o(s_ready),
    .s_last_i(s_last),
    .s_keep_i(s_keep),
    .s_data_i(s_data),
    .m_valid_o(m_valid),
    .m_ready_i(m_ready && apply_q),
    .m_last_o(m_last),
    .m_data_o(m_data),
    .m_class_o(m_class),
    .busy_o(busy),
    .error_o(error),
    .samples_o(samples),
    .cycles_o(cycles),
    .stalls_o(stalls),
    .macs_o(macs)
  );

endmodule
