"""A sparse linear layer with requantization: one matrix, perhaps biases."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from .fixed import Format, signed_bits
from .layer import Layer, register
from .matrix import SparseMatrix, frozen_array


@register
@dataclass(frozen=True, eq=False)
class SparseLinear:
    """``n_out`` outputs from ``n_in`` inputs through the connections of one sparse matrix.

        acc[o] = bias[o] + sum over k with out_idx[k] = o of code[k] * x[in_idx[k]]
        y[o]   = saturate(round_half_even(acc[o] * 2**-shift), y_format),   shift = x_frac + w_frac - y_frac

    An unsigned ``y_format`` makes the saturation at 0 the ReLU. ``y_format = None`` gives the raw accumulators.
    An output without a connection is legal: ``acc = bias``.

    matrix   : the connections
    bias     : (n_out,) int32, units of 2**-(x_frac + w_frac), or None
    x_format : format of the input codes, at most 8 bits
    y_format : format of the output codes, at most 8 bits, or None for raw int32 accumulators

    Raises ``ValueError`` naming the field and the offending value.
    """

    kind: ClassVar[str] = "sparse_linear"

    matrix: SparseMatrix
    bias: np.ndarray | None
    x_format: Format
    y_format: Format | None

    def __post_init__(self) -> None:
        for name in ("x_format", "y_format"):
            fmt = getattr(self, name)
            if fmt is not None and fmt.bits > 8:
                raise ValueError(f"{name} = {fmt}: activations have at most 8 bits")
        if not 0 <= self.shift <= 31:
            raise ValueError(f"shift = {self.shift} (x_frac + w_frac - y_frac): must lie in 0..31")
        if self.bias is not None:
            bias = frozen_array("bias", self.bias, np.int32, -(1 << 31), (1 << 31) - 1)
            if bias.size != self.n_out:
                raise ValueError(f"bias: has {bias.size} values for n_out = {self.n_out}")
            object.__setattr__(self, "bias", bias)
        if self.acc_bits > 32:
            raise ValueError(f"acc_bits = {self.acc_bits}: the worst-case accumulator does not fit 32 bits")

    @classmethod
    def from_parts(
        cls,
        matrices: Mapping[str, SparseMatrix],
        arrays: Mapping[str, np.ndarray],
        settings: Mapping[str, Any],
        x_format: Format,
        y_format: Format | None,
    ) -> Self:
        """See ``Layer.from_parts``."""
        if set(matrices) != {"weight"} or not set(arrays) <= {"bias"} or settings:
            raise ValueError(
                f"a {cls.kind} has the matrix weight and perhaps the array bias, not "
                f"{sorted((*matrices, *arrays, *settings))}"
            )
        return cls(matrices["weight"], arrays.get("bias"), x_format, y_format)

    @property
    def n_in(self) -> int:
        """Inputs."""
        return self.matrix.n_in

    @property
    def n_out(self) -> int:
        """Outputs."""
        return self.matrix.n_out

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one sample's input codes."""
        return (self.n_in,)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one sample's output."""
        return (self.n_out,)

    @property
    def matrices(self) -> Mapping[str, SparseMatrix]:
        """The one matrix."""
        return {"weight": self.matrix}

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The biases, if any."""
        return {} if self.bias is None else {"bias": self.bias}

    @property
    def settings(self) -> Mapping[str, Any]:
        """Nothing: matrix, biases and formats are all there is."""
        return {}

    @property
    def acc_frac(self) -> int:
        """Fractional bits of accumulator and bias, ``x_frac + w_frac``."""
        return self.x_format.frac + self.matrix.w_format.frac

    @property
    def y_frac(self) -> int:
        """Fractional bits of the output."""
        return self.acc_frac if self.y_format is None else self.y_format.frac

    @property
    def shift(self) -> int:
        """Right shift from accumulator to output scale; 0 for raw accumulators."""
        return self.acc_frac - self.y_frac

    @cached_property
    def acc_range(self) -> tuple[int, int]:
        """Smallest and largest value of any partial sum, see ``SparseMatrix.acc_range``."""
        return self.matrix.acc_range(self.x_format, self.bias)

    @cached_property
    def acc_bits(self) -> int:
        """Two's complement width that no partial sum overflows; at most 32."""
        return signed_bits(*self.acc_range)

    @property
    def macs_per_sample(self) -> int:
        """One for each connection."""
        return self.matrix.n_connections


def sparse_linear(
    n_in: int,
    n_out: int,
    in_idx: np.ndarray,
    out_idx: np.ndarray,
    code: np.ndarray,
    bias: np.ndarray | None,
    x_format: Format,
    w_format: Format,
    y_format: Format | None,
) -> SparseLinear:
    """``SparseLinear`` with its matrix made on the way; arguments as there and in ``SparseMatrix``."""
    return SparseLinear(SparseMatrix(n_in, n_out, in_idx, out_idx, code, w_format), bias, x_format, y_format)


def linear_layers(layers: Iterable[Layer], target: str) -> tuple[SparseLinear, ...]:
    """``layers``, all of them sparse linear. Raises ``ValueError`` naming the first that ``target`` has no form for."""
    linear = []
    for i, layer in enumerate(layers):
        if not isinstance(layer, SparseLinear):
            raise ValueError(f"layer {i}: {target} has no form for a layer of kind {layer.kind}")
        linear.append(layer)
    return tuple(linear)
