"""Fixed-point arithmetic: formats, rounding half to even, saturation. Integers only.

A code ``c`` in a format with ``frac`` fractional bits stands for the value ``c * 2**-frac``. Scales are powers of
two only, so a change of scale is a shift and every target (NumPy, ONNX, HLS C++, RTL) can do it exactly.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

MAX_FRAC = 31


@dataclass(frozen=True)
class Format:
    """Fixed-point format: ``bits`` wide, two's complement when ``signed``, value = code * 2**-``frac``.

    ``frac`` may be negative (a step larger than one). Raises ``ValueError`` for a width outside 1..32 (signed: 2..32)
    or a ``frac`` outside -31..31.
    """

    bits: int
    signed: bool
    frac: int

    def __post_init__(self) -> None:
        if not (1 + self.signed) <= self.bits <= 32:
            raise ValueError(
                f"bits = {self.bits}: a {'signed' if self.signed else 'unsigned'} format has "
                f"{1 + self.signed} to 32 bits"
            )
        if not -MAX_FRAC <= self.frac <= MAX_FRAC:
            raise ValueError(f"frac = {self.frac}: must lie in -{MAX_FRAC}..{MAX_FRAC}")

    @cached_property
    def lo(self) -> int:
        """Smallest code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @cached_property
    def hi(self) -> int:
        """Largest code."""
        return (1 << (self.bits - self.signed)) - 1

    @cached_property
    def dtype(self) -> np.dtype:
        """Narrowest NumPy integer type that holds every code."""
        width = next(w for w in (8, 16, 32) if w >= self.bits)
        return np.dtype(f"{'int' if self.signed else 'uint'}{width}")

    @cached_property
    def step(self) -> float:
        """Value of one code step, ``2**-frac`` (exact in binary floating point)."""
        return 2.0**-self.frac

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}.{self.frac}"


PIXEL = Format(bits=8, signed=False, frac=8)
"""Format of image data: uint8 codes, value = code / 256, hence exact."""


def saturate(codes: np.ndarray, fmt: Format) -> np.ndarray:
    """``clip(codes, fmt.lo, fmt.hi)`` in ``fmt.dtype``; any shape."""
    return np.clip(codes, fmt.lo, fmt.hi).astype(fmt.dtype)


def round_half_even_shift(acc: np.ndarray, shift: int) -> np.ndarray:
    """``acc * 2**-shift`` rounded to the nearest integer, ties to even; exact. Any shape, int64.

    With ``q = floor(acc / 2**shift)`` and ``lsb = q & 1`` the result is ``(acc + half - 1 + lsb) >> shift``: adding
    one less than a half rounds a tie down, adding ``lsb`` takes it up again exactly when ``q`` is odd.

        acc    -6 -5 -3 -2 -1  1  2  3  5  6      (shift = 2, so -6 and 6 are the ties 1.5, -2 and 2 the ties 0.5)
        result -2 -1 -1  0  0  0  0  1  1  2

    Source: IEEE 754-2019, 4.3.1 roundTiesToEven; the same as NumPy ``rint``, ONNX ``QuantizeLinear``, ``AP_RND_CONV``.
    Raises ``ValueError`` for a shift outside 0..62.
    """
    if not 0 <= shift <= 62:
        raise ValueError(f"shift = {shift}: must lie in 0..62")
    acc = np.asarray(acc, np.int64)
    if shift == 0:
        return acc
    lsb = (acc >> shift) & 1
    return (acc + ((1 << (shift - 1)) - 1) + lsb) >> shift


def requantize(acc: np.ndarray, shift: int, fmt: Format) -> np.ndarray:
    """``saturate(round_half_even(acc * 2**-shift), fmt)``: accumulators to the codes of the next layer; any shape."""
    return saturate(round_half_even_shift(acc, shift), fmt)


def quantize(values: np.ndarray, fmt: Format) -> np.ndarray:
    """Codes of real ``values``: nearest multiple of ``fmt.step``, ties to even, saturated; error at most half a step.

    Exact scaling in float64. Raises ``ValueError`` for NaN.
    """
    values = np.asarray(values, np.float64)
    if np.isnan(values).any():
        raise ValueError("values: contains NaN, which has no fixed-point code")
    return saturate(np.rint(np.ldexp(values, fmt.frac)), fmt)


def signed_bits(lo: int, hi: int) -> int:
    """Width of the smallest two's complement integer that holds every value in ``lo``..``hi``."""
    return 1 + max(int(hi).bit_length() if hi >= 0 else 0, (-int(lo) - 1).bit_length() if lo < 0 else 0)


def index_dtype(n: int) -> np.dtype:
    """Smallest unsigned type that indexes ``n`` things (0..n-1). Raises ``ValueError`` above 2**32."""
    for dtype in (np.uint8, np.uint16, np.uint32):
        if n - 1 <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise ValueError(f"{n} things: an index has at most 32 bits")
