// The engine with AXI4-Stream samples and logits and an AXI4-Lite control and load port.
//
// Samples: frames of the network's input bytes, StreamBytes per beat, null bytes (TKEEP) only at
//          the end of a frame.
// Logits:  frames of int32, lowest byte first; TUSER is the class with the largest logit, valid in
//          the whole frame.
// Control: register map in README.md. irq_o is high while an error flag is set.
`include "deepr_macros.svh"

module deepr_axi
  `DEEPR_IMPORT
#(
  `DEEPR_PARAMETERS,
  parameter int StreamBytes = 8
) (
  input  logic                       aclk,
  input  logic                       aresetn,
  // control
  input  logic                       s_axil_awvalid,
  output logic                       s_axil_awready,
  input  logic [7:0]                 s_axil_awaddr,
  input  logic                       s_axil_wvalid,
  output logic                       s_axil_wready,
  input  logic [31:0]                s_axil_wdata,
  input  logic [3:0]                 s_axil_wstrb,
  output logic                       s_axil_bvalid,
  input  logic                       s_axil_bready,
  output logic [1:0]                 s_axil_bresp,
  input  logic                       s_axil_arvalid,
  output logic                       s_axil_arready,
  input  logic [7:0]                 s_axil_araddr,
  output logic                       s_axil_rvalid,
  input  logic                       s_axil_rready,
  output logic [31:0]                s_axil_rdata,
  output logic [1:0]                 s_axil_rresp,
  // samples
  input  logic                       s_axis_tvalid,
  output logic                       s_axis_tready,
  input  logic [8*StreamBytes-1:0]   s_axis_tdata,
  input  logic [StreamBytes-1:0]     s_axis_tkeep,
  input  logic                       s_axis_tlast,
  // logits
  output logic                       m_axis_tvalid,
  input  logic                       m_axis_tready,
  output logic [8*StreamBytes-1:0]   m_axis_tdata,
  output logic [StreamBytes-1:0]     m_axis_tkeep,
  output logic                       m_axis_tlast,
  output logic [$clog2(Classes)-1:0] m_axis_tuser,
  output logic                       irq_o
);

  deepr_require #(
    .Ok(StreamBytes == 1 || StreamBytes == 4 || StreamBytes == 8),
    .Message("deepr_axi: StreamBytes must be 1, 4 or 8")
  ) u_stream_ok ();

  logic                       enable, swap, clear, load_valid, load_ready;
  logic                       busy, swapping, bank, loaded;
  logic [23:0]                load_addr;
  logic [31:0]                load_data, samples, cycles, stalls, macs;
  logic [EngineErrors-1:0]    error;
  logic                       s_valid, s_ready, s_last, m_valid, m_ready, m_last, unused_user;
  logic [8*Lanes-1:0]         s_data;
  logic [Lanes-1:0]           s_keep;
  logic [31:0]                m_data;
  logic [$clog2(Classes)-1:0] m_class;

  deepr_axil #(
    `DEEPR_PASS
  ) u_axil (
    .clk_i(aclk),
    .rst_ni(aresetn),
    .awvalid_i(s_axil_awvalid),
    .awready_o(s_axil_awready),
    .awaddr_i(s_axil_awaddr),
    .wvalid_i(s_axil_wvalid),
    .wready_o(s_axil_wready),
    .wdata_i(s_axil_wdata),
    .wstrb_i(s_axil_wstrb),
    .bvalid_o(s_axil_bvalid),
    .bready_i(s_axil_bready),
    .bresp_o(s_axil_bresp),
    .arvalid_i(s_axil_arvalid),
    .arready_o(s_axil_arready),
    .araddr_i(s_axil_araddr),
    .rvalid_o(s_axil_rvalid),
    .rready_i(s_axil_rready),
    .rdata_o(s_axil_rdata),
    .rresp_o(s_axil_rresp),
    .irq_o,
    .enable_o(enable),
    .swap_o(swap),
    .clear_o(clear),
    .load_valid_o(load_valid),
    .load_ready_i(load_ready),
    .load_addr_o(load_addr),
    .load_data_o(load_data),
    .busy_i(busy),
    .swapping_i(swapping),
    .bank_i(bank),
    .loaded_i(loaded),
    .error_i(error),
    .samples_i(samples),
    .cycles_i(cycles),
    .stalls_i(stalls),
    .macs_i(macs)
  );

  deepr_axis_width #(
    .InBytes(StreamBytes),
    .OutBytes(Lanes)
  ) u_samples (
    .clk_i(aclk),
    .rst_ni(aresetn),
    .s_valid_i(s_axis_tvalid),
    .s_ready_o(s_axis_tready),
    .s_data_i(s_axis_tdata),
    .s_keep_i(s_axis_tkeep),
    .s_last_i(s_axis_tlast),
    .s_user_i(1'b0),
    .m_valid_o(s_valid),
    .m_ready_i(s_ready),
    .m_data_o(s_data),
    .m_keep_o(s_keep),
    .m_last_o(s_last),
    .m_user_o(unused_user)
  );

  deepr_engine #(
    `DEEPR_PASS
  ) u_engine (
    .clk_i(aclk),
    .rst_ni(aresetn),
    .enable_i(enable),
    .clear_i(clear),
    .swap_i(swap),
    .swapping_o(swapping),
    .bank_o(bank),
    .loaded_o(loaded),
    .load_valid_i(load_valid),
    .load_ready_o(load_ready),
    .load_addr_i(load_addr),
    .load_data_i(load_data),
    .s_valid_i(s_valid),
    .s_ready_o(s_ready),
    .s_last_i(s_last),
    .s_keep_i(s_keep),
    .s_data_i(s_data),
    .m_valid_o(m_valid),
    .m_ready_i(m_ready),
    .m_last_o(m_last),
    .m_data_o(m_data),
    .m_class_o(m_class),
    .busy_o(busy),
    .error_o(error),
    .samples_o(samples),
    .cycles_o(cycles),
    .stalls_o(stalls),
    .macs_o(macs)
  );

  deepr_axis_width #(
    .InBytes(4),
    .OutBytes(StreamBytes),
    .UserBits($clog2(Classes))
  ) u_logits (
    .clk_i(aclk),
    .rst_ni(aresetn),
    .s_valid_i(m_valid),
    .s_ready_o(m_ready),
    .s_data_i(m_data),
    .s_keep_i(4'hf),
    .s_last_i(m_last),
    .s_user_i(m_class),
    .m_valid_o(m_axis_tvalid),
    .m_ready_i(m_axis_tready),
    .m_data_o(m_axis_tdata),
    .m_keep_o(m_axis_tkeep),
    .m_last_o(m_axis_tlast),
    .m_user_o(m_axis_tuser)
  );

endmodule
