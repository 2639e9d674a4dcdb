"""A sparse matrix of 8-bit weights: K of ``n_in * n_out`` positions, and what each weighs.

It is what a budget counts. A layer owns one or more; what is said of connections is said of matrices and never asks for
the kind of a layer.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .fixed import Format, index_dtype

MOST_ROWS = 1 << 32
"""Rows or columns of a matrix, at most: an index has 32 bits."""


def frozen_array(name: str, values: object, dtype: np.dtype | type, lo: int, hi: int) -> np.ndarray:
    """Read-only 1-D copy of ``values`` as ``dtype``. Raises ``ValueError`` naming the entry outside ``lo``..``hi``."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name}: expected a 1-D integer array, got shape {array.shape} of {array.dtype}")
    bad = np.flatnonzero((array < lo) | (array > hi))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] = {array[bad[0]]}: must lie in {lo}..{hi}")
    array = array.astype(dtype)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """``K`` connections from ``n_in`` inputs to ``n_out`` outputs.

    in_idx   : (K,) index of the input, smallest unsigned type; sorted by (out_idx, in_idx), positions distinct
    out_idx  : (K,) index of the output, smallest unsigned type
    code     : (K,) int8 codes within ``w_format`` (signed, 2 to 8 bits); a code of 0 still is a connection

    Raises ``ValueError`` naming the field and the offending value.
    """

    n_in: int
    n_out: int
    in_idx: np.ndarray
    out_idx: np.ndarray
    code: np.ndarray
    w_format: Format

    def __post_init__(self) -> None:
        for name in ("n_in", "n_out"):
            if not 1 <= getattr(self, name) <= MOST_ROWS:
                raise ValueError(f"{name} = {getattr(self, name)}: must lie in 1..2**32")
        if not (self.w_format.signed and 2 <= self.w_format.bits <= 8):
            raise ValueError(f"w_format = {self.w_format}: weights are signed, 2 to 8 bits")
        sizes = {name: np.size(getattr(self, name)) for name in ("in_idx", "out_idx", "code")}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"in_idx, out_idx and code differ in length: {sizes}")
        w, put = self.w_format, object.__setattr__
        put(self, "in_idx", frozen_array("in_idx", self.in_idx, index_dtype(self.n_in), 0, self.n_in - 1))
        put(self, "out_idx", frozen_array("out_idx", self.out_idx, index_dtype(self.n_out), 0, self.n_out - 1))
        put(self, "code", frozen_array("code", self.code, np.int8, w.lo, w.hi))
        self._check_order()

    def _check_order(self) -> None:
        position = self.out_idx.astype(np.uint64) * np.uint64(self.n_in) + self.in_idx
        bad = np.flatnonzero(position[1:] <= position[:-1])
        if bad.size:
            k = int(bad[0]) + 1
            what = "repeats the connection before it" if position[k] == position[k - 1] else "is out of order"
            raise ValueError(
                f"connection {k} (out {self.out_idx[k]}, in {self.in_idx[k]}) {what}: connections are "
                "distinct and sorted by (out_idx, in_idx)"
            )

    @property
    def n_connections(self) -> int:
        """Slots held, the K of the budget; includes connections whose code is 0."""
        return self.code.size

    @property
    def n_positions(self) -> int:
        """Potential connections, the dense size ``n_in * n_out``."""
        return self.n_in * self.n_out

    @cached_property
    def n_nonzero(self) -> int:
        """Connections whose weight code is not 0."""
        return int(np.count_nonzero(self.code))

    @cached_property
    def fan_in(self) -> np.ndarray:
        """(n_out,) int64, connections per output."""
        return np.bincount(self.out_idx, minlength=self.n_out)

    def acc_range(self, x_format: Format, bias: np.ndarray | None = None) -> tuple[int, int]:
        """Smallest and largest value that any partial sum of an output can take, in any order of summation, ``bias``
        (n_out,) first or last, for inputs in ``x_format``.

        From the actual weights; as 0 is a legal input code every partial sum lies between the sum of the smallest and
        the sum of the largest products.
        """
        code = self.code.astype(np.int64)
        ends = np.stack([code * x_format.lo, code * x_format.hi])
        first = np.zeros(1, np.int64) if bias is None else bias.astype(np.int64)
        low = np.bincount(self.out_idx, ends.min(axis=0), self.n_out) + np.minimum(first, 0)
        high = np.bincount(self.out_idx, ends.max(axis=0), self.n_out) + np.maximum(first, 0)
        return int(low.min()), int(high.max())
