"""The sparse set: positions and values of K connections, in one order, for all matrices of a network together.

The rows of all matrices are numbered on as *sources*; connections are sorted by (source, out_idx), which is (matrix,
in_idx, out_idx). One array of row starts over all sources then holds the whole network, so moving a connection from one
matrix to another is no special case.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .partition import Partition
from .share import share_per_matrix

_FAN_IN, _FAN_OUT = 3, 2  # of a hidden neuron that is used at first

Shapes = tuple[tuple[int, int], ...]


@dataclass(eq=False)
class Connections:
    """K active connections; the arrays are edited in place by rewiring.

    partition : the groups and their limits
    indptr    : (n_sources + 1,) int64, connections of source r are ``indptr[r] : indptr[r + 1]``
    out_idx   : (K,) int32 output within the matrix, rising within a source
    weight    : (K,) float32, ``sign * theta``; +0.0 and -0.0 keep the sign of a connection whose theta is 0
    code      : (K,) int8 quantized weight; 0 is legal for an active connection
    grad      : (K,) float32 dE/dweight of the last step
    moments   : (n, K) float32 state of the optimizer, which travels with its connection
    walk      : (K,) float32 theta of soft-DEEP R, where dormant connections are held and walk; else None
    """

    partition: Partition
    indptr: np.ndarray
    out_idx: np.ndarray
    weight: np.ndarray
    code: np.ndarray
    grad: np.ndarray
    moments: np.ndarray
    walk: np.ndarray | None = None

    @property
    def theta(self) -> np.ndarray:
        """(K,) float32 theta after a step. DEEP R keeps none between steps, as ``weight`` tells its sign and size: it
        lies where the gradient was, until the next one."""
        return self.grad if self.walk is None else self.walk

    @property
    def n_connections(self) -> int:
        """K."""
        return self.out_idx.size

    @property
    def shapes(self) -> Shapes:
        """(n_in, n_out) of each matrix."""
        return self.partition.shapes

    def matrix_slices(self) -> list[slice]:
        """Where each matrix's connections are."""
        ends = self.indptr[self.partition.source_start]
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]

    def sources(self) -> np.ndarray:
        """(K,) int64 source of each connection."""
        return np.repeat(np.arange(self.indptr.size - 1), np.diff(self.indptr))

    def matrices(self) -> np.ndarray:
        """(K,) int64 matrix of each connection."""
        return np.searchsorted(self.partition.source_start, self.sources(), side="right") - 1

    def group_counts(self) -> np.ndarray:
        """(G,) int64 connections in each group, counted anew."""
        groups = self.partition.groups(self.sources(), self.matrices(), self.out_idx)
        return np.bincount(groups, minlength=self.partition.n_groups)

    def check(self) -> None:
        """Raise ``ValueError`` unless positions are distinct, sorted, in range and every group holds its limit."""
        if self.indptr[0] != 0 or self.indptr[-1] != self.n_connections or (np.diff(self.indptr) < 0).any():
            raise ValueError(f"row starts don't rise from 0 to {self.n_connections}")
        if (self.out_idx < 0).any() or (self.out_idx >= np.array(self.shapes)[self.matrices(), 1]).any():
            raise ValueError("a connection ends outside its matrix")
        if (np.diff(self.sources() << 32 | self.out_idx) <= 0).any():
            raise ValueError("connections out of order or repeated")
        counts, limits = self.group_counts(), self.partition.limits
        wrong = np.flatnonzero(counts != limits)
        if wrong.size:
            raise ValueError(f"group {wrong[0]} holds {counts[wrong[0]]} connections, its limit is {limits[wrong[0]]}")


def draw_positions(partition: Partition, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distinct random positions, uniform within each group, exactly its limit: (source, out_idx), sorted."""
    sources, targets = [], []
    table = partition.rectangles
    for g in range(partition.n_groups):
        drawn = choose_distinct(rng, int(partition.n_positions[g]), int(partition.limits[g]))
        block = table[partition.group_start[g] : partition.group_start[g + 1]]
        row = block[np.searchsorted(block[:, 6], drawn, side="right") - 1]
        offset = drawn - row[:, 6]
        sources.append(partition.source_order[row[:, 2] + offset // row[:, 5]])
        target = partition.target_order[row[:, 4] + offset % row[:, 5]]
        targets.append(target - partition.target_start[row[:, 1]])
    source, out_idx = np.concatenate(sources), np.concatenate(targets)
    order = np.argsort(source << 32 | out_idx)
    return source[order], out_idx[order].astype(np.int32)


def choose_distinct(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """(k,) int64 distinct integers below ``n``, uniform over all subsets; time and memory follow k, not n."""
    if n <= 4 * k or n <= 1 << 16:
        return rng.permutation(n)[:k].astype(np.int64)
    chosen = np.unique(rng.integers(0, n, k + k // 8 + 16))
    while chosen.size < k:
        chosen = np.union1d(chosen, rng.integers(0, n, k - chosen.size + 16))
    return rng.permutation(chosen)[:k]  # drop random ones, not the largest


def first_partition(partition: Partition) -> Partition:
    """Where the first positions are drawn: in the groups of ``partition``, but one group over several matrices is
    shared out by ``share_per_matrix``. Drawn uniformly, 1 % would put 10 connections into a last one of 100 x 10."""
    shapes = partition.shapes
    if partition.n_groups > 1 or not 1 < len(shapes) <= partition.n_connections:
        return partition
    limits = np.array(share_per_matrix(partition.n_connections, shapes), np.int64)
    return replace(partition, limits=limits, source_part=np.repeat(np.arange(len(shapes)), [n for n, _ in shapes]))


def levels_of(shapes: Shapes) -> tuple[int, ...]:
    """Neurons per level where each matrix leads from the outputs of the one before it; else empty."""
    chain = all(a[1] == b[0] for a, b in pairwise(shapes))
    return (shapes[0][0], *(n_out for _, n_out in shapes)) if chain else ()


def first_widths(sizes: tuple[int, ...], counts: Sequence[int]) -> list[int]:
    """Neurons of each level that the first connections, ``counts`` in each layer, lead to: all inputs and outputs, and
    of the hidden ones so many that each gets three connections and gives two. Spread over more, few of them would lie
    on a complete path from the inputs to the outputs, and without one nothing is learnt."""
    widths = list(sizes)
    for level in range(1, len(sizes) - 1):
        widths[level] = min(sizes[level], max(1, min(counts[level - 1] // _FAN_IN, counts[level] // _FAN_OUT)))
    while full := [i for i, count in enumerate(counts) if widths[i] * widths[i + 1] < count]:
        for level in {level for i in full for level in (i, i + 1)}:
            widths[level] = min(sizes[level], 2 * widths[level])
    return widths


def first_positions(partition: Partition, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distinct random positions, exactly the limit of each group: (source, out_idx), sorted.

    Where each matrix of a chain is a group they go to a random choice of ``first_widths`` neurons, and reach every
    hidden one of them from both sides; elsewhere they are uniform in each group.
    """
    partition = first_partition(partition)
    sizes, starts = levels_of(partition.shapes), partition.source_start
    if partition.n_groups != len(sizes) - 1 or np.ptp(partition.target_part):
        return draw_positions(partition, rng)
    counts = partition.limits.tolist()
    chosen = [rng.permutation(n)[:width] for n, width in zip(sizes, first_widths(sizes, counts), strict=True)]
    sources, targets = [], []
    for layer, count in enumerate(counts):
        hidden = [chosen[level].size for level in (layer, layer + 1) if 0 < level < len(sizes) - 1]
        row, column = covering_positions(
            rng, chosen[layer].size, chosen[layer + 1].size, count, min(count, max(hidden, default=0))
        )
        sources.append(starts[layer] + chosen[layer][row])
        targets.append(chosen[layer + 1][column])
    source, out_idx = np.concatenate(sources), np.concatenate(targets)
    order = np.argsort(source << 32 | out_idx)
    return source[order], out_idx[order].astype(np.int32)


def covering_positions(
    rng: np.random.Generator, n_rows: int, n_columns: int, k: int, n_covering: int
) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) of ``k`` distinct random positions. The first ``n_covering`` use all rows equally often and all
    columns, to within one, where chance finds such a choice; the others are uniform."""
    row, column = (
        np.concatenate([np.tile(np.arange(n), n_covering // n), rng.permutation(n)[: n_covering % n]])
        for n in (n_rows, n_columns)
    )
    row = rng.permutation(row)
    for _ in range(100):
        key = row * n_columns + column
        order = np.argsort(key, kind="stable")
        repeated = order[1:][np.diff(key[order]) == 0]
        if repeated.size == 0:
            break
        pool = np.union1d(repeated, rng.permutation(n_covering)[: repeated.size])
        row[pool] = rng.permutation(row[pool])
    key = np.unique(row * n_columns + column)
    drawn = choose_distinct(rng, n_rows * n_columns, k)  # of these at least k - key.size are new
    key = np.concatenate([key, drawn[~np.isin(drawn, key)][: k - key.size]])
    return key // n_columns, key % n_columns


def first_scales(shapes: Shapes, counts: np.ndarray, init: str) -> np.ndarray:
    """(M,) standard deviation of each matrix's first weights: one over the root of its ``counts`` per output, at least
    1 (``fan_in``), or of its inputs (``n_in``)."""
    n_in, n_out = np.array(shapes, np.float64).T
    return 1 / np.sqrt(np.maximum(1, counts / n_out) if init == "fan_in" else n_in)


def make_connections(
    partition: Partition, rng: np.random.Generator, n_moments: int = 0, init: str = "fan_in"
) -> Connections:
    """Random connections: ``first_positions``, or for ``init = "n_in"`` uniform ones in each group, as in the paper;
    random signs, ``theta = |N(0, 1)| * first_scales``.

    Source: Bellec et al. 2018 and the authors' code, which draws uniform positions, with replacement.
    """
    source, out_idx = first_positions(partition, rng) if init == "fan_in" else draw_positions(partition, rng)
    matrix = np.searchsorted(partition.source_start, source, side="right") - 1
    scales = first_scales(partition.shapes, np.bincount(matrix, minlength=len(partition.shapes)), init)
    weight = (rng.standard_normal(source.size) * scales[matrix]).astype(np.float32)
    indptr = np.searchsorted(source, np.arange(partition.source_start[-1] + 1)).astype(np.int64)
    k = source.size
    return Connections(
        partition,
        indptr,
        out_idx,
        weight,
        np.zeros(k, np.int8),
        np.zeros(k, np.float32),
        np.zeros((n_moments, k), np.float32),
    )
