"""The frozen integer network that training produces and every target consumes: ``SparseLinear``, ``IntNet``.

Everything is validated at construction, so whoever holds an ``IntNet`` may rely on it. A layer is one member of the
tagged union ``Layer``; outside a layer only its ``kind``, shapes, formats and counts may be assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from .affine import IDENTITY, Affine, encode
from .fixed import Format, index_dtype, signed_bits
from .tasks import TASKS


def _frozen_array(name: str, values: object, dtype: np.dtype | type, lo: int, hi: int) -> np.ndarray:
    """Read-only 1-D copy of ``values`` as ``dtype``, every value checked to lie in ``lo``..``hi``."""
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
class SparseLinear:
    """``K`` connections from ``n_in`` inputs to ``n_out`` outputs.

        acc[o] = bias[o] + sum over k with out_idx[k] = o of weight[k] * x[in_idx[k]]
        y[o]   = saturate(round_half_even(acc[o] * 2**-shift), y_format),   shift = x_frac + w_frac - y_frac

    An unsigned ``y_format`` makes the saturation at 0 the ReLU. ``y_format = None`` gives the raw accumulators.
    An output without a connection is legal: ``acc = bias``.

    in_idx   : (K,) index of the input, smallest unsigned type; sorted by (out_idx, in_idx), positions distinct
    out_idx  : (K,) index of the output, smallest unsigned type
    weight   : (K,) int8 codes within ``w_format`` (signed, 2 to 8 bits); a code of 0 still is a connection
    bias     : (n_out,) int32, units of 2**-(x_frac + w_frac), or None
    x_format : format of the input codes, at most 8 bits
    y_format : format of the output codes, at most 8 bits, or None for raw int32 accumulators

    Raises ``ValueError`` naming the field and the offending value.
    """

    kind: ClassVar[str] = "sparse_linear"

    n_in: int
    n_out: int
    in_idx: np.ndarray
    out_idx: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    x_format: Format
    w_format: Format
    y_format: Format | None

    def __post_init__(self) -> None:
        for name in ("n_in", "n_out"):
            if not 1 <= getattr(self, name) <= 1 << 32:
                raise ValueError(f"{name} = {getattr(self, name)}: must lie in 1..2**32")
        self._check_formats()
        sizes = {name: np.size(getattr(self, name)) for name in ("in_idx", "out_idx", "weight")}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"in_idx, out_idx and weight differ in length: {sizes}")
        w, put = self.w_format, object.__setattr__
        put(self, "in_idx", _frozen_array("in_idx", self.in_idx, index_dtype(self.n_in), 0, self.n_in - 1))
        put(self, "out_idx", _frozen_array("out_idx", self.out_idx, index_dtype(self.n_out), 0, self.n_out - 1))
        put(self, "weight", _frozen_array("weight", self.weight, np.int8, w.lo, w.hi))
        if self.bias is not None:
            bias = _frozen_array("bias", self.bias, np.int32, -(1 << 31), (1 << 31) - 1)
            if bias.size != self.n_out:
                raise ValueError(f"bias: has {bias.size} values for n_out = {self.n_out}")
            put(self, "bias", bias)
        self._check_order()
        if self.acc_bits > 32:
            raise ValueError(f"acc_bits = {self.acc_bits}: the worst-case accumulator does not fit 32 bits")

    def _check_formats(self) -> None:
        if not (self.w_format.signed and 2 <= self.w_format.bits <= 8):
            raise ValueError(f"w_format = {self.w_format}: weights are signed, 2 to 8 bits")
        for name in ("x_format", "y_format"):
            fmt = getattr(self, name)
            if fmt is not None and fmt.bits > 8:
                raise ValueError(f"{name} = {fmt}: activations have at most 8 bits")
        if not 0 <= self.shift <= 31:
            raise ValueError(f"shift = {self.shift} (x_frac + w_frac - y_frac): must lie in 0..31")

    def _check_order(self) -> None:
        position = self.out_idx.astype(np.uint64) * np.uint64(self.n_in) + self.in_idx
        bad = np.flatnonzero(position[1:] <= position[:-1])
        if bad.size:
            k = int(bad[0]) + 1
            what = "repeats the connection before it" if position[k] == position[k - 1] else "is out of order"
            raise ValueError(f"connection {k} (out {self.out_idx[k]}, in {self.in_idx[k]}) {what}: connections are "
                             "distinct and sorted by (out_idx, in_idx)")

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one sample's input codes."""
        return (self.n_in,)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one sample's output."""
        return (self.n_out,)

    @property
    def n_connections(self) -> int:
        """Slots held, the K of the budget; includes connections whose code is 0."""
        return self.weight.size

    @property
    def n_positions(self) -> int:
        """Potential connections, the dense size ``n_in * n_out``."""
        return self.n_in * self.n_out

    @cached_property
    def n_nonzero(self) -> int:
        """Connections whose weight code is not 0."""
        return int(np.count_nonzero(self.weight))

    @property
    def acc_frac(self) -> int:
        """Fractional bits of accumulator and bias, ``x_frac + w_frac``."""
        return self.x_format.frac + self.w_format.frac

    @property
    def shift(self) -> int:
        """Right shift from accumulator to output scale; 0 for raw accumulators."""
        return 0 if self.y_format is None else self.acc_frac - self.y_format.frac

    @cached_property
    def fan_in(self) -> np.ndarray:
        """(n_out,) int64, connections per output."""
        return np.bincount(self.out_idx, minlength=self.n_out)

    @cached_property
    def acc_range(self) -> tuple[int, int]:
        """Smallest and largest value that any partial sum can take, in any order of summation, bias first or last.

        From the actual weights and the range of ``x_format``; as 0 is a legal input code every partial sum lies
        between the sum of the smallest and the sum of the largest products.
        """
        weight = self.weight.astype(np.int64)
        ends = np.stack([weight * self.x_format.lo, weight * self.x_format.hi])
        bias = np.zeros(1, np.int64) if self.bias is None else self.bias.astype(np.int64)
        low = np.bincount(self.out_idx, ends.min(axis=0), self.n_out) + np.minimum(bias, 0)
        high = np.bincount(self.out_idx, ends.max(axis=0), self.n_out) + np.maximum(bias, 0)
        return int(low.min()), int(high.max())

    @cached_property
    def acc_bits(self) -> int:
        """Two's complement width that no partial sum overflows; at most 32."""
        return signed_bits(*self.acc_range)


Layer = SparseLinear
"""Tagged union of the layers; ``kind`` is the tag. Recurrent and convolutional layers join it here."""

LAYER_KINDS: dict[str, type[Layer]] = {SparseLinear.kind: SparseLinear}


@dataclass(frozen=True)
class Budget:
    """The strict bound that the network was trained under: a partition of the potential connections into groups.

    kind   : name of the partition, e.g. ``global``, ``per_layer``, ``lanes``
    limits : connections allowed in each group; their sum is the K of the network
    """

    kind: str
    limits: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.limits or min(self.limits) < 0:
            raise ValueError(f"budget limits = {self.limits}: expected at least one, none negative")

    @property
    def n_connections(self) -> int:
        """K, the sum over the groups."""
        return sum(self.limits)


@dataclass(frozen=True, eq=False)
class IntNet:
    """A frozen integer network: layers in the order of evaluation, ending in raw int32 logits.

    layers       : each layer's ``y_format`` and ``out_shape`` are the next one's ``x_format`` and ``in_shape``
    budget       : the bound it holds; ``budget.n_connections >= n_connections``
    class_labels : a name per logit, or empty; of a regression a name per output
    provenance   : free text by key: who made it, from which data, with which versions
    input_map    : from the user's values to natural units, those of ``code * 2**-frac``; see ``encode``
    task         : ``classification``: the largest logit is the class; ``regression``: the logits are the answer
    output_map   : of a regression, from natural units of the logits to the user's; see ``decode``

    Raises ``ValueError`` naming the layer and the mismatch.
    """

    layers: tuple[Layer, ...]
    budget: Budget
    class_labels: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    input_map: Affine = IDENTITY
    task: str = "classification"
    output_map: Affine = IDENTITY

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers: a network has at least one")
        for i, (layer, after) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if layer.out_shape != after.in_shape or layer.y_format != after.x_format:
                raise ValueError(f"layer {i} gives {layer.out_shape} of {layer.y_format}, "
                                 f"layer {i + 1} takes {after.in_shape} of {after.x_format}")
        if self.layers[-1].y_format is not None:
            raise ValueError(f"layer {len(self.layers) - 1}: the last layer gives raw logits, so y_format = None")
        if self.n_connections > self.budget.n_connections:
            raise ValueError(f"n_connections = {self.n_connections} exceeds the budget of {self.budget.n_connections}")
        if self.class_labels and len(self.class_labels) != self.n_out:
            raise ValueError(f"class_labels: {len(self.class_labels)} names for {self.n_out} logits")
        if self.task not in TASKS:
            raise ValueError(f"task = {self.task!r}: expected one of {', '.join(TASKS)}")
        for name, unit, n in (("input_map", self.input_map, self.n_in), ("output_map", self.output_map, self.n_out)):
            if unit.size not in (1, n):
                raise ValueError(f"{name}: {unit.size} entries for {n} values; one for each, or one for all")
        if self.task == "classification" and not self.output_map.is_identity:
            raise ValueError("output_map: logits of a classification have no unit")

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Codes (n, *in_shape) of the user's ``values`` (n, *in_shape), any real type.

            code = saturate(round_half_even((value - offset) * factor * 2**frac))

        in float32: a subtraction and a multiplication, rounded once each; the scaling by ``2**frac`` is exact.

        Raises ``ValueError`` for a wrong shape and for NaN.
        """
        values = np.asarray(values)
        if values.shape[1:] != self.in_shape:
            raise ValueError(f"input has shape {values.shape}, the network takes (n, "
                             f"{', '.join(map(str, self.in_shape))})")
        return encode(values, self.input_map, self.x_format)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Values (n, *in_shape) float32 that ``encode`` turns into ``codes``.

        Raises ``ValueError`` naming the feature for which there is none: its factor is 0, or its offset so large that
        float32 can't tell its codes apart.
        """
        values = self.input_map.inverse(np.ldexp(np.asarray(codes, np.float64), -self.x_format.frac))
        bad = np.argwhere(self.encode(values) != codes)
        if bad.size:
            place = tuple(int(i) for i in bad[0])
            raise ValueError(f"input {list(place[1:])}: no value has the code {codes[place]} by its offset and factor")
        return values

    def decode(self, logits: np.ndarray) -> np.ndarray:
        """Answers (n, n_out) float32 of a regression in the user's unit, from integer ``logits`` (n, n_out):
        ``(logit * 2**-logit_frac - offset) * factor`` in float32."""
        return self.output_map(np.ldexp(np.asarray(logits, np.float64), -self.logit_frac))

    @property
    def x_format(self) -> Format:
        """Format of the input codes."""
        return self.layers[0].x_format

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one sample's input codes."""
        return self.layers[0].in_shape

    @property
    def n_in(self) -> int:
        """Input codes of a sample."""
        return int(np.prod(self.in_shape))

    @property
    def n_out(self) -> int:
        """Number of logits."""
        return int(np.prod(self.layers[-1].out_shape))

    @property
    def logit_frac(self) -> int:
        """Fractional bits of the logits."""
        return self.layers[-1].acc_frac

    @property
    def n_connections(self) -> int:
        """K over all layers."""
        return sum(layer.n_connections for layer in self.layers)

    @property
    def n_nonzero(self) -> int:
        """Connections whose code is not 0, over all layers."""
        return sum(layer.n_nonzero for layer in self.layers)

    @property
    def n_positions(self) -> int:
        """Potential connections over all layers."""
        return sum(layer.n_positions for layer in self.layers)

    @property
    def acc_bits(self) -> int:
        """Widest accumulator over all layers."""
        return max(layer.acc_bits for layer in self.layers)
