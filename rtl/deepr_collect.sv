// Takes the final sums from the lanes in class order, one per cycle.
//
// Class o comes from lane o mod Lanes. A lane's sum is held until it is taken; the schedule
// guarantees that it is taken before the lane ends its next class. end_i marks the last row of a
// sample: from then on every class is there. clear_i, while no sample is under way: what a broken
// image left is forgotten.
// Errors:  misplaced_o: a sum came before the last one was taken, or a class was not there at the
//          end.
// Latency: last_i, t_i, final_i, end_i belong to stage 8; a logit leaves in stage 10 or later.
`include "deepr_macros.svh"

module deepr_collect #(
  parameter int Lanes = 8,
  parameter int Classes = 16,
  parameter int AccBits = 32
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           clear_i,
  input  logic [$clog2(Classes)-1:0]     last_class_i,
  input  logic                           final_i,
  input  logic                           end_i,
  input  logic [Lanes-1:0]               last_i,
  input  logic [Lanes-1:0][AccBits-1:0]  t_i,
  output logic                           valid_o,
  output logic                           last_o,
  output logic [$clog2(Classes)-1:0]     class_o,
  output logic [AccBits-1:0]             logit_o,
  output logic                           misplaced_o
);

  logic [Lanes-1:0][AccBits-1:0] held_q;
  logic [Lanes-1:0]              valid_q, taken;
  logic [$clog2(Classes)-1:0]    class_q;
  logic [1:0]                    closing_q;
  logic                          here, take, final_class, done;
  logic [AccBits-1:0]            logit;

  if (Lanes == 1) begin : gen_one_lane
    assign here = valid_q;
    assign logit = held_q;
    assign taken = take;
  end else begin : gen_lanes
    logic [$clog2(Lanes)-1:0] lane;
    assign lane = $clog2(Lanes)'(class_q);
    assign here = valid_q[lane];
    assign logit = held_q[lane];
    always_comb begin
      taken = '0;
      taken[lane] = take;
    end
  end

  assign final_class = class_q == last_class_i;
  assign take = (here && !final_class) || closing_q != '0;
  assign done = take && final_class;

  for (genvar l = 0; l < Lanes; l++) begin : gen_hold
    always_ff @(posedge clk_i) begin
      if (final_i && last_i[l]) held_q[l] <= t_i[l];
    end
  end

  always_ff @(posedge clk_i) begin
    logit_o <= logit;
    class_o <= class_q;
    last_o <= final_class;
    if (!rst_ni || clear_i) begin
      valid_q <= '0;
      class_q <= '0;
      closing_q <= '0;
      valid_o <= 1'b0;
      misplaced_o <= 1'b0;
    end else begin
      valid_o <= take;
      valid_q <= (valid_q & ~taken) | (last_i & {Lanes{final_i}});
      if (take) class_q <= final_class ? '0 : class_q + 1'b1;
      closing_q <= closing_q + {1'b0, end_i} - {1'b0, done};
      misplaced_o <= (take && !here) || |(valid_q & ~taken & last_i & {Lanes{final_i}});
    end
  end

  `DEEPR_ASSERT("no class is taken beyond the last one", class_q <= last_class_i || clear_i)
  `DEEPR_ASSERT("two samples at most close", closing_q <= 2'd2)

endmodule
