"""Compile a written hls4ml project with plain g++ and run its C++ on samples; no hls4ml and no vendor tool needed."""

import _ctypes
import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_INCLUDE = (
    ".",
    "firmware/ap_types",
    "firmware/ac_types",
    "firmware/ac_types/include",
    "firmware/ac_math/include",
    "firmware/ac_simutils/include",
    "firmware/nnet_utils",
)
FLAGS = ("-O1", "-std=c++17", "-w", "-x", "c++", *(f"-I{folder}" for folder in _INCLUDE))
LIBRARY_FLAGS = ("-shared", "-fPIC", "-fno-gnu-unique")
"""``-fno-gnu-unique``: libraries of two projects must not share the static variables of equally named templates."""


def missing_program(options: Mapping[str, object]) -> str | None:
    """Why nothing can be compiled here, or None."""
    return None if shutil.which("g++") else "g++ is not on PATH: the generated C++ is compiled with it"


def compile_cpp(project_dir: Path, source: str, target: Path, flags: tuple[str, ...] = ()) -> None:
    """Compile the C++ text ``source`` as one translation unit seen from the project's folder into ``target``.

    Raises ``RuntimeError`` with the compiler's words when that fails or when there is no g++.
    """
    if why := missing_program({}):
        raise RuntimeError(why)
    weights = f'-DWEIGHTS_DIR="{project_dir}/firmware/weights"'
    done = subprocess.run(
        ["g++", *FLAGS, *flags, weights, "-o", str(target), "-"],
        input=source,
        cwd=project_dir,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{project_dir}: the generated C++ does not compile\n{done.stderr[:2000]}")


def predict(project_dir: Path, project: str, x: np.ndarray, n_out: int, flags: tuple[str, ...] = ()) -> np.ndarray:
    """(n, n_out) float64 outputs of the project's C++ for ``x`` (n, n_in) as its bridge takes it, sample by sample.

    Goes through hls4ml's bridge, which takes and gives double: exact for fixed-point types of up to 53 bits.
    Raises as ``compile_cpp``.
    """
    project_dir = Path(project_dir).resolve()
    x = np.ascontiguousarray(x, np.float64).reshape(len(x), -1)
    y = np.empty((len(x), n_out))
    with tempfile.TemporaryDirectory(dir=project_dir, prefix=".build-") as folder:
        path = Path(folder) / "firmware.so"  # a new path each time: the loader caches libraries by path
        source = f'#include "firmware/{project}.cpp"\n#include "{project}_bridge.cpp"\n'
        compile_cpp(project_dir, source, path, (*LIBRARY_FLAGS, *flags))
        library = ctypes.CDLL(str(path))
        top = getattr(library, f"{project}_double")
        top.argtypes, top.restype = (ctypes.c_void_p, ctypes.c_void_p), None
        for sample, result in zip(x, y, strict=True):
            top(sample.ctypes.data, result.ctypes.data)
        _ctypes.dlclose(library._handle)
    return y
