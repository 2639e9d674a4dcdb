"""Loss of a batch and its slope at the network's outputs, compiled."""

import numpy as np

from deepr_hw.kernel.jit import kernel


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
