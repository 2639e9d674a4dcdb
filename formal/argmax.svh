// deepr_argmax names a class with the largest logit, and no lower class has the same.
(* anyconst *) logic [IndexBits-1:0] any;
logic signed [ValueBits-1:0] any_value_q;
logic                        seen_q = 1'b0, started_q = 1'b0;
logic [IndexBits-1:0]        count_q = '0;

always_ff @(posedge clk_i) begin
  if (valid_i) begin
    started_q <= 1'b1;
    count_q <= index_i + 1'b1;
    if (index_i == any) any_value_q <= value_i;
    seen_q <= index_i == any || (seen_q && index_i != '0);
  end
  if (started_q && seen_q) begin
    largest: assert (best_q >= any_value_q);
    lowest: assert (best_q != any_value_q || index_o <= any);
    named: assert (index_o != any || best_q == any_value_q);
  end
  rule_state: assert (inside_q == started_q && (!started_q || next_q == count_q));
  if (started_q) begin
    seen: assert (seen_q == (any < count_q || count_q == '0));
    inside_frame: assert (index_o < count_q || count_q == '0);
  end
end
