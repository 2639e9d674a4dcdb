"""Many training steps in one compiled call: load, forward, loss, backward, update, rewire, encode, count."""

from typing import Any, NamedTuple

import numpy as np

from deepr_hw.kernel.jit import kernel
from deepr_hw.kernel.noise import next_u64
from deepr_hw.kernel.vectors import LANES, transpose_block
from deepr_hw.sparse_set.draw import Arrays, Groups
from deepr_hw.sparse_set.rewire import rewire
from deepr_hw.sparse_set.step import decay_idle, encode, precondition, update, update_soft

from .loss import loss_and_slope
from .stage import backward, forward


class Rule(NamedTuple):
    """What a step does, besides the learning rate that changes from step to step.

    l1, idle    : what theta loses per unit of the learning rate; idle where the gradient is exactly 0
    encode_rule : (M, 3) float32 per matrix: 1 / weight step, lowest and highest code; ignored in float training
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


class Machine(NamedTuple):
    """A network and all working memory of its training steps.

    values  : (K,) what the forward pass multiplies with: ``net.code``, or ``net.weight`` in float training
    stages  : the arrays of each stage, and ``reverse`` the same, last one first
    x       : (n_in, B) where a batch is put;  outputs : (n_out, B) accumulators that leave, in units of ``unit``
    bias    : (n_biases,) float32;  bias_grad : the same, or (0,) where biases are not trained
    bias_moments : (n, n_biases or 0) float32
    """

    net: Arrays
    values: np.ndarray
    stages: tuple[Any, ...]
    reverse: tuple[Any, ...]
    x: np.ndarray
    outputs: np.ndarray
    unit: np.floating[Any]
    bias: np.ndarray
    bias_grad: np.ndarray
    bias_moments: np.ndarray


class Lesson(NamedTuple):
    """What is trained on, in which order.

    x       : (n, n_in) codes;  goal : (n,) int64 labels, or (n, n_out) float32 targets
    weights : (n,) float32 factor of each sample's loss, or empty
    order   : (m,) int64 samples, in batches of ``batch_size`` (the last may be smaller)
    etas    : (n_steps,) float64 learning rate of each step
    """

    x: np.ndarray
    goal: np.ndarray
    weights: np.ndarray
    order: np.ndarray
    batch_size: int
    etas: np.ndarray


class Chance(NamedTuple):
    """Random numbers: ``state`` (4,) uint64, and the table of the normal distribution."""

    state: np.ndarray
    table: np.ndarray


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
def run_steps(machine, groups, lesson, rule, chance, extremes):
    """``Totals`` of training on ``lesson``, in place. ``extremes`` (2, G) int64, lowest and highest count of each group
    after any step, is brought up to date."""
    net, state, etas, batch_size = machine.net, chance.state, lesson.etas, lesson.batch_size
    bias, bias_grad, source_start = machine.bias, machine.bias_grad, machine.net.source_start
    loss, right, rewired = 0.0, 0, 0
    active_min, active_max = net.out_idx.size, net.out_idx.size
    for step in range(etas.size):
        batch = lesson.order[step * batch_size : (step + 1) * batch_size]
        load_batch(lesson.x, batch, machine.x)
        forward(machine.stages, net, machine.values)
        batch_loss, batch_right = loss_and_slope(
            machine.outputs, machine.unit, lesson.goal, batch, rule.smoothing, lesson.weights
        )
        loss += batch_loss
        right += batch_right
        if not np.isfinite(batch_loss):
            return Totals(step, loss, right, rewired, active_min, active_max)
        backward(machine.reverse, net, machine.values)
        eta = etas[step]
        if rule.idle > 0:
            decay_idle(net.weight, net.grad, eta * rule.idle)
        precondition(net.grad, net.moments, rule.optimizer, rule.momentum, rule.beta2)
        key = np.uint32(next_u64(state) >> np.uint64(32))
        amplitude = np.sqrt(2 * eta * rule.temperature)
        if rule.soft:
            update_soft(net.weight, net.theta, net.grad, eta, rule.l1, amplitude, rule.theta_min, key, chance.table)
        else:
            update(net.weight, net.theta, eta, rule.l1, amplitude, key, chance.table, rule.rewires)
        if rule.use_bias:
            precondition(bias_grad, machine.bias_moments, rule.optimizer, rule.momentum, rule.beta2)
            for j in range(bias.size):
                bias[j] -= np.float32(eta) * bias_grad[j]
        if rule.rewires:
            rewired += rewire(net, groups, state)
        if rule.quantized:
            for matrix in range(net.n_out.size):
                encode(
                    net.weight,
                    net.code,
                    net.indptr[source_start[matrix]],
                    net.indptr[source_start[matrix + 1]],
                    rule.encode_rule[matrix, 0],
                    rule.encode_rule[matrix, 1],
                    rule.encode_rule[matrix, 2],
                )
        active = count_active(net, groups, extremes)
        active_min, active_max = min(active_min, active), max(active_max, active)
    return Totals(etas.size, loss, right, rewired, active_min, active_max)


@kernel
def evaluate(machine, x, results):
    """Fill ``results`` (n, n_out) with the outputs' accumulators for codes ``x`` (n, n_in), in blocks of B."""
    n_batch = machine.x.shape[1]
    order = np.arange(x.shape[0])
    for start in range(0, x.shape[0], n_batch):
        block = order[start : start + n_batch]
        load_batch(x, block, machine.x)
        forward(machine.stages, machine.net, machine.values)
        for b in range(block.size):
            for c in range(results.shape[1]):
                results[start + b, c] = machine.outputs[c, b]
