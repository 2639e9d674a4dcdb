// deepr_input: words of a frame go to their places in order; a full buffer is never written; no frame is lost or
// started twice; a frame is taken exactly if the bytes kept are those wanted.
logic       past_q = 1'b0;
logic [1:0] taken_q, started_q, released_q;  // frames, modulo 4

wire [1:0] n_full = taken_q - released_q, n_waiting = taken_q - started_q, n_running = started_q - released_q;

wire [WordBits-2:0] last_word = last_byte_i >> LaneBits;
logic [Lanes-1:0]   due;
always_comb for (int l = 0; l < Lanes; l++) due[l] = word_q * Lanes + l <= last_byte_i;
wire lacking = (due & ~keep_i) != '0, too_many = (keep_i & ~due) != '0;

always_ff @(posedge clk_i) begin
  past_q <= 1'b1;
  if (!rst_ni || flush_i) {taken_q, started_q, released_q} <= '0;
  else begin
    whole: assert (done == (we_o && last_i && word_q == last_word && keep_i == due));
    taken_q <= taken_q + {1'b0, done};
    started_q <= started_q + {1'b0, start_i};
    released_q <= released_q + {1'b0, release_i};
    in_range: assert (waddr_o[$clog2(Words)-2:0] <= last_word);
    no_overwrite: assert (!we_o || !full_q[waddr_o[$clog2(Words)-1]]);
    at_most_two: assert (n_full <= 2);
    order: assert (n_waiting <= n_full && n_running <= n_full);
    offered: assert (full_o == (n_waiting != '0));
    buffers: assert (load_q == taken_q[0] && start_q == started_q[0] && read_q == released_q[0]);
    full: assert (full_q == (n_full == 2 ? 2'b11 : n_full == 1 ? 2'b01 << read_q : 2'b00));
    waiting: assert (waiting_q == (n_waiting == 2 ? 2'b11 : n_waiting == 1 ? 2'b01 << start_q : 2'b00));
    willing: assert (ready_o || !enable_i || hold_i || n_full == 2);
    dropped: assert (!drop_q || word_q == '0);
    if (past_q && $past(rst_ni) && !$past(flush_i)) begin
      in_order: assert (!$past(we_o) || $past(last_i || final_word || lacking) || word_q == $past(word_q) + 1'b1);
      waits: assert ($past(we_o) || word_q == $past(word_q));
      error_short: assert (short_o == $past(we_o && (final_word ? last_i && lacking : last_i || lacking)));
      error_long: assert (long_o == $past(we_o && final_word && (!last_i || (too_many && !lacking))));
    end
    if (past_q && $past(rst_ni && flush_i)) begin
      forgotten: assert (n_full == '0 && word_q == '0 && short_o == $past(n_full != '0 || word_q != '0) && !long_o);
    end
  end
end
