"""Many training steps in one compiled call: load, forward, loss, backward, update, rewire, encode, count."""

from typing import NamedTuple

import numpy as np

from deepr_hw.kernel.jit import kernel
from deepr_hw.kernel.noise import next_u64
from deepr_hw.kernel.vectors import LANES
from deepr_hw.sparse_set.draw import Arrays, Groups
from deepr_hw.sparse_set.rewire import rewire
from deepr_hw.sparse_set.step import decay_idle, encode, precondition, update, update_soft

from .sparse_linear import backward, forward, load_batch, loss_and_slope


class Scratch(NamedTuple):
    """Working memory of a step, allocated once.

    act, acc  : (n_neurons, B) float32
    bias_grad : (n_neurons,) float32;  bias_moments : (n, n_neurons) float32
    """

    act: np.ndarray
    acc: np.ndarray
    bias_grad: np.ndarray
    bias_moments: np.ndarray


class Rule(NamedTuple):
    """What a step does, besides the learning rate that changes from step to step.

    l1, idle    : what theta loses per unit of the learning rate; idle where the gradient is exactly 0
    encode_rule : (L, 3) float32 per layer: 1 / weight step, lowest and highest code; ignored in float training
    """

    l1: float
    idle: float
    temperature: float
    smoothing: float
    optimizer: int
    momentum: float
    beta2: float
    rewires: bool
    soft: bool
    theta_min: float
    use_bias: bool
    quantized: bool
    encode_rule: np.ndarray


class Totals(NamedTuple):
    """What came out: sums over the steps done, and the extremes of the active count after each.

    A non-finite ``loss`` means that training diverged; the call stops at that step.
    """

    steps: int
    loss: float
    right: int
    rewired: int
    active_min: int
    active_max: int


def make_scratch(sizes: tuple[int, ...], batch_size: int, bias_moments: np.ndarray) -> Scratch:
    """Working memory for batches of ``batch_size``; columns are padded to whole vectors.

    bias_moments : (n, n_neurons), or (n, 0) where the network has no biases
    """
    columns = -(-batch_size // LANES) * LANES
    shape = (sum(sizes), columns)
    bias_grad = np.zeros(bias_moments.shape[1], np.float32)
    return Scratch(np.zeros(shape, np.float32), np.zeros(shape, np.float32), bias_grad, bias_moments)


@kernel
def count_active(net: Arrays, groups: Groups, extremes: np.ndarray) -> int:
    """Connections held after a step, logged per group in ``extremes``; -1 when a group misses its limit or the row
    starts disagree with the sum."""
    active, limits = groups.active, groups.limits
    total, missed = 0, False
    for g in range(limits.size):
        extremes[0, g] = min(extremes[0, g], active[g])
        extremes[1, g] = max(extremes[1, g], active[g])
        missed |= active[g] != limits[g]
        total += active[g]
    if missed:
        return -1
    held = net.indptr[net.indptr.size - 1]
    return total if held == total and net.out_idx.size == total else -1


@kernel
def run_steps(
    net: Arrays,
    groups: Groups,
    values,
    bias,
    steps,
    top,
    scratch: Scratch,
    rule: Rule,
    etas,
    x,
    goal,
    weights,
    order,
    batch_size,
    state,
    table,
    extremes,
) -> Totals:
    """Train on ``x[order]`` in batches of ``batch_size`` (the last may be smaller), in place.

    values : (K,) what the forward pass multiplies with: ``net.code``, or ``net.weight`` in float training
    bias   : (n_neurons,) float32
    etas   : (n_steps,) float64 learning rate of each step
    x      : (n, n_in) codes;  goal : (n,) int64 labels, or (n, n_out) float32 targets;  order : (m,) int64
    weights: (n,) float32 factor of each sample's loss, or empty
    state  : (4,) uint64 random stream;  table : NORMAL_TABLE
    extremes : (2, G) int64, lowest and highest count of each group after any step, brought up to date
    """
    loss, right, rewired = 0.0, 0, 0
    active_min, active_max = net.out_idx.size, net.out_idx.size
    n_layers = steps.shape[0]
    first = net.level[n_layers]
    unit = steps[n_layers - 1, 0] * steps[n_layers - 1, 1]
    for step in range(etas.size):
        batch = order[step * batch_size : (step + 1) * batch_size]
        load_batch(x, batch, scratch.act)
        forward(net.level, net.indptr, net.out_idx, values, bias, scratch.act, scratch.acc, steps, top)
        batch_loss, batch_right = loss_and_slope(scratch.acc[first:], unit, goal, batch, rule.smoothing, weights)
        loss += batch_loss
        right += batch_right
        if not np.isfinite(batch_loss):
            return Totals(step, loss, right, rewired, active_min, active_max)
        backward(
            net.level,
            net.indptr,
            net.out_idx,
            values,
            scratch.act,
            scratch.acc,
            steps,
            top,
            net.grad,
            scratch.bias_grad,
        )
        eta = etas[step]
        if rule.idle > 0:
            decay_idle(net.weight, net.grad, eta * rule.idle)
        precondition(net.grad, net.moments, rule.optimizer, rule.momentum, rule.beta2)
        key = np.uint32(next_u64(state) >> np.uint64(32))
        amplitude = np.sqrt(2 * eta * rule.temperature)
        if rule.soft:
            update_soft(net.weight, net.moments[0], net.grad, eta, rule.l1, amplitude, rule.theta_min, key, table)
        else:
            update(net.weight, net.grad, eta, rule.l1, amplitude, key, table, rule.rewires)
        if rule.use_bias:
            precondition(scratch.bias_grad, scratch.bias_moments, rule.optimizer, rule.momentum, rule.beta2)
            for j in range(net.level[1], bias.size):
                bias[j] -= np.float32(eta) * scratch.bias_grad[j]
        if rule.rewires:
            rewired += rewire(net, groups, state)
        if rule.quantized:
            for layer in range(n_layers):
                encode(
                    net.weight,
                    net.code,
                    net.indptr[net.level[layer]],
                    net.indptr[net.level[layer + 1]],
                    rule.encode_rule[layer, 0],
                    rule.encode_rule[layer, 1],
                    rule.encode_rule[layer, 2],
                )
        active = count_active(net, groups, extremes)
        active_min, active_max = min(active_min, active), max(active_max, active)
    return Totals(etas.size, loss, right, rewired, active_min, active_max)
