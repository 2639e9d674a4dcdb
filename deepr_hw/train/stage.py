"""What a kind of layer provides for training, and how the compiled step calls it.

A *stage* is a run of neighbouring layers of one kind. Its file holds a NamedTuple of arrays, compiled ``forward`` and
``backward`` functions on them, which ``register_kernels`` makes known, and a class with what ``Stage`` promises. The
step walks over the stages; which function it calls follows from the type of a stage's arrays, when it is compiled.

Between two stages lie two buffers, feature-major, (values, batch): codes forth, dE/dcode, in real units, back.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import literal_unroll
from numba.extending import overload

from deepr_hw.ir import Layer
from deepr_hw.ir.fixed import Format
from deepr_hw.kernel.jit import kernel


class Ends(NamedTuple):
    """The buffers at a stage's ends.

    x  : (n_in, B) codes of its inputs;  dx : the same for dE/dx, (0, B) in the first stage
    y  : (n_out, B) codes of its outputs;  dy : the same for dE/dy; both (0, B) in the last stage, whose accumulators
         are the network's outputs, with dE/dacc put in their place by the loss
    """

    x: np.ndarray
    dx: np.ndarray
    y: np.ndarray
    dy: np.ndarray


class Stage(Protocol):
    """Neighbouring layers of one kind in training.

    shapes    : (n_in, n_out) of its matrices, in the order of the sparse set
    n_in      : values per sample that go in;  n_out : that come out;  n_biases : biases it has, if the network has any
    w_formats : of each matrix, None while training in float
    y_formats : of each layer's output; None while training in float, and where raw accumulators leave
    """

    w_formats: list[Format | None]
    y_formats: list[Format | None]

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]: ...  # noqa: D102
    @property
    def n_in(self) -> int: ...  # noqa: D102
    @property
    def n_out(self) -> int: ...  # noqa: D102
    @property
    def n_biases(self) -> int: ...  # noqa: D102

    def arrays(
        self, first_source: int, ends: Ends, bias: np.ndarray, bias_grad: np.ndarray, x_format: Format
    ) -> NamedTuple:
        """What its kernels take. ``ends.x`` of the result is its own.

        first_source : of its first matrix in the sparse set
        bias         : (n_biases,) and ``bias_grad``, the same or (0,), are views of the network's
        """
        ...

    def outputs(self, arrays: Any) -> np.ndarray:
        """(n_out, B) accumulators that leave the network, of the last stage."""
        ...

    def output_step(self, x_format: Format) -> float:
        """Value of one unit of ``outputs``."""
        ...

    def activations(self, arrays: Any, n: int) -> list[np.ndarray]:
        """(n, width) float activations of each of its layers with an activation, after a forward pass in float."""
        ...

    def calibrate(
        self,
        weights: Sequence[np.ndarray],
        activations: Sequence[np.ndarray],
        x_format: Format,
        weight_bits: int,
        activation_bits: int,
    ) -> None:
        """Find the formats: ``weights`` of each matrix, ``activations`` (n, width) as ``activations`` gives them."""
        ...

    def position_gradients(self, arrays: Any, matrix: int, first: int, last: int) -> np.ndarray:
        """(last - first, n_out) dE/dw of all positions in rows first..last-1 of a matrix, after a backward pass."""
        ...

    def freeze(
        self,
        connections: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
        bias: np.ndarray | None,
        x_format: Format,
    ) -> list[Layer]:
        """Its layers as integers; ``connections`` : (in_idx, out_idx, code) of each matrix, sorted by (in, out)."""
        ...


Function = Callable[..., None]
_FORWARD: dict[type, Function] = {}
_BACKWARD: dict[type, Function] = {}


def register_kernels(arrays: type, forward: Function, backward: Function) -> None:
    """Make the compiled ``forward(arrays, net, values)`` and ``backward(arrays, net, values)`` of a kind known by the
    type of their ``arrays``. ``net`` is the sparse set, ``values`` (K,) what is multiplied with."""
    _FORWARD[arrays], _BACKWARD[arrays] = forward, backward


def _forward(stage, net, values):  # without types: an overload has the very same parameters
    raise NotImplementedError("compiled code only")


def _backward(stage, net, values):  # without types: an overload has the very same parameters
    raise NotImplementedError("compiled code only")


@overload(_forward)
def _(stage, net, values):
    own = _FORWARD[stage.instance_class]
    return lambda stage, net, values: own(stage, net, values)


@overload(_backward)
def _(stage, net, values):
    own = _BACKWARD[stage.instance_class]
    return lambda stage, net, values: own(stage, net, values)


@kernel
def forward(stages, net, values):
    """From the codes in the first stage's ``x`` to the last one's accumulators."""
    for stage in literal_unroll(stages):
        _forward(stage, net, values)


@kernel
def backward(reverse, net, values):
    """From dE/dacc in the last stage's accumulators to ``net.grad`` and the gradients of the biases. ``reverse`` : the
    stages, last one first."""
    for stage in literal_unroll(reverse):
        _backward(stage, net, values)
