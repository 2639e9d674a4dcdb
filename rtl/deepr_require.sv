// Stops elaboration with a readable message when a parameter rule is broken.
//
// Icarus knows no elaboration tasks: there the message comes at time 0 of the simulation.
module deepr_require #(
  parameter logic Ok = 1'b1,
  parameter Message = ""
) ();

  if (!Ok) begin : gen_broken
`ifdef __ICARUS__
    initial $fatal(1, "%s", Message);
`elsif YOSYS
    $error(Message);
`else
    $error("%s", Message);
`endif
  end

endmodule
