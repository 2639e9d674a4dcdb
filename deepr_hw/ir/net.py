"""The frozen integer network that training produces and every target consumes.

Everything is validated at construction, so whoever holds an ``IntNet`` may rely on it. Of its layers only what the
protocol ``Layer`` promises may be assumed; what counts, stores or reports iterates over their matrices.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from .affine import IDENTITY, Affine, encode
from .fixed import Format
from .layer import Layer
from .matrix import SparseMatrix
from .tasks import TASKS


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
                raise ValueError(
                    f"layer {i} gives {layer.out_shape} of {layer.y_format}, "
                    f"layer {i + 1} takes {after.in_shape} of {after.x_format}"
                )
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
            raise ValueError(
                f"input has shape {values.shape}, the network takes (n, {', '.join(map(str, self.in_shape))})"
            )
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
        return self.layers[-1].y_frac

    @property
    def matrices(self) -> Iterator[tuple[str, SparseMatrix]]:
        """Every sparse matrix of the network with its name, ``<layer>.<matrix>``, in the order of the files."""
        for i, layer in enumerate(self.layers):
            for name, matrix in layer.matrices.items():
                yield f"{i}.{name}", matrix

    @property
    def n_connections(self) -> int:
        """K over all matrices."""
        return sum(matrix.n_connections for _, matrix in self.matrices)

    @property
    def n_nonzero(self) -> int:
        """Connections whose code is not 0, over all matrices."""
        return sum(matrix.n_nonzero for _, matrix in self.matrices)

    @property
    def n_positions(self) -> int:
        """Potential connections over all matrices."""
        return sum(matrix.n_positions for _, matrix in self.matrices)

    @property
    def macs_per_sample(self) -> int:
        """Multiply-accumulates that one sample takes."""
        return sum(layer.macs_per_sample for layer in self.layers)

    @property
    def acc_bits(self) -> int:
        """Widest accumulator over all layers."""
        return max(layer.acc_bits for layer in self.layers)
