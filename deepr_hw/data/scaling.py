"""The unit of a network's input, found on its training samples: which values become which 8-bit codes; and that of
a regression's output.

``auto``      images (bytes, or reals in 0..1, with two dimensions or more) as ``minmax``, everything else ``standard``
``standard``  mean 0 and standard deviation 1 in codes of 1 / 32: saturates at 4 standard deviations
``minmax``    the smallest value is code 0, the largest code 255
``none``      the values as they are, by the power-of-two scale that just holds them

Each feature has a unit of its own; the pixels of an image share one, which leaves bytes as they are. Training on one
scale is what makes a learning rate mean the same for data of any unit.
"""

import numpy as np

from deepr_hw.ir.affine import IDENTITY, REACH, Affine
from deepr_hw.ir.fixed import PIXEL, Format

SCALES = ("auto", "standard", "minmax", "none")
STANDARD = Format(bits=8, signed=True, frac=5)
"""Format of standardized inputs."""
BYTES = Affine(np.zeros(1, np.float32), np.full(1, PIXEL.step, np.float32))
"""Unit of bytes that are their own codes in ``PIXEL``."""
_BLOCK = 1 << 24
"""Values looked at together."""


def fit_input(x: np.ndarray, sample_shape: tuple[int, ...], scale: str = "auto") -> tuple[Affine, Format]:
    """Unit and format of the input for training samples ``x`` (n, n_in), which had ``sample_shape`` each.

    A feature that is the same in all samples says nothing: it gets factor 0, hence one code whatever comes.

    Values beyond 2**100 count as that. Raises ``ValueError`` for an unknown scale.
    """
    if scale not in SCALES:
        raise ValueError(f"data.scale = {scale!r}: expected one of {', '.join(SCALES)}")
    low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
    low, high = np.clip(low, -REACH, REACH), np.clip(high, -REACH, REACH)
    image = is_image(x, sample_shape, low.min(), high.max())
    if scale == "none":
        return (BYTES if x.dtype == np.uint8 else IDENTITY), _holding(x.dtype, low.min(), high.max())
    if scale == "minmax" or (scale == "auto" and image):
        if image:
            low, high = np.zeros(1), high.max(keepdims=True)
            nominal = 255.0 if x.dtype == np.uint8 else 1.0
            high = np.where(high >= nominal / 2, nominal, high)
        return _affine(low, (PIXEL.hi * PIXEL.step) / _positive(high - low), high > low), PIXEL
    mean, deviation = _moments(x)
    if image:
        mean, deviation = _pooled(mean, deviation)
    return _affine(mean, 1 / _positive(deviation), (high > low).any(keepdims=True) if image else high > low), STANDARD


def fit_output(y: np.ndarray) -> Affine:
    """Unit of a regression's outputs for training targets ``y`` (n, n_out): it brings those of mean 0 and standard
    deviation 1, which the network learns, to the user's."""
    mean, deviation = _moments(y)
    deviation = _positive(np.maximum(deviation, np.abs(mean) * 2.0**-24))  # targets that float32 can't tell apart
    return Affine(np.clip(-mean / deviation, -REACH, REACH).astype(np.float32), deviation.astype(np.float32))


def is_image(x: np.ndarray, sample_shape: tuple[int, ...], low: float, high: float) -> bool:
    """Whether samples look like images: at least two dimensions, of bytes or of reals in 0..1."""
    return len(sample_shape) >= 2 and (x.dtype == np.uint8 or (x.dtype.kind == "f" and low >= 0 and high <= 1))


def _affine(offset: np.ndarray, factor: np.ndarray, says_something: np.ndarray) -> Affine:
    factor = np.where(says_something, np.minimum(factor, REACH), 0)
    return Affine(offset.astype(np.float32), factor.astype(np.float32))


def _positive(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 1 / REACH)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n_in,) float64 mean and standard deviation of each feature."""
    rows = max(1, _BLOCK // x.shape[1])
    blocks = [slice(i, i + rows) for i in range(0, len(x), rows)]

    def part(block: slice) -> np.ndarray:
        return np.clip(x[block].astype(np.float64), -REACH, REACH)

    mean = sum(part(block).sum(axis=0) for block in blocks) / len(x)
    square = sum(((part(block) - mean) ** 2).sum(axis=0) for block in blocks) / len(x)
    return mean, np.sqrt(square)


def _pooled(mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(1,) mean and standard deviation of all features together."""
    whole = mean.mean(keepdims=True)
    return whole, np.sqrt((deviation**2 + (mean - whole) ** 2).mean(keepdims=True))


def _holding(dtype: np.dtype, low: float, high: float) -> Format:
    """The 8-bit format whose codes just hold ``low``..``high``; bytes and reals in 0..1 as ``PIXEL``."""
    if dtype == np.uint8 or (low >= 0 and high <= 1):
        return PIXEL
    signed = bool(low < 0)
    mantissa, exponent = np.frexp(max(-low, 0.0))  # the lowest code is a power of two, the highest one below
    exponents = [int(np.frexp(high)[1])] if high > 0 else []
    exponents += [int(exponent) - int(mantissa == 0.5)] if signed else []
    return Format(8, signed, max(-31, min(31, 8 - signed - max(exponents))))
