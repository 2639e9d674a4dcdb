// What engine, shell and software share: words of the load port, stages, registers, error causes.
//
// Python reads it (export/rtl/words.py). yosys knows no import: there it is global.
`ifndef YOSYS
package deepr_pkg;
`endif
  // Load port: a 24-bit address, a 32-bit word
  typedef enum logic [3:0] {
    RegionSlot     = 4'd0,
    RegionBias     = 4'd1,  // two's complement, the half of the rounding included
    RegionLayer    = 4'd2,
    RegionFrame    = 4'd3,
    RegionHighBias = 4'd4   // 2**31 and more, unsigned; only with AccBits = 33
  } region_e;

  typedef enum logic [0:0] {
    FrameBytes  = 1'd0,  // bytes per input frame - 1
    FrameLogits = 1'd1   // logits per frame - 1; written last: the bank is loaded
  } frame_e;

  typedef struct packed {
    logic [3:0]  region;
    logic [3:0]  lane;
    logic [15:0] index;
  } load_address_t;

  // A connection, or nothing: what a lane does with the byte at the address
  typedef struct packed {
    logic       last;  // the output ends here
    logic       mac;   // multiply and accumulate
    logic [7:0] weight;
  } slot_op_t;

  typedef struct packed {
    slot_op_t    op;
    logic [21:0] address;  // of a byte: word * Lanes + lane
  } slot_t;

  // How the sums of a layer become bytes
  typedef struct packed {
    logic       y_signed;
    logic [2:0] y_bits;  // magnitude bits - 1
    logic [4:0] shift;
  } requantize_t;

  typedef struct packed {
    logic        is_final;
    logic        reads_input;
    logic        x_signed;
    requantize_t requantize;
  } layer_t;

  typedef struct packed {
    logic [3:0]  zero;
    layer_t      layer;
    logic [15:0] last_row;
  } descriptor_t;

  // verilator lint_off UNUSEDPARAM
  // Stages of a row: its number is at the slot memories in stage 0, and in stage
  localparam int StageSlot = 1;     // the slot is there
  localparam int StageAddress = 2;  // its address is at the activation memory
  localparam int StageSelect = 4;   // the byte is selected, multiplied from here on
  localparam int StageBias = 5;     // the bias word's address is at its memory
  localparam int StageSum = 8;      // sum and bias are added
  localparam int StageWrite = 11;   // the requantized byte is written

  // registers: begin
  typedef enum logic [5:0] {
    RegId      = 6'd0,
    RegVersion = 6'd1,
    RegSize0   = 6'd2,
    RegSize1   = 6'd3,
    RegControl = 6'd4,
    RegStatus  = 6'd5,
    RegErrors  = 6'd6,
    RegAddress = 6'd7,
    RegData    = 6'd8,
    RegSamples = 6'd9,
    RegCycles  = 6'd10,
    RegStalls  = 6'd11,
    RegMacs    = 6'd12
  } register_e;

  typedef struct packed {
    logic [7:0] banks;
    logic [7:0] acc_bits;
    logic [7:0] log_classes;
    logic [7:0] lanes;
  } size_0_t;

  typedef struct packed {
    logic [7:0] log_layers;
    logic [7:0] log_bias_words;
    logic [7:0] log_words;
    logic [7:0] log_rows;
  } size_1_t;

  typedef struct packed {
    logic [28:0] zero;
    logic        clear;
    logic        swap;
    logic        enable;
  } control_t;

  typedef struct packed {
    logic [27:0] zero;
    logic        loaded;
    logic        bank;
    logic        swapping;
    logic        busy;
  } status_t;

  typedef enum logic [2:0] {
    ErrorShort     = 3'd0,
    ErrorLong      = 3'd1,
    ErrorRange     = 3'd2,
    ErrorRefused   = 3'd3,
    ErrorOverrun   = 3'd4,
    ErrorMisplaced = 3'd5,
    ErrorAccess    = 3'd6
  } error_e;

  localparam logic [31:0] EngineId = 32'h44454550;
  localparam logic [31:0] EngineVersion = 32'h00020000;
  localparam int EngineErrors = 6;
  // registers: end
  // verilator lint_on UNUSEDPARAM
`ifndef YOSYS
endpackage
`endif
