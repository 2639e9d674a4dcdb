"""Synthesis of an hls4ml project where the vendor's compiler is at hand, and a ready ``build`` script everywhere."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from deepr_hw.files import write_text
from deepr_hw.ir import IntNet

from . import project as hls4ml_project
from . import stock as hls4ml_stock
from .backends import BACKENDS, DEFAULT
from .hls_report import Cost, count_sparse, parse_csynth

TOOLS = {row.name: row.tools for row in BACKENDS.values() if row.tools}
"""Backend -> compilers that can synthesize it, best first, with their arguments."""

_OPTIONS = """array set opt {
    reset      1
    csim       1
    synth      1
    cosim      0
    validation 0
    export     0
    vsynth     0
    fifo_opt   0
}
"""


def hls(
    net: IntNet,
    out_dir: Path,
    backend: str = DEFAULT,
    part: str | None = None,
    reuse_factor: int = 1,
    io_type: str = "io_parallel",
) -> dict[str, Any]:
    """Write the project of ``net`` and its ``build`` script to ``out_dir``, synthesize it if a compiler is on PATH.

    Returns the facts of the export, the static count (``static``) beside stock hls4ml's for the same network
    (``stock``), the vendor's estimate (``synthesis``, None without a compiler), one line for the user (``message``).

    Raises as ``hls4ml_project.export``, for backends without a known compiler too; ``RuntimeError`` with the end of
    the log when synthesis fails.
    """
    names = {name.lower(): name for name in TOOLS}
    if backend.lower() not in names:
        raise ValueError(f"backend {backend!r}: expected one of {', '.join(names)}")
    backend = names[backend.lower()]
    facts = hls4ml_project.export(net, out_dir, backend, reuse_factor, io_type, part)
    project_dir = Path(facts["project"])
    script = write_build_script(project_dir, backend)
    facts |= {
        "static": vars(sum(count_sparse(project_dir), Cost())),
        "synthesis": None,
        "stock": hls4ml_stock.static_costs(net, reuse_factor),
    }
    tool = next((tool for tool in TOOLS[backend] if shutil.which(tool)), None)
    if tool is None:
        tools = " or ".join(TOOLS[backend])
        return facts | {"message": f"not synthesized: no {tools} on PATH; where there is one, run {script}"}
    result = parse_csynth(synthesize(project_dir, tool, backend))
    return facts | {
        "synthesis": result.as_dict(),
        "message": (
            f"{tool}: latency {_span(result.latency)}, interval {_span(result.interval)} cycles "
            f"of {result.clock_period} ns, LUT {result.lut}, FF {result.ff}, DSP {result.dsp}, BRAM {result.bram_18k}"
        ),
    }


def _span(ends: tuple[int | None, int | None]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}..{ends[1]}"


def write_build_script(project_dir: Path, backend: str) -> Path:
    """``build``: runs C simulation (against the golden values) and synthesis with whichever compiler is on PATH."""
    write_text(project_dir / "build_opt.tcl", _OPTIONS)
    lines = ["#!/bin/sh", "# C simulation and synthesis of this project", 'cd "$(dirname "$0")" || exit 1']
    for tool, arguments in TOOLS[backend].items():
        quoted = " ".join(f'"{word}"' if " " in word else word for word in arguments)
        lines += [f"command -v {tool} >/dev/null && exec {tool} {quoted}"]
    lines += [f'echo "none of these is on PATH: {", ".join(TOOLS[backend])}" >&2', "exit 127", ""]
    path = project_dir / "build"
    write_text(path, "\n".join(lines))
    path.chmod(0o755)
    return path


def synthesize(project_dir: Path, tool: str, backend: str) -> Path:
    """Run the compiler ``tool`` in ``project_dir``, its words in ``build.log``; returns the synthesis report.

    Raises ``RuntimeError`` with the end of the log when it fails or leaves no report.
    """
    name, log = hls4ml_project.PROJECT, project_dir / "build.log"
    report = project_dir / f"{name}_prj" / "solution1" / "syn" / "report" / f"{name}_csynth.xml"
    report.unlink(missing_ok=True)
    with open(log, "w") as words:
        done = subprocess.run(
            [tool, *TOOLS[backend][tool]], cwd=project_dir, stdout=words, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode or not report.exists():
        end = "\n".join(log.read_text().splitlines()[-10:])
        raise RuntimeError(f"{tool} failed with exit code {done.returncode}; the end of {log}:\n{end}")
    return report
