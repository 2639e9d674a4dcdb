"""Runs an ``IntNet`` on the synthesized engine: yosys' netlist under Icarus, the same player, the same comparison."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepr_hw import reference
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.export.rtl.geometry import Geometry
from deepr_hw.files import make_folder, write_text
from deepr_hw.ir import IntNet
from deepr_hw.target import EngineRun

from . import engine, open_tools, runner, synth
from .open_tools import share

_CELLS = Path(__file__).resolve().parent / "cells_ecp5.v"
_MODELS = {"ecp5": ("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"), "xc7": ("xilinx/cells_sim.v",)}
_OPTIONS = {"ecp5": "", "xc7": "-nobram"}
"""yosys has no behaviour for Xilinx' block memories: there everything is distributed memory, fit for small nets."""


def missing_program(options: Mapping[str, object]) -> str | None:
    """Why no netlist can be made or simulated here, or None."""
    return open_tools.missing("yosys") or runner.missing("icarus")


def _with_parameters(verilog: str, geometry: Geometry) -> str:
    """``verilog`` whose top takes the parameters that are frozen in it and refuses other values."""
    head, rest = verilog.split(");\n", 1)
    declared = "".join(f"  parameter {name} = {value};\n" for name, value in geometry.parameters.items())
    wrong = " || ".join(f"{name} != {value}" for name, value in geometry.parameters.items())
    check = f'  initial if ({wrong}) $fatal(1, "the netlist has other parameters");\n'
    return f"{head});\n{declared}{check}{rest}"


def _readable(models: str) -> str:
    """``models`` without what Icarus can't read and no netlist uses: pads, aliases, nextpnr's own TRELLIS_COMB."""
    lines, skipping = [], False
    for line in models.splitlines():
        skipping |= line.startswith("module TRELLIS_COMB")
        if not skipping and not line.startswith("`include"):
            lines.append(line)
        skipping &= line != "endmodule"
    return "\n".join(lines) + "\n"


def sources(geometry: Geometry, target: str, workdir: Path) -> list[Path]:
    """The netlist of the engine of ``geometry`` on ``target`` and the models of its cells, as Icarus reads them."""
    family = target.partition("-")[0]
    if family not in _MODELS:
        raise ValueError(f"target {target!r}: netlists run for {', '.join(_MODELS)}")
    made = synth.engine_netlist(geometry, target, options=_OPTIONS[family])
    models = "".join(share(name).read_text() for name in _MODELS[family])
    folder = make_folder(workdir)
    write_text(folder / "cells.v", _readable(models))
    write_text(folder / "engine.v", _with_parameters((made.folder / "netlist.v").read_text(), geometry))
    return [
        runner.RTL / "deepr_pkg.sv",
        folder / "cells.v",
        folder / "engine.v",
        runner.RTL / "deepr_axis_width.sv",
        *([_CELLS] if family == "ecp5" else []),
    ]


def play(
    image: rtl_image.Image, x: np.ndarray, workdir: Path, target: str = "ecp5-85k", idle: int = 0, pause: int = 0
) -> engine.PlayerRun:
    """As ``engine.play``, on the synthesized engine of the image's geometry under Icarus."""
    files = sources(image.geometry, target, Path(workdir) / "netlist")
    return engine.play(image, x, workdir, "icarus", idle, pause, sources=files)


def run(net: IntNet, x: np.ndarray, workdir: Path, target: str = "ecp5-85k", lanes: int = 8) -> EngineRun:
    """Logits of codes ``x`` (n, *in_shape) from the synthesized engine that is just large enough for ``net``.

    Raises ``RuntimeError`` when yosys or Icarus is missing or the bench fails.
    """
    x = reference.check_codes(net, x)
    image = rtl_image.build(net, lanes)
    return engine.measured(play(image, x, workdir, target), image.plan)
