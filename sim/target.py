"""The RTL engine as a target: its memory image, two simulators, netlists of two families.

It is declared here and not beside the exporter because what executes it is simulation, one floor above.
"""

from typing import Any

from deepr_hw.target import Engine, Option, Target

_STREAMS: dict[str, Any] = {"metavar": "N", "type": int, "choices": (1, 4, 8)}
_ANY = frozenset({"lanes", "waves", "stream_bytes"})

TARGET = Target(
    name="rtl",
    summary="the RTL engine's memory image, with all that a board needs",
    export="deepr_hw.export.rtl.image:export",
    options=(
        Option("lanes", {"metavar": "P", "type": "lanes", "help": "multipliers side by side (default: 8)"}),
        Option("stream-bytes", {**_STREAMS, "help": "width of the AXI streams in bytes: 1, 4 or 8 (default)"}),
    ),
    artefacts={"rtl": {}},
    engines=(
        Engine("c-codes", "deepr_hw.export.rtl.c_encoder:encode", encodes=True, default=True),
        Engine(
            "verilator",
            "deepr_hw.sim.engine:run",
            {"simulator": "verilator"},
            samples=200,
            default=True,
            accepts=_ANY,
        ),
        Engine("icarus", "deepr_hw.sim.engine:run", {"simulator": "icarus"}, samples=20, default=True, accepts=_ANY),
        Engine(
            "netlist",
            "deepr_hw.sim.netlist:run",
            {"target": "ecp5-85k"},
            samples=3,
            accepts=frozenset({"lanes"}),
        ),
        Engine(
            "netlist-xilinx", "deepr_hw.sim.netlist:run", {"target": "xc7"}, samples=3, accepts=frozenset({"lanes"})
        ),
    ),
    sizes="deepr_hw.export.rtl.image:sizes",
    examine="deepr_hw.sim.evidence:examine",
)
