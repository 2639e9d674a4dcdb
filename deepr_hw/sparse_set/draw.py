"""Dormant positions: drawn uniformly inside their groups, sorted; and the sparse set as kernels take it."""

from typing import NamedTuple

import numpy as np

from deepr_hw.kernel.jit import kernel
from deepr_hw.kernel.noise import below, two_below
from deepr_hw.kernel.vectors import shift

from .connections import Connections
from .partition import Partition

LOW = np.int64(0xFFFFFFFF)
"""A position is ``source << 32 | out_idx``."""


class Arrays(NamedTuple):
    """The arrays of ``Connections`` for the kernels; ``source_start`` (M + 1,) and ``n_out`` (M,) int64 say where its
    matrices begin and how many outputs each has."""

    source_start: np.ndarray
    n_out: np.ndarray
    indptr: np.ndarray
    out_idx: np.ndarray
    weight: np.ndarray
    code: np.ndarray
    grad: np.ndarray
    theta: np.ndarray
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
    n_out = np.array([n for _, n in c.shapes], np.int64)
    return Arrays(c.partition.source_start, n_out, c.indptr, c.out_idx, c.weight, c.code, c.grad, c.theta, c.moments)


def as_groups(partition: Partition, active: np.ndarray) -> Groups:
    """``partition`` and the counts ``active``, contiguous int64."""
    p = partition
    return Groups(
        *(
            np.ascontiguousarray(a, np.int64)
            for a in (
                active,
                p.limits,
                p.n_positions,
                p.source_part,
                p.target_part,
                p.rectangles,
                p.group_start,
                p.source_order,
                p.target_order,
                p.target_start,
            )
        )
    )


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
    indptr, out_idx, source_start, target_start = net.indptr, net.out_idx, net.source_start, groups.target_start
    active, limits, group_start = groups.active, groups.limits, groups.group_start
    source_part, target_part, n_positions = groups.source_part, groups.target_part, groups.n_positions
    n = 0
    while n < keys.size:
        kept = n
        for g in range(limits.size):
            missing = limits[g] - active[g]
            if missing > 0:
                draw_positions(
                    keys[n : n + missing],
                    groups.rectangles[group_start[g] : group_start[g + 1]],
                    n_positions[g],
                    groups.source_order,
                    groups.target_order,
                    target_start,
                    state,
                )
                n += missing
                active[g] = limits[g]
        sort_keys(keys[kept:n], spare)
        if kept > 0:
            merge(keys, kept, n, spare)
        n = 0
        matrix, last = 0, np.int64(-1)
        for i in range(keys.size):
            key = keys[i]
            r, c = key >> 32, key & LOW
            place = lower_bound(out_idx, indptr[r], indptr[r + 1], c)
            if key == last or (place < indptr[r + 1] and out_idx[place] == c):
                while source_start[matrix + 1] <= r:
                    matrix += 1
                active[source_part[r] + target_part[target_start[matrix] + c]] -= 1
            else:
                keys[n] = last = key
                n += 1
        if keys.size - n <= 64 or 2 * (n - kept) < keys.size - kept:  # few missing, or hard to find: one by one
            _draw_singly(net, groups, keys, n, spare, state)
            return


@kernel
def _draw_singly(net, groups, keys, n, spare, state):
    """Complete the sorted ``keys[:n]`` by drawing until a position is neither active nor among them. In a group that is
    all but full this takes as many draws as the group has positions for each dormant one."""
    indptr, out_idx, active, limits = net.indptr, net.out_idx, groups.active, groups.limits
    source_order, target_order, target_start = groups.source_order, groups.target_order, groups.target_start
    for g in range(limits.size):
        if active[g] < limits[g]:
            rectangles = groups.rectangles[groups.group_start[g] : groups.group_start[g + 1]]
            drawn, n_positions = spare[:1], groups.n_positions[g]
            while active[g] < limits[g]:
                draw_positions(drawn, rectangles, n_positions, source_order, target_order, target_start, state)
                key = drawn[0]
                r, c = key >> 32, key & LOW
                place = lower_bound(out_idx, indptr[r], indptr[r + 1], c)
                if place < indptr[r + 1] and out_idx[place] == c:
                    continue
                place = lower_bound(keys, 0, n, key)
                if place < n and keys[place] == key:
                    continue
                shift(keys, place, n, 1)
                keys[place] = key
                n += 1
                active[g] += 1


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
def recount(net, groups, active):
    """Count the connections of each group anew into ``active`` (G,); False unless positions are sorted, distinct and in
    range and the row starts fit."""
    indptr, out_idx, source_start = net.indptr, net.out_idx, net.source_start
    source_part, target_part, target_start = groups.source_part, groups.target_part, groups.target_start
    active[:] = 0
    sound = indptr[0] == 0 and indptr[indptr.size - 1] == out_idx.size
    matrix = 0
    for r in range(indptr.size - 1):
        while source_start[matrix + 1] <= r:
            matrix += 1
        width, before = net.n_out[matrix], np.int64(-1)
        for k in range(indptr[r], indptr[r + 1]):
            c = np.int64(out_idx[k])
            if c <= before or c >= width:
                return False
            before = c
            active[source_part[r] + target_part[target_start[matrix] + c]] += 1
    return sound
