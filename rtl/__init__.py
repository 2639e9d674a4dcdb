"""The engine in hand-written SystemVerilog; see README.md."""
