// deepr_load: a word is written exactly if its address and value are legal and it is allowed, to that address, once;
// every address lies inside its memory. Each bank keeps its own frame sizes; only a whole network takes over, and while
// the engine runs only one with the same sizes.
logic        past_q = 1'b0;
logic        valid_s2_q = 1'b0, allowed_s2_q;
logic [23:0] addr_s2_q;
logic [31:0] data_s2_q;

wire [3:0]  to = addr_s2_q[23:20], to_lane = addr_s2_q[19:16];
wire [15:0] to_index = addr_s2_q[15:0];
wire        slot_ok = to == 0 && to_lane < Lanes && to_index < Rows && data_s2_q[21:0] < Lanes * Words;
wire        bias_ok = to == 1 && to_lane < Lanes && to_index < BiasWords &&
                      $signed(data_s2_q) < 2**(AccBits-1) && $signed(data_s2_q) >= -(2**(AccBits-1));
wire        layer_ok = to == 2 && to_lane == 0 && to_index < Layers && data_s2_q < 2**28 &&
                       data_s2_q[20:16] <= AccBits && data_s2_q[15:0] < Rows;
wire        frame_ok = to == 3 && to_lane == 0 && (to_index == 0 ? data_s2_q < Words / 2 * Lanes :
                       to_index == 1 && data_s2_q < Classes);

wire        any_ok = slot_ok || bias_ok || layer_ok || frame_ok;

// What each bank holds
logic [1:0][AddrBits-2:0]  bytes_q = '0;
logic [1:0][ClassBits-1:0] classes_q = '0;
logic [1:0]                whole_q = '0;

always_ff @(posedge clk_i) begin
  if (valid_s2_q && allowed_s2_q && any_ok) begin
    whole_q[!bank_i] <= frame_ok && to_index == 1;
    if (frame_ok && to_index == 0) bytes_q[!bank_i] <= data_s2_q[AddrBits-2:0];
    if (frame_ok && to_index == 1) classes_q[!bank_i] <= data_s2_q[ClassBits-1:0];
  end
  mine: assert (byte_q == bytes_q[bank_q] && class_q == classes_q[bank_q] && loaded_q == whole_q[bank_q]);
  other: assert (other_byte_q == bytes_q[!bank_q] && other_class_q == classes_q[!bank_q]);
  other_whole: assert (other_loaded_q == whole_q[!bank_q]);
  sizes: assert (hold_o || (last_byte_o == bytes_q[bank_i] && last_class_o == classes_q[bank_i]));
  whole: assert (hold_o || loaded_o == whole_q[bank_i]);
  takes_over: assert (!swap_o || whole_q[!bank_i]);
  same_sizes: assert (!swap_o || idle_i || (bytes_q[0] == bytes_q[1] && classes_q[0] == classes_q[1]));
  flushed: assert (flush_o == (bank_i != bank_q && (bytes_q[0] != bytes_q[1] || classes_q[0] != classes_q[1])));
  one_at_a_time: assert (!past_q || swap_q == '0 ||
                         (!pending_q && bank_i == bank_q && (swap_q & (swap_q - 3'd1)) == '0));
  no_write: assert (!(write_q && bank_i != bank_q));
end

always_ff @(posedge clk_i) begin
  past_q <= 1'b1;
  valid_s2_q <= rst_ni && valid_q;
  {addr_s2_q, data_s2_q, allowed_s2_q} <= {addr_q, data_q, allowed};
  if (past_q && $past(rst_ni)) begin
    if (valid_s2_q && allowed_s2_q) begin
      to_slots: assert (slot_we_o == (slot_ok ? 1 << to_lane : 0));
      to_biases: assert (bias_we_o == (bias_ok ? 1 << to_lane : 0));
      to_layers: assert (layer_we_o == layer_ok);
    end else begin
      nothing: assert (slot_we_o == '0 && bias_we_o == '0 && !layer_we_o);
    end
    if (slot_we_o != '0) slot_as_sent: assert (row_o == to_index && slot_o == {data_s2_q[31:22], data_s2_q[AddrBits-1:0]});
    if (bias_we_o != '0) bias_as_sent: assert (word_o == to_index && $signed(bias_o) == $signed(data_s2_q));
    if (layer_we_o) layer_as_sent: assert (index_o == to_index && layer_o[$clog2(Rows)-1:0] == data_s2_q[15:0]);
    range: assert (range_o == (valid_s2_q && !any_ok));
    refused: assert (refused_o == ((valid_s2_q && !allowed_s2_q && any_ok) ||
                             $past((swap_q[2] && !swap_o) || (swap_i && swapping_o))));
  end
end
