"""Compile a written hls4ml project with plain g++ and run its C++ on samples; no hls4ml and no vendor tool needed."""

import _ctypes
import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

FLAGS = ("-O1", "-std=c++17", "-fPIC", "-fno-gnu-unique", "-w", "-shared", "-x", "c++", "-")
"""``-fno-gnu-unique``: libraries of two projects must not share the static variables of equally named templates."""


def compile_library(project_dir: Path, project: str, library: Path) -> None:
    """Build the shared library ``library`` from the project's firmware and its bridge, in one translation unit.

    Raises ``RuntimeError`` with the compiler's words when that fails or when there is no g++.
    """
    project_dir = Path(project_dir).resolve()
    if shutil.which("g++") is None:
        raise RuntimeError("g++ is not on PATH: the engine hls4ml compiles the generated C++ with it")
    source = f'#include "firmware/{project}.cpp"\n#include "{project}_bridge.cpp"\n'
    command = ["g++", *FLAGS, "-o", str(Path(library).resolve()), "-I.", "-Ifirmware/ap_types",
               f'-DWEIGHTS_DIR="{project_dir}/firmware/weights"']
    done = subprocess.run(command, input=source, cwd=project_dir, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{project_dir}: the generated C++ does not compile\n{done.stderr[:2000]}")


def predict(project_dir: Path, project: str, x: np.ndarray, n_out: int) -> np.ndarray:
    """(n, n_out) float64 outputs of the project's C++ for ``x`` (n, n_in) in natural units, sample by sample.

    The bridge takes and gives double, which holds every value of a fixed-point type of up to 53 bits exactly.
    Raises as ``compile_library``.
    """
    x = np.ascontiguousarray(x, np.float64).reshape(len(x), -1)
    y = np.empty((len(x), n_out))
    with tempfile.TemporaryDirectory(dir=project_dir, prefix=".build-") as folder:
        path = Path(folder) / "firmware.so"  # a new path each time: the loader caches libraries by path
        compile_library(project_dir, project, path)
        library = ctypes.CDLL(str(path))
        top = getattr(library, f"{project}_double")
        top.argtypes, top.restype = (ctypes.c_void_p, ctypes.c_void_p), None
        for sample, result in zip(x, y, strict=True):
            top(sample.ctypes.data, result.ctypes.data)
        _ctypes.dlclose(library._handle)
    return y
