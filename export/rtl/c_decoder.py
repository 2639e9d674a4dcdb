"""A regression's logits to the user's unit, in C: for the host of a board (C99) and of hls4ml's firmware (C++11).

The same bits as ``IntNet.decode``, for the reasons that ``c_encoder`` gives.
"""

from pathlib import Path

import numpy as np

from deepr_hw.ir import IntNet
from deepr_hw.ir.answer import ANSWER

from .c_encoder import FLAGS, GUARD, call_per_sample, number, tables


def board_files(net: IntNet) -> dict[str, str]:
    """The texts of ``deepr_decode.h`` and ``deepr_decode.c``; of a classification none."""
    if net.task != "regression":
        return {}
    header = f"""/* Output of the network: logits become values in the unit of the training data. */
#ifndef DEEPR_DECODE_H
#define DEEPR_DECODE_H

#include <stdint.h>

#define DEEPR_N_OUT {net.n_out}

#ifdef __cplusplus
extern "C" {{
#endif

/* values[i] = {ANSWER}
 * for all i < DEEPR_N_OUT; frac = {net.logit_frac}. */
void deepr_decode(const int32_t *logits, float *values);

#ifdef __cplusplus
}}
#endif

#endif
"""
    source = f"""#include "deepr_decode.h"

#include <float.h>

{_definition(net, "DEEPR_N_OUT")}
void deepr_decode(const int32_t *logits, float *values) {{
    long i;
    for (i = 0; i < DEEPR_N_OUT; i++) {{
        stored_float rounded = (float)logits[i];
        values[i] = value_of(rounded * {number(2.0**-net.logit_frac)}, i); /* exact */
    }}
}}
"""
    return {"deepr_decode.h": header, "deepr_decode.c": source}


def cpp_header(net: IntNet) -> str:
    """``deepr_decode.h`` of the hls4ml project of a regression: ``deepr_output::decode(logits, values)``."""
    return f"""// Output of the network: the firmware's outputs become values in the unit of the training data.
// For the host; the firmware itself doesn't use it.
//
//     value = (output - offset) * factor, float32
#ifndef DEEPR_DECODE_H_
#define DEEPR_DECODE_H_

#include <float.h>

namespace deepr_output {{

static const long n_out = {net.n_out};

{_definition(net, "n_out")}
// n_out outputs, result_t by to_double(), to n_out values
static inline void decode(const double *outputs, float *values) {{
    for (long i = 0; i < n_out; i++) {{
        values[i] = value_of((float)outputs[i], i);
    }}
}}

}} // namespace deepr_output

#endif
"""


def _definition(net: IntNet, n_out: str) -> str:
    """Tables and the function ``value_of``, C99 and C++11 alike."""
    unit = net.output_map
    offset, factor = ("offset", "factor") if unit.size == 1 else ("offset[i]", "factor[i]")
    return (
        GUARD
        + f"""{tables(unit, n_out)}
static float value_of(float natural, long i) {{
    stored_float difference = natural - {offset};
    stored_float value = difference * {factor};
    (void)i;
    return value;
}}
"""
    )


def decode(net: IntNet, logits: np.ndarray, workdir: Path, flags: tuple[str, ...] = FLAGS) -> np.ndarray:
    """Answers (n, n_out) float32 that the board's C makes of ``logits`` (n, n_out), compiled with ``cc`` and ``flags``.

    Raises ``RuntimeError`` when there is no C compiler or it refuses the file.
    """
    values = np.empty(logits.shape, np.float32)
    call_per_sample(board_files(net), "deepr_decode", logits.astype(np.int32), values, workdir, flags)
    return values
