"""What a hardware engineer takes along: sources, top, golden vectors with a self-checking bench, packaging scripts.

The folder stands alone: ``make`` in it plays the golden vectors through the engine with plain Icarus, no Python.
"""

from pathlib import Path

import numpy as np

from deepr_hw import reference
from deepr_hw.ir import IntNet
from deepr_hw.ir.answer import ANSWER

from . import c_decoder, c_encoder
from .driver import register_writes
from .geometry import STREAM_BYTES, Geometry
from .image import Image
from .registers import c_header
from .sources import RTL, rtl_files

_ROOT = Path(__file__).resolve().parent.parent.parent
N_GOLDEN = 8


def golden_codes(net: IntNet, n: int = N_GOLDEN) -> np.ndarray:
    """(n, *in_shape) codes: all lowest, all highest, all zero, then random ones (always the same)."""
    fmt = net.x_format
    x = np.random.default_rng(0).integers(fmt.lo, fmt.hi + 1, (n, *net.in_shape)).astype(fmt.dtype)
    for row, code in zip(x, (fmt.lo, fmt.hi, 0), strict=False):
        row[...] = code
    return x


def input_words(x: np.ndarray, lanes: int) -> np.ndarray:
    """(n, in_words, lanes) uint8: byte i of a sample is byte ``i % lanes`` of word ``i // lanes``."""
    codes = np.ascontiguousarray(x).reshape(len(x), -1).astype(np.int64).astype(np.uint8)
    padded = np.zeros((len(x), -(-codes.shape[1] // lanes) * lanes), np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.reshape(len(x), -1, lanes)


def beats_text(x: np.ndarray, lanes: int) -> str:
    """The samples as the player's beats of ``lanes`` bytes: ``last keep data`` (hex) per line."""
    n_bytes, lines = x[0].size, []
    keep = [f"{(1 << min(lanes, n_bytes - first)) - 1:x}" for first in range(0, n_bytes, lanes)]
    for words in input_words(x, lanes):
        data = [bytes(word[::-1]).hex() for word in words]
        last = [0] * (len(data) - 1) + [1]
        lines += [f"{end} {kept} {word}" for end, kept, word in zip(last, keep, data, strict=True)]
    return "\n".join(lines) + "\n"


def expect_text(net: IntNet, x: np.ndarray) -> str:
    """The reference's answers as the player compares them: ``class logit`` (decimal) per output beat."""
    logits = reference.logits(net, x)
    return "".join(f"{row.argmax()} {value}\n" for row in logits for value in row)


def package_texts(net: IntNet, image: Image, stream_bytes: int = STREAM_BYTES) -> dict[str, str]:
    """The package beside the memory image: texts by path."""
    x = golden_codes(net)
    parameters = image.geometry.parameters
    texts = {f"rtl/{path.name}": path.read_text() for path in rtl_files()}
    texts["rtl/deepr_top.sv"] = _top(image.geometry, stream_bytes)
    names = [*texts, "bench/deepr_player.sv", "bench/deepr_selftest.sv"]
    return texts | {
        "bench/deepr_player.sv": (_ROOT / "sim" / "deepr_player.sv").read_text(),
        "bench/deepr_selftest.sv": _selftest(parameters),
        "deepr.f": "".join(f"{name}\n" for name in ["+incdir+rtl", *names]),
        "deepr_registers.h": c_header(),
        "golden_beats.txt": beats_text(x, image.geometry.lanes),
        "golden_expect.txt": expect_text(net, x),
        "load_axil.txt": "".join(f"{address:02x} {value:08x}\n" for address, value in register_writes(image.writes)),
        "Makefile": _MAKEFILE.format(frames=len(x)),
        "deepr.core": _core([*texts]),
        "package_ip.tcl": _TCL,
        "README.md": _readme(net, image.geometry.lanes),
        **c_encoder.board_files(net),
        **c_decoder.board_files(net),
    }


def _readme(net: IntNet, lanes: int) -> str:
    fmt, unit = net.x_format, net.input_map
    sign = "two's complement" if fmt.signed else "unsigned"
    tables = f"offset = {unit.offset[0]:.9g} and factor = {unit.factor[0]:.9g} for every feature"
    tables = tables if unit.size == 1 else "an offset and a factor per feature"
    return f"""# The engine with a network of K = {net.n_connections:,}

`make` plays the golden vectors through the engine (Icarus). `rtl/deepr_top.sv` is the top; `load_axil.txt` holds the
register writes (address, data) that load the network, `load.txt` the same for the bare load port; `deepr_registers.h`
has the registers for C, `manifest.json` the sizes, cycles and units. `deepr.f` lists the sources in order.

## From values to bytes

A sample is {net.n_in:,} bytes, {sign}, one per feature in the order of the training data:

    byte = {c_encoder.FORMULA}

frac = {fmt.frac}, limits {fmt.lo}..{fmt.hi}, {tables}.
`deepr_encode.c` does it on the host (C99, no allocation, no library), bit for bit as the network was verified; the same
numbers stand in `manifest.json` under `input`.

    #include "deepr_encode.h"
    {fmt.dtype.name}_t sample[DEEPR_N_IN];
    deepr_encode(values, sample);          /* float values[DEEPR_N_IN], in the unit of the training data */

Send the bytes in this order into `s_axis`, the first one in bits 7:0, TLAST with the last beat (TKEEP says which of its
bytes count). The bare engine takes words of {lanes} bytes, the first one in bits 7:0 again, and `s_keep_i`. A frame of
any other length is dropped and flagged.

## The answer

`m_axis` gives {net.n_out} int32 logits per sample, in units of 2**-{net.logit_frac}.
{_answer(net)}
"""


def _answer(net: IntNet) -> str:
    """What the logits say."""
    labels = f" ({', '.join(net.class_labels)})" if net.class_labels else ""
    if net.task == "classification":
        return f"TUSER is the index of the largest one, the class{labels}."
    return f"""A regression{labels}; TUSER says nothing. In the unit of the training data

    value = {ANSWER}

with the numbers under `logits` in `manifest.json`; on the host (C99):

    #include "deepr_decode.h"
    float values[DEEPR_N_OUT];
    deepr_decode(logits, values);          /* int32_t logits[DEEPR_N_OUT], in the order of m_axis */"""


def _assign(parameters: dict[str, int]) -> str:
    return ", ".join(f".{name}({value})" for name, value in parameters.items())


def _top(geometry: Geometry, stream_bytes: int) -> str:
    """``deepr_axi`` under the name ``deepr_top`` with the parameters of this network as defaults."""
    text = (RTL / "deepr_axi.sv").read_text()
    declared = ",\n".join(f"  parameter int {name} = {value}" for name, value in geometry.parameters.items())
    for old, new in (
        ("module deepr_axi\n", "module deepr_top\n"),
        ("  `DEEPR_PARAMETERS", declared),
        ("parameter int StreamBytes = 8", f"parameter int StreamBytes = {stream_bytes}"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def _selftest(parameters: dict[str, int]) -> str:
    return f"""// Plays the golden vectors through the engine and compares every logit: plain Icarus, no Python.
module deepr_selftest;

  logic        clk = 1'b0, rst_n = 1'b0;
  logic        done;
  logic [31:0] errors;

  deepr_player #(
    {_assign(parameters)}
  ) u_player (
    .clk_i(clk), .rst_ni(rst_n), .done_o(done), .errors_o(errors)
  );

  always #5 clk = !clk;

  initial begin
    #42 rst_n = 1'b1;
    #100000000 $display("FAIL: no answer");
    $fatal(1);
  end

  always @(posedge clk) begin
    if (done && errors == 0) begin
      $display("PASS: every logit of every golden frame");
      $finish;
    end
    if (done && errors != 0) begin
      $display("FAIL: %0d differences or error flags", errors);
      $fatal(1);
    end
  end

endmodule
"""


_MAKEFILE = """\
# make: the golden vectors through the engine, in Icarus
.PHONY: test clean
test: selftest
\tvvp -n selftest +load=load.txt +beats=golden_beats.txt +expect=golden_expect.txt +out=golden_out.txt +frames={frames}

selftest: deepr.f $(wildcard rtl/*.sv rtl/*.svh bench/*.sv)
\tiverilog -g2012 -s deepr_selftest -o $@ -c deepr.f

clean:
\trm -f selftest golden_out.txt
"""


def _core(names: list[str]) -> str:
    files = "\n".join(f"      - {name}" + ": {is_include_file: true}" * name.endswith(".svh") for name in names)
    return f"""CAPI=2:
name: "deepr_hw:engine:deepr_top:1.0.0"
description: Sparse neural network engine that walks K loadable connections, AXI4-Stream and AXI4-Lite

filesets:
  rtl:
    file_type: systemVerilogSource
    files:
{files}
  bench:
    file_type: systemVerilogSource
    files:
      - bench/deepr_player.sv
      - bench/deepr_selftest.sv
  data:
    file_type: user
    files:
      - load.txt: {{copyto: load.txt}}
      - golden_beats.txt: {{copyto: golden_beats.txt}}
      - golden_expect.txt: {{copyto: golden_expect.txt}}

targets:
  default: &default
    filesets: [rtl]
    toplevel: deepr_top
  sim:
    <<: *default
    filesets: [rtl, bench, data]
    toplevel: deepr_selftest
    default_tool: icarus
    parameters: [load, beats, expect, out, frames]
    tools:
      icarus:
        iverilog_options: [-g2012]

parameters:
  load: {{datatype: str, default: load.txt, paramtype: plusarg}}
  beats: {{datatype: str, default: golden_beats.txt, paramtype: plusarg}}
  expect: {{datatype: str, default: golden_expect.txt, paramtype: plusarg}}
  out: {{datatype: str, default: golden_out.txt, paramtype: plusarg}}
  frames: {{datatype: int, default: {N_GOLDEN}, paramtype: plusarg}}
"""


_TCL = """\
# vivado -mode batch -source package_ip.tcl: packages deepr_top as an IP in ip/
create_project -in_memory -part xc7z020clg400-1
add_files [glob rtl/*.svh rtl/*.sv]
set_property include_dirs rtl [current_fileset]
set_property top deepr_top [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir ip -vendor deepr_hw -library user -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name deepr_top $core
set_property version 1.0 $core
set_property display_name {Sparse engine of K loadable connections} $core
ipx::associate_bus_interfaces -busif s_axil -clock aclk $core
ipx::associate_bus_interfaces -busif s_axis -clock aclk $core
ipx::associate_bus_interfaces -busif m_axis -clock aclk $core
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::save_core $core
"""
