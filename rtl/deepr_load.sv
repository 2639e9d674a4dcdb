// Load port: 32-bit words into the slots, biases and layer descriptors of the bank that is not running.
//
// Address = {region[3:0], lane[3:0], index[15:0]}
//   region 0  slot       {last, mac, weight[7:0], address[21:0]}
//   region 1  bias       two's complement, the half of the rounding included
//   region 2  layer      {0000, final, reads_input, x_signed, y_signed, y_bits-1 [2:0], shift[4:0], last_row[15:0]}
//   region 3  frame      index 0: words per input frame - 1, index 1: logits per frame - 1
// Errors:  range_o: no such word, or a value that the word can't hold; busy_o: a write while the only bank is running,
//          or of region 3 while a sample is under way. The write does not take place.
// Latency: the word is written at the end of the cycle after the one that accepted it.
module deepr_load #(
  parameter int Lanes = 8,
  parameter int Rows = 512,
  parameter int Words = 512,
  parameter int BiasWords = 256,
  parameter int Layers = 8,
  parameter int Classes = 16,
  parameter int AccBits = 32,
  parameter int Banks = 2,
  localparam int AddrBits = $clog2(Words) + $clog2(Lanes)
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         idle_i,
  input  logic                         swapping_i,
  // load port
  input  logic                         valid_i,
  output logic                         ready_o,
  input  logic [23:0]                  addr_i,
  input  logic [31:0]                  data_i,
  // memories
  output logic [Lanes-1:0]             slot_we_o,
  output logic [Lanes-1:0]             bias_we_o,
  output logic                         layer_we_o,
  output logic [$clog2(Rows)-1:0]      row_o,
  output logic [$clog2(BiasWords)-1:0] word_o,
  output logic [$clog2(Layers)-1:0]    index_o,
  output logic [AddrBits+9:0]          slot_o,
  output logic [AccBits-1:0]           bias_o,
  output logic [$clog2(Rows)+11:0]     layer_o,
  output logic [$clog2(Words)-2:0]     last_word_o,
  output logic [$clog2(Classes)-1:0]   last_class_o,
  output logic                         range_o,
  output logic                         busy_o
);

  logic        valid_q, allowed, good, write;
  logic [23:0] addr_q;
  logic [31:0] data_q;
  logic [3:0]  fits, region;
  logic [15:0] index;

  assign ready_o = !swapping_i;
  assign region = addr_q[23:20];
  assign index = addr_q[15:0];
  assign row_o = index[$clog2(Rows)-1:0];
  assign word_o = index[$clog2(BiasWords)-1:0];
  assign index_o = index[$clog2(Layers)-1:0];
  assign slot_o = {data_q[31:22], data_q[AddrBits-1:0]};
  assign bias_o = data_q[AccBits-1:0];
  assign layer_o = {data_q[27:16], data_q[$clog2(Rows)-1:0]};

  assign fits[0] = 32'(addr_q[19:16]) < Lanes && 32'(index) < Rows && (data_q[21:0] >> AddrBits) == '0;
  assign fits[1] = 32'(addr_q[19:16]) < Lanes && 32'(index) < BiasWords &&
                   32'($signed(data_q[AccBits-1:0])) == data_q;
  assign fits[2] = 32'(index) < Layers && data_q[31:28] == '0 && 32'(data_q[15:0]) < Rows;
  assign fits[3] = index[15:1] == '0 && data_q < (index[0] ? Classes : Words / 2);

  assign allowed = idle_i || (Banks == 2 && region != 4'd3);
  assign good = region[3:2] == '0 && fits[region[1:0]];
  assign write = valid_q && good && allowed;

  for (genvar l = 0; l < Lanes; l++) begin : gen_we
    assign slot_we_o[l] = write && region == 4'd0 && addr_q[19:16] == l;
    assign bias_we_o[l] = write && region == 4'd1 && addr_q[19:16] == l;
  end

  assign layer_we_o = write && region == 4'd2;

  always_ff @(posedge clk_i) begin
    addr_q <= addr_i;
    data_q <= data_i;
    if (!rst_ni) begin
      {valid_q, last_word_o, last_class_o, range_o, busy_o} <= '0;
    end else begin
      valid_q <= valid_i && ready_o;
      range_o <= valid_q && !good;
      busy_o <= valid_q && good && !allowed;
      if (write && region == 4'd3) begin
        if (index[0]) last_class_o <= data_q[$clog2(Classes)-1:0];
        else last_word_o <= data_q[$clog2(Words)-2:0];
      end
    end
  end

endmodule
