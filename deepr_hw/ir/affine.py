"""The unit of a network's input and output: ``(x - offset) * factor`` in float32, per feature or one for all.

One subtraction, one multiplication, each rounded once to the nearest float32: no target can fuse or reorder them, so
all compute the same bits. A difference that is multiplied is no fused multiply-add.
"""

from dataclasses import dataclass

import numpy as np

from .fixed import Format, quantize

REACH = 2.0**100
"""Bound of offsets and factors. Far below the range of float32, so that no finite input gives NaN: a difference never
overflows, and a product that does saturates."""

_BLOCK = 1 << 20
"""Values encoded at once: bounds the memory, whatever the batch."""


@dataclass(frozen=True, eq=False)
class Affine:
    """``y = (x - offset) * factor`` in float32.

    offset : (n,) float32, or (1,) for all features alike
    factor : the same shape; 0 for a feature that says nothing

    Raises ``ValueError`` naming the member and the value.
    """

    offset: np.ndarray
    factor: np.ndarray

    def __post_init__(self) -> None:
        for name in ("offset", "factor"):
            array = np.asarray(getattr(self, name))
            if array.ndim != 1 or array.size == 0 or array.dtype.kind != "f":
                raise ValueError(f"{name}: expected a 1-D array of floats, got shape {array.shape} of {array.dtype}")
            bad = np.flatnonzero(~(np.abs(array) <= REACH))
            if bad.size:
                raise ValueError(f"{name}[{bad[0]}] = {array[bad[0]]}: must lie in -2**100 to 2**100")
            array = array.astype(np.float32)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.offset.size != self.factor.size:
            raise ValueError(f"offset has {self.offset.size} entries, factor {self.factor.size}")

    @property
    def size(self) -> int:
        """Features that have an entry of their own; 1 where one holds for all."""
        return self.offset.size

    @property
    def is_identity(self) -> bool:
        """Whether it leaves every float32 as it is."""
        return self.size == 1 and self.offset[0] == 0 and self.factor[0] == 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Affine):
            return NotImplemented
        return np.array_equal(self.offset, other.offset) and np.array_equal(self.factor, other.factor)

    def __hash__(self) -> int:
        return hash((self.offset.tobytes(), self.factor.tobytes()))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """``(x - offset) * factor``, float32, for ``x`` (n, ...) whose sample has ``size`` values (any, if that is 1).

        Raises ``ValueError`` for a sample of another size.
        """
        x = as_float32(x)
        flat = x.reshape(len(x), int(np.prod(x.shape[1:])))
        if self.size not in (1, flat.shape[1]):
            raise ValueError(f"samples have {flat.shape[1]} values, the unit is that of {self.size}")
        with np.errstate(over="ignore"):
            return ((flat - self.offset) * self.factor).reshape(x.shape)

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """A float32 ``x`` for which ``self(x)`` is ``y`` as nearly as float32 can tell; ``offset`` where ``factor`` is
        0. ``y`` (n, ...) as in a call."""
        flat = np.asarray(y, np.float64).reshape(len(y), -1)
        factor = self.factor.astype(np.float64)
        scaled = np.divide(flat, factor, out=np.zeros_like(flat), where=np.broadcast_to(factor != 0, flat.shape))
        return as_float32(scaled + self.offset).reshape(np.shape(y))


IDENTITY = Affine(np.zeros(1, np.float32), np.ones(1, np.float32))
"""Values are in natural units already."""


def encode(values: np.ndarray, unit: Affine, fmt: Format) -> np.ndarray:
    """Codes of ``values`` (n, ...): ``saturate(round_half_even(unit(values) * 2**frac))`` in the type of ``fmt``.

    Exact: the scaling by a power of two rounds nothing. Raises ``ValueError`` for NaN.
    """
    codes = np.empty(values.shape, fmt.dtype)
    block = max(1, _BLOCK // max(1, int(np.prod(values.shape[1:]))))
    for i in range(0, len(values), block):
        codes[i : i + block] = quantize(unit(values[i : i + block]), fmt)
    return codes


def as_float32(x: np.ndarray) -> np.ndarray:
    """``x`` as the nearest float32; what is too large, infinities too, becomes the largest: times a factor of 0 that is
    0, an infinity would be NaN."""
    x = np.asarray(x)
    if x.dtype.kind not in "fc" or x.dtype == np.float16:
        x = x.astype(np.float32)
    if x.dtype == np.float32 and not np.isinf(x).any():
        return x
    top = float(np.finfo(np.float32).max)
    return np.clip(x, -top, top).astype(np.float32)
