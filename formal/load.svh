// deepr_load: a word is written exactly if its address and value are legal and it is allowed, to that address, once;
// every address lies inside its memory.
logic        past_q = 1'b0;
logic        valid_s2_q, allowed_s2_q;
logic [23:0] addr_s2_q;
logic [31:0] data_s2_q;

initial assume (!rst_ni);

wire [3:0]  to = addr_s2_q[23:20], to_lane = addr_s2_q[19:16];
wire [15:0] to_index = addr_s2_q[15:0];
wire        slot_ok = to == 0 && to_lane < Lanes && to_index < Rows && data_s2_q[21:0] < Lanes * Words;
wire        bias_ok = to == 1 && to_lane < Lanes && to_index < BiasWords &&
                      $signed(data_s2_q) < 2**(AccBits-1) && $signed(data_s2_q) >= -(2**(AccBits-1));
wire        layer_ok = to == 2 && to_lane == 0 && to_index < Layers && data_s2_q < 2**28 && data_s2_q[15:0] < Rows;
wire        frame_ok = to == 3 && to_lane == 0 && (to_index == 0 ? data_s2_q < Words / 2 :
                       to_index == 1 && data_s2_q < Classes);

always_ff @(posedge clk_i) begin
  past_q <= 1'b1;
  valid_s2_q <= rst_ni && valid_q;
  {addr_s2_q, data_s2_q, allowed_s2_q} <= {addr_q, data_q, allowed};
  if (past_q && $past(rst_ni)) begin
    if (valid_s2_q && allowed_s2_q) begin
      slot: assert (slot_we_o == (slot_ok ? 1 << to_lane : 0));
      bias: assert (bias_we_o == (bias_ok ? 1 << to_lane : 0));
      layer: assert (layer_we_o == layer_ok);
    end else begin
      nothing: assert (slot_we_o == '0 && bias_we_o == '0 && !layer_we_o);
    end
    if (slot_we_o != '0) slot_word: assert (row_o == to_index && slot_o == {data_s2_q[31:22], data_s2_q[AddrBits-1:0]});
    if (bias_we_o != '0) bias_word: assert (word_o == to_index && $signed(bias_o) == $signed(data_s2_q));
    if (layer_we_o) layer_word: assert (index_o == to_index && layer_o[$clog2(Rows)-1:0] == data_s2_q[15:0]);
    range: assert (range_o == (valid_s2_q && !(slot_ok || bias_ok || layer_ok || frame_ok)));
    busy: assert (busy_o == (valid_s2_q && !allowed_s2_q && (slot_ok || bias_ok || layer_ok || frame_ok)));
  end
end
