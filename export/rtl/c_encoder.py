"""Values in the user's unit to input codes, in C: for the host of a board (C99) and of hls4ml's firmware (C++11).

The same bits as ``IntNet.encode`` on every compiler that rounds float to nearest: each step is stored as float32, only
exact steps could be fused, and rounding half to even is spelt out, so that neither a rounding mode nor a library takes
part.
"""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepr_hw.files import make_folder, write_text
from deepr_hw.ir import IntNet
from deepr_hw.ir.affine import Affine, as_float32

FORMULA = "saturate(round_half_even((value - offset) * factor * 2**frac)), float32"
GUARD = """#ifdef __FAST_MATH__
#error "-ffast-math may change the order of float operations, hence the bits"
#endif

#if FLT_EVAL_METHOD == 0
typedef float stored_float;
#else
typedef volatile float stored_float; /* registers are wider than float: memory isn't */
#endif

"""
"""C that makes each float operation round to float32, once. Needs ``float.h``."""

FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-pedantic")


def describe_input(net: IntNet) -> dict[str, object]:
    """What a host must know to make codes of values, as JSON: exact numbers, one per feature or one for all."""
    return {
        "format": str(net.x_format),
        "bits": net.x_format.bits,
        "frac": net.x_format.frac,
        "code": FORMULA,
        "offset": net.input_map.offset.astype(float).tolist(),
        "factor": net.input_map.factor.astype(float).tolist(),
    }


def board_files(net: IntNet) -> dict[str, str]:
    """The texts of ``deepr_encode.h`` and ``deepr_encode.c``."""
    code, top = net.x_format.dtype.name + "_t", net.x_format
    header = f"""/* Input of the network: values in the unit that it was trained on become the bytes of a sample. */
#ifndef DEEPR_ENCODE_H
#define DEEPR_ENCODE_H

#include <stdint.h>

#define DEEPR_N_IN {net.n_in}

#ifdef __cplusplus
extern "C" {{
#endif

/* codes[i] = {FORMULA}
 * for all i < DEEPR_N_IN; frac = {top.frac}, codes {top.lo}..{top.hi}. NaN has no code: it becomes {top.lo}. */
void deepr_encode(const float *values, {code} *codes);

#ifdef __cplusplus
}}
#endif

#endif
"""
    source = f"""#include "deepr_encode.h"

#include <float.h>

{_definitions(net, "DEEPR_N_IN")}
void deepr_encode(const float *values, {code} *codes) {{
    long i;
    for (i = 0; i < DEEPR_N_IN; i++) {{
        codes[i] = ({code})code_of(values[i], i);
    }}
}}
"""
    return {"deepr_encode.h": header, "deepr_encode.c": source}


def cpp_header(net: IntNet) -> str:
    """``deepr_encode.h`` of an hls4ml project: ``deepr_input::encode(values, input)`` in a header of its own."""
    fmt = net.x_format
    return f"""// Input of the network: values in the unit that it was trained on become the firmware's input.
// For the host; the firmware itself doesn't use it.
//
//     code = {FORMULA}
//     input = code * 2**-frac
//
// with frac = {fmt.frac} and codes {fmt.lo}..{fmt.hi}. NaN has no code: it becomes {fmt.lo}.
#ifndef DEEPR_ENCODE_H_
#define DEEPR_ENCODE_H_

#include <float.h>

namespace deepr_input {{

static const long n_in = {net.n_in};

{_definitions(net, "n_in")}
static inline float to_float32(float value) {{ return value; }}

static inline float to_float32(double value) {{
    return value > FLT_MAX ? FLT_MAX : value < -FLT_MAX ? -FLT_MAX : (float)value;
}}

// n_in values (float or double) to n_in inputs of any type that holds the codes: input_t, float, double
template <class Value, class Input> void encode(const Value *values, Input *input) {{
    for (long i = 0; i < n_in; i++) {{
        input[i] = Input(code_of(to_float32(values[i]), i) * {number(fmt.step)});
    }}
}}

}} // namespace deepr_input

#endif
"""


def _definitions(net: IntNet, n_in: str) -> str:
    """Tables and the function ``code_of``, C99 and C++11 alike."""
    fmt, unit = net.x_format, net.input_map
    offset, factor = ("offset", "factor") if unit.size == 1 else ("offset[i]", "factor[i]")
    unused = "    (void)i;\n" if unit.size == 1 else ""
    return (
        GUARD
        + f"""{tables(unit, n_in)}
static int code_of(float value, long i) {{
    float finite = value > FLT_MAX ? FLT_MAX : value < -FLT_MAX ? -FLT_MAX : value; /* infinity * 0 is no number */
    stored_float difference = finite - {offset};
    stored_float natural = difference * {factor};
    stored_float steps = natural * {number(2.0**fmt.frac)}; /* exact */
    stored_float rest;
    int code;
{unused}    if (!(steps > {number(fmt.lo)})) {{
        return {fmt.lo};
    }}
    if (steps >= {number(fmt.hi)}) {{
        return {fmt.hi};
    }}
    code = (int)steps; /* towards 0 */
    rest = steps - (float)code; /* exact */
    if (rest > 0.5f || (rest == 0.5f && (code & 1))) {{
        code++;
    }} else if (rest < -0.5f || (rest == -0.5f && (code & 1))) {{
        code--;
    }}
    return code;
}}
"""
    )


def tables(unit: Affine, n_in: str) -> str:
    """``offset`` and ``factor`` of ``unit`` as constants: arrays of ``n_in``, or one number each."""
    text = ""
    for name, values in (("offset", unit.offset), ("factor", unit.factor)):
        numbers = [number(value) for value in values]
        if unit.size == 1:
            text += f"static const float {name} = {numbers[0]};\n"
        else:
            lines = [", ".join(numbers[i : i + 6]) for i in range(0, len(numbers), 6)]
            text += f"static const float {name}[{n_in}] = {{\n    " + ",\n    ".join(lines) + "};\n"
    return text


def number(value: float) -> str:
    """``value`` as a float literal: 9 digits tell all float32 apart."""
    text = f"{float(value):.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def encode(net: IntNet, values: np.ndarray, workdir: Path, flags: tuple[str, ...] = FLAGS) -> np.ndarray:
    """Encoder: codes that the board's C makes of ``values`` (n, *in_shape), compiled with ``cc`` and ``flags``.

    Raises ``RuntimeError`` when there is no C compiler or it refuses the file.
    """
    values = as_float32(values)
    codes = np.empty(values.shape, net.x_format.dtype)
    call_per_sample(board_files(net), "deepr_encode", values, codes, workdir, flags)
    return codes


def call_per_sample(
    files: Mapping[str, str], name: str, given: np.ndarray, results: np.ndarray, workdir: Path, flags: tuple[str, ...]
) -> None:
    """Compile ``name``.c of ``files`` and let its function ``name(input, result)`` fill ``results`` (n, ...) from
    ``given`` (n, ...), sample by sample. Raises ``RuntimeError`` as ``compiled``."""
    given = np.ascontiguousarray(given)
    with tempfile.TemporaryDirectory(dir=make_folder(workdir)) as folder:  # the loader caches libraries by path
        for file, text in files.items():
            write_text(Path(folder) / file, text)
        library = compiled(Path(folder) / f"{name}.c", flags)
    function = getattr(library, name)
    function.argtypes, function.restype = (ctypes.c_void_p, ctypes.c_void_p), None
    for sample, result in zip(given, results, strict=True):
        function(sample.ctypes.data, result.ctypes.data)


def missing_program(options: Mapping[str, object]) -> str | None:
    """Why nothing can be compiled here, or None."""
    return None if _compiler() else "no C compiler (cc, gcc, clang) is on PATH: the C encoder is compiled with it"


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def compiled(source: Path, flags: tuple[str, ...]) -> ctypes.CDLL:
    """The library of ``source``. Raises ``RuntimeError`` when there is no C compiler or it refuses the file."""
    if why := missing_program({}):
        raise RuntimeError(why)
    library = source.with_suffix(".so")
    command = [str(_compiler()), *flags, "-shared", "-fPIC", "-o", str(library), str(source)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{source}: does not compile\n{done.stderr[:2000]}")
    return ctypes.CDLL(str(library))
