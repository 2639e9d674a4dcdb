"""DEEP R: one step of the active connections; those whose theta turns negative die and are replaced (``rewire.py``).

    theta <- theta - eta * sign * dE/dw - eta * l1 + sqrt(2 * eta * T) * nu        every active connection
    theta < 0: dormant;  then as many dormant positions of the same group, drawn uniformly, become active with theta = 0

A weight array holds ``sign * theta``. Source: Bellec, Kappel, Maass, Legenstein, ICLR 2018, algorithm 1.
"""

import numpy as np

from deepr_hw.kernel.jit import kernel
from deepr_hw.kernel.noise import normal

SGD, MOMENTUM, ADAM = 0, 1, 2


@kernel
def precondition(grad, moments, optimizer, momentum, beta2):
    """Turn the gradient into the optimizer's direction, in place.

    momentum: m <- momentum * m + g, direction m
    adam    : m <- momentum * m + (1 - momentum) * g, v <- beta2 * v + (1 - beta2) * g**2, direction m / sqrt(v / c)

    where c <- beta2 * c + (1 - beta2) is each connection's own correction: a re-used slot starts with m = v = c = 0, so
    that its first steps are small but rightly scaled. Source: Kingma & Ba, ICLR 2015, whose correction is global.
    moments : (0, K), (1, K) m, or (3, K) m, v, c, float32
    """
    momentum, beta2, one = np.float32(momentum), np.float32(beta2), np.float32(1)
    if optimizer == MOMENTUM:
        m = moments[0]
        for k in range(grad.size):
            m[k] = momentum * m[k] + grad[k]
            grad[k] = m[k]
    elif optimizer == ADAM:
        m, v, c = moments[0], moments[1], moments[2]
        for k in range(grad.size):
            g = grad[k]
            m[k] = momentum * m[k] + (one - momentum) * g
            v[k] = beta2 * v[k] + (one - beta2) * g * g
            c[k] = beta2 * c[k] + (one - beta2)
            grad[k] = m[k] / (np.sqrt(v[k] / c[k]) + np.float32(1e-8))


@kernel
def decay_idle(weight, grad, amount):
    """Shrink by ``amount``, to 0 at most, every weight whose gradient is exactly 0: nothing comes in, or nothing of it
    gets out. Ours, not the paper's; L1 alone would take the whole run to free such a slot."""
    amount, zero = np.float32(amount), np.float32(0)
    for k in range(weight.size):
        theta = abs(weight[k])
        weight[k] = np.copysign(theta if grad[k] != zero else max(theta - amount, zero), weight[k])


@kernel
def update(weight, theta, eta, l1, amplitude, key, table, rewires):
    """One SGD step with L1 prior and noise. ``theta`` holds the gradient before and theta after: negative where the
    connection died.

    rewires : False lets a weight change its sign instead of dying (a fixed set of positions)
    """
    shrink = np.float32(eta * l1)
    eta, amplitude = np.float32(eta), np.float32(amplitude)
    for k in range(weight.size):
        w = weight[k]
        stepped = abs(w) - shrink + amplitude * normal(k, key, table) - eta * np.copysign(np.float32(1), w) * theta[k]
        theta[k] = stepped if rewires else np.float32(1)
        weight[k] = stepped * np.copysign(np.float32(1), w)


@kernel
def update_soft(weight, theta, grad, eta, l1, amplitude, theta_min, key, table):
    """One step of soft-DEEP R: active ones as in ``update``, dormant ones only walk, none under ``theta_min``."""
    shrink = np.float32(eta * l1)
    eta, amplitude, theta_min = np.float32(eta), np.float32(amplitude), np.float32(theta_min)
    for k in range(weight.size):
        sign = np.copysign(np.float32(1), weight[k])
        step = amplitude * normal(k, key, table)
        if theta[k] >= 0:
            step -= eta * sign * grad[k] + shrink
        theta[k] = max(theta[k] + step, theta_min)
        weight[k] = sign * max(theta[k], np.float32(0))


@kernel
def encode(weight, code, first, last, inverse_step, lo, hi):
    """``code = saturate(rint(weight / step))`` for connections first..last-1; ``inverse_step`` is a power of two."""
    inverse_step, lo, hi = np.float32(inverse_step), np.float32(lo), np.float32(hi)
    for k in range(first, last):
        code[k] = np.int8(np.int32(min(max(np.rint(weight[k] * inverse_step), lo), hi)))
