// deepr_logits: valid holds and the beat stays until it is accepted; every logit leaves once, in order, unchanged.
(* anyconst *) logic                 any_frame;  // one frame of two in turn, one of its classes, followed through
(* anyconst *) logic [ClassBits-1:0] any_class;
logic                 past_q = 1'b0, followed_q;
logic [AccBits-1:0]   followed_logit_q;

always_comb assume (any_class <= last_class_i);  // any of those that there are

always_ff @(posedge clk_i) begin
  past_q <= 1'b1;
  if (!rst_ni) begin
    followed_q <= 1'b0;
  end else begin
    if (valid_i && write_q == any_frame && class_i == any_class) begin
      followed_q <= 1'b1;
      followed_logit_q <= logit_i;
    end else if (fire && read_q == any_frame && beat_q == any_class) begin
      followed_q <= 1'b0;
    end
    frames: assert (open_q == frames_q + {1'b0, commit_q} + {1'b0, coming_q != '0});
    sides: assert (write_q == (read_q ^ frames_q[0] ^ commit_q));
    offered: assert (m_valid_o == (frames_q != '0));
    open: assert (open_q <= 2 && 3'(frames_q) + 3'(commit_q) + 3'(coming_q != '0) <= 2 && (m_valid_o || beat_q == '0));
    beats: assert (beat_q <= last_class_i && coming_q <= last_class_i);
    nothing_twice: assert (!(fire && read_q == any_frame && beat_q == any_class) || followed_q);
    nothing_lost: assert (!(valid_i && write_q == any_frame && class_i == any_class) || !followed_q);
    where: assert (followed_q == (
        (frames_q + {1'b0, commit_q} == 2 ||
         (frames_q + {1'b0, commit_q} == 1 && any_frame == read_q)) && !(any_frame == read_q && beat_q > any_class) ||
        (coming_q > any_class && any_frame == write_q)));
`ifdef BOUNDED
    unchanged: assert (!(fire && read_q == any_frame && beat_q == any_class) || m_data_o == 32'($signed(followed_logit_q)));
`endif
    if (past_q && $past(rst_ni && m_valid_o && !m_ready_i)) begin
      valid_holds: assert (m_valid_o);
      last_holds: assert (m_last_o == $past(m_last_o));
`ifdef BOUNDED
      data_holds: assert (m_data_o == $past(m_data_o));
      class_holds: assert (m_class_o == $past(m_class_o));
`endif
    end
  end
end
