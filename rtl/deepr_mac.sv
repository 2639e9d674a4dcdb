// Multiply-accumulate of one lane: one product per cycle, one bias per output.
//
// Law:     p = mac_i ? x_i * weight_i : 0;
//          sum of p since the last output (this one included) + bias_i -> t_o
// Latency: x_i, weight_i, mac_i, last_i to t_o, last_o: 4 cycles; bias_i belongs 3 cycles after
//          them.
module deepr_mac #(
  parameter int AccBits = 32
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               mac_i,
  input  logic               last_i,
  input  logic               xsigned_i,
  input  logic [7:0]         x_i,
  input  logic [7:0]         weight_i,
  input  logic [AccBits-1:0] bias_i,
  output logic               last_o,
  output logic [AccBits-1:0] t_o
);

  logic [8:0]         x_q;
  logic [7:0]         weight_q;
  logic signed [16:0] product_q;
  logic [AccBits-1:0] acc_q, acc_d, sum_q;
  logic [3:0]         last_q;
  logic               mac_q;

  assign acc_d = acc_q + AccBits'(product_q);
  assign last_o = last_q[3];

  always_ff @(posedge clk_i) begin
    x_q <= {xsigned_i && x_i[7], x_i};
    weight_q <= weight_i;
    mac_q <= mac_i && rst_ni;
    if (!rst_ni || !mac_q) product_q <= '0;
    else product_q <= $signed(x_q) * $signed(weight_q);
    sum_q <= acc_d;
    t_o <= sum_q + bias_i;
    if (!rst_ni || last_q[1]) acc_q <= '0;
    else acc_q <= acc_d;
    if (!rst_ni) last_q <= '0;
    else last_q <= {last_q[2:0], last_i};
  end

endmodule
