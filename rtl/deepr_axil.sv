// AXI4-Lite control and load port of the engine.
//
// Registers: register_e in deepr_pkg.sv, the table in README.md.
// Errors:    a write to any other address, to a read-only one, or with a strobe missing does
//            nothing, is answered with SLVERR and sets bit ErrorAccess of ERRORS; so does a read
//            beyond the last one. DATA waits while a swap is under way.
`include "deepr_macros.svh"

module deepr_axil
  `DEEPR_IMPORT
#(
  `DEEPR_PARAMETERS
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  // AXI4-Lite
  input  logic                    awvalid_i,
  output logic                    awready_o,
  input  logic [7:0]              awaddr_i,
  input  logic                    wvalid_i,
  output logic                    wready_o,
  input  logic [31:0]             wdata_i,
  input  logic [3:0]              wstrb_i,
  output logic                    bvalid_o,
  input  logic                    bready_i,
  output logic [1:0]              bresp_o,
  input  logic                    arvalid_i,
  output logic                    arready_o,
  input  logic [7:0]              araddr_i,
  output logic                    rvalid_o,
  input  logic                    rready_i,
  output logic [31:0]             rdata_o,
  output logic [1:0]              rresp_o,
  output logic                    irq_o,
  // engine
  output logic                    enable_o,
  output logic                    swap_o,
  output logic                    clear_o,
  output logic                    load_valid_o,
  input  logic                    load_ready_i,
  output logic [23:0]             load_addr_o,
  output logic [31:0]             load_data_o,
  input  logic                    busy_i,
  input  logic                    swapping_i,
  input  logic                    bank_i,
  input  logic                    loaded_i,
  input  logic [EngineErrors-1:0] error_i,
  input  logic [31:0]             samples_i,
  input  logic [31:0]             cycles_i,
  input  logic [31:0]             stalls_i,
  input  logic [31:0]             macs_i
);

  // Write: address and word may come in any order; both are held until the write is done and
  // answered.
  logic                 aw_q, w_q, strobes_q, writable, bad_write, write, done, good, bad_read;
  logic [5:0]           target_q;
  logic [31:0]          wdata_q;
  logic [ErrorAccess:0] errors_q, cleared;
  // verilator lint_off UNUSEDSIGNAL
  control_t             control;  // what is not a field may be anything
  // verilator lint_on UNUSEDSIGNAL

  assign irq_o = errors_q != '0;
  assign awready_o = !aw_q;
  assign wready_o = !w_q;
  assign writable = target_q == RegControl || target_q == RegErrors || target_q == RegAddress ||
                    target_q == RegData;
  assign bad_write = !strobes_q || !writable;
  assign write = aw_q && w_q && !bvalid_o;
  assign load_valid_o = write && !bad_write && target_q == RegData;
  assign load_data_o = wdata_q;
  assign done = write && (bad_write || target_q != RegData || load_ready_i);
  assign good = done && !bad_write;
  assign control = wdata_q;
  assign cleared = (good && target_q == RegErrors) ? wdata_q[ErrorAccess:0] : '0;

  always_ff @(posedge clk_i) begin
    if (awready_o) target_q <= awaddr_i[7:2];
    if (wready_o) begin
      wdata_q <= wdata_i;
      strobes_q <= &wstrb_i;
    end
    if (done) bresp_o <= {bad_write, 1'b0};
    if (!rst_ni) begin
      aw_q <= 1'b0;
      w_q <= 1'b0;
      bvalid_o <= 1'b0;
      enable_o <= 1'b0;
      swap_o <= 1'b0;
      clear_o <= 1'b0;
      load_addr_o <= '0;
      errors_q <= '0;
    end else begin
      aw_q <= aw_q ? !done : awvalid_i;
      w_q <= w_q ? !done : wvalid_i;
      bvalid_o <= done || (bvalid_o && !bready_i);
      swap_o <= good && target_q == RegControl && control.swap;
      clear_o <= good && target_q == RegControl && control.clear;
      if (good && target_q == RegControl) enable_o <= control.enable;
      if (good && target_q == RegAddress) load_addr_o <= wdata_q[23:0];
      else if (good && target_q == RegData) load_addr_o <= load_addr_o + 1'b1;
      errors_q <= {bad_read || (done && bad_write), error_i} | (errors_q & ~cleared);
    end
  end

  // Read
  logic [31:0] value;
  logic [5:0]  source;
  size_0_t     size_0;
  size_1_t     size_1;
  status_t     status;

  assign source = araddr_i[7:2];
  assign size_0 = {8'(Banks), 8'(AccBits), 8'($clog2(Classes)), 8'(Lanes)};
  assign size_1 = {8'($clog2(Layers)), 8'($clog2(BiasWords)), 8'($clog2(Words)), 8'($clog2(Rows))};
  assign status = {28'b0, loaded_i, bank_i, swapping_i || swap_o, busy_i};

  always_comb begin
    case (source)
      RegId:      value = EngineId;
      RegVersion: value = EngineVersion;
      RegSize0:   value = size_0;
      RegSize1:   value = size_1;
      RegControl: value = {31'b0, enable_o};
      RegStatus:  value = status;
      RegErrors:  value = 32'(errors_q);
      RegAddress: value = {8'b0, load_addr_o};
      RegSamples: value = samples_i;
      RegCycles:  value = cycles_i;
      RegStalls:  value = stalls_i;
      RegMacs:    value = macs_i;
      default:    value = '0;
    endcase
  end

  assign arready_o = !rvalid_o;
  assign bad_read = arvalid_i && arready_o && source > RegMacs;

  always_ff @(posedge clk_i) begin
    if (arready_o) rdata_o <= value;
    if (arready_o) rresp_o <= {source > RegMacs, 1'b0};
    if (!rst_ni) rvalid_o <= 1'b0;
    else rvalid_o <= rvalid_o ? !rready_i : arvalid_i;
  end

  logic unused_address;
  assign unused_address = ^{awaddr_i[1:0], araddr_i[1:0]};

  `DEEPR_HOLDS(gen_b_holds, bvalid_o, bready_i, bresp_o)
  `DEEPR_HOLDS(gen_r_holds, rvalid_o, rready_i, {rresp_o, rdata_o})
  `DEEPR_HOLDS(gen_load_holds, load_valid_o, load_ready_i, {load_addr_o, load_data_o})

endmodule
