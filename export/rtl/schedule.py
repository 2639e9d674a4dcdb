"""Which slot runs in which row and lane: the compiler schedules, the hardware never arbitrates.

Rules that a schedule keeps (``rtl/README.md`` says why):

1. In a row each lane executes one slot; an output's slots lie in one lane, one after the other, idle slots between
   them allowed; the last one carries ``last``.
2. A slot that reads an activation which ended in row r lies in row r + WRITE_TO_READ or later.
3. Rows in which any lane ends a hidden output take the next free activation word; lane l writes its byte l.
4. Logit o ends in lane o mod lanes, in the order of o within the lane, not before the collector took the one before.

A row is a cycle, hence ``n_rows`` is the interval, unless input or output streams are slower.
"""

import math
from dataclasses import dataclass

import numpy as np

from deepr_hw.ir import IntNet, SparseLinear, linear_layers

from .geometry import HOLD_TO_TAKE, LATENCY, WRITE_TO_READ, Geometry


@dataclass(frozen=True)
class Job:
    """One output in its lane: ``rows[i]`` executes connection ``connections[i]``; the output ends in row ``end``.

    An output without connections ends in a slot without a multiply-accumulate.
    """

    output: int
    lane: int
    connections: np.ndarray
    rows: np.ndarray
    end: int


@dataclass(frozen=True)
class LayerSchedule:
    """Rows ``first_row..last_row`` hold ``jobs``; unread outputs without connections have no job."""

    first_row: int
    last_row: int
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Schedule:
    """A network in rows and lanes.

    layers    : in order
    n_in      : bytes of an input frame
    n_rows    : rows per sample
    n_words   : activation words that the lanes write per sample
    in_words  : words of an input frame, ceil(n_in / lanes)
    n_ends    : rows in which any output ends, bias words per sample
    in_rows   : rows of the layer that reads the input
    collected : row (counted on from the sample's first row) in which the collector takes the last logit
    """

    lanes: int
    layers: tuple[LayerSchedule, ...]
    n_in: int
    n_rows: int
    in_words: int
    n_words: int
    n_ends: int
    in_rows: int
    collected: int
    n_out: int
    n_connections: tuple[int, ...]

    @property
    def written_rows(self) -> list[int]:
        """Rows in which any lane ends a hidden output, ascending: each writes a word, ``n_words`` in all."""
        return [row for part in self.layers[:-1] for row in sorted({job.end for job in part.jobs})]

    @property
    def least_rows(self) -> int:
        """Sum over layers of ceil(K / lanes): what no schedule can undercut."""
        return sum(math.ceil(k / self.lanes) for k in self.n_connections)

    @property
    def interval(self) -> float:
        """Cycles from sample to sample in steady state, source and sink always willing, streams as wide as a word.

        Of narrower ones ``rtl_timing`` tells. The rows, unless a stream is slower: the input has one word per cycle in
        which the lanes don't write, and two samples at most may be between the input buffers and the last logit beat.
        """
        return max(self.n_rows, self.in_words + self.n_words, (self.collected + self.n_out + LATENCY - 1) / 2)

    @property
    def latency(self) -> int:
        """Cycles from the last input beat to the first logit beat of a sample that finds the engine idle."""
        return self.collected + LATENCY

    @property
    def utilization(self) -> float:
        """``least_rows / interval``."""
        return self.least_rows / self.interval


def assign_lanes(fan_in: np.ndarray, lanes: int, free: bool) -> np.ndarray:
    """(n_out,) lane of each output: ``o mod lanes``; where ``free`` and better, longest processing time first.

    Source: Graham 1969, "Bounds on multiprocessing timing anomalies".
    """
    natural = np.arange(fan_in.size) % lanes
    load = np.bincount(natural, fan_in, lanes)
    if not free or load.max(initial=0) <= math.ceil(fan_in.sum() / lanes):
        return natural
    lane, busy = np.zeros(fan_in.size, np.int64), np.zeros(lanes, np.int64)
    for output in np.argsort(-fan_in, kind="stable"):
        lane[output] = np.argmin(busy)
        busy[lane[output]] += fan_in[output]
    return lane if busy.max() < load.max() else natural


def _place(ready: np.ndarray, row: int) -> np.ndarray:
    """Rows of slots that may run from ``ready`` (sorted) on, one per row, from ``row`` on, as early as possible."""
    return np.maximum.accumulate(np.maximum(ready, row) - np.arange(ready.size)) + np.arange(ready.size)


class _LaneFiller:
    """Orders the hidden outputs of a layer within each lane."""

    def __init__(self, layer: SparseLinear, ready: np.ndarray, first_row: int) -> None:
        starts = np.concatenate([[0], np.cumsum(layer.matrix.fan_in)])
        self.order, self.ready = [], []
        for o in range(layer.n_out):
            connections = np.arange(starts[o], starts[o + 1])
            when = ready[layer.matrix.in_idx[connections]]
            order = np.argsort(when, kind="stable")
            self.order.append(connections[order])
            self.ready.append(when[order])
        self.first_row = first_row
        self.ends: set[int] = set()

    def place(self, output: int, row: int) -> tuple[np.ndarray, int]:
        """Rows and end of ``output`` when its lane is free from ``row`` on."""
        rows = _place(self.ready[output], row)
        return rows, int(rows[-1]) if rows.size else row

    def fill(self, outputs: list[int], lane: int) -> list[Job]:
        """Jobs of ``lane``. Preferred: no waiting, then an end in a row where another lane ends, too."""
        settled = max((int(self.ready[o][-1]) for o in outputs if self.ready[o].size), default=0)
        left = sorted(outputs, key=lambda o: self.order[o].size)
        row, jobs = self.first_row, []
        while left:
            if row >= settled:  # nothing waits any more: only the length counts
                length = {max(1, self.order[o].size): i for i, o in reversed(list(enumerate(left)))}
                pick = next((i for n, i in length.items() if row + n - 1 in self.ends), 0)
            else:

                def cost(i: int, row: int = row) -> tuple[int, bool, int]:
                    end, n = self.place(left[i], row)[1], max(1, self.order[left[i]].size)
                    return end - (row + n - 1), end not in self.ends, i

                pick = min(range(len(left)), key=cost)
            output = left.pop(pick)
            rows, end = self.place(output, row)
            jobs.append(Job(output, lane, self.order[output], rows, end))
            self.ends.add(end)
            row = end + 1
        return jobs


def _hidden(layer: SparseLinear, read: np.ndarray, ready: np.ndarray, first_row: int, lanes: int) -> list[Job]:
    """Jobs of a hidden layer; ``read[o]`` tells whether anybody reads output o."""
    outputs = np.flatnonzero((layer.matrix.fan_in > 0) | read)
    lane_of = assign_lanes(np.where(read, np.maximum(layer.matrix.fan_in, 1), layer.matrix.fan_in), lanes, free=True)
    filler = _LaneFiller(layer, ready, first_row)
    return [job for lane in range(lanes) for job in filler.fill([int(o) for o in outputs if lane_of[o] == lane], lane)]


def _final(layer: SparseLinear, ready: np.ndarray, first_row: int, lanes: int) -> tuple[list[Job], list[int]]:
    """Jobs of the final layer and the row in which each logit is taken."""
    filler = _LaneFiller(layer, ready, first_row)
    free = [first_row] * lanes
    jobs: list[Job] = []
    taken: list[int] = []
    for o in range(layer.n_out):
        rows, end = filler.place(o, free[o % lanes])
        if o >= lanes:
            end = max(end, taken[o - lanes])
        if rows.size and end != rows[-1]:
            rows = np.append(rows[:-1], end)
        jobs.append(Job(o, o % lanes, filler.order[o], rows, end))
        taken.append(max([end + HOLD_TO_TAKE, *[t + 1 for t in taken[-1:]]]))
        free[o % lanes] = end + 1
    return jobs, taken


def _period(final: list[Job], taken: list[int], n_rows: int) -> int:
    """Rows from sample to sample: ``n_rows``, or more where the next sample's logits would overtake the collector."""
    lanes = {job.lane: job for job in reversed(final)}
    last = {job.lane: row for job, row in zip(final, taken, strict=True)}
    return max([n_rows, taken[-1] + 1 - taken[0], *[last[lane] - job.end for lane, job in lanes.items()]])


def schedule(net: IntNet, lanes: int) -> Schedule:
    """The schedule of ``net`` on ``lanes`` lanes.

    Raises ``ValueError`` for a layer that is not a ``SparseLinear``.
    """
    walked = linear_layers(net.layers, "the engine")
    ready = np.zeros(walked[0].n_in, np.int64)
    row, layers, ends, n_words, taken = 0, [], 0, 0, [0]
    for i, layer in enumerate(walked):
        if i + 1 < len(walked):
            after = walked[i + 1]
            jobs = _hidden(layer, np.bincount(after.matrix.in_idx, minlength=layer.n_out) > 0, ready, row, lanes)
            ready = np.zeros(layer.n_out, np.int64)
            for job in jobs:
                ready[job.output] = job.end + WRITE_TO_READ
            n_words += len({job.end for job in jobs})
            last_row = max([row, *[job.end for job in jobs]])
        else:
            jobs, taken = _final(layer, ready, row, lanes)
            last_row = max(job.end for job in jobs)
            last_row = _period(jobs, taken, last_row + 1) - 1
        ends += len({job.end for job in jobs})
        layers.append(LayerSchedule(row, last_row, tuple(jobs)))
        row = last_row + 1
    return Schedule(
        lanes,
        tuple(layers),
        net.n_in,
        row,
        math.ceil(walked[0].n_in / lanes),
        n_words,
        ends,
        layers[0].last_row + 1,
        max(taken[-1], row),
        net.n_out,
        tuple(layer.matrix.n_connections for layer in walked),
    )


def engine_acc_bits(net: IntNet) -> int:
    """Accumulator width that the engine needs, 16..33: hidden sums carry the half of the rounding."""
    widest = 16
    for layer in linear_layers(net.layers, "the engine"):
        low, high = layer.acc_range
        half = rounding_half(layer)
        widest = max(widest, (high + half).bit_length() + 1, (-low - 1).bit_length() + 1 if low < 0 else 1)
    return widest


def engine_shift(layer: SparseLinear) -> int:
    """The shift that the engine applies: one of ``acc_bits`` already gives 0 for every sum, so no more is needed."""
    return min(layer.shift, layer.acc_bits)


def rounding_half(layer: SparseLinear) -> int:
    """What is added to a bias so that the engine's rounding needs no adder: ``2**(shift-1)``, 0 for no shift."""
    return (1 << engine_shift(layer)) >> 1


def required_geometry(net: IntNet, plan: Schedule, banks: int = 2) -> Geometry:
    """The smallest engine that holds ``plan``. Raises ``ValueError`` when the network exceeds any engine."""

    def power(n: int) -> int:
        return 1 << max(1, (n - 1).bit_length())

    words = max(4, power(2 * plan.in_words + plan.n_words))
    while words // 2 < plan.in_words:
        words *= 2
    return Geometry(
        plan.lanes,
        power(plan.n_rows),
        words,
        power(plan.n_ends),
        power(len(net.layers)),
        power(max(net.n_out, plan.lanes)),
        engine_acc_bits(net),
        banks,
    )
