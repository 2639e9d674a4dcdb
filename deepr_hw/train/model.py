"""A network in training: connections, biases, formats, and its forward pass in evaluation mode."""

from dataclasses import dataclass, field

import numpy as np

from deepr_hw import memory
from deepr_hw.ir.fixed import PIXEL, Format
from deepr_hw.kernel.vectors import LANES
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.sparse_set.connections import Connections, Shapes, make_connections
from deepr_hw.sparse_set.draw import Arrays, as_arrays
from deepr_hw.sparse_set.partition import Partition
from deepr_hw.sparse_set.rewire import grow_connections
from deepr_hw.sparse_set.step import encode

from .compiled import Machine, evaluate
from .config import AUTO_BATCH, Config
from .sparse_linear import LinearStage
from .stage import Ends, Stage

_WHOLE = Format(8, False, 0)
_BLOCK = 64
"""Samples evaluated together."""

_CONNECTION_BYTES, _NEURON_BYTES = 16, 64
"""Memory of a connection without the optimizer's state, and of a neuron without its values: row start, group, bias."""

_LARGE = 1 << 22
"""Connections from which the first set is grown in place."""

N_MOMENTS = {"sgd": 0, "momentum": 1, "adam": 3}
"""Values per connection that each optimizer keeps."""


@dataclass(eq=False)
class Model:
    """Stages of layers on one sparse set.

    bias     : (n_biases,) float32 real values, zero where the network has none; ``bias_moments`` (n, n_biases) is the
               optimizer's state, empty without biases
    use_bias : whether biases are trained
    x_format : format of the input codes
    """

    connections: Connections
    stages: list[Stage]
    use_bias: bool
    x_format: Format = PIXEL
    bias: np.ndarray = field(init=False)
    bias_moments: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.bias = np.zeros(sum(stage.n_biases for stage in self.stages), np.float32)
        self.bias_moments = np.zeros((len(self.connections.moments), self.bias.size * self.use_bias), np.float32)

    @property
    def shapes(self) -> Shapes:
        """(n_in, n_out) of each matrix."""
        return self.connections.shapes

    @property
    def n_out(self) -> int:
        """Outputs."""
        return self.stages[-1].n_out

    @property
    def w_formats(self) -> list[Format | None]:
        """Of each matrix, None while training in float."""
        return [fmt for stage in self.stages for fmt in stage.w_formats]

    @property
    def quantized(self) -> bool:
        """Whether the forward pass rounds weights and activations."""
        return self.w_formats[0] is not None

    @property
    def arrays(self) -> Arrays:
        """Views for the kernels."""
        return as_arrays(self.connections)

    @property
    def values(self) -> np.ndarray:
        """What the forward pass multiplies with: (K,) int8 codes, or float32 weights in float training."""
        return self.connections.code if self.quantized else self.connections.weight

    def x_formats(self) -> list[Format]:
        """Format of each stage's input codes; in float training of a later stage that of whole numbers."""
        ends = [stage.y_formats[-1] or _WHOLE for stage in self.stages[:-1]]
        return [self.x_format, *ends]

    def machine(self, n_batch: int, dtype: type = np.float32) -> Machine:
        """The network with working memory for batches of ``n_batch``; columns are padded to whole vectors. In float64
        (for evaluation) the biases are a copy."""
        columns = -(-n_batch // LANES) * LANES
        bias: np.ndarray = self.bias.astype(dtype, copy=False)
        bias_grad: np.ndarray = np.zeros(self.bias.size * self.use_bias, dtype)
        none: np.ndarray = np.zeros((0, columns), dtype)
        y, dy, arrays = none, none, []
        bias_ends = np.cumsum([0, *(stage.n_biases for stage in self.stages)])
        matrix = len(self.shapes)
        for i in range(len(self.stages) - 1, -1, -1):
            stage, where = self.stages[i], slice(bias_ends[i], bias_ends[i + 1])
            matrix -= len(stage.shapes)
            dx = np.zeros((stage.n_in, columns), dtype) if i else none
            first = int(self.connections.partition.source_start[matrix])
            made = stage.arrays(
                first,
                Ends(none, dx, y, dy),
                bias[where],
                bias_grad[where if self.use_bias else slice(0)],
                self.x_formats()[i],
            )
            arrays.append(made)
            y, dy = made.ends.x, dx  # type: ignore[attr-defined]
        unit = dtype(self.stages[-1].output_step(self.x_formats()[-1]))
        return Machine(
            self.arrays,
            self.values,
            tuple(arrays[::-1]),
            tuple(arrays),
            y,
            self.stages[-1].outputs(arrays[0]),
            unit,
            bias,
            bias_grad,
            self.bias_moments,
        )

    def encode(self) -> None:
        """Bring the weight codes up to date with the weights."""
        for where, fmt in zip(self.connections.matrix_slices(), self.w_formats, strict=True):
            if fmt is not None:
                encode(
                    self.connections.weight,
                    self.connections.code,
                    where.start,
                    where.stop,
                    1 / fmt.step,
                    fmt.lo,
                    fmt.hi,
                )

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """(n, n_out) float64 accumulators of the last layer for codes ``x`` (n, n_in).

        The training's own forward kernel, in float64: integers below 2**53 are exact.
        """
        result = np.empty((len(x), self.n_out))
        evaluate(self.machine(_BLOCK, np.float64), np.ascontiguousarray(x), result)
        return result

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n, n_out) int32 logits of codes ``x`` (n, n_in) in evaluation mode: the reference's integers, exactly.

        Raises ``ValueError`` for a network still in float.
        """
        if not self.quantized:
            raise ValueError("the network is not quantized yet: its logits are not integers")
        return self.outputs(x).astype(np.int32)

    def natural(self, x: np.ndarray) -> np.ndarray:
        """(n, n_out) float64 outputs in natural units for codes ``x`` (n, n_in): of a quantized network its logits
        times ``2**-logit_frac``, exactly."""
        return self.outputs(x) * self.stages[-1].output_step(self.x_formats()[-1])


def make_model(
    config: Config,
    n_in: int,
    n_out: int,
    x_format: Format,
    rng: np.random.Generator,
    partition: Partition | None = None,
) -> Model:
    """Untrained network of ``n_in`` inputs and ``n_out`` logits, in the configured budget unless ``partition`` is
    given. Raises ``ValueError`` for an impossible budget."""
    stages = make_stages(config, n_in, n_out)
    shapes = tuple(shape for stage in stages for shape in stage.shapes)
    partition = partition or make_partition(config.budget, shapes, config.network.bias)
    k, n_moments = partition.n_connections, N_MOMENTS[config.training.optimizer]
    memory.require(k * (_CONNECTION_BYTES + 4 * n_moments), f"budget: {k:,} connections in training")
    make = make_connections if partition.n_connections < _LARGE else grow_connections
    connections = make(partition, rng, N_MOMENTS[config.training.optimizer], config.network.init)
    return Model(connections, stages, config.network.bias, x_format)


def make_stages(config: Config, n_in: int, n_out: int) -> list[Stage]:
    """The layers that ``config`` asks for, still in float."""
    return [LinearStage((n_in, *config.network.hidden, n_out), is_last=True)]


def check_size(config: Config, sizes: tuple[int, ...]) -> None:
    """Raise ``ValueError`` with the figure when the neurons of a network and their values for a batch would not fit the
    memory."""
    n, batch = sum(sizes), config.training.batch_size
    batch = AUTO_BATCH[1] if isinstance(batch, str) else batch
    memory.require(n * (_NEURON_BYTES + 8 * batch), f"network.hidden: {n:,} neurons in batches of {batch:,}")


def calibrate(model: Model, x: np.ndarray, weight_bits: int, activation_bits: int) -> None:
    """Set the formats of weights and activations from the present weights and the float activations of codes ``x``
    (n, n_in)."""
    for stage in model.stages:
        stage.w_formats, stage.y_formats = [None] * len(stage.w_formats), [None] * len(stage.y_formats)
    activations, weight = hidden_activations(model, x), model.connections.weight
    weights, x_format = [weight[where] for where in model.connections.matrix_slices()], model.x_format
    for stage, found in zip(model.stages, activations, strict=True):
        own, weights = weights[: len(stage.shapes)], weights[len(stage.shapes) :]
        stage.calibrate(own, found, x_format, weight_bits, activation_bits)
        x_format = stage.y_formats[-1] or x_format
    model.encode()


def hidden_activations(model: Model, x: np.ndarray) -> list[list[np.ndarray]]:
    """For each stage, activations (n, width) of each layer that has one, for codes ``x``, in float."""
    machine = model.machine(_BLOCK, np.float64)
    blocks = []
    for i in range(0, len(x), _BLOCK):
        block = np.ascontiguousarray(x[i : i + _BLOCK])
        evaluate(machine, block, np.empty((len(block), model.n_out)))
        pairs = zip(model.stages, machine.stages, strict=True)
        blocks.append([stage.activations(arrays, len(block)) for stage, arrays in pairs])
    return [[np.concatenate(layer) for layer in zip(*stage, strict=True)] for stage in zip(*blocks, strict=True)]
