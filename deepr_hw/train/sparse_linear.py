"""Compiled products of a whole sparse chain: forward, loss, backward. Time follows K times the batch.

Activations are feature-major, (neurons, batch): a connection is then an axpy or a dot of two contiguous rows. Values
travel as integer codes held in floating point; scales are powers of two and applied once per row, so nothing is
rounded but by the requantization itself. ``layers.py`` says the same in plain NumPy.

Arrays of all kernels here:
    level : (L + 2,) int64 first neuron of each level, and the total
    act   : (n_neurons, B) float32 or float64, codes of the activations; B is a multiple of 16
    acc   : (n_neurons, B) the same, accumulators; the backward pass leaves dE/dacc there, in real units
    steps : (L, 3) float32 or float64: value of an input code, of a weight code, ``acc`` to output code
    top   : (L,) largest output code of each layer, 0 in float training (no rounding, no limit)
"""

import numpy as np

from deepr_hw.kernel.jit import kernel
from deepr_hw.kernel.vectors import (
    LANES,
    gate_row,
    prefetch_row,
    row_any,
    row_axpy,
    row_dot,
    row_dot_axpy,
    transpose_block,
)

_AHEAD, _FAR = 8, 1 << 17  # prefetch so many connections ahead once the accumulators outgrow the nearer caches
_EXACT = {"contract", "reassoc"}  # NaN must stay visible: divergence is detected by it


@kernel
def load_batch(x, order, act):
    """Samples ``x[order]`` (bytes, sample-major) into the first rows of ``act``, turned feature-major.

    Columns beyond the samples repeat the last one: harmless, since no gradient comes back to them.
    """
    n_in, whole = x.shape[1], x.shape[1] // LANES * LANES
    for b in range(0, act.shape[1], LANES):
        for i in range(0, whole, LANES):
            transpose_block(x, order, b, order.size, i, act)
    for b in range(act.shape[1]):
        sample = order[min(b, order.size - 1)]
        for i in range(whole, n_in):
            act[i, b] = x[sample, i]


@kernel
def activate(acc, act, scale, highest):
    """``act = clip(rint(acc * scale), 0, highest)``; the float ReLU where ``highest`` is 0. Both (n,)."""
    if highest > 0:
        for i in range(acc.size):
            act[i] = min(max(np.rint(acc[i] * scale), 0), highest)
    else:
        for i in range(acc.size):
            act[i] = max(acc[i] * scale, 0)


@kernel(fastmath=_EXACT)
def forward(level, indptr, out_idx, weight, bias, act, acc, steps, top):
    """Fill ``acc`` of all levels and ``act`` of the hidden ones: acc = bias + sum of weight * act, act = requantized.

    weight : (K,) int8 codes, or float32 in float training
    bias   : (n_neurons,) real values
    """
    n_layers, n, far = steps.shape[0], out_idx.size, acc.size > _FAR
    for layer in range(n_layers):
        first, last = level[layer], level[layer + 1]
        unit = steps[layer, 0] * steps[layer, 1]
        acc[last : level[layer + 2]] = 0
        for j in range(last, level[layer + 2]):
            if bias[j] != 0:
                acc[j] = np.rint(bias[j] / unit) if top[layer] > 0 else bias[j] / unit
        for r in range(first, last):
            if indptr[r] < indptr[r + 1] and row_any(act, r):
                for k in range(indptr[r], indptr[r + 1]):
                    if far:
                        prefetch_row(acc, last + out_idx[min(k + _AHEAD, n - 1)])
                    row_axpy(acc, last + out_idx[k], act.dtype.type(weight[k]), act, r)
        if layer + 1 < n_layers:
            activate(
                acc[last : level[layer + 2]].ravel(), act[last : level[layer + 2]].ravel(), steps[layer, 2], top[layer]
            )


@kernel
def cross_entropy(acc, unit, labels, order, smoothing, weights):
    """Softmax cross-entropy of the logits ``acc * unit`` (n_classes, B), summed over the ``order.size`` samples, and
    how many are right; ``acc`` becomes dE/dlogit of the mean. Columns beyond the samples become 0.

    weights : (n,) float32 factor of each sample's loss, or empty
    """
    n_classes, n = acc.shape[0], order.size
    loss, right = 0.0, 0
    for b in range(n):
        label = labels[order[b]]
        peak, best = acc[0, b], 0
        for c in range(1, n_classes):
            if acc[c, b] > peak:
                peak, best = acc[c, b], c
        right += best == label
        total, own = 0.0, 0.0
        for c in range(n_classes):
            z = (acc[c, b] - peak) * unit
            own -= z * (smoothing / n_classes + (1 - smoothing if c == label else 0.0))
            acc[c, b] = np.exp(z)
            total += acc[c, b]
        own += np.log(total)
        if weights.size > 0:
            weight = weights[order[b]]
            loss += weight * own
            for c in range(n_classes):
                target = smoothing / n_classes + (1 - smoothing if c == label else 0.0)
                acc[c, b] = weight * (acc[c, b] / total - target) / n
            continue
        loss += own
        for c in range(n_classes):
            target = smoothing / n_classes + (1 - smoothing if c == label else 0.0)
            acc[c, b] = (acc[c, b] / total - target) / n
    for c in range(n_classes):
        for b in range(n, acc.shape[1]):
            acc[c, b] = 0
    return loss, right


@kernel
def squared_error(acc, unit, targets, order, weights):
    """Half the squared error of the outputs ``acc * unit`` (n_out, B) against ``targets`` (n, n_out), summed over the
    ``order.size`` samples and all outputs, and 0, as no number is right or wrong; ``acc`` as in ``cross_entropy``."""
    n_out, n = acc.shape[0], order.size
    loss = 0.0
    for o in range(n_out):
        for b in range(n):
            error = acc[o, b] * unit - targets[order[b], o]
            weight = weights[order[b]] if weights.size > 0 else acc.dtype.type(1)
            loss += weight * error * error / 2
            acc[o, b] = weight * error / n
        for b in range(n, acc.shape[1]):
            acc[o, b] = 0
    return loss, 0


@kernel
def loss_and_slope(acc, unit, goal, order, smoothing, weights):
    """``cross_entropy`` where ``goal`` is (n,) labels, ``squared_error`` where it is (n, n_out) targets."""
    if goal.ndim == 1:
        return cross_entropy(acc, unit, goal, order, smoothing, weights)
    else:  # one of the two is all that is compiled
        return squared_error(acc, unit, goal, order, weights)


@kernel(fastmath=_EXACT)
def backward(level, indptr, out_idx, weight, act, acc, steps, top, grad, bias_grad):
    """Gradient at the active connections and, unless ``bias_grad`` is empty, at the biases, from dE/dlogit in the last
    rows of ``acc``.

    One pass per layer: each dE/dacc row is read once, for the product with the input (``grad``) and for dE/dact of the
    level before, which then replaces that level's ``acc``. Straight-through: requantization has slope 1 between its
    limits, 0 beyond them.
    """
    n_batch, n, far = act.shape[1], out_idx.size, acc.size > _FAR
    row = np.zeros((1, n_batch), act.dtype)
    for layer in range(steps.shape[0] - 1, -1, -1):
        first, last = level[layer], level[layer + 1]
        x_step, w_step = steps[layer, 0], steps[layer, 1]
        for j in range(last, level[layer + 2] if bias_grad.size else last):
            total = act.dtype.type(0)
            for b in range(n_batch):
                total += acc[j, b]
            bias_grad[j] = total
        if layer == 0:  # nobody asks for the gradient of the inputs
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
        scale, highest = steps[layer - 1, 2], top[layer - 1] if top[layer - 1] > 0 else acc.dtype.type(np.inf)
        for r in range(first, last):
            for k in range(indptr[r], indptr[r + 1]):
                if far:
                    prefetch_row(acc, last + out_idx[min(k + _AHEAD, n - 1)])
                grad[k] = x_step * row_dot_axpy(act, r, acc, last + out_idx[k], act.dtype.type(weight[k]), row)
            gate_row(acc, r, row, scale, highest, w_step)


@kernel
def evaluate(level, indptr, out_idx, weight, bias, act, acc, steps, top, x, logits):
    """Fill ``logits`` (n, n_out) with the accumulators of the last layer for codes ``x`` (n, n_in), in blocks of B."""
    n_batch = act.shape[1]
    first = level[level.size - 2]
    order = np.arange(x.shape[0])
    for start in range(0, x.shape[0], n_batch):
        block = order[start : start + n_batch]
        load_batch(x, block, act)
        forward(level, indptr, out_idx, weight, bias, act, acc, steps, top)
        for b in range(block.size):
            for c in range(logits.shape[1]):
                logits[start + b, c] = acc[first + c, b]
