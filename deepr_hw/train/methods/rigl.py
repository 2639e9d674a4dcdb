"""RigL: every so many steps the smallest weights of each group are replaced by the dormant positions with the largest
gradient.

Source: Evci et al. 2020, arXiv 1911.11134.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepr_hw.sparse_set.draw import LOW, as_groups
from deepr_hw.sparse_set.rewire import insert, remove
from deepr_hw.train.compiled import Machine, load_batch
from deepr_hw.train.loss import loss_and_slope
from deepr_hw.train.stage import backward, forward

from .base import Batch, Method, drop_share, groups_of, mark_smallest, rank_in_group

if TYPE_CHECKING:
    from deepr_hw.train.config import Config, TrainingConfig
    from deepr_hw.train.model import Model

_BLOCK = 1 << 20


class RigL(Method):
    """The gradient of all positions is looked at in blocks of rows; no more than what may enter is kept."""

    name = "rigl"

    def every(self, t: TrainingConfig) -> int:
        """``training.rewire_every`` steps."""
        return t.rewire_every

    def within(self, config: Config, model: Model, batch: Batch, progress: float, stream: np.ndarray) -> int:
        """Replace the smallest weights by the dormant positions with the largest gradient on ``batch``."""
        c = model.connections
        dead = np.flatnonzero(mark_smallest(model, drop_share(config, progress)))
        if dead.size == 0:
            return 0
        machine, groups = model.machine(batch.order.size), as_groups(c.partition, c.group_counts())
        load_batch(batch.x, batch.order, machine.x)
        forward(machine.stages, machine.net, machine.values)
        smoothing = config.training.label_smoothing
        loss_and_slope(machine.outputs, machine.unit, batch.goal, batch.order, smoothing, batch.weights)
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
