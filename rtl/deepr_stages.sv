// Carries what belongs to a row from the sequencer (stage 0) to the stages that need it.
//
// Law: x_s<n>_o is the value of stage 0, n cycles later; any_last enters at stage 2. settled_o:
//      every row under way belongs to bank_s0_i.
`include "deepr_macros.svh"

module deepr_stages
  `DEEPR_IMPORT
(
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        valid_s0_i,
  input  logic        end_s0_i,
  input  logic        bank_s0_i,
  input  layer_t      layer_s0_i,
  input  logic        buffer_s0_i,
  input  logic        any_last_s2_i,
  output logic        busy_o,
  output logic        settled_o,
  output logic        valid_s1_o,
  output logic        flip_s1_o,
  output logic        xsigned_s4_o,
  output logic        valid_s4_o,
  output logic        end_s4_o,
  output logic        any_last_s4_o,
  output logic        bank_s5_o,
  output logic        final_s8_o,
  output logic        end_s8_o,
  output requantize_t requantize_s8_o,
  output logic        valid_s11_o,
  output logic        end_s11_o,
  output logic        write_s11_o
);

  localparam int RequantizeBits = 9;

  logic [StageWrite:1]                 valid_q, end_q, final_q;
  logic [StageWrite:StageAddress+1]    any_last_q;
  logic [StageBias+1:1]                bank_q;
  logic [StageSelect:1]                xsigned_q;
  logic                                flip_q;
  logic [StageSum*RequantizeBits-1:0]  requantize_q;  // stage StageSum on top

  always_ff @(posedge clk_i) begin
    flip_q <= buffer_s0_i && layer_s0_i.reads_input;
    xsigned_q <= {xsigned_q[StageSelect-1:1], layer_s0_i.x_signed};
    final_q <= {final_q[StageWrite-1:1], layer_s0_i.is_final};
    requantize_q <= {requantize_q[(StageSum-1)*RequantizeBits-1:0], layer_s0_i.requantize};
    if (!rst_ni) begin
      valid_q <= '0;
      end_q <= '0;
      any_last_q <= '0;
      bank_q <= '0;
    end else begin
      valid_q <= {valid_q[StageWrite-1:1], valid_s0_i};
      end_q <= {end_q[StageWrite-1:1], end_s0_i};
      any_last_q <= {any_last_q[StageWrite-1:StageAddress+1], any_last_s2_i};
      bank_q <= {bank_q[StageBias:1], bank_s0_i};
    end
  end

  assign busy_o = valid_s0_i || |valid_q;
  assign settled_o = bank_q == {(StageBias + 1){bank_s0_i}};
  assign valid_s1_o = valid_q[StageSlot];
  assign flip_s1_o = flip_q;
  assign xsigned_s4_o = xsigned_q[StageSelect];
  assign valid_s4_o = valid_q[StageSelect];
  assign end_s4_o = end_q[StageSelect];
  assign any_last_s4_o = any_last_q[StageSelect];
  assign bank_s5_o = bank_q[StageBias];
  assign final_s8_o = final_q[StageSum] && valid_q[StageSum];
  assign end_s8_o = end_q[StageSum];
  assign requantize_s8_o = requantize_q[(StageSum-1)*RequantizeBits+:RequantizeBits];
  assign valid_s11_o = valid_q[StageWrite];
  assign end_s11_o = end_q[StageWrite];
  assign write_s11_o = any_last_q[StageWrite] && !final_q[StageWrite];

  `DEEPR_ASSERT("outputs end only in rows that are walked", !any_last_s2_i || valid_q[StageAddress])
  `DEEPR_ASSERT("samples end only in rows that are walked", !end_s0_i || valid_s0_i)

endmodule
