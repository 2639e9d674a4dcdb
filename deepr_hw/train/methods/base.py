"""What a method may do in a training, and what several of them share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deepr_hw.sparse_set.connections import Connections
from deepr_hw.sparse_set.partition import Partition

if TYPE_CHECKING:
    from deepr_hw.train.config import Config, TrainingConfig
    from deepr_hw.train.model import Model

MOST_DENSE = 1 << 24
"""Positions up to which a dense method is let loose."""


class Batch(NamedTuple):
    """A batch of training samples: ``x[order]`` (n, n_in) codes, ``goal`` (n,) labels or (n, n_out) targets, and
    ``weights`` (n,) of each sample's loss, or empty."""

    x: np.ndarray
    goal: np.ndarray
    weights: np.ndarray
    order: np.ndarray


class Method:
    """One way in which connections come and go. It takes part at the places that it overrides.

    name    : what ``training.method`` calls it
    dense   : starts with every position active, and meets the budget at the end of training only
    dies    : a theta that falls to 0 is the end of its connection, so that an L1 prior makes room
    rewires : the compiled step replaces what died
    walks   : the compiled step moves the theta of dormant connections, too
    """

    name: str
    dense = False
    dies = False
    rewires = False
    walks = False

    def refusal(self, t: TrainingConfig) -> tuple[str, Any, str] | None:
        """(key, value, why) of a setting that it can't do with, or None."""
        return None

    def theta_min(self, config: Config, budget: Partition) -> float:
        """Lowest theta of a method that ``walks``."""
        return 0.0

    def start(self, model: Model, budget: Partition, config: Config, rng: np.random.Generator) -> None:
        """Before the first epoch."""

    def prune(self, config: Config, model: Model, budget: Partition, epoch: int) -> None:
        """Before ``epoch`` (0..epochs; ``epochs`` itself is the end): what a dense method takes away."""

    def every(self, t: TrainingConfig) -> int:
        """Steps from one ``within`` to the next; 0 for none."""
        return 0

    def within(self, config: Config, model: Model, batch: Batch, progress: float, stream: np.ndarray) -> int:
        """Rewire between steps, when ``progress`` (0..1) of the training is done; how many connections."""
        return 0

    def between(self, config: Config, model: Model, progress: float, stream: np.ndarray) -> int:
        """Rewire between epochs; how many connections."""
        return 0


def dense_partition(partition: Partition, method: str) -> Partition:
    """``partition`` with every position active, where a dense method starts.

    Raises ``ValueError`` above ``MOST_DENSE`` positions.
    """
    n = int(partition.n_positions.sum())
    if n > MOST_DENSE:
        raise ValueError(
            f"training.method = {method!r}: holds a value for each of the {n:,} positions, which is what "
            f"a budget is there to avoid; offered up to {MOST_DENSE:,}"
        )
    return replace(partition, limits=partition.n_positions.copy())


def groups_of(connections: Connections) -> np.ndarray:
    """(K,) int64 group of each connection."""
    return connections.partition.groups(connections.sources(), connections.matrices(), connections.out_idx)


def rank_in_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n,) int64 rank of each value among its group's, 0 for the smallest, ties by position."""
    order = np.lexsort((np.arange(values.size), values, groups))
    sorted_groups = groups[order]
    first = np.searchsorted(sorted_groups, sorted_groups)
    rank = np.empty(values.size, np.int64)
    rank[order] = np.arange(values.size) - first
    return rank


def keep_largest(model: Model, limits: np.ndarray, alive: np.ndarray | None = None) -> None:
    """Keep in each group g the ``limits[g]`` connections with the largest weights (of those ``alive``, if given).

    The partition's limits become what is left.
    """
    c = model.connections
    size = np.abs(c.weight) if alive is None else np.where(alive, np.abs(c.weight), -1)
    groups = groups_of(c)
    keep = (rank_in_group(-size, groups) < limits[groups]) & (size >= 0)
    counts = np.bincount(c.sources()[keep], minlength=c.indptr.size - 1)
    left = np.bincount(groups[keep], minlength=c.partition.n_groups)
    model.connections = Connections(
        replace(c.partition, limits=left),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.ascontiguousarray(c.out_idx[keep]),
        c.weight[keep],
        c.code[keep],
        c.grad[keep],
        np.ascontiguousarray(c.moments[:, keep]),
        None if c.walk is None else c.walk[keep],
    )


def drop_share(config: Config, progress: float) -> float:
    """Share of each group that set and rigl replace: half a cosine from ``drop`` down to 0 at three quarters."""
    return config.training.drop * (1 + np.cos(np.pi * min(1.0, progress / 0.75))) / 2


def mark_smallest(model: Model, share: float) -> np.ndarray:
    """(K,) bool, the ``share`` of each group with the smallest weights."""
    c = model.connections
    groups = groups_of(c)
    n_drop = np.floor(share * c.partition.limits).astype(np.int64)
    n_drop = np.minimum(n_drop, c.partition.n_positions - c.partition.limits)
    return rank_in_group(np.abs(c.weight), groups) < n_drop[groups]
