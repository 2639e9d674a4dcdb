// Plays files through the engine: loads an image, streams samples in, writes what comes out. For simulation only.
//
// +load=FILE     lines "address data" (hex) for the load port
// +beats=FILE    lines "last data" (hex), one per input beat
// +out=FILE      written, decimal: "> cycle" per input frame when its last beat is taken, "cycle last class data" per
//                output beat, at the end "# samples cycles stalls macs"
// +expect=FILE   optional, read: "class data" (decimal) per output beat; a difference is reported and counted
// +frames=N      output frames to wait for
// +idle=P +pause=P +seed=S   percent of cycles without input beat, without readiness for output; random seed
module deepr_player #(
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
  output logic        done_o,
  output logic [31:0] errors_o
);

  logic                       load_valid, load_ready, s_valid, s_ready, s_last, m_valid, m_ready, m_last;
  logic                       enable, busy, bank, swapping, swap;
  logic [23:0]                load_addr;
  logic [31:0]                load_data, m_data, samples, cycles, stalls, macs;
  logic [8*Lanes-1:0]         s_data;
  logic [$clog2(Classes)-1:0] m_class;
  logic [5:0]                 error;

  deepr_engine #(
    .Lanes(Lanes), .Rows(Rows), .Words(Words), .BiasWords(BiasWords), .Layers(Layers), .Classes(Classes),
    .AccBits(AccBits), .Banks(Banks)
  ) u_engine (
    .clk_i, .rst_ni, .enable_i(enable), .clear_i(1'b0), .swap_i(swap), .swapping_o(swapping), .bank_o(bank),
    .load_valid_i(load_valid), .load_ready_o(load_ready), .load_addr_i(load_addr), .load_data_i(load_data),
    .s_valid_i(s_valid), .s_ready_o(s_ready), .s_last_i(s_last), .s_data_i(s_data),
    .m_valid_o(m_valid), .m_ready_i(m_ready), .m_last_o(m_last), .m_data_o(m_data), .m_class_o(m_class),
    .busy_o(busy), .error_o(error), .samples_o(samples), .cycles_o(cycles), .stalls_o(stalls), .macs_o(macs)
  );

  typedef enum logic [2:0] {StIdle, StLoad, StSwap, StSettle, StRun, StDrain, StDone} state_e;
  state_e             state;
  logic [8*255:1]     load_name, beats_name, out_name, expect_name;
  logic [23:0]        next_addr;
  logic [31:0]        next_word;
  logic [8*Lanes-1:0] next_data;
  logic               next_last, comparing;
  integer             load_file, beats_file, out_file, expect_file, got, frames, n_frames, idle, pause, seed, cycle;
  integer             want_class, want_data;

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
      {load_valid, s_valid, m_ready, enable, swap, done_o} <= '0;
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
            end else if ($fscanf(beats_file, "%h %h", next_last, next_data) == 2) begin
              s_valid <= 1'b1;
              s_last <= next_last;
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
            $display("deepr_player: class %0d logit %0d, expected %0d %0d", m_class, $signed(m_data), want_class,
                     want_data);
            errors_o <= errors_o + 1;
          end
        end
      end
    end
  end

endmodule
