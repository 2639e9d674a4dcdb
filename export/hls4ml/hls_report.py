"""What an hls4ml project costs: counted in its C++ before synthesis, read from the vendor's report after it.

The static count says what the C++ asks for, not what a compiler makes of it. Per layer:

    products    multiplications per sample
    multipliers multiplications that happen side by side (what an ALLOCATION pragma or the loop structure allows)
    adders      additions into accumulators, side by side
    stored_bits bits of all constant arrays, indices included
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .arrays import CppLayer, array_bits, read_layers, read_structs


@dataclass(frozen=True)
class Cost:
    """Static count of a layer or, added up, of a network."""

    products: int = 0
    multipliers: int = 0
    adders: int = 0
    stored_bits: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def count_sparse(project_dir: Path) -> list[Cost]:
    """Cost of each sparse layer of a project, from its arrays. Raises as ``read_layers``."""
    return [_count_sparse(project_dir, layer) for layer in read_layers(project_dir)]


def _count_sparse(project_dir: Path, layer: CppLayer) -> Cost:
    bits = sum(array_bits(project_dir, name) for name in layer.names.values())
    if not layer.n_connections:
        return Cost(stored_bits=bits)
    n_steps, n_multipliers = layer.constants["n_steps"], layer.constants["n_multipliers"]
    last = [*range(n_steps - 1, layer.n_connections - 1, n_steps), layer.n_connections - 1]
    combine = int((layer.arrays["out_idx"][last] + 1).sum())  # one adder per (multiplier, output of its stretch)
    running = n_multipliers if n_steps > 1 else 0
    return Cost(layer.n_connections, n_multipliers, running + combine, bits)


def count_stock(project_dir: Path) -> list[Cost]:
    """Cost of each Dense layer of a stock hls4ml project: strategies latency, resource and resource_unrolled."""
    firmware = Path(project_dir) / "firmware"
    generated = (firmware / "nnet_utils" / "nnet_code_gen.h").read_text()
    return [
        _count_stock(project_dir, index, constants, generated)
        for index, constants in read_structs(project_dir, "dense_config").items()
    ]


def _count_stock(project_dir: Path, index: int, constants: dict[str, int], generated: str) -> Cost:
    n_positions, reuse = constants["n_in"] * constants["n_out"], constants["reuse_factor"]
    bits = sum(array_bits(project_dir, f"{letter}{index}") for letter in "wb")
    unrolled = re.search(rf"class dense_resource_unrolled_{index} .*?\n}};", generated, re.DOTALL)
    if unrolled:
        products = unrolled[0].count("::product(")
        limit = re.search(r"instances=mul limit=(\d+)", unrolled[0])
        return Cost(products, int(limit[1]) if limit else products, products, bits)
    kernel = re.search(
        rf"struct config{index} : .*?using kernel = nnet::Dense(\w+)<",
        (Path(project_dir) / "firmware" / "parameters.h").read_text(),
        re.DOTALL,
    )
    side_by_side = -(-n_positions // reuse)
    if kernel and kernel[1] == "Latency":
        return Cost(n_positions, side_by_side - constants["n_zeros"] // reuse, n_positions, bits)
    return Cost(n_positions, side_by_side, side_by_side, bits)


@dataclass(frozen=True)
class Synthesis:
    """The vendor's estimate after C synthesis. None where the report says ``undef`` or nothing.

    latency and interval are clock cycles, smallest and largest; clock_period and target_period are ns
    """

    top: str | None
    part: str | None
    version: str | None
    target_period: float | None
    clock_period: float | None
    latency: tuple[int | None, int | None]
    interval: tuple[int | None, int | None]
    lut: int | None
    ff: int | None
    dsp: int | None
    bram_18k: int | None
    uram: int | None
    available: dict[str, int]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def parse_csynth(path: Path) -> Synthesis:
    """The synthesis report ``<top>_csynth.xml`` of Vitis HLS or Vivado HLS.

    Raises ``ValueError`` naming the file when it is no such report, ``OSError`` when it can't be read.
    Source: AMD UG1399, "Vitis HLS Coding Styles and reports"; element names as in the tools' files from 2019 to 2024.
    """
    path = Path(path)
    try:
        root = ET.fromstring(path.read_text())
    except ET.ParseError as error:
        raise ValueError(f"{path}: not an XML report ({error})") from None
    if root.find("PerformanceEstimates") is None or root.find("AreaEstimates/Resources") is None:
        raise ValueError(f"{path}: no PerformanceEstimates or AreaEstimates, so this is no synthesis report")
    latency = "PerformanceEstimates/SummaryOfOverallLatency"
    area = dict(_integers(root, "AreaEstimates/Resources"))
    return Synthesis(
        top=root.findtext("UserAssignments/TopModelName"),
        part=root.findtext("UserAssignments/Part"),
        version=root.findtext("ReportVersion/Version"),
        target_period=_number(root.findtext("UserAssignments/TargetClockPeriod")),
        clock_period=_number(root.findtext("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod")),
        latency=(
            _whole(root.findtext(f"{latency}/Best-caseLatency")),
            _whole(root.findtext(f"{latency}/Worst-caseLatency")),
        ),
        interval=(_whole(root.findtext(f"{latency}/Interval-min")), _whole(root.findtext(f"{latency}/Interval-max"))),
        lut=area.get("LUT"),
        ff=area.get("FF"),
        dsp=area.get("DSP"),
        bram_18k=area.get("BRAM_18K"),
        uram=area.get("URAM"),
        available=dict(_integers(root, "AreaEstimates/AvailableResources")),
    )


def _integers(root: ET.Element, where: str) -> Iterator[tuple[str, int]]:
    """Name and value below ``where``; older tools call a DSP a DSP48E."""
    for element in root.iterfind(f"{where}/*"):
        value = _whole(element.text)
        if value is not None:
            yield ("DSP" if element.tag == "DSP48E" else element.tag), value


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _whole(text: str | None) -> int | None:
    value = _number(text)
    return None if value is None else int(value)
