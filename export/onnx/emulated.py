"""onnxruntime on a CPU that this machine is not, by qemu's user mode emulation.

onnxruntime picks its integer kernels by the CPU it finds. ``Haswell`` (AVX2, no VNNI) runs the kernels that saturate;
a network that is exact there and here has been tried on both families.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepr_hw import version
from deepr_hw.ir import IntNet
from deepr_hw.target import EngineRun

from . import integer as onnx_integer
from . import qdq as onnx_qdq

CPU = "Haswell"
"""A CPU model of qemu (``qemu-x86_64 -cpu help``) with AVX2 and without VNNI."""


def _qemu() -> str | None:
    return shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")


def missing_program(options: Mapping[str, object]) -> str | None:
    """Why there is no emulated CPU here, or None."""
    return None if _qemu() else "qemu-x86_64 is missing; it emulates the CPU without VNNI: apt-get install qemu-user"


def run(
    net: IntNet, x: np.ndarray, workdir: Path, flavour: str = "integer", default_session: bool = False
) -> EngineRun:
    """Logits of codes ``x`` (n, *in_shape) from the exported file in a session on the emulated CPU.

    flavour         : ``integer`` (always a plain default session) or ``qdq``
    default_session : for ``qdq``, without the option that its metadata names

    Raises ``RuntimeError`` when qemu is missing or the session fails, ``ValueError`` for a code that no value has.
    """
    workdir = Path(workdir)
    if flavour == "integer":
        path, values, options = onnx_integer.export(net, workdir)["path"], x, {}
    else:
        path, values = onnx_qdq.export(net, workdir)["path"], net.values(x)
        options = {} if default_session else onnx_qdq.SESSION_OPTIONS
    logits = run_emulated(Path(str(path)), values, workdir, options)
    return EngineRun(logits if flavour == "integer" else onnx_qdq.to_codes(logits, net.logit_frac))


def run_emulated(
    model: Path, x: np.ndarray, workdir: Path, options: dict[str, str], environment: dict[str, str] | None = None
) -> np.ndarray:
    """Output ``logits`` of ``model`` for ``x`` on the emulated CPU, with session ``options`` and more ``environment``.

    Raises ``RuntimeError`` when qemu is missing or the session fails.
    """
    qemu = _qemu()
    if qemu is None:
        raise RuntimeError(missing_program({}))
    x_path, logits_path = workdir / "x.npy", workdir / "logits.npy"
    np.save(x_path, x)
    root = str(Path(version.__file__).resolve().parents[1])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [
            qemu,
            "-cpu",
            CPU,
            sys.executable,
            "-m",
            "deepr_hw.export.onnx.session",
            model,
            x_path,
            logits_path,
            json.dumps(options),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
    )
    if done.returncode:
        raise RuntimeError(f"onnxruntime on an emulated {CPU} failed: {done.stderr.strip().splitlines()[-1:]}")
    return np.load(logits_path)
