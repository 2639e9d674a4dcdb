// Carries what belongs to a row from the sequencer (stage 0) to the stages that need it.
//
// Law: x_s<n>_o is the value of stage 0, n cycles later; any_last enters at stage 2. settled_o: every row under way
//      belongs to bank_s0_i.
module deepr_stages (
  input  logic       clk_i,
  input  logic       rst_ni,
  input  logic       valid_s0_i,
  input  logic       end_s0_i,
  input  logic       bank_s0_i,
  input  logic       final_s0_i,
  input  logic       flip_s0_i,
  input  logic       xsigned_s0_i,
  input  logic [8:0] requantize_s0_i,
  input  logic       any_last_s2_i,
  output logic       busy_o,
  output logic       settled_o,
  output logic       valid_s1_o,
  output logic       flip_s1_o,
  output logic       xsigned_s4_o,
  output logic       valid_s4_o,
  output logic       end_s4_o,
  output logic       any_last_s4_o,
  output logic       bank_s5_o,
  output logic       final_s8_o,
  output logic       end_s8_o,
  output logic [8:0] requantize_s8_o,
  output logic       valid_s11_o,
  output logic       end_s11_o,
  output logic       write_s11_o
);

  logic [11:1]     valid_q, end_q, final_q;
  logic [11:3]     any_last_q;
  logic [6:1]      bank_q;
  logic [4:1]      xsigned_q;
  logic            flip_q;
  logic [8*9-1:0]  requantize_q;

  always_ff @(posedge clk_i) begin
    flip_q <= flip_s0_i;
    xsigned_q <= {xsigned_q[3:1], xsigned_s0_i};
    final_q <= {final_q[10:1], final_s0_i};
    requantize_q <= {requantize_q[7*9-1:0], requantize_s0_i};
    if (!rst_ni) begin
      {valid_q, end_q, any_last_q, bank_q} <= '0;
    end else begin
      valid_q <= {valid_q[10:1], valid_s0_i};
      end_q <= {end_q[10:1], end_s0_i};
      any_last_q <= {any_last_q[10:3], any_last_s2_i};
      bank_q <= {bank_q[5:1], bank_s0_i};
    end
  end

  assign busy_o = valid_s0_i || |valid_q;
  assign settled_o = bank_q == {6{bank_s0_i}};
  assign valid_s1_o = valid_q[1];
  assign flip_s1_o = flip_q;
  assign xsigned_s4_o = xsigned_q[4];
  assign valid_s4_o = valid_q[4];
  assign end_s4_o = end_q[4];
  assign any_last_s4_o = any_last_q[4];
  assign bank_s5_o = bank_q[5];
  assign final_s8_o = final_q[8] && valid_q[8];
  assign end_s8_o = end_q[8];
  assign requantize_s8_o = requantize_q[7*9+:9];
  assign valid_s11_o = valid_q[11];
  assign end_s11_o = end_q[11];
  assign write_s11_o = any_last_q[11] && !final_q[11];

endmodule
