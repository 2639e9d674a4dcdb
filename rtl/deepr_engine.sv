// The engine: walks K connections, spread over the slots of Lanes lanes, once per sample.
//
// Law, architecture, memory map, cycle formula: README.md. Streams: valid never waits for ready.
// Input:  frames of Lanes bytes per beat, byte i of the sample in beat i / Lanes, byte i % Lanes;
//         s_keep_i marks the bytes that belong to the frame, all of them except in its last beat.
// Output: frames of one logit per beat, in class order; m_class_o is the class with the largest
//         logit.
// Errors: error_o pulses, one bit per error_e.
// Reset:  ends what is under way; the networks stay, and the bank that runs. Without one
//         (loaded_o) no beat is taken.
`include "deepr_macros.svh"

module deepr_engine
  `DEEPR_IMPORT
#(
  `DEEPR_PARAMETERS
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       enable_i,
  input  logic                       clear_i,
  input  logic                       swap_i,
  output logic                       swapping_o,
  output logic                       bank_o,
  output logic                       loaded_o,
  // load port
  input  logic                       load_valid_i,
  output logic                       load_ready_o,
  input  logic [23:0]                load_addr_i,
  input  logic [31:0]                load_data_i,
  // samples
  input  logic                       s_valid_i,
  output logic                       s_ready_o,
  input  logic                       s_last_i,
  input  logic [Lanes-1:0]           s_keep_i,
  input  logic [8*Lanes-1:0]         s_data_i,
  // logits
  output logic                       m_valid_o,
  input  logic                       m_ready_i,
  output logic                       m_last_o,
  output logic [31:0]                m_data_o,
  output logic [$clog2(Classes)-1:0] m_class_o,
  // status
  output logic                       busy_o,
  output logic [EngineErrors-1:0]    error_o,
  output logic [31:0]                samples_o,
  output logic [31:0]                cycles_o,
  output logic [31:0]                stalls_o,
  output logic [31:0]                macs_o
);

  localparam int RowBits = $clog2(Rows), WordBits = $clog2(Words), BiasBits = $clog2(BiasWords);
  localparam int LayerBits = $clog2(Layers), ClassBits = $clog2(Classes);
  localparam int AddrBits = WordBits + $clog2(Lanes);
  localparam int LogitBits = (AccBits < 32) ? AccBits : 32;

  deepr_require #(
    .Ok(Lanes == 1 || Lanes == 2 || Lanes == 4 || Lanes == 8 || Lanes == 16),
    .Message("deepr_engine: Lanes must be 1, 2, 4, 8 or 16")
  ) u_lanes_ok ();
  deepr_require #(
    .Ok(Rows <= 65536 && BiasWords <= 65536 && AddrBits <= 22),
    .Message("deepr_engine: Rows, BiasWords must be at most 65536, Lanes * Words at most 2**22")
  ) u_sizes_ok ();
  deepr_require #(
    .Ok(Classes >= 2 && Classes >= Lanes),
    .Message("deepr_engine: Classes must be at least 2 and Lanes")
  ) u_classes_ok ();

  // Load port
  logic [Lanes-1:0]          slot_we, bias_we;
  logic                      layer_we;
  logic [RowBits-1:0]        load_row;
  logic [BiasBits-1:0]       load_word;
  logic [LayerBits-1:0]      load_index;
  logic [AddrBits+9:0]       load_slot;
  logic [AccBits-1:0]        load_bias;
  logic [RowBits+11:0]       load_layer;
  logic [AddrBits-2:0]       last_byte;
  logic [ClassBits-1:0]      last_class;
  logic                      settled, swap, swapping, hold, run, idle, idle_q, flush;
  logic                      running, walking, under_way;

  assign run = enable_i && loaded_o;
  assign busy_o = walking || under_way;
  assign idle = !run && !busy_o;

  always_ff @(posedge clk_i) idle_q <= idle;

  deepr_load #(
    `DEEPR_PASS
  ) u_load (
    .clk_i,
    .rst_ni,
    .idle_i(idle),
    .swap_i,
    .swap_o(swap),
    .swapping_i(swapping),
    .running_i(running),
    .settled_i(settled),
    .bank_i(bank_o),
    .swapping_o,
    .hold_o(hold),
    .valid_i(load_valid_i),
    .ready_o(load_ready_o),
    .addr_i(load_addr_i),
    .data_i(load_data_i),
    .slot_we_o(slot_we),
    .bias_we_o(bias_we),
    .layer_we_o(layer_we),
    .row_o(load_row),
    .word_o(load_word),
    .index_o(load_index),
    .slot_o(load_slot),
    .bias_o(load_bias),
    .layer_o(load_layer),
    .last_byte_o(last_byte),
    .last_class_o(last_class),
    .loaded_o,
    .flush_o(flush),
    .range_o(error_o[ErrorRange]),
    .refused_o(error_o[ErrorRefused])
  );

  // Input, rows; what travels with a row is indexed by its stage
  logic                               full, buffer, start, free, done, act_we, frame_we, ending_s0;
  logic [WordBits-1:0]                frame_waddr, act_waddr;
  logic [RowBits-1:0]                 row;
  logic [$clog2(Banks*Layers)-1:0]    layer_waddr;
  layer_t                             layer_s0;

  deepr_input #(
    .Lanes(Lanes),
    .Words(Words)
  ) u_input (
    .clk_i,
    .rst_ni,
    .enable_i(run && !hold),
    .last_byte_i(last_byte),
    .flush_i(flush),
    .hold_i(act_we),
    .start_i(start),
    .release_i(free),
    .full_o(full),
    .buffer_o(buffer),
    .valid_i(s_valid_i),
    .ready_o(s_ready_o),
    .last_i(s_last_i),
    .keep_i(s_keep_i),
    .we_o(frame_we),
    .waddr_o(frame_waddr),
    .short_o(error_o[ErrorShort]),
    .long_o(error_o[ErrorLong])
  );

  deepr_sequencer #(
    .Rows(Rows),
    .Layers(Layers),
    .Banks(Banks)
  ) u_sequencer (
    .clk_i,
    .rst_ni,
    .enable_i(run && !hold),
    .swap_i(swap),
    .swapping_o(swapping),
    .bank_o,
    .we_i(layer_we),
    .waddr_i(layer_waddr),
    .wdata_i(load_layer),
    .full_i(full),
    .done_i(done),
    .start_o(start),
    .release_o(free),
    .busy_o(under_way),
    .valid_o(running),
    .row_o(row),
    .end_o(ending_s0),
    .layer_o(layer_s0),
    .overrun_o(error_o[ErrorOverrun])
  );

  logic [Lanes-1:0]                last_s2, mac_s2, last_s8;
  logic [Lanes-1:0][LogitBits-1:0] t_s8;
  logic [8*Lanes-1:0]              y_s11, act_wdata;
  logic [BiasBits-1:0]             bias_addr;

  logic        valid_s1, flip_s1, xsigned_s4, valid_s4, end_s4, any_last_s4, bank_s5;
  logic        final_s8, end_s8, valid_s11, end_s11;
  requantize_t requantize_s8;

  deepr_stages u_stages (
    .clk_i,
    .rst_ni,
    .valid_s0_i(running),
    .end_s0_i(ending_s0),
    .bank_s0_i(bank_o),
    .layer_s0_i(layer_s0),
    .buffer_s0_i(buffer),
    .any_last_s2_i(|last_s2),
    .busy_o(walking),
    .settled_o(settled),
    .valid_s1_o(valid_s1),
    .flip_s1_o(flip_s1),
    .xsigned_s4_o(xsigned_s4),
    .valid_s4_o(valid_s4),
    .end_s4_o(end_s4),
    .any_last_s4_o(any_last_s4),
    .bank_s5_o(bank_s5),
    .final_s8_o(final_s8),
    .end_s8_o(end_s8),
    .requantize_s8_o(requantize_s8),
    .valid_s11_o(valid_s11),
    .end_s11_o(end_s11),
    .write_s11_o(act_we)
  );

  deepr_writeback #(
    .Words(Words),
    .BiasWords(BiasWords)
  ) u_writeback (
    .clk_i,
    .rst_ni,
    .last_word_i(last_byte[AddrBits-2-:WordBits-1]),
    .valid_s4_i(valid_s4),
    .end_s4_i(end_s4),
    .any_last_s4_i(any_last_s4),
    .bias_addr_s5_o(bias_addr),
    .valid_s11_i(valid_s11),
    .end_s11_i(end_s11),
    .we_s11_i(act_we),
    .waddr_s11_o(act_waddr)
  );

  assign act_wdata = act_we ? y_s11 : s_data_i;

  // Lanes; with two banks the bank is the top address bit, and the load port writes the one that
  // is not running
  localparam int RowDepth = Banks * Rows, BiasDepth = Banks * BiasWords;
  logic [$clog2(RowDepth)-1:0]  slot_raddr, slot_waddr;
  logic [$clog2(BiasDepth)-1:0] bias_raddr, bias_waddr;

  if (Banks == 2) begin : gen_two_banks
    assign slot_raddr = {bank_o, row};
    assign slot_waddr = {!bank_o, load_row};
    assign bias_raddr = {bank_s5, bias_addr};
    assign bias_waddr = {!bank_o, load_word};
    assign layer_waddr = {!bank_o, load_index};
  end else begin : gen_one_bank
    logic unused_bank;
    assign unused_bank = bank_s5;
    assign slot_raddr = row;
    assign slot_waddr = load_row;
    assign bias_raddr = bias_addr;
    assign bias_waddr = load_word;
    assign layer_waddr = load_index;
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    deepr_lane #(
      .Lanes(Lanes),
      .RowDepth(RowDepth),
      .Words(Words),
      .BiasDepth(BiasDepth),
      .AccBits(AccBits)
    ) u_lane (
      .clk_i,
      .rst_ni,
      .slot_we_i(slot_we[l]),
      .slot_waddr_i(slot_waddr),
      .slot_wdata_i(load_slot),
      .bias_we_i(bias_we[l]),
      .bias_waddr_i(bias_waddr),
      .bias_wdata_i(load_bias),
      .act_we_i(act_we || frame_we),
      .act_waddr_i(act_we ? act_waddr : frame_waddr),
      .act_wdata_i(act_wdata),
      .row_s0_i(slot_raddr),
      .valid_s1_i(valid_s1),
      .flip_s1_i(flip_s1),
      .xsigned_s4_i(xsigned_s4),
      .biasaddr_s5_i(bias_raddr),
      .requantize_s8_i(requantize_s8),
      .last_s2_o(last_s2[l]),
      .mac_s2_o(mac_s2[l]),
      .last_s8_o(last_s8[l]),
      .t_s8_o(t_s8[l]),
      .y_s11_o(y_s11[8*l+:8])
    );
  end

  // Logits
  logic                 logit_valid, logit_last;
  logic [ClassBits-1:0] logit_class;
  logic [LogitBits-1:0] logit;

  deepr_collect #(
    .Lanes(Lanes),
    .Classes(Classes),
    .AccBits(LogitBits)
  ) u_collect (
    .clk_i,
    .rst_ni,
    .clear_i(idle_q),
    .last_class_i(last_class),
    .final_i(final_s8),
    .end_i(end_s8),
    .last_i(last_s8),
    .t_i(t_s8),
    .valid_o(logit_valid),
    .last_o(logit_last),
    .class_o(logit_class),
    .logit_o(logit),
    .misplaced_o(error_o[ErrorMisplaced])
  );

  deepr_logits #(
    .Classes(Classes),
    .AccBits(LogitBits)
  ) u_logits (
    .clk_i,
    .rst_ni,
    .last_class_i(last_class),
    .valid_i(logit_valid),
    .last_i(logit_last),
    .class_i(logit_class),
    .logit_i(logit),
    .done_o(done),
    .m_valid_o,
    .m_ready_i,
    .m_last_o,
    .m_data_o,
    .m_class_o
  );

  deepr_counters #(
    .Lanes(Lanes)
  ) u_counters (
    .clk_i,
    .rst_ni,
    .clear_i,
    .enable_i,
    .running_i(running),
    .sample_i(done),
    .mac_i(mac_s2),
    .samples_o,
    .cycles_o,
    .stalls_o,
    .macs_o
  );

  `DEEPR_ASSERT("lanes and input never write at once", !(act_we && frame_we))

`ifdef PROVE_ENGINE
`include "engine.svh"
`endif
endmodule
