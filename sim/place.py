"""Place and route (nextpnr): the clock that the engine reaches, its critical path, and a bitstream."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepr_hw.export.rtl.geometry import Geometry
from deepr_hw.export.rtl.schedule import required_geometry, schedule
from deepr_hw.files import make_folder
from deepr_hw.ir import IntNet

from . import synth
from .open_tools import missing, run_tool
from .synth import Area, Netlist, Target

CLOCK_MHZ = 100
"""The clock that place and route is asked for."""
_CELL_SUFFIX = re.compile(r"(_(TRELLIS_FF|LUT4|PFUMX|L6MUX21|CCU2C|SB_LUT4|SB_DFF\w*|SB_CARRY)(_\w+)?)+$")


@dataclass(frozen=True)
class Hop:
    """A piece of a path: ``kind`` clk-to-q, logic, routing or setup; ``ns``; the cell that it leads to."""

    kind: str
    ns: float
    cell: str


@dataclass(frozen=True)
class Timing:
    """fmax_mhz: the clock reached; path: the slowest register to register path; used: sites of the device by name."""

    fmax_mhz: float
    path: tuple[Hop, ...]
    used: dict[str, dict[str, int]]

    @property
    def path_text(self) -> str:
        """The critical path in one line: from where to where, and what its time is spent on."""
        spent = {
            kind: sum(hop.ns for hop in self.path if hop.kind == kind)
            for kind in dict.fromkeys(hop.kind for hop in self.path)
        }
        parts = ", ".join(f"{ns:.1f} {kind}" for kind, ns in spent.items())
        levels = sum(hop.kind == "logic" for hop in self.path)
        return (
            f"{self.path[0].cell} -> {self.path[-1].cell}: {sum(spent.values()):.1f} ns ({parts}), "
            f"{levels} levels of logic"
        )


@dataclass(frozen=True)
class Synthesis:
    """An engine for one network on one target. ``timing`` is None where there is no place and route."""

    target: str
    geometry: Geometry
    cycles_per_sample: float
    area: Area
    timing: Timing | None

    @property
    def images_per_second(self) -> float | None:
        """Clock over the interval of the cycle formula."""
        return self.timing.fmax_mhz * 1e6 / self.cycles_per_sample if self.timing else None

    def as_json(self) -> dict[str, Any]:
        """What ``deepr-hw synth --json`` writes."""
        area, of = self.area, synth.target(self.target)
        result: dict[str, Any] = {
            "target": self.target,
            "lanes": self.geometry.lanes,
            "parameters": self.geometry.parameters,
            "lut": area.lut,
            "lut_logic": area.logic,
            "ff": area.ff,
            "dsp": area.dsp,
            "bram": area.bram,
            "bram_bits": of.bram_bits,
            "capacity": dict(of.capacity),
            "cells": dict(area.cells),
            "cycles_per_sample": self.cycles_per_sample,
            "fmax_mhz": None,
            "critical_path": None,
            "images_per_second": self.images_per_second,
        }
        if self.timing:
            result |= {
                "fmax_mhz": round(self.timing.fmax_mhz, 2),
                "critical_path": self.timing.path_text,
                "critical_path_hops": [hop.__dict__ for hop in self.timing.path],
            }
        return result


def _cell(name: str) -> str:
    """``name`` without what yosys appended to it while mapping."""
    return _CELL_SUFFIX.sub("", name)


def read_report(path: Path) -> Timing:
    """Clock and critical path from nextpnr's ``--report`` file."""
    report = json.loads(path.read_text())
    clock, fmax = min(((name, entry["achieved"]) for name, entry in report["fmax"].items()), key=lambda item: item[1])
    path_ = next(p["path"] for p in report["critical_paths"] if clock in p["from"] and clock in p["to"])
    hops = tuple(Hop(hop["type"], hop["delay"], _cell(hop["to"]["cell"])) for hop in path_)
    return Timing(fmax, hops, report["utilization"])


def _options(of: Target) -> list[str]:
    assert of.device
    common = [
        f"--{of.device}",
        "--package",
        of.package,
        "--json",
        "netlist.json",
        "--report",
        "report.json",
        "--timing-allow-fail",
        "--freq",
        str(CLOCK_MHZ),
    ]
    if "ecp5" in of.command:
        return [*common, "--speed", "6", "--textcfg", "engine.config", "--lpf-allow-unconstrained"]
    return [*common, "--asc", "engine.asc", "--pcf-allow-unconstrained"]


def place(netlist: Netlist, target_name: str, folder: Path, seed: int = 1) -> Timing:
    """Place and route ``netlist`` (behind the scan chain) in ``folder``, and pack the bitstream ``engine.bit``.

    ECP5: speed grade 6, typical of the boards. Raises ``RuntimeError`` when the device is too small or a tool missing.
    """
    of, folder = synth.target(target_name), make_folder(folder)
    (folder / "netlist.json").write_bytes((netlist.folder / "netlist.json").read_bytes())
    ecp5 = "ecp5" in of.command
    run_tool("nextpnr-ecp5" if ecp5 else "nextpnr-ice40", [*_options(of), "--seed", str(seed)], folder)
    if ecp5:
        run_tool("ecppack", ["engine.config", "engine.bit"], folder)
    else:
        run_tool("icepack", ["engine.asc", "engine.bit"], folder)
    return read_report(folder / "report.json")


def too_small(area: Area, of: Target) -> Sequence[str]:
    """What of ``area`` exceeds the device of ``of``, in words."""
    return [
        f"{getattr(area, name)} of {capacity} {name}"
        for name, capacity in of.capacity.items()
        if getattr(area, name) > capacity
    ]


def synthesize(
    net: IntNet, target_name: str, lanes: int, folder: Path, banks: int | None = None, seed: int = 1, clock: bool = True
) -> Synthesis:
    """The smallest engine for ``net`` on ``target_name``; with ``clock`` also placed and routed in ``folder``.

    Raises ``ValueError`` when the network does not fit the engine or the engine not the device.
    """
    of = synth.target(target_name)
    plan = schedule(net, lanes)
    geometry = required_geometry(net, plan, banks or of.banks)
    netlist = synth.engine_netlist(geometry, target_name, synth.SCAN if of.device else synth.ENGINE)
    if exceeded := too_small(netlist.area, of):
        raise ValueError(f"target {target_name}: the engine with {lanes} lanes needs {', '.join(exceeded)}")
    optional = "ice40" in of.command and missing("nextpnr-ice40")  # 70 MB that only this target needs: not in the extra
    timing = place(netlist, target_name, folder, seed) if of.device and clock and not optional else None
    return Synthesis(target_name, geometry, plan.interval, netlist.area, timing)
