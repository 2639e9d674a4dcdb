"""Sparse linear layers in training: compiled products of a whole chain, formats, freezing.

Time follows K times the batch. Activations are feature-major, (neurons, batch): a connection is then an axpy or a dot
of two contiguous rows. Values travel as integer codes held in floating point; scales are powers of two and applied once
per row, so nothing is rounded but by the requantization itself.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from deepr_hw.ir import Layer, sparse_linear
from deepr_hw.ir.fixed import Format, saturate
from deepr_hw.kernel.jit import REORDERS, kernel
from deepr_hw.kernel.vectors import gate_row, prefetch_row, row_any, row_axpy, row_dot, row_dot_axpy

from .scales import activation_format, weight_format
from .stage import Ends, register_kernels

_AHEAD, _FAR = 8, 1 << 17  # prefetch so many connections ahead once the accumulators outgrow the nearer caches


class LinearArrays(NamedTuple):
    """What the kernels take; neurons of all levels of the chain are numbered on.

    first_source : of the first matrix, whose sources are the neurons
    level : (L + 2,) int64 first neuron of each level, and the total
    act   : (n_neurons, B) float32 or float64, codes of the activations; B is a multiple of 16
    acc   : (n_neurons, B) the same, accumulators; the backward pass leaves dE/dacc there, in real units
    ends  : ``ends.x`` is the first level of ``act``
    bias  : (n_biases,) real values;  bias_grad : the same, or (0,)
    steps : (L, 3) float32 or float64: value of an input code, of a weight code, ``acc`` to output code
    top   : (L,) largest output code of each layer, 0 in float training (no rounding, no limit)
    """

    first_source: int
    level: np.ndarray
    act: np.ndarray
    acc: np.ndarray
    ends: Ends
    bias: np.ndarray
    bias_grad: np.ndarray
    steps: np.ndarray
    top: np.ndarray


@kernel
def activate(acc, act, scale, highest):
    """``act = clip(rint(acc * scale), 0, highest)``; the float ReLU where ``highest`` is 0. Both (n,)."""
    if highest > 0:
        for i in range(acc.size):
            act[i] = min(max(np.rint(acc[i] * scale), 0), highest)
    else:
        for i in range(acc.size):
            act[i] = max(acc[i] * scale, 0)


@kernel(fastmath=REORDERS)
def forward(stage, net, values):
    """Fill ``acc`` of all levels, ``act`` of the hidden ones and ``ends.y``: acc = bias + sum of values * act,
    act = requantized.

    values : (K,) int8 codes, or float32 in float training
    """
    level, act, acc, steps, top, bias = stage.level, stage.act, stage.acc, stage.steps, stage.top, stage.bias
    indptr, out_idx, y = net.indptr[stage.first_source :], net.out_idx, stage.ends.y
    n_layers, n, far = steps.shape[0], out_idx.size, acc.size > _FAR
    for layer in range(n_layers):
        first, last, end = level[layer], level[layer + 1], level[layer + 2]
        unit = steps[layer, 0] * steps[layer, 1]
        acc[last:end] = 0
        for j in range(last, end):
            value = bias[j - level[1]]
            if value != 0:
                acc[j] = np.rint(value / unit) if top[layer] > 0 else value / unit
        for r in range(first, last):
            if indptr[r] < indptr[r + 1] and row_any(act, r):
                for k in range(indptr[r], indptr[r + 1]):
                    if far:
                        prefetch_row(acc, last + out_idx[min(k + _AHEAD, n - 1)])
                    row_axpy(acc, last + out_idx[k], act.dtype.type(values[k]), act, r)
        if layer + 1 < n_layers:
            activate(acc[last:end].ravel(), act[last:end].ravel(), steps[layer, 2], top[layer])
        elif y.size > 0:
            activate(acc[last:end].ravel(), y.ravel(), steps[layer, 2], top[layer])


@kernel(fastmath=REORDERS)
def backward(stage, net, values):
    """Gradient at the active connections and, unless ``bias_grad`` is empty, at the biases, from ``ends.dy`` or, in the
    network's last stage, dE/dlogit in the last rows of ``acc``.

    One pass per layer: each dE/dacc row is read once, for the product with the input (``grad``) and for dE/dact of the
    level before, which then replaces that level's ``acc``. Straight-through: requantization has slope 1 between its
    limits, 0 beyond them.
    """
    level, act, acc, steps, top = stage.level, stage.act, stage.acc, stage.steps, stage.top
    indptr, out_idx, grad, bias_grad = net.indptr[stage.first_source :], net.out_idx, net.grad, stage.bias_grad
    n_layers, n_batch, n, far = steps.shape[0], act.shape[1], out_idx.size, acc.size > _FAR
    row, dx, dy = np.zeros((1, n_batch), act.dtype), stage.ends.dx, stage.ends.dy
    one, no_limit = act.dtype.type(1), act.dtype.type(np.inf)
    if dy.size > 0:
        highest = top[n_layers - 1] if top[n_layers - 1] > 0 else no_limit
        for j in range(dy.shape[0]):
            row[0] = dy[j]
            gate_row(acc, level[n_layers] + j, row, steps[n_layers - 1, 2], highest, one)
    for layer in range(n_layers - 1, -1, -1):
        first, last = level[layer], level[layer + 1]
        x_step, w_step = steps[layer, 0], steps[layer, 1]
        for j in range(last, level[layer + 2] if bias_grad.size else last):
            total = act.dtype.type(0)
            for b in range(n_batch):
                total += acc[j, b]
            bias_grad[j - level[1]] = total
        if layer == 0 and dx.size == 0:  # nobody asks for the gradient of the inputs
            for r in range(first, last):
                if row_any(act, r):
                    for k in range(indptr[r], indptr[r + 1]):
                        if far:
                            prefetch_row(acc, last + out_idx[min(k + _AHEAD, n - 1)])
                        grad[k] = x_step * row_dot(act, r, acc, last + out_idx[k])
                else:
                    for k in range(indptr[r], indptr[r + 1]):
                        grad[k] = 0
            break
        if layer == 0:
            for r in range(first, last):
                for k in range(indptr[r], indptr[r + 1]):
                    if far:
                        prefetch_row(acc, last + out_idx[min(k + _AHEAD, n - 1)])
                    grad[k] = x_step * row_dot_axpy(act, r, acc, last + out_idx[k], act.dtype.type(values[k]), row)
                for b in range(n_batch):
                    dx[r, b] = row[0, b] * w_step
                    row[0, b] = 0
            break
        scale, highest = steps[layer - 1, 2], top[layer - 1] if top[layer - 1] > 0 else no_limit
        for r in range(first, last):
            for k in range(indptr[r], indptr[r + 1]):
                if far:
                    prefetch_row(acc, last + out_idx[min(k + _AHEAD, n - 1)])
                grad[k] = x_step * row_dot_axpy(act, r, acc, last + out_idx[k], act.dtype.type(values[k]), row)
            gate_row(acc, r, row, scale, highest, w_step)


register_kernels(LinearArrays, forward, backward)


class LinearStage:
    """A chain of sparse linear layers with ReLU between them; see ``Stage``.

    sizes   : neurons per level, inputs first
    is_last : whether the last level's accumulators leave the network as they are
    """

    def __init__(self, sizes: tuple[int, ...], is_last: bool) -> None:
        self.sizes, self.is_last = sizes, is_last
        self.w_formats: list[Format | None] = [None] * (len(sizes) - 1)
        self.y_formats: list[Format | None] = [None] * (len(sizes) - 1)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(n_in, n_out) of each layer."""
        return tuple(pairwise(self.sizes))

    @property
    def n_in(self) -> int:
        """Inputs."""
        return self.sizes[0]

    @property
    def n_out(self) -> int:
        """Outputs."""
        return self.sizes[-1]

    @property
    def n_biases(self) -> int:
        """One for each output of a layer."""
        return sum(self.sizes[1:])

    def scales(self, x_format: Format, dtype: type) -> tuple[np.ndarray, np.ndarray]:
        """``steps`` (L, 3) and ``top`` (L,) for the kernels."""
        quantized = self.w_formats[0] is not None
        y_steps = [1.0 if fmt is None else fmt.step for fmt in self.y_formats]
        w_steps = [1.0 if fmt is None else fmt.step for fmt in self.w_formats]
        x_steps = [x_format.step, *y_steps[:-1]]
        rows = [(x, w, x * w / y) for x, w, y in zip(x_steps, w_steps, y_steps, strict=True)]
        top = [float(quantized) if fmt is None else float(fmt.hi) for fmt in self.y_formats]
        return np.array(rows, dtype), np.array(top, dtype)

    def arrays(
        self, first_source: int, ends: Ends, bias: np.ndarray, bias_grad: np.ndarray, x_format: Format
    ) -> LinearArrays:
        """See ``Stage.arrays``."""
        level = np.cumsum((0, *self.sizes)).astype(np.int64)
        act = np.zeros((level[-1], ends.x.shape[1]), ends.x.dtype)
        steps, top = self.scales(x_format, ends.x.dtype.type)
        ends = ends._replace(x=act[: self.n_in])
        return LinearArrays(first_source, level, act, np.zeros_like(act), ends, bias, bias_grad, steps, top)

    def outputs(self, arrays: LinearArrays) -> np.ndarray:
        """(n_out, B) accumulators of the last level."""
        return arrays.acc[arrays.level[-2] :]

    def output_step(self, x_format: Format) -> float:
        """Value of one unit of the last level's accumulators."""
        steps, _ = self.scales(x_format, np.float64)
        return float(steps[-1, 0] * steps[-1, 1])

    def activations(self, arrays: LinearArrays, n: int) -> list[np.ndarray]:
        """(n, width) activations of each level but the inputs and, in the last stage, the outputs."""
        levels = [arrays.act[a:b] for a, b in pairwise(arrays.level[1:-1])]
        return [act[:, :n].T.copy() for act in (levels if self.is_last else [*levels, arrays.ends.y])]

    def calibrate(
        self,
        weights: Sequence[np.ndarray],
        activations: Sequence[np.ndarray],
        x_format: Format,
        weight_bits: int,
        activation_bits: int,
    ) -> None:
        """See ``Stage.calibrate``."""
        formats = [weight_format(weight, weight_bits) for weight in weights]
        y_formats: list[Format | None] = []
        x_frac = x_format.frac
        for fmt, values in zip(formats, activations, strict=False):
            y_format = activation_format(values, activation_bits, x_frac + fmt.frac)
            y_formats.append(y_format)
            x_frac = y_format.frac
        self.w_formats = list(formats)
        self.y_formats = [*y_formats, *[None] * (len(formats) - len(y_formats))]

    def position_gradients(self, arrays: LinearArrays, matrix: int, first: int, last: int) -> np.ndarray:
        """See ``Stage.position_gradients``."""
        level = arrays.level
        delta = arrays.acc[level[matrix + 1] : level[matrix + 2]]
        rows = arrays.act[level[matrix] + first : level[matrix] + last]
        return np.asarray(arrays.steps[matrix, 0] * (rows @ delta.T))

    def freeze(
        self,
        connections: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
        bias: np.ndarray | None,
        x_format: Format,
    ) -> list[Layer]:
        """Biases are rounded to the accumulator's scale."""
        layers: list[Layer] = []
        first = np.cumsum((0, *self.sizes[1:]))
        for i, (in_idx, out_idx, code) in enumerate(connections):
            w_format, order = self.w_formats[i], np.lexsort((in_idx, out_idx))
            assert w_format is not None
            codes = None
            if bias is not None:
                real = bias[first[i] : first[i + 1]].astype(np.float64)
                codes = saturate(np.rint(np.ldexp(real, x_format.frac + w_format.frac)), Format(32, True, 0))
            layers.append(
                sparse_linear(
                    *self.shapes[i],
                    in_idx[order],
                    out_idx[order],
                    code[order],
                    codes,
                    x_format,
                    w_format,
                    self.y_formats[i],
                )
            )
            x_format = self.y_formats[i] or x_format
        return layers
