// Accumulator to 8-bit activation: round half to even, then saturate.
//
// Law:     q = (t_i >> shift) with the lowest bit cleared if shift > 0 and the shift drops only zeros;
//          y_o = lo if q < lo, hi if q > hi, else q;  hi = 2**(ybits_i+1) - 1, lo = ysigned_i ? -hi-1 : 0.
//          t_i is accumulator + half, half = 2**(shift-1) (0 for shift 0): the exporter adds the half to the bias, so
//          that rounding needs no adder here. A tie is then a sum that drops only zeros; clearing the lowest bit takes
//          it back to the even neighbour.
// Latency: 3 cycles; shift_i belongs to the cycle of t_i, the fine shift and the limits are delayed here.
module deepr_requantize #(
  parameter int AccBits = 32
) (
  input  logic               clk_i,
  input  logic [AccBits-1:0] t_i,
  input  logic [4:0]         shift_i,
  input  logic               ysigned_i,
  input  logic [2:0]         ybits_i,
  output logic [7:0]         y_o
);

  deepr_require #(
    .Ok(AccBits >= 16 && AccBits <= 32),
    .Message("deepr_requantize: AccBits must lie in 16..32")
  ) u_acc_bits ();

  // Stage 1: shift by 16 and 8. Of the result only 15 bits can still reach y_o; of the ones above it matters only
  // whether they all equal the sign.
  logic [38:0] wide;
  logic [22:0] by16;
  logic [14:0] coarse;
  logic        sign, above, dropped;

  assign sign = t_i[AccBits-1];
  assign wide = {{(39 - AccBits){sign}}, t_i};
  assign by16 = shift_i[4] ? wide[38:16] : wide[22:0];
  assign coarse = shift_i[3] ? by16[22:8] : by16[14:0];
  assign dropped = (shift_i[4] && |wide[15:0]) || (shift_i[3] && |by16[7:0]);
  assign above = (!shift_i[4] && |(wide[38:23] ^ {16{sign}})) || (!shift_i[3] && |(by16[22:15] ^ {8{sign}}));

  logic [14:0] coarse_q;
  logic        coarse_sign_q, coarse_above_q, coarse_dropped_q, shifted_q, ysigned_q;
  logic [2:0]  fine_q, ybits_q;

  always_ff @(posedge clk_i) begin
    coarse_q <= coarse;
    coarse_sign_q <= sign;
    coarse_above_q <= above;
    coarse_dropped_q <= dropped;
    shifted_q <= |shift_i;
    fine_q <= shift_i[2:0];
    {ysigned_q, ybits_q} <= {ysigned_i, ybits_i};
  end

  // Stage 2: shift by 4, 2 and 1, clear the lowest bit of a tie.
  logic [6:0]  fine_mask;
  logic [14:0] by4, by2, fine;
  logic        tie;

  assign by4 = fine_q[2] ? {{4{coarse_sign_q}}, coarse_q[14:4]} : coarse_q;
  assign by2 = fine_q[1] ? {{2{coarse_sign_q}}, by4[14:2]} : by4;
  assign fine = fine_q[0] ? {coarse_sign_q, by2[14:1]} : by2;
  assign fine_mask = ~(7'h7f << fine_q);
  assign tie = shifted_q && !coarse_dropped_q && !(|(coarse_q[6:0] & fine_mask));

  logic [14:0] q_q;
  logic        sign_q, above_q, limit_signed_q;
  logic [7:0]  high_q;

  always_ff @(posedge clk_i) begin
    q_q <= {fine[14:1], fine[0] && !tie};
    sign_q <= coarse_sign_q;
    above_q <= coarse_above_q;
    high_q <= ~(8'hfe << ybits_q);
    limit_signed_q <= ysigned_q;
  end

  // Stage 3: saturate.
  logic [7:0] limit;
  logic       outside;

  assign outside = above_q || |((q_q ^ {15{sign_q}}) & {7'h7f, ~high_q}) || (sign_q && !limit_signed_q);
  assign limit = sign_q ? ~high_q & {8{limit_signed_q}} : high_q;

  always_ff @(posedge clk_i) begin
    y_o <= outside ? limit : q_q[7:0];
  end

endmodule
