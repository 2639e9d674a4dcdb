"""A budget is a partition: the potential connections fall into groups, each with a strict limit of its own.

They are the positions of one or more matrices. All rows (inputs) are numbered on, matrix after matrix, as *sources*,
all columns (outputs) as *targets*; the group of a position is ``source_part[source] + target_part[target]``. Every
partition that hardware asks for has this form: one group (global), one per matrix, per output, per lane, per tile. What
dies is replaced inside its group, by one mechanism that knows nothing of the partition's meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Partition:
    """Groups of potential connections of some matrices and how many each may hold.

    kind        : name, e.g. ``global``, ``per_layer``
    shapes      : (n_in, n_out) of each matrix
    limits      : (G,) int64, connections that each group holds
    source_part : (n_sources,) int64 share of the group number of every source
    target_part : (n_targets,) int64 share of the group number of every target

    Raises ``ValueError`` when a group can't hold its limit.
    """

    kind: str
    shapes: tuple[tuple[int, int], ...]
    limits: np.ndarray
    source_part: np.ndarray
    target_part: np.ndarray

    def __post_init__(self) -> None:
        if (self.limits < 0).any():
            raise ValueError(f"budget {self.kind}: limits {self.limits.tolist()} can't be negative")
        if not self.limits.any():
            raise ValueError(f"budget {self.kind}: all limits are 0, so there is no connection to train")
        over = np.flatnonzero(self.limits > self.n_positions)
        if over.size:
            g = int(over[0])
            raise ValueError(
                f"budget {self.kind}: group {g} shall hold {self.limits[g]} connections but has only "
                f"{self.n_positions[g]} positions"
            )

    @property
    def n_groups(self) -> int:
        """G."""
        return self.limits.size

    @property
    def n_connections(self) -> int:
        """K, the sum of the limits."""
        return int(self.limits.sum())

    @cached_property
    def rectangles(self) -> np.ndarray:
        """(R, 7) int64, the groups as rectangles, in order of group:
        group, matrix, first entry and number of entries in ``source_order``, the same in ``target_order``, positions
        before this one in its group."""
        rows = []
        n_in, n_out = zip(*self.shapes, strict=True)
        blocks = zip(_blocks(self.source_part, n_in), _blocks(self.target_part, n_out), strict=True)
        for matrix, (sources, targets) in enumerate(blocks):
            for s_part, s_first, s_count in sources:
                for t_part, t_first, t_count in targets:
                    rows.append((s_part + t_part, matrix, s_first, s_count, t_first, t_count, 0))
        table = np.array(sorted(rows), np.int64)
        n_positions = table[:, 3] * table[:, 5]
        before = np.cumsum(n_positions) - n_positions
        _, first, inverse = np.unique(table[:, 0], return_index=True, return_inverse=True)
        table[:, 6] = before - before[first][inverse]
        return table

    @cached_property
    def group_start(self) -> np.ndarray:
        """(G + 1,) int64: rectangles of group g are ``rectangles[group_start[g] : group_start[g + 1]]``."""
        return np.searchsorted(self.rectangles[:, 0], np.arange(self.n_groups + 1))

    @cached_property
    def n_positions(self) -> np.ndarray:
        """(G,) int64 potential connections of each group."""
        table = self.rectangles
        total = np.zeros(self.n_groups, np.int64)
        np.add.at(total, table[:, 0], table[:, 3] * table[:, 5])
        return total

    @cached_property
    def source_order(self) -> np.ndarray:
        """(n_sources,) int64 sources by matrix, then by part."""
        return np.lexsort((self.source_part, np.repeat(np.arange(len(self.shapes)), [n for n, _ in self.shapes])))

    @cached_property
    def target_order(self) -> np.ndarray:
        """(n_targets,) int64 targets by matrix, then by part."""
        return np.lexsort((self.target_part, np.repeat(np.arange(len(self.shapes)), [n for _, n in self.shapes])))

    @cached_property
    def source_start(self) -> np.ndarray:
        """(M + 1,) int64 first source of each matrix, and their number."""
        return np.cumsum([0, *(n for n, _ in self.shapes)])

    @cached_property
    def target_start(self) -> np.ndarray:
        """(M + 1,) int64 first target of each matrix, and their number."""
        return np.cumsum([0, *(n for _, n in self.shapes)])

    def groups(self, source: Any, matrix: Any, out_idx: Any) -> np.ndarray:
        """Group of each position from ``source`` of ``matrix`` to that matrix's output ``out_idx``."""
        return self.source_part[source] + self.target_part[self.target_start[matrix] + out_idx]


def _blocks(part: np.ndarray, counts: Sequence[int]) -> list[list[tuple[int, int, int]]]:
    """Per matrix: (part, first entry, number of entries) of each distinct part in the sorted order of its ``counts``
    sources or targets."""
    blocks, start = [], 0
    for n in counts:
        values, sizes = np.unique(part[start : start + n], return_counts=True)
        firsts = start + np.cumsum(sizes) - sizes
        blocks.append(list(zip(values.tolist(), firsts.tolist(), sizes.tolist(), strict=True)))
        start += n
    return blocks
