"""Makes an hls4ml project take values in the user's unit: the host's header, and a bridge that uses it.

The firmware takes codes, as ``ap_fixed``. hls4ml's bridge, through which ``predict`` goes, converts values by the type
alone, which cuts off; here it encodes first.
"""

import _ctypes
import ctypes
import re
import tempfile
from pathlib import Path

import numpy as np

from deepr_hw.export.rtl import c_decoder, c_encoder
from deepr_hw.files import write_text
from deepr_hw.ir import IntNet
from deepr_hw.ir.affine import as_float32

from .compile import LIBRARY_FLAGS, compile_cpp

HEADER = "firmware/deepr_encode.h"
DECODER = "firmware/deepr_decode.h"
"""In the project of a regression."""

_CONVERSION = re.compile(r"^( *)nnet::convert_data<(float|double), (\w+), (\d+)>\((\w+), ", re.MULTILINE)


def write_encoder(project_dir: Path, project: str, net: IntNet) -> None:
    """Add the headers to a project that hls4ml has written, and change its bridge.

    Raises ``RuntimeError`` for a bridge that isn't the one of the hls4ml that this is written for.
    """
    project_dir = Path(project_dir)
    write_text(project_dir / HEADER, c_encoder.cpp_header(net))
    if net.task == "regression":
        write_text(project_dir / DECODER, c_decoder.cpp_header(net))
    path = project_dir / f"{project}_bridge.cpp"
    include = f'#include "firmware/{project}.h"\n'
    before, found, after = path.read_text().partition(include)
    after, n_conversions = _CONVERSION.subn(
        r"\1\2 \5_natural[\4]; // what the firmware takes, exactly"
        "\n"
        r"\1deepr_input::encode(\5, \5_natural);"
        "\n"
        r"\1nnet::convert_data<\2, \3, \4>(\5_natural, ",
        after,
    )
    if not found or n_conversions != 2:
        raise RuntimeError(f"{path}: not the bridge of hls4ml 1.3, it converts its input {n_conversions} times")
    write_text(path, f'{before}{include}#include "{HEADER}"\n{after}')


def run_encoder(project_dir: Path, project: str, net: IntNet, values: np.ndarray) -> np.ndarray:
    """Codes (n, *in_shape) that the header of a project makes of ``values``, read back from the firmware's input type:
    float64, integers unless something is wrong.

    Raises ``RuntimeError`` when it doesn't compile.
    """
    project_dir, values = Path(project_dir).resolve(), np.ascontiguousarray(as_float32(values))
    inputs = np.empty(values.shape)
    source = f"""#include "firmware/{project}.h"
#include "{HEADER}"
extern "C" void encode(const float *values, double *inputs) {{
    static input_t input[deepr_input::n_in];
    deepr_input::encode(values, input);
    for (long i = 0; i < deepr_input::n_in; i++) {{
        inputs[i] = input[i].to_double();
    }}
}}
"""
    with tempfile.TemporaryDirectory(dir=project_dir, prefix=".build-") as folder:  # libraries are cached by path
        path = Path(folder) / "encode.so"
        compile_cpp(project_dir, source, path, LIBRARY_FLAGS)
        library = ctypes.CDLL(str(path))
        library.encode.argtypes, library.encode.restype = (ctypes.c_void_p, ctypes.c_void_p), None
        for sample, result in zip(values, inputs, strict=True):
            library.encode(sample.ctypes.data, result.ctypes.data)
        _ctypes.dlclose(library._handle)
    return np.ldexp(inputs, net.x_format.frac)
