// deepr_engine, small: whatever is loaded and sent, the logits keep the stream rules, valid comes without readiness, no
// two frames overlap, and a sample that is in gets out within a bound.
localparam int Bound = Rows + Classes + 20;

logic                          past_q = 1'b0;
logic [$clog2(Bound+1)-1:0]    waiting_q;
logic [$clog2(Classes)-1:0]    beats_q;

initial assume (!rst_ni);

always_ff @(posedge clk_i) begin
  past_q <= 1'b1;
  if (!rst_ni) begin
    {waiting_q, beats_q} <= '0;
  end else begin
    if (m_valid_o && m_ready_i) beats_q <= m_last_o ? '0 : beats_q + 1'b1;
    waiting_q <= (full && enable_i && m_ready_i && !swap_i && !load_valid_i && !done && !start) ? waiting_q + 1'b1 : '0;
    bounded: assert (waiting_q < Bound);
    frame_length: assert (!m_valid_o || m_last_o == (beats_q == last_class));
    if (past_q && $past(rst_ni && m_valid_o && !m_ready_i)) begin
      valid_holds: assert (m_valid_o);
      last_holds: assert (m_last_o == $past(m_last_o));
      data_holds: assert (m_data_o == $past(m_data_o) && m_class_o == $past(m_class_o));
    end
  end
end
