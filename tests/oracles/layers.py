"""One sparse layer and the loss in plain NumPy: what the compiled kernels do, as one reads it. The tests compare.

Feature-major, (features, batch). Codes are integers held in floating point, scales are powers of two.
"""

from dataclasses import dataclass

import numpy as np

from deepr_hw.ir.fixed import Format
from deepr_hw.train.model import Model


@dataclass(frozen=True, eq=False)
class LayerView:
    """One layer of a network in training.

    in_idx, out_idx : (K,) positions
    weight          : (K,) what is multiplied: integer codes, or real values while training in float
    bias            : (n_out,) real values
    x_step, w_step  : value of an input code and of a weight code (1 in float training)
    y_format        : format of the output codes; None for raw accumulators and in float training
    quantized       : False in float training
    hidden          : whether a ReLU follows
    """

    n_out: int
    in_idx: np.ndarray
    out_idx: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    x_step: float
    w_step: float
    y_format: Format | None
    quantized: bool
    hidden: bool

    def accumulate(self, x: np.ndarray) -> np.ndarray:
        """(n_out, B) ``bias + sum of weight * x`` in units of ``x_step * w_step``."""
        bias = self.bias / (self.x_step * self.w_step)
        acc = np.zeros((self.n_out, x.shape[1])) + (np.rint(bias) if self.quantized else bias)[:, None]
        np.add.at(acc, self.out_idx, self.weight.astype(np.float64)[:, None] * x[self.in_idx])
        return acc

    def activate(self, acc: np.ndarray) -> np.ndarray:
        """Input of the next layer: rounded and saturated codes, or the float ReLU; the logits as they are."""
        if not self.hidden:
            return acc
        y = acc * self.x_step * self.w_step
        if self.y_format is None:
            return np.maximum(y, 0)
        return np.clip(np.rint(y / self.y_format.step), 0, self.y_format.hi)

    def slope(self, acc: np.ndarray) -> np.ndarray:
        """(n_out, B) bool: where the gradient goes straight through, between the limits of the output."""
        y = acc * self.x_step * self.w_step
        limit = np.inf if self.y_format is None else self.y_format.hi * self.y_format.step
        return (y > 0) & (y <= limit)

    def backward(self, x: np.ndarray, d_acc: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(dE/dweight (K,), dE/dbias (n_out,), dE/dx of x's real values (n_in, B)) from ``d_acc`` (n_out, B)."""
        d_weight = self.x_step * np.sum(x[self.in_idx] * d_acc[self.out_idx], axis=1)
        d_x = np.zeros_like(x, np.float64)
        np.add.at(d_x, self.in_idx, self.w_step * self.weight.astype(np.float64)[:, None] * d_acc[self.out_idx])
        return d_weight, d_acc.sum(axis=1), d_x


def layer_views(model: Model) -> list[LayerView]:
    """Of a chain of sparse linear layers."""
    c, (stage,) = model.connections, model.stages
    sizes, level = stage.sizes, np.cumsum((0, *stage.sizes))
    source, (steps, _) = c.sources(), stage.scales(model.x_format, np.float64)
    return [
        LayerView(
            sizes[i + 1],
            source[where] - level[i],
            c.out_idx[where],
            model.values[where],
            model.bias[level[i + 1] - sizes[0] : level[i + 2] - sizes[0]].astype(np.float64),
            steps[i, 0],
            steps[i, 1],
            stage.y_formats[i],
            model.quantized,
            i + 2 < len(sizes),
        )
        for i, where in enumerate(c.matrix_slices())
    ]


def cross_entropy_numpy(
    logits: np.ndarray, labels: np.ndarray, smoothing: float = 0.0, weights: np.ndarray | float = 1.0
) -> tuple[float, np.ndarray]:
    """Summed softmax cross-entropy of real ``logits`` (n_classes, B), each sample's times its weight, and dE/dlogit of
    the mean."""
    z = logits - logits.max(axis=0)
    log_p = z - np.log(np.exp(z).sum(axis=0))
    p = np.exp(log_p)
    target = np.full_like(p, smoothing / len(p))
    target[labels, np.arange(len(labels))] += 1 - smoothing
    return float(-(weights * target * log_p).sum()), weights * (p - target) / len(labels)


def squared_error_numpy(
    outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | float = 1.0
) -> tuple[float, np.ndarray]:
    """Half the summed squared error of real ``outputs`` (n_out, B) against ``targets`` (B, n_out), each sample's times
    its weight, and dE/doutput of the mean over the samples."""
    error = outputs - targets.T
    return float((weights * error**2).sum() / 2), weights * error / len(targets)


def gradients(
    layers: list[LayerView], x: np.ndarray, goal: np.ndarray, smoothing: float = 0.0, weights: np.ndarray | float = 1.0
) -> tuple[float, np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """(summed loss, accumulators of the last layer, dE/dweight per layer, dE/dbias per layer) for codes ``x``
    and ``goal``: labels (B,), or targets (B, n_out)."""
    inputs, accs = [x], []
    for layer in layers:
        accs.append(layer.accumulate(inputs[-1]))
        inputs.append(layer.activate(accs[-1]))
    outputs = accs[-1] * layers[-1].x_step * layers[-1].w_step
    loss, d = (
        cross_entropy_numpy(outputs, goal, smoothing, weights)
        if goal.ndim == 1
        else squared_error_numpy(outputs, goal, weights)
    )
    d_weights: list[np.ndarray] = []
    d_biases: list[np.ndarray] = []
    for i in range(len(layers) - 1, -1, -1):
        d_weight, d_bias, d_x = layers[i].backward(inputs[i], d)
        d_weights.insert(0, d_weight)
        d_biases.insert(0, d_bias)
        if i:
            d = d_x * layers[i - 1].slope(accs[i - 1])
    return loss, accs[-1], d_weights, d_biases
