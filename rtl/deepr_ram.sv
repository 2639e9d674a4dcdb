// Memory with one write port and one read port; the read takes one cycle.
//
// Law:     rdata_o in cycle t+1 is word raddr_i of cycle t; it has no value if that word was being
//          written in cycle t. The schedule never uses such a word; simulation shows it as X,
//          synthesis needs no logic for it.
// Latency: 1 cycle. No reset: a word has no value before it is written.
module deepr_ram #(
  parameter int Width = 32,
  parameter int Depth = 512
) (
  input  logic                     clk_i,
  input  logic                     we_i,
  input  logic [$clog2(Depth)-1:0] waddr_i,
  input  logic [Width-1:0]         wdata_i,
  input  logic [$clog2(Depth)-1:0] raddr_i,
  output logic [Width-1:0]         rdata_o
);

  deepr_require #(
    .Ok(Depth >= 2 && Depth == 1 << $clog2(Depth)),
    .Message("deepr_ram: Depth must be a power of two, at least 2")
  ) u_depth ();

  (* no_rw_check *)
  logic [Width-1:0] mem [Depth];

  always_ff @(posedge clk_i) begin
    if (we_i) mem[waddr_i] <= wdata_i;
    rdata_o <= mem[raddr_i];
`ifndef SYNTHESIS
    if (we_i && waddr_i == raddr_i) rdata_o <= 'x;
`endif
  end

endmodule
