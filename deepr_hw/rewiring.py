"""Rewiring: what died leaves the sorted set, as many uniformly drawn dormant positions of the same group enter it.

The arrays are edited in place, two passes of block moves per step. ``rewire_numpy`` says the same as one reads it.
"""

from typing import NamedTuple

import numpy as np

from .connections import Connections
from .jit import kernel
from .noise import below, next_u64, two_below
from .partition import Partition
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
    target_start: np.ndarray


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
        p.target_order, p.target_start)))


@kernel
def find_dead(theta, dead):
    """List k with ``theta[k] < 0`` in ``dead``, rising; returns how many."""
    n = 0
    for k in range(theta.size):
        if theta[k] < 0:
            dead[n] = k
            n += 1
    return n


@kernel(inline="always")
def _move(out_idx, weight, code, moments, first, last, by):
    """Move connections first..last-1 by ``by`` places."""
    shift(out_idx, first, last, by)
    shift(weight, first, last, by)
    shift(code, first, last, by)
    for i in range(moments.shape[0]):
        row = i * moments.shape[1]
        shift(moments.ravel(), row + first, row + last, by)


@kernel
def remove(net, groups, dead):
    """Close the gaps that ``dead`` (rising) leaves and take them off ``groups.active``."""
    indptr, out_idx, weight, code, moments = net.indptr, net.out_idx, net.weight, net.code, net.moments
    level, target_start, active = net.level, groups.target_start, groups.active
    source_part, target_part = groups.source_part, groups.target_part
    r, layer = 0, 0
    for j in range(dead.size):
        k = dead[j]
        while indptr[r + 1] <= k:
            indptr[r + 1] -= j
            r += 1
        while level[layer + 1] <= r:
            layer += 1
        active[source_part[r] + target_part[target_start[layer] + out_idx[k]]] -= 1
        _move(out_idx, weight, code, moments, k + 1, dead[j + 1] if j + 1 < dead.size else out_idx.size, -(j + 1))
    for i in range(r + 1, indptr.size):
        indptr[i] -= dead.size


@kernel(inline="always")
def lower_bound(values, first, last, value):
    """First place in first..last of the rising ``values[first:last]`` that is not below ``value``."""
    while last - first > 8:
        middle = (first + last) >> 1
        if values[middle] < value:
            first = middle + 1
        else:
            last = middle
    place = first
    for k in range(first, last):
        place += values[k] < value
    return place


@kernel
def draw_positions(keys, rectangles, n_positions, source_order, target_order, target_start, state):
    """Fill ``keys`` with positions uniform over one group, as ``source << 32 | out_idx``: a rectangle by area, then a
    row and a column. rectangles : the group's own rows of the table"""
    for i in range(keys.size):
        row = rectangles.shape[0] - 1
        if row > 0:
            draw = below(state, n_positions)
            while rectangles[row, 6] > draw:
                row -= 1
        source, target = two_below(state, rectangles[row, 3], rectangles[row, 5])
        source = source_order[rectangles[row, 2] + source]
        target = target_order[rectangles[row, 4] + target]
        keys[i] = source << 32 | (target - target_start[rectangles[row, 1]])


@kernel
def sort_keys(keys, spare):
    """Sort ``keys`` in place: by insertion when few, else by bytes, the constant ones skipped. spare : (keys.size,)"""
    n = keys.size
    if n <= 64:
        for i in range(1, n):
            key = keys[i]
            j = i - 1
            while j >= 0 and keys[j] > key:
                keys[j + 1] = keys[j]
                j -= 1
            keys[j + 1] = key
        return
    varying = np.int64(0)
    for i in range(n):
        varying |= keys[i] ^ keys[0]
    start = np.zeros(256, np.int64)
    for by in range(0, 64, 8):
        if (varying >> by) & 255 == 0:
            continue
        start[:] = 0
        for i in range(n):
            start[(keys[i] >> by) & 255] += 1
        total = 0
        for digit in range(256):
            total, start[digit] = total + start[digit], total
        for i in range(n):
            digit = (keys[i] >> by) & 255
            spare[start[digit]] = keys[i]
            start[digit] += 1
        keys[:] = spare[:n]


@kernel
def draw_dormant(net, groups, keys, spare, state):
    """Fill ``keys`` with distinct dormant positions, as many in each group as it lacks, sorted; uniform by rejection.

    Drawn freely, sorted, then what is active or drawn twice is dropped and drawn anew: the same as refusing it at once,
    but the look-ups go through memory in order. ``groups.active`` ends equal to ``groups.limits``.
    spare : (keys.size,) int64 scratch
    """
    indptr, out_idx, level, target_start = net.indptr, net.out_idx, net.level, groups.target_start
    active, limits, group_start = groups.active, groups.limits, groups.group_start
    source_part, target_part, n_positions = groups.source_part, groups.target_part, groups.n_positions
    n = 0
    while n < keys.size:
        kept = n
        for g in range(limits.size):
            missing = limits[g] - active[g]
            if missing > 0:
                draw_positions(keys[n : n + missing], groups.rectangles[group_start[g] : group_start[g + 1]],
                               n_positions[g], groups.source_order, groups.target_order, target_start, state)
                n += missing
                active[g] = limits[g]
        sort_keys(keys[kept:n], spare)
        if kept > 0:
            merge(keys, kept, n, spare)
        n = 0
        layer, last = 0, np.int64(-1)
        for i in range(keys.size):
            key = keys[i]
            r, c = key >> 32, key & _LOW
            place = lower_bound(out_idx, indptr[r], indptr[r + 1], c)
            if key == last or (place < indptr[r + 1] and out_idx[place] == c):
                while level[layer + 1] <= r:
                    layer += 1
                active[source_part[r] + target_part[target_start[layer] + c]] -= 1
            else:
                keys[n] = last = key
                n += 1


@kernel
def merge(keys, first, last, spare):
    """Merge the sorted runs ``keys[:first]`` and ``keys[first:last]``."""
    spare[:first] = keys[:first]
    i, j, k = 0, first, 0
    while i < first:
        if j < last and keys[j] < spare[i]:
            keys[k] = keys[j]
            j += 1
        else:
            keys[k] = spare[i]
            i += 1
        k += 1


@kernel
def insert(net, keys, state):
    """Make room for the sorted ``keys`` behind the ``K - keys.size`` connections left and put them there: theta = 0,
    a random sign, no optimizer state."""
    indptr, out_idx, weight, code, moments = net.indptr, net.out_idx, net.weight, net.code, net.moments
    end = indptr[indptr.size - 1]
    bits = np.uint64(0)
    for j in range(keys.size - 1, -1, -1):
        r, c = keys[j] >> 32, keys[j] & _LOW
        place = lower_bound(out_idx, indptr[r], min(indptr[r + 1], end), c)
        _move(out_idx, weight, code, moments, place, end, j + 1)
        end = place
        bits = next_u64(state) if j & 63 == 63 or j == keys.size - 1 else bits >> np.uint64(1)
        out_idx[place + j] = c
        weight[place + j] = np.float32(-0.0) if bits & np.uint64(1) else np.float32(0.0)
        code[place + j] = 0
        for i in range(moments.shape[0]):
            moments[i, place + j] = 0
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
        draw_dormant(net, groups, keys[:n], dead, state)
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
