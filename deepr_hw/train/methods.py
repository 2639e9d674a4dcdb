"""Rival methods under the same budget and on the same code: which connections leave, which come, and when.

deep_r     in the compiled step: what dies is replaced at once (``rewire.py``)
fixed      random positions, never changed
set        after every epoch the smallest weights of each group are replaced by random positions.
           Source: Mocanu et al. 2018, arXiv 1707.04780 (there signs are kept apart; here it is the magnitude alone)
rigl       every ``rewire_every`` steps the smallest weights of each group are replaced by the dormant positions with
           the largest gradient. Source: Evci et al. 2020, arXiv 1911.11134
magnitude  starts with every position, prunes each group to its budget at one third, retrains. Source: Han et al. 2015
gradual    starts with every position, prunes along a cubic from one tenth to two thirds. Source: Zhu & Gupta 2017
l1         starts with every position, L1 shrinks; weights below 1e-3 leave after each epoch; pruned to the budget at
           two thirds. Source: Collins & Kohli 2014, arXiv 1412.1442
soft_deep_r  every position keeps a theta; dormant ones walk and wake when theta crosses 0. Source: Bellec et al. 2018

The last four are dense by nature: they hold one value per position and meet the budget only at the end.
"""

from dataclasses import replace

import numpy as np

from deepr_hw.ir.tasks import EVEN
from deepr_hw.sparse_set.connections import Connections, draw_positions
from deepr_hw.sparse_set.draw import LOW, as_arrays, as_groups
from deepr_hw.sparse_set.partition import Partition
from deepr_hw.sparse_set.rewire import insert, remove, rewire

from .compiled import Machine, load_batch
from .config import Config
from .loss import loss_and_slope
from .model import Model
from .stage import backward, forward

MOST_DENSE = 1 << 24
"""Positions up to which a dense method is let loose."""

_SMALL = 1e-3
_BLOCK = 1 << 20


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


def start_soft(model: Model, budget: Partition, config: Config, rng: np.random.Generator) -> None:
    """Give every position its theta: the budget's number active as in DEEP R, the others anywhere above theta_min."""
    c = model.connections
    source, out_idx = draw_positions(budget, rng)
    active = np.isin(c.sources() << 32 | c.out_idx, source << 32 | out_idx, assume_unique=True)
    walk = np.where(active, np.abs(c.weight), rng.random(c.n_connections) * theta_min(config, budget))
    c.walk = walk.astype(np.float32)
    c.weight[~active] *= 0  # keeps the sign


def theta_min(config: Config, budget: Partition) -> float:
    """Lowest theta of soft-DEEP R, ``-T (1 - p) / (l1 p)``: with no gradient a share p of the positions is active.

    Source: Bellec et al. 2018, appendix. Raises ``ValueError`` without L1, which the formula needs.
    """
    t, p = config.training, budget.n_connections / int(budget.n_positions.sum())
    if isinstance(t.l1, str) or t.l1 == 0:
        raise ValueError(f"training.l1 = {t.l1}: soft_deep_r needs it, theta_min = -T (1 - p) / (l1 p)")
    return -t.temperature * (1 - p) / (t.l1 * p)


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


def prune(config: Config, model: Model, budget: Partition, epoch: int) -> None:
    """What a dense method takes away before ``epoch`` (0..epochs; ``epochs`` itself is the end)."""
    method, progress = config.training.method, epoch / config.training.epochs
    now, target = model.connections.partition.limits, budget.limits
    if method == "magnitude" and progress >= 1 / 3:
        now = np.minimum(now, target)
    elif method == "gradual" and progress > 0.1:
        left = max(0.0, 1 - (progress - 0.1) / (2 / 3 - 0.1)) ** 3
        now = np.minimum(now, target + np.ceil(left * (budget.n_positions - target)).astype(np.int64))
    elif method == "l1" and epoch > 0:
        now = np.minimum(now, target) if progress >= 2 / 3 else now
    elif method != "soft_deep_r" or progress < 1:
        return
    alive = None
    if method == "l1":
        alive = np.abs(model.connections.weight) >= _SMALL
    elif method == "soft_deep_r":
        now, alive = np.minimum(now, target), model.connections.theta >= 0
    keep_largest(model, now, alive)


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


def rewire_at_random(model: Model, share: float, stream: np.ndarray) -> int:
    """SET: replace the smallest weights by uniform dormant positions of their group; how many."""
    c = model.connections
    c.theta[:] = np.where(mark_smallest(model, share), -1, 1)
    return int(rewire(as_arrays(c), as_groups(c.partition, c.group_counts()), stream))


def rewire_by_gradient(
    model: Model,
    share: float,
    x: np.ndarray,
    y: np.ndarray,
    order: np.ndarray,
    smoothing: float,
    stream: np.ndarray,
    weights: np.ndarray = EVEN,
) -> int:
    """RigL: replace the smallest weights by the dormant positions with the largest gradient on samples ``order``.

    The gradient of all positions is looked at in blocks of rows; no more than what may enter is kept.
    """
    c = model.connections
    dead = np.flatnonzero(mark_smallest(model, share))
    if dead.size == 0:
        return 0
    machine, groups = model.machine(order.size), as_groups(c.partition, c.group_counts())
    load_batch(x, order, machine.x)
    forward(machine.stages, machine.net, machine.values)
    loss_and_slope(machine.outputs, machine.unit, y, order, smoothing, weights)
    backward(machine.reverse, machine.net, machine.values)
    wanted = np.bincount(groups_of(c)[dead], minlength=c.partition.n_groups)
    keys = largest_gradients(model, machine, wanted)
    remove(machine.net, groups, dead)
    insert(machine.net, keys, stream)
    return int(dead.size)


def largest_gradients(model: Model, machine: Machine, wanted: np.ndarray) -> np.ndarray:
    """Sorted positions ``source << 32 | out_idx``: in each group the ``wanted`` dormant ones of largest |gradient|."""
    c, held = model.connections, model.connections.sources() << 32 | model.connections.out_idx
    keys, sizes, matrix = np.zeros(0, np.int64), np.zeros(0, np.float32), -1
    for stage, arrays in zip(model.stages, machine.stages, strict=True):
        for own, (n_in, n_out) in enumerate(stage.shapes):
            matrix += 1
            rows, start = max(1, _BLOCK // n_out), c.partition.source_start[matrix]
            for first in range(0, n_in, rows):
                last = min(first + rows, n_in)
                found = np.abs(stage.position_gradients(arrays, own, first, last)).ravel()
                position = (np.arange(start + first, start + last)[:, None] << 32 | np.arange(n_out)).ravel()
                dormant = ~np.isin(position, held, assume_unique=True)
                keys, sizes = np.concatenate([keys, position[dormant]]), np.concatenate([sizes, found[dormant]])
                source = keys >> 32
                matrices = np.searchsorted(c.partition.source_start, source, side="right") - 1
                groups = c.partition.groups(source, matrices, keys & LOW)
                best = rank_in_group(-sizes, groups) < wanted[groups]
                keys, sizes = keys[best], sizes[best]
    return np.sort(keys)
