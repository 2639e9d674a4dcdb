// What the engine has done since reset or clear_i; 32 bits each, wrapping around.
//
// cycles: enabled cycles. stalls: those in which no row was walked. macs: slots walked whose `mac`
// flag is set, the number of connections times the samples. samples: frames of logits that have
// left.
// Latency: 2 cycles from the event to the counter.
module deepr_counters #(
  parameter int Lanes = 8
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             clear_i,
  input  logic             enable_i,
  input  logic             running_i,
  input  logic             sample_i,
  input  logic [Lanes-1:0] mac_i,
  output logic [31:0]      samples_o,
  output logic [31:0]      cycles_o,
  output logic [31:0]      stalls_o,
  output logic [31:0]      macs_o
);

  logic [4:0] sum_d, sum_q;
  logic       cycle_q, stall_q, sample_q;

  always_comb begin
    sum_d = '0;
    for (int l = 0; l < Lanes; l++) sum_d = sum_d + {4'b0, mac_i[l]};
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      samples_o <= '0;
      cycles_o <= '0;
      stalls_o <= '0;
      macs_o <= '0;
      sum_q <= '0;
      cycle_q <= 1'b0;
      stall_q <= 1'b0;
      sample_q <= 1'b0;
    end else begin
      sum_q <= sum_d;
      cycle_q <= enable_i;
      stall_q <= enable_i && !running_i;
      sample_q <= sample_i;
      samples_o <= samples_o + {31'b0, sample_q};
      cycles_o <= cycles_o + {31'b0, cycle_q};
      stalls_o <= stalls_o + {31'b0, stall_q};
      macs_o <= macs_o + {27'b0, sum_q};
    end
  end

endmodule
