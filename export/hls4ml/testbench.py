"""The C++ test bench of an hls4ml project: golden values beside it, every output compared, a verdict by exit code.

hls4ml's own test bench prints predictions and returns 0 whatever they are, and reads through float32; this one takes
its place in the written project, so that the vendor's csim and cosim fail when they should.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepr_hw.files import make_folder, write_text

from .compile import compile_cpp

TEMPLATE = Path(__file__).with_name("testbench.cpp")


@dataclass(frozen=True)
class BenchRun:
    """What the bench said: its verdict, its last words, and the (n, n_out) float64 outputs it logged."""

    passed: bool
    message: str
    outputs: np.ndarray


def write_bench(project_dir: Path, project: str, n_in: int, n_out: int, input_cpp: str, output_cpp: str) -> None:
    """Replace the project's test bench.

    input_cpp, output_cpp : declarations of the top function's arguments, e.g. ``input_t x[784]``
    """
    names = {
        key: cpp.split(" ", 1)[1].split("[")[0].split("(")[0]
        for key, cpp in (("input_name", input_cpp), ("output_name", output_cpp))
    }
    text = TEMPLATE.read_text()
    for key, value in {
        "project": project,
        "n_in": n_in,
        "n_out": n_out,
        "input": input_cpp,
        "output": output_cpp,
        **names,
    }.items():
        text = text.replace(f"@{key}@", str(value))
    write_text(Path(project_dir) / f"{project}_test.cpp", text)


def write_golden(project_dir: Path, inputs: np.ndarray, outputs: np.ndarray) -> None:
    """Write the bench's data: ``inputs`` (n, n_in) and the ``outputs`` (n, n_out) to expect, float64, exactly."""
    folder = make_folder(Path(project_dir) / "tb_data")
    for name, values in (("tb_input_features", inputs), ("tb_output_predictions", outputs)):
        lines = (" ".join(map(repr, row)) + "\n" for row in values.reshape(len(values), -1).tolist())
        write_text(folder / f"{name}.dat", "".join(lines))


def build_bench(project_dir: Path, project: str) -> Path:
    """Compile the test bench with g++; returns the executable. Raises ``RuntimeError`` when it doesn't compile."""
    executable = Path(project_dir).resolve() / "csim.exe"
    compile_cpp(executable.parent, f'#include "firmware/{project}.cpp"\n#include "{project}_test.cpp"\n', executable)
    return executable


def run_bench(executable: Path) -> BenchRun:
    """Run a built test bench in its project's folder."""
    log = executable.parent / "tb_data" / "csim_results.log"
    log.unlink(missing_ok=True)
    done = subprocess.run([str(executable)], cwd=executable.parent, text=True, capture_output=True, check=False)
    lines = log.read_text().splitlines() if log.exists() else []
    outputs = np.array([[float(word) for word in line.split()] for line in lines])
    message = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return BenchRun(done.returncode == 0, " / ".join(message[-2:]), outputs)
