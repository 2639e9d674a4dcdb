// Plays files through the engine: loads an image, streams samples in, writes what comes out. For
// simulation only.
//
// +load=FILE     lines "address data" (hex) for the load port
// +beats=FILE    lines "last keep data" (hex), one per input beat
// +out=FILE      written, decimal: "> cycle" per input frame when its last beat is taken,
//                "cycle last class data" per output beat, at the end "# samples cycles stalls macs"
// +expect=FILE   optional, read: "class data" (decimal) per output beat; a difference is reported
//                and counted
// +frames=N      output frames to wait for
// +idle=P +pause=P +seed=S   percent of cycles without input beat, without readiness for output;
//                random seed
// StreamBytes: 0 for the bare engine, else its streams go through the width converters of the
// shell, and back.
`include "deepr_macros.svh"

module deepr_player
  `DEEPR_IMPORT
#(
  `DEEPR_PARAMETERS,
  parameter int StreamBytes = 0,
  localparam int InBytes = (StreamBytes == 0) ? Lanes : StreamBytes,
  localparam int OutBytes = (StreamBytes == 0) ? 4 : StreamBytes
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  output logic        done_o,
  output logic [31:0] errors_o
);

  logic                       load_valid, load_ready;
  logic                       s_valid, s_ready, s_last, m_valid, m_ready, m_last;
  logic                       enable, busy, bank, loaded, swapping, swap;
  logic [23:0]                load_addr;
  logic [31:0]                load_data, m_data, samples, cycles, stalls, macs;
  logic [InBytes-1:0]         s_keep;
  logic [8*InBytes-1:0]       s_data;
  logic [$clog2(Classes)-1:0] m_class;
  logic [EngineErrors-1:0]    error;

  logic                       word_valid, word_ready, word_last, no_user;
  logic [Lanes-1:0]           word_keep;
  logic [8*Lanes-1:0]         word_data;
  logic                       logit_valid, logit_ready, logit_last;
  logic                       wide_valid, wide_ready, wide_last;
  logic [31:0]                logit_data;
  logic [OutBytes-1:0]        wide_keep;
  logic [8*OutBytes-1:0]      wide_data;
  logic [3:0]                 m_keep;
  logic [$clog2(Classes)-1:0] logit_class, wide_class;

  deepr_axis_width #(
    .InBytes(InBytes),
    .OutBytes(Lanes)
  ) u_samples (
    .clk_i,
    .rst_ni,
    .s_valid_i(s_valid),
    .s_ready_o(s_ready),
    .s_data_i(s_data),
    .s_keep_i(s_keep),
    .s_last_i(s_last),
    .s_user_i(1'b0),
    .m_valid_o(word_valid),
    .m_ready_i(word_ready),
    .m_data_o(word_data),
    .m_keep_o(word_keep),
    .m_last_o(word_last),
    .m_user_o(no_user)
  );

  deepr_axis_width #(
    .InBytes(4),
    .OutBytes(OutBytes),
    .UserBits($clog2(Classes))
  ) u_logits (
    .clk_i,
    .rst_ni,
    .s_valid_i(logit_valid),
    .s_ready_o(logit_ready),
    .s_data_i(logit_data),
    .s_keep_i(4'hf),
    .s_last_i(logit_last),
    .s_user_i(logit_class),
    .m_valid_o(wide_valid),
    .m_ready_i(wide_ready),
    .m_data_o(wide_data),
    .m_keep_o(wide_keep),
    .m_last_o(wide_last),
    .m_user_o(wide_class)
  );

  deepr_axis_width #(
    .InBytes(OutBytes),
    .OutBytes(4),
    .UserBits($clog2(Classes))
  ) u_back (
    .clk_i,
    .rst_ni,
    .s_valid_i(wide_valid),
    .s_ready_o(wide_ready),
    .s_data_i(wide_data),
    .s_keep_i(wide_keep),
    .s_last_i(wide_last),
    .s_user_i(wide_class),
    .m_valid_o(m_valid),
    .m_ready_i(m_ready),
    .m_data_o(m_data),
    .m_keep_o(m_keep),
    .m_last_o(m_last),
    .m_user_o(m_class)
  );

  deepr_engine #(
    `DEEPR_PASS
  ) u_engine (
    .clk_i,
    .rst_ni,
    .enable_i(enable),
    .clear_i(1'b0),
    .swap_i(swap),
    .swapping_o(swapping),
    .bank_o(bank),
    .loaded_o(loaded),
    .load_valid_i(load_valid),
    .load_ready_o(load_ready),
    .load_addr_i(load_addr),
    .load_data_i(load_data),
    .s_valid_i(word_valid),
    .s_ready_o(word_ready),
    .s_last_i(word_last),
    .s_keep_i(word_keep),
    .s_data_i(word_data),
    .m_valid_o(logit_valid),
    .m_ready_i(logit_ready),
    .m_last_o(logit_last),
    .m_data_o(logit_data),
    .m_class_o(logit_class),
    .busy_o(busy),
    .error_o(error),
    .samples_o(samples),
    .cycles_o(cycles),
    .stalls_o(stalls),
    .macs_o(macs)
  );

  typedef enum logic [2:0] {
    StIdle,
    StLoad,
    StSwap,
    StSettle,
    StRun,
    StDrain,
    StDone
  } state_e;
  state_e               state;
  logic [8*255:1]       load_name, beats_name, out_name, expect_name;
  logic [23:0]          next_addr;
  logic [31:0]          next_word;
  logic [8*InBytes-1:0] next_data;
  logic [InBytes-1:0]   next_keep;
  logic                 next_last, comparing;
  integer               load_file, beats_file, out_file, expect_file, got, frames, n_frames;
  integer               idle, pause, seed, cycle, want_class, want_data;

  initial begin
    idle = 0;
    pause = 0;
    seed = 1;
    got = $value$plusargs("load=%s", load_name);
    got = got + $value$plusargs("beats=%s", beats_name);
    got = got + $value$plusargs("out=%s", out_name);
    got = got + $value$plusargs("frames=%d", frames);
    if (got != 4) begin
      $display("deepr_player: +load, +beats, +out and +frames are needed");
      $finish;
    end
    if ($value$plusargs("idle=%d", got)) idle = got;
    if ($value$plusargs("pause=%d", got)) pause = got;
    if ($value$plusargs("seed=%d", got)) seed = got;
    comparing = $value$plusargs("expect=%s", expect_name) != 0;
    load_file = $fopen(load_name, "r");
    beats_file = $fopen(beats_name, "r");
    out_file = $fopen(out_name, "w");
    if (comparing) expect_file = $fopen(expect_name, "r");
    if (load_file == 0 || beats_file == 0 || out_file == 0 || (comparing && expect_file == 0)) begin
      $display("deepr_player: a file can't be opened");
      $finish;
    end
  end

  function automatic logic chance(input integer percent);
    chance = percent != 0 && ($unsigned($random(seed)) % 100) < percent;
  endfunction

  always @(posedge clk_i) begin
    cycle <= cycle + 1;
    if (!rst_ni) begin
      state <= StIdle;
      load_valid <= 1'b0;
      s_valid <= 1'b0;
      m_ready <= 1'b0;
      enable <= 1'b0;
      swap <= 1'b0;
      done_o <= 1'b0;
      errors_o <= 0;
      n_frames <= 0;
      cycle <= 0;
    end else begin
      swap <= 1'b0;
      if (error != '0) begin
        $display("deepr_player: error %b in cycle %0d", error, cycle);
        errors_o <= errors_o + 1;
      end
      case (state)
        StIdle: state <= StLoad;
        StLoad: begin
          if (!load_valid || load_ready) begin
            if ($fscanf(load_file, "%h %h", next_addr, next_word) == 2) begin
              load_valid <= 1'b1;
              load_addr <= next_addr;
              load_data <= next_word;
            end else begin
              load_valid <= 1'b0;
              state <= StSwap;
            end
          end
        end
        StSwap: begin
          swap <= Banks == 2;
          state <= StSettle;
        end
        StSettle: if (!swap && !swapping) state <= StRun;
        StRun: begin
          enable <= 1'b1;
          if (!s_valid || s_ready) begin
            if (chance(idle)) begin
              s_valid <= 1'b0;
            end else if ($fscanf(beats_file, "%h %h %h", next_last, next_keep, next_data) == 3)
            begin
              s_valid <= 1'b1;
              s_last <= next_last;
              s_keep <= next_keep;
              s_data <= next_data;
            end else begin
              s_valid <= 1'b0;
            end
          end
          if (n_frames == frames) state <= StDrain;
        end
        StDrain: if (!busy) begin
          $fwrite(out_file, "# %0d %0d %0d %0d\n", samples, cycles, stalls, macs);
          $fclose(out_file);
          done_o <= 1'b1;
          state <= StDone;
        end
        default: ;
      endcase
      if (s_valid && s_ready && s_last) $fwrite(out_file, "> %0d\n", cycle);
      m_ready <= !chance(pause);
      if (m_valid && m_ready) begin
        $fwrite(out_file, "%0d %0d %0d %0d\n", cycle, m_last, m_class, $signed(m_data));
        n_frames <= n_frames + m_last;
        if (comparing) begin
          got = $fscanf(expect_file, "%d %d", want_class, want_data);
          if (got != 2 || want_class != m_class || want_data != m_data) begin
            $display("deepr_player: class %0d logit %0d, expected %0d %0d", m_class,
                     $signed(m_data), want_class, want_data);
            errors_o <= errors_o + 1;
          end
        end
      end
    end
  end

endmodule
