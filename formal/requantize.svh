// deepr_requantize equals round half to even in ordinary arithmetic, for every sum, shift and output format.
logic [2:0] age_q = '0;

// What the exporter added is taken away again: sum is the accumulator itself.
wire [32:0]                half = (33'd1 << shift_i) >> 1;
wire signed [AccBits+1:0]  sum = (AccBits + 2)'($signed(t_i)) - (AccBits + 2)'(half);

logic signed [AccBits+1:0] sum_s1_q, sum_s2_q, sum_s3_q;
logic [4:0]                s_s1_q, s_s2_q, s_s3_q;
logic [3:0]                format_s1_q, format_s2_q, format_s3_q;

always_ff @(posedge clk_i) begin
  if (age_q != 3'd7) age_q <= age_q + 1'b1;
  {sum_s1_q, s_s1_q, format_s1_q} <= {sum, shift_i, ysigned_i, ybits_i};
  {sum_s2_q, s_s2_q, format_s2_q} <= {sum_s1_q, s_s1_q, format_s1_q};
  {sum_s3_q, s_s3_q, format_s3_q} <= {sum_s2_q, s_s2_q, format_s2_q};
end

wire signed [AccBits+1:0]  floor = sum_s3_q >>> s_s3_q;
wire [32:0]                point = 33'd1 << s_s3_q;  // rest / point is the fraction dropped
wire [32:0]                rest = 33'(sum_s3_q) & (point - 33'd1);
wire                       up = {rest, 1'b0} > {1'b0, point} || ({rest, 1'b0} == {1'b0, point} && floor[0]);
wire signed [AccBits+1:0]  rounded = (s_s3_q != 0 && up) ? floor + 2'sd1 : floor;
wire signed [9:0]          high = (10'sd2 << format_s3_q[2:0]) - 10'sd1;
wire signed [9:0]          low = format_s3_q[3] ? -high - 10'sd1 : 10'sd0;
wire signed [9:0]          want = rounded < low ? low : rounded > high ? high : rounded[9:0];

always_ff @(posedge clk_i) begin
  if (age_q >= 3) law: assert (y_o == want[7:0]);
end
