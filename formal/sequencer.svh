// deepr_sequencer: whatever the descriptors are, a sample ends after at most Rows rows; it starts when it can and only
// then; its input is released once; at most two are under way; banks change between samples.
logic             past_q = 1'b0;
logic [RowBits:0] age_q;      // rows of this sample
logic [1:0]       freed_q;    // releases of this sample

always_ff @(posedge clk_i) begin
  past_q <= 1'b1;
  if (!rst_ni) begin
    age_q <= '0;
    freed_q <= '0;
  end else begin
    age_q <= (!running_q || sample_end) ? '0 : age_q + 1'b1;
    if (sample_end || !running_q) freed_q <= '0;
    else if (free) freed_q <= freed_q + 1'b1;
    counted: assert (!running_q || age_q == {1'b0, row_q});
    progress: assert (age_q < Rows);
    idle_row: assert (running_q || (age_q == '0 && row_q == '0 && index_q == '0));
    of_a_sample: assert (!released_q || running_q);
    once: assert (freed_q == {1'b0, released_q && running_q});
    at_the_end: assert (!sample_end || freed_q + {1'b0, free} == 2'd1);
    two: assert (inflight_q <= 2);
    only_if: assert (!start_o || (full_i && enable_i && inflight_q < 2));
    as_soon: assert (start_o || !full_i || !enable_i || inflight_q == 2 || (running_q && !sample_end) || forced);
    ends: assert (!running_q || row_q != '1 || sample_end);
    if (past_q && $past(rst_ni)) begin
      bank_kept: assert (bank_o == $past(bank_o) || !$past(running_q) || $past(sample_end));
      row_steps: assert (!running_q || row_q == '0 || row_q == $past(row_q) + 1'b1);
    end
  end
end
