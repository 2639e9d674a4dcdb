"""Scales for weights and activations: powers of two, found on real values, then frozen.

Training keeps float values; the forward pass sees ``saturate(rint(value * 2**frac))`` and the gradient goes straight
through (Bengio et al. 2013, arXiv 1308.3432): dE/dtheta is taken at the quantized weight.
"""

import numpy as np

from deepr_hw.ir.fixed import MAX_FRAC, Format, quantize

MAX_WEIGHT_FRAC = 16


class DivergenceError(ValueError):
    """Training left every bound; the text says how that was seen."""


def best_format(values: np.ndarray, bits: int, signed: bool, max_frac: int = MAX_FRAC) -> Format:
    """Format of ``bits`` whose rounding and saturation distort ``values`` least (mean squared error).

    Candidates go from the scale at which the largest value just fits to four bits finer. All zero: a step of
    ``2**-bits``. Raises ``DivergenceError`` when one is not finite.
    """
    max_frac = min(max_frac, MAX_FRAC)
    peak = float(np.max(np.abs(values), initial=0.0))
    if not np.isfinite(peak):
        raise DivergenceError("weights or activations are not finite")
    if peak == 0:
        return Format(bits, signed, min(bits, max_frac))
    hi = Format(bits, signed, 0).hi
    coarsest = int(np.floor(np.log2(hi / peak)))
    errors = {}
    for frac in range(coarsest, coarsest + 5):
        fmt = Format(bits, signed, min(max(frac, -MAX_FRAC), max_frac))
        errors[fmt] = float(np.mean((quantize(values, fmt) * fmt.step - values) ** 2))
    return min(errors, key=lambda fmt: errors[fmt])


def weight_format(weight: np.ndarray, bits: int) -> Format:
    """Format of a layer's weights. No room is kept for growth: a code that saturates keeps its gradient.

    Finer than ``2**-MAX_WEIGHT_FRAC`` no layer needs to be: one whose weights have all but vanished gets codes 0.
    """
    return best_format(np.asarray(weight, np.float64), bits, signed=True, max_frac=MAX_WEIGHT_FRAC)


def weight_codes(weight: np.ndarray, fmt: Format) -> np.ndarray:
    """(K,) int8 codes of float32 ``weight``, nearest, ties to even, saturated. The kernel computes the same bits."""
    return quantize(weight, fmt).astype(np.int8)


def activation_format(values: np.ndarray, bits: int, acc_frac: int) -> Format:
    """Unsigned format of a hidden level for its float activations ``values`` (after ReLU).

    ``acc_frac`` is the accumulators' number of fractional bits: a finer activation would need a left shift.
    """
    return best_format(np.asarray(values, np.float64), bits, signed=False, max_frac=acc_frac)
