// AXI4-Lite control and load port of the engine.
//
//   0x00 ID        r    "DEEP" (0x44454550)
//   0x04 VERSION   r    0x00020000
//   0x08 SIZE_0    r    {banks, acc_bits, log2 classes, lanes}, 8 bits each
//   0x0c SIZE_1    r    {log2 layers, log2 bias_words, log2 words, log2 rows}
//   0x10 CONTROL   rw   bit 0 enable; written 1: bit 1 swap banks, bit 2 clear the counters
//   0x14 STATUS    r    bit 0 busy, bit 1 swapping, bit 2 running bank, bit 3 a network is loaded in it
//   0x18 ERRORS    rw   sticky, cleared by writing 1: bit 0 short frame, 1 long frame, 2 load out of range, 3 load or
//                       swap refused, 4 descriptors overrun, 5 logit misplaced, 6 bad access on this port
//   0x1c ADDRESS   rw   load port address
//   0x20 DATA      w    load port word at ADDRESS, which then counts on
//   0x24 SAMPLES, 0x28 CYCLES, 0x2c STALLS, 0x30 MACS   r
//
// A write to any other address, to a read-only one, or with a strobe missing does nothing, is answered with SLVERR and
// sets bit 6; so does a read beyond 0x30. DATA waits while a swap is under way.
module deepr_axil #(
  parameter int Lanes = 8,
  parameter int Rows = 512,
  parameter int Words = 512,
  parameter int BiasWords = 256,
  parameter int Layers = 8,
  parameter int Classes = 16,
  parameter int AccBits = 32,
  parameter int Banks = 2
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // AXI4-Lite
  input  logic        awvalid_i,
  output logic        awready_o,
  input  logic [7:0]  awaddr_i,
  input  logic        wvalid_i,
  output logic        wready_o,
  input  logic [31:0] wdata_i,
  input  logic [3:0]  wstrb_i,
  output logic        bvalid_o,
  input  logic        bready_i,
  output logic [1:0]  bresp_o,
  input  logic        arvalid_i,
  output logic        arready_o,
  input  logic [7:0]  araddr_i,
  output logic        rvalid_o,
  input  logic        rready_i,
  output logic [31:0] rdata_o,
  output logic [1:0]  rresp_o,
  output logic        irq_o,
  // engine
  output logic        enable_o,
  output logic        swap_o,
  output logic        clear_o,
  output logic        load_valid_o,
  input  logic        load_ready_i,
  output logic [23:0] load_addr_o,
  output logic [31:0] load_data_o,
  input  logic        busy_i,
  input  logic        swapping_i,
  input  logic        bank_i,
  input  logic        loaded_i,
  input  logic [5:0]  error_i,
  input  logic [31:0] samples_i,
  input  logic [31:0] cycles_i,
  input  logic [31:0] stalls_i,
  input  logic [31:0] macs_i
);

  localparam logic [3:0] Control = 4'h4, Errors = 4'h6, Address = 4'h7, Data = 4'h8;

  // Write: address and word may come in any order; both are held until the write is done and answered.
  logic        aw_q, w_q, bad_write, write, done;
  logic [5:0]  awaddr_q;
  logic [31:0] wdata_q;
  logic        strobes_q;
  logic [3:0]  target;
  logic [6:0]  errors_q;
  logic        bad_read;

  assign irq_o = errors_q != '0;
  assign awready_o = !aw_q;
  assign wready_o = !w_q;
  assign target = awaddr_q[3:0];
  assign bad_write = !strobes_q || awaddr_q[5:4] != '0 ||
                     !(target == Control || target == Errors || target == Address || target == Data);
  assign write = aw_q && w_q && !bvalid_o;
  assign load_valid_o = write && !bad_write && target == Data;
  assign load_data_o = wdata_q;
  assign done = write && (bad_write || target != Data || load_ready_i);

  always_ff @(posedge clk_i) begin
    if (awready_o) awaddr_q <= awaddr_i[7:2];
    if (wready_o) {wdata_q, strobes_q} <= {wdata_i, &wstrb_i};
    if (done) bresp_o <= {bad_write, 1'b0};
    if (!rst_ni) begin
      {aw_q, w_q, bvalid_o, enable_o, swap_o, clear_o, load_addr_o, errors_q} <= '0;
    end else begin
      aw_q <= aw_q ? !done : awvalid_i;
      w_q <= w_q ? !done : wvalid_i;
      bvalid_o <= done || (bvalid_o && !bready_i);
      swap_o <= done && !bad_write && target == Control && wdata_q[1];
      clear_o <= done && !bad_write && target == Control && wdata_q[2];
      if (done && !bad_write && target == Control) enable_o <= wdata_q[0];
      if (done && !bad_write && target == Address) load_addr_o <= wdata_q[23:0];
      else if (done && !bad_write && target == Data) load_addr_o <= load_addr_o + 1'b1;
      errors_q <= {bad_read || (done && bad_write), error_i} |
                  (errors_q & ~(wdata_q[6:0] & {7{done && !bad_write && target == Errors}}));
    end
  end

  // Read
  logic [31:0] value;
  logic [5:0]  source;

  assign source = araddr_i[7:2];

  always_comb begin
    case (source)
      6'h0: value = 32'h44454550;
      6'h1: value = 32'h00020000;
      6'h2: value = {8'(Banks), 8'(AccBits), 8'($clog2(Classes)), 8'(Lanes)};
      6'h3: value = {8'($clog2(Layers)), 8'($clog2(BiasWords)), 8'($clog2(Words)), 8'($clog2(Rows))};
      6'h4: value = {31'b0, enable_o};
      6'h5: value = {28'b0, loaded_i, bank_i, swapping_i || swap_o, busy_i};
      6'h6: value = {25'b0, errors_q};
      6'h7: value = {8'b0, load_addr_o};
      6'h9: value = samples_i;
      6'ha: value = cycles_i;
      6'hb: value = stalls_i;
      6'hc: value = macs_i;
      default: value = '0;
    endcase
  end

  assign arready_o = !rvalid_o;
  assign bad_read = arvalid_i && arready_o && source > 6'hc;

  always_ff @(posedge clk_i) begin
    if (arready_o) rdata_o <= value;
    if (arready_o) rresp_o <= {source > 6'hc, 1'b0};
    if (!rst_ni) rvalid_o <= 1'b0;
    else rvalid_o <= rvalid_o ? !rready_i : arvalid_i;
  end

  logic unused_address;
  assign unused_address = ^{awaddr_i[1:0], araddr_i[1:0]};

endmodule
