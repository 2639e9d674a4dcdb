"""The backends of hls4ml that the sparse layer is written for: a row each. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

COMMON = "nnet_sparse_dense_common.h"
"""What the headers of all backends include, beside them."""


@dataclass(frozen=True)
class Backend:
    """What tells a backend from the others.

    name        : hls4ml's
    engine      : what ``verify`` calls its C++, compiled with g++
    header      : the layer's C++ beside this file, in the words of its compiler
    single_bits : whether hls4ml writes types of 1 bit as such
    bench       : whether its test bench is replaced by one that compares; else hls4ml's is kept
    tools       : programs that synthesize a project, best first, with their arguments; none where none is known
    """

    name: str
    engine: str
    header: str
    single_bits: bool = True
    bench: bool = False
    tools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_ROWS = (
    Backend(
        "Vitis",
        "hls4ml",
        "nnet_sparse_dense.h",
        bench=True,
        tools={"vitis-run": ("--mode", "hls", "--tcl", "build_prj.tcl"), "vitis_hls": ("-f", "build_prj.tcl")},
    ),
    Backend(
        "Vivado",
        "hls4ml-vivado",
        "nnet_sparse_dense.h",
        bench=True,
        tools={"vivado_hls": ("-f", "build_prj.tcl", "reset=1 csim=1 synth=1 cosim=0 validation=0 export=0")},
    ),
    Backend("Quartus", "hls4ml-quartus", "nnet_sparse_dense_quartus.h", single_bits=False),
    Backend("Catapult", "hls4ml-catapult", "nnet_sparse_dense_catapult.h", single_bits=False),
)

BACKENDS: dict[str, Backend] = {row.name: row for row in _ROWS}
"""Backend by name; the first is taken unless told otherwise."""
DEFAULT = _ROWS[0].name
