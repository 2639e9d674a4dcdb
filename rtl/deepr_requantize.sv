// Accumulator to 8-bit activation: round half to even, then saturate.
//
// Law:     q = (t_i >> shift), the lowest bit cleared if shift > 0 and the shift drops only zeros;
//          y_o = lo if q < lo, hi if q > hi, else q;
//          hi = 2**(ybits_i+1) - 1, lo = ysigned_i ? -hi-1 : 0.
//          t_i is accumulator + half, half = 2**(shift-1) (0 for shift 0): the exporter adds the
//          half to the bias, so that rounding needs no adder here. A tie is then a sum that drops
//          only zeros; clearing the lowest bit takes it back to the even neighbour.
// Latency: 3 cycles; shift_i belongs to the cycle of t_i, the fine shift and the limits are delayed
//          here.
`include "deepr_macros.svh"

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
    .Ok(AccBits >= 16 && AccBits <= 33),
    .Message("deepr_requantize: AccBits must lie in 16..33")
  ) u_acc_bits ();

  // Everything but the dropped bits is carried xor the sign: a value in range has zeros above, a
  // limit is the same number on both sides, and only y_o takes the sign back in.
  //
  // Stage 1: shift by 0, 8, 16 or 24. Of the result only 15 bits can still reach y_o; the ones
  // above tell just whether they are all zero. The masks depend on the layer only: yosys merges
  // those of all lanes.
  logic [54:0] wide;
  logic [23:0] extended;
  logic [3:0]  dropped, above, end_bit;
  logic        sign;

  assign sign = t_i[AccBits-1];
  assign wide = {{(55 - AccBits){1'b0}}, t_i ^ {AccBits{sign}}};
  assign extended = 24'($signed(t_i));
  assign dropped = {|extended, |extended[15:0], |extended[7:0], 1'b0};
  assign end_bit = {1'b0, shift_i[2:0]} + {1'b0, ybits_i} + 4'd1;

  for (genvar c = 0; c < 4; c++) begin : gen_above
    assign above[c] = |wide[54:15+8*c];
  end

  logic [14:0] coarse_q, outside_mask_q;
  logic [7:0]  dropped_mask_q, high_s1_q;
  logic [2:0]  fine_q;
  logic        sign_s1_q, above_q, coarse_dropped_q, shifted_q, ysigned_q;

  always_ff @(posedge clk_i) begin
    coarse_q <= wide[{1'b0, shift_i[4:3], 3'b000}+:15];
    sign_s1_q <= sign;
    above_q <= above[shift_i[4:3]];
    coarse_dropped_q <= dropped[shift_i[4:3]];
    shifted_q <= |shift_i;
    fine_q <= shift_i[2:0];
    dropped_mask_q <= ~(8'hff << shift_i[2:0]);
    outside_mask_q <= 15'h7fff << end_bit;
    high_s1_q <= ~(8'hfe << ybits_i);
    ysigned_q <= ysigned_i;
  end

  // Stage 2: shift by 0 to 7, clear the lowest bit of a tie.
  logic [7:0] fine, q_q, high_q;
  logic       tie, sign_q, outside_q, zero_q;

  assign fine = coarse_q[{1'b0, fine_q}+:8];
  assign tie = shifted_q && !coarse_dropped_q &&
               !(|((coarse_q[7:0] ^ {8{sign_s1_q}}) & dropped_mask_q));

  always_ff @(posedge clk_i) begin
    q_q <= {fine[7:1], tie ? sign_s1_q : fine[0]};
    sign_q <= sign_s1_q;
    outside_q <= above_q || |(coarse_q & outside_mask_q);
    zero_q <= sign_s1_q && !ysigned_q;
    high_q <= high_s1_q;
  end

  // Stage 3: saturate.
  always_ff @(posedge clk_i) begin
    if (zero_q) y_o <= '0;
    else y_o <= {8{sign_q}} ^ (outside_q ? high_q : q_q);
  end

  // One of AccBits already gives 0 for every sum.
  `DEEPR_ASSUME_ALWAYS("requantize", "no shift is larger than AccBits", int'(shift_i) <= AccBits)

`ifdef PROVE_REQUANTIZE
`include "requantize.svh"
`endif
endmodule
