"""A network in training: connections, biases, formats, and its forward pass in evaluation mode."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from deepr_hw import memory
from deepr_hw.ir.fixed import PIXEL, Format
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.sparse_set.connections import Connections, make_connections
from deepr_hw.sparse_set.draw import Arrays, as_arrays
from deepr_hw.sparse_set.partition import Partition
from deepr_hw.sparse_set.rewire import grow_connections
from deepr_hw.sparse_set.step import encode

from .config import AUTO_BATCH, Config
from .scales import activation_format, weight_format
from .sparse_linear import evaluate

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
    """A chain of sparse layers with ReLU between them.

    bias      : (n_neurons,) float32 real values, zero for inputs and where the network has none; ``bias_moments``
                (n, n_neurons) is the optimizer's state, empty without biases
    use_bias  : whether biases are trained
    x_format  : format of the input codes
    w_formats : per layer, None while training in float
    y_formats : per hidden level, None while training in float
    """

    connections: Connections
    use_bias: bool
    x_format: Format = PIXEL
    w_formats: list[Format | None] = field(default_factory=list)
    y_formats: list[Format | None] = field(default_factory=list)
    bias: np.ndarray = field(init=False)
    bias_moments: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        n_layers = len(self.sizes) - 1
        self.bias = np.zeros(sum(self.sizes), np.float32)
        self.bias_moments = np.zeros((len(self.connections.moments), self.bias.size * self.use_bias), np.float32)
        self.w_formats = self.w_formats or [None] * n_layers
        self.y_formats = self.y_formats or [None] * (n_layers - 1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons per level."""
        return self.connections.sizes

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

    def scales(self, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """``steps`` (L, 3) and ``top`` (L,) for the kernels."""
        x_steps = [self.x_format.step, *(1.0 if fmt is None else fmt.step for fmt in self.y_formats)]
        w_steps = [1.0 if fmt is None else fmt.step for fmt in self.w_formats]
        y_steps = [*x_steps[1:], 1.0]
        rows = [(x, w, x * w / y) for x, w, y in zip(x_steps, w_steps, y_steps, strict=True)]
        top = [0.0 if fmt is None else float(fmt.hi) for fmt in self.y_formats] + [float(self.quantized)]
        return np.array(rows, dtype), np.array(top, dtype)

    def encode(self) -> None:
        """Bring the weight codes up to date with the weights."""
        for where, fmt in zip(self.connections.layer_slices(), self.w_formats, strict=True):
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

    def outputs(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Accumulators of the last layer, (n, n_out) float64, and the activations (n_neurons, B) of the last block.

        The training's own forward kernel, in float64: integers below 2**53 are exact.
        """
        net = self.arrays
        act = np.zeros((sum(self.sizes), _BLOCK))
        acc = np.zeros_like(act)
        result = np.empty((len(x), self.sizes[-1]))
        steps, top = self.scales(np.float64)
        evaluate(
            net.level,
            net.indptr,
            net.out_idx,
            self.values,
            self.bias.astype(np.float64),
            act,
            acc,
            steps,
            top,
            np.ascontiguousarray(x),
            result,
        )
        return result, act

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n, n_out) int32 logits of codes ``x`` (n, n_in) in evaluation mode: the reference's integers, exactly.

        Raises ``ValueError`` for a network still in float.
        """
        if not self.quantized:
            raise ValueError("the network is not quantized yet: its logits are not integers")
        return self.outputs(x)[0].astype(np.int32)

    def natural(self, x: np.ndarray) -> np.ndarray:
        """(n, n_out) float64 outputs in natural units for codes ``x`` (n, n_in): of a quantized network its logits
        times ``2**-logit_frac``, exactly."""
        steps, _ = self.scales(np.float64)
        return self.outputs(x)[0] * (steps[-1, 0] * steps[-1, 1])


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
    sizes = (n_in, *config.network.hidden, n_out)
    partition = partition or make_partition(config.budget, sizes, config.network.bias)
    k, n_moments = partition.n_connections, N_MOMENTS[config.training.optimizer]
    memory.require(k * (_CONNECTION_BYTES + 4 * n_moments), f"budget: {k:,} connections in training")
    make = make_connections if partition.n_connections < _LARGE else grow_connections
    connections = make(partition, rng, N_MOMENTS[config.training.optimizer], config.network.init)
    return Model(connections, config.network.bias, x_format)


def check_size(config: Config, sizes: tuple[int, ...]) -> None:
    """Raise ``ValueError`` with the figure when the neurons of a network and their values for a batch would not fit the
    memory."""
    n, batch = sum(sizes), config.training.batch_size
    batch = AUTO_BATCH[1] if isinstance(batch, str) else batch
    memory.require(n * (_NEURON_BYTES + 8 * batch), f"network.hidden: {n:,} neurons in batches of {batch:,}")


def calibrate(model: Model, x: np.ndarray, weight_bits: int, activation_bits: int) -> None:
    """Set the formats of weights and activations from the present weights and the float activations of codes ``x``
    (n, n_in)."""
    model.w_formats = [None] * len(model.w_formats)
    model.y_formats = [None] * len(model.y_formats)
    weight = model.connections.weight
    formats = [weight_format(weight[where], weight_bits) for where in model.connections.layer_slices()]
    x_frac = model.x_format.frac
    y_formats: list[Format | None] = []
    activations = hidden_activations(model, x)
    for fmt, values in zip(formats, activations, strict=False):
        y_format = activation_format(values, activation_bits, x_frac + fmt.frac)
        y_formats.append(y_format)
        x_frac = y_format.frac
    model.w_formats, model.y_formats = list(formats), y_formats
    model.encode()


def hidden_activations(model: Model, x: np.ndarray) -> list[np.ndarray]:
    """Activations (n, width) of each hidden level for codes ``x``, in float."""
    level = np.cumsum((0, *model.sizes))
    blocks = [model.outputs(x[i : i + _BLOCK])[1][:, : len(x[i : i + _BLOCK])].T for i in range(0, len(x), _BLOCK)]
    whole = np.concatenate(blocks)
    return [whole[:, a:b] for a, b in pairwise(level[1:-1])]
