"""Starts with every position, prunes along a cubic from one tenth to two thirds. Source: Zhu & Gupta 2017."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepr_hw.sparse_set.partition import Partition

from .base import Method, keep_largest

if TYPE_CHECKING:
    from deepr_hw.train.config import Config
    from deepr_hw.train.model import Model


class Gradual(Method):
    """A cut before every epoch."""

    name = "gradual"
    dense = True

    def prune(self, config: Config, model: Model, budget: Partition, epoch: int) -> None:
        """What the cubic leaves of each group, the largest."""
        progress = epoch / config.training.epochs
        if progress > 0.1:
            left = max(0.0, 1 - (progress - 0.1) / (2 / 3 - 0.1)) ** 3
            limits = budget.limits + np.ceil(left * (budget.n_positions - budget.limits)).astype(np.int64)
            keep_largest(model, np.minimum(model.connections.partition.limits, limits))
