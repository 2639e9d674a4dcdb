"""DEEP R: one step of the active connections, death of those whose theta turned negative, uniform rebirth elsewhere.

    theta <- theta - eta * sign * dE/dw - eta * l1 + sqrt(2 * eta * T) * nu        every active connection
    theta < 0: dormant;  then as many dormant positions of the same group, drawn uniformly, become active with theta = 0

A weight array holds ``sign * theta``. Source: Bellec, Kappel, Maass, Legenstein, ICLR 2018, algorithm 1.
"""

from typing import NamedTuple

import numpy as np

from .budget import Partition
from .connections import Connections
from .jit import kernel
from .noise import below, next_u64, normal
from .vectors import shift

_LOW = np.int64(0xFFFFFFFF)


class Arrays(NamedTuple):
    """The arrays of ``Connections`` for the kernels, and ``level``, the first neuron of each level and the total."""

    level: np.ndarray
    indptr: np.ndarray
    out_idx: np.ndarray
    weight: np.ndarray
    code: np.ndarray
    grad: np.ndarray
    moments: np.ndarray


class Groups(NamedTuple):
    """The arrays of a ``Partition`` for the kernels, and ``active`` (G,) int64, what each group holds now."""

    active: np.ndarray
    limits: np.ndarray
    n_positions: np.ndarray
    source_part: np.ndarray
    target_part: np.ndarray
    rectangles: np.ndarray
    group_start: np.ndarray
    source_order: np.ndarray
    target_order: np.ndarray


def as_arrays(connections: Connections) -> Arrays:
    """Views of ``connections``: what a kernel changes, changes there."""
    c = connections
    level = np.cumsum((0, *c.sizes)).astype(np.int64)
    return Arrays(level, c.indptr, c.out_idx, c.weight, c.code, c.grad, c.moments)


def as_groups(partition: Partition, active: np.ndarray) -> Groups:
    """``partition`` and the counts ``active``, contiguous int64."""
    p = partition
    return Groups(*(np.ascontiguousarray(a, np.int64) for a in (
        active, p.limits, p.n_positions, p.source_part, p.target_part, p.rectangles, p.group_start, p.source_order,
        p.target_order)))


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
def update(weight, grad, eta, l1, amplitude, key, table, rewires):
    """One SGD step with L1 prior and noise. Afterwards ``grad`` holds theta: negative where the connection died.

    rewires : False lets a weight change its sign instead of dying (a fixed set of positions)
    """
    shrink = np.float32(eta * l1)
    eta, amplitude = np.float32(eta), np.float32(amplitude)
    for k in range(weight.size):
        w = weight[k]
        theta = abs(w) - shrink + amplitude * normal(k, key, table) - eta * np.copysign(np.float32(1), w) * grad[k]
        grad[k] = theta if rewires else np.float32(1)
        weight[k] = theta * np.copysign(np.float32(1), w)


@kernel
def encode(weight, code, first, last, inverse_step, lo, hi):
    """``code = saturate(rint(weight / step))`` for connections first..last-1; ``inverse_step`` is a power of two."""
    inverse_step, lo, hi = np.float32(inverse_step), np.float32(lo), np.float32(hi)
    for k in range(first, last):
        code[k] = np.int8(min(max(np.rint(weight[k] * inverse_step), lo), hi))


@kernel
def find_dead(theta, dead):
    """List k with ``theta[k] < 0`` in ``dead``, rising; returns how many."""
    n = 0
    for k in range(theta.size):
        if theta[k] < 0:
            dead[n] = k
            n += 1
    return n


@kernel
def _move(net, first, last, by):
    """Move connections first..last-1 by ``by`` places."""
    shift(net.out_idx, first, last, by)
    shift(net.weight, first, last, by)
    shift(net.code, first, last, by)
    for i in range(net.moments.shape[0]):
        shift(net.moments[i], first, last, by)


@kernel
def remove(net, groups, dead):
    """Close the gaps that ``dead`` (rising) leaves and take them off ``groups.active``."""
    indptr, level = net.indptr, net.level
    r, layer = 0, 0
    for j in range(dead.size):
        k = dead[j]
        while indptr[r + 1] <= k:
            indptr[r + 1] -= j
            r += 1
        while level[layer + 1] <= r:
            layer += 1
        target = level[layer + 1] - level[1] + net.out_idx[k]
        groups.active[groups.source_part[r] + groups.target_part[target]] -= 1
        _move(net, k + 1, dead[j + 1] if j + 1 < dead.size else net.out_idx.size, -(j + 1))
    for i in range(r + 1, indptr.size):
        indptr[i] -= dead.size


@kernel
def lower_bound(values, first, last, value):
    """First place in first..last of the rising ``values[first:last]`` that is not below ``value``."""
    while first < last:
        middle = (first + last) >> 1
        if values[middle] < value:
            first = middle + 1
        else:
            last = middle
    return first


@kernel
def draw_position(level, groups, g, state):
    """A position uniform over group ``g``, as ``source << 32 | out_idx``."""
    draw = below(state, groups.n_positions[g])
    rectangles = groups.rectangles
    row = groups.group_start[g + 1] - 1
    while rectangles[row, 6] > draw:
        row -= 1
    layer, width = rectangles[row, 1], rectangles[row, 5]
    offset = draw - rectangles[row, 6]
    source = groups.source_order[rectangles[row, 2] + offset // width]
    target = groups.target_order[rectangles[row, 4] + offset % width]
    return source << 32 | (target - (level[layer + 1] - level[1]))


@kernel
def draw_dormant(net, groups, keys, state):
    """Fill ``keys`` with distinct dormant positions, as many in each group as it lacks, sorted; uniform by rejection.

    ``groups.active`` ends equal to ``groups.limits``.
    """
    size = 16
    while size < 4 * keys.size:
        size *= 2
    table = np.full(size, -1, np.int64)  # open addressing: what was drawn in this call
    n = 0
    for g in range(groups.limits.size):
        while groups.active[g] < groups.limits[g]:
            key = draw_position(net.level, groups, g, state)
            r, c = key >> 32, key & _LOW
            place = lower_bound(net.out_idx, net.indptr[r], net.indptr[r + 1], c)
            if place < net.indptr[r + 1] and net.out_idx[place] == c:
                continue
            slot = (((key ^ (key >> 29)) * 0x2545F4914F6CDD1D) >> 20) & (size - 1)
            while table[slot] >= 0 and table[slot] != key:
                slot = (slot + 1) & (size - 1)
            if table[slot] == key:
                continue
            table[slot] = key
            keys[n] = key
            n += 1
            groups.active[g] += 1
    assert n == keys.size
    keys.sort()


@kernel
def insert(net, keys, state):
    """Make room for the sorted ``keys`` behind the ``K - keys.size`` connections left and put them there: theta = 0,
    a random sign, no optimizer state."""
    indptr = net.indptr
    end = indptr[indptr.size - 1]
    for j in range(keys.size - 1, -1, -1):
        r, c = keys[j] >> 32, keys[j] & _LOW
        place = lower_bound(net.out_idx, indptr[r], min(indptr[r + 1], end), c)
        _move(net, place, end, j + 1)
        end = place
        net.out_idx[place + j] = c
        net.weight[place + j] = np.float32(-0.0) if next_u64(state) >> np.uint64(63) else np.float32(0.0)
        net.code[place + j] = 0
        net.moments[:, place + j] = 0
    j = 0
    for r in range(indptr.size - 1):
        while j < keys.size and keys[j] >> 32 == r:
            j += 1
        indptr[r + 1] += j


@kernel
def rewire(net, groups, dead, keys, state):
    """Replace every connection whose theta (``net.grad`` after ``update``) is negative, inside its group; how many.

    dead, keys : (K,) int64 scratch
    """
    n = find_dead(net.grad, dead)
    if n > 0:
        remove(net, groups, dead[:n])
        draw_dormant(net, groups, keys[:n], state)
        insert(net, keys[:n], state)
    return n


def rewire_numpy(connections: Connections, dead: np.ndarray, rng: np.random.Generator) -> None:
    """What ``rewire`` does, as one reads it in the paper: the reference of the tests.

    dead : (K,) bool, theta < 0
    """
    partition = connections.partition
    sizes = partition.sizes
    layer_of_source = np.repeat(np.arange(len(sizes) - 1), sizes[:-1])
    source, layer = connections.sources(), connections.layers()
    held = list(zip(source[~dead].tolist(), connections.out_idx[~dead].tolist(), connections.weight[~dead].tolist(),
                    strict=True))
    occupied = {(s, o) for s, o, _ in held}
    groups = partition.groups(source, layer, connections.out_idx)
    for g in groups[dead]:
        dormant = [(s, o) for s in range(sum(sizes[:-1])) for o in range(sizes[layer_of_source[s] + 1])
                   if (s, o) not in occupied and partition.groups(s, layer_of_source[s], o) == g]
        position = dormant[rng.integers(len(dormant))]
        occupied.add(position)
        held.append((*position, float(rng.choice((0.0, -0.0)))))
    held.sort(key=lambda entry: entry[:2])
    connections.out_idx[:] = [o for _, o, _ in held]
    connections.weight[:] = np.array([w for _, _, w in held], np.float32)
    connections.indptr[1:] = np.cumsum(np.bincount([s for s, _, _ in held], minlength=connections.indptr.size - 1))


def amplitude(eta: float, temperature: float) -> float:
    """Standard deviation of one step's noise, ``sqrt(2 * eta * T)``."""
    return float(np.sqrt(2 * eta * temperature))
