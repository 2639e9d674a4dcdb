"""Starts with every position; L1 shrinks, weights below 1e-3 leave after each epoch; pruned to the budget at 2/3.

Source: Collins & Kohli 2014, arXiv 1412.1442.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepr_hw.sparse_set.partition import Partition

from .base import Method, keep_largest

if TYPE_CHECKING:
    from deepr_hw.train.config import Config
    from deepr_hw.train.model import Model

_SMALL = 1e-3


class L1(Method):
    """The prior prunes."""

    name = "l1"
    dense = True
    dies = True

    def prune(self, config: Config, model: Model, budget: Partition, epoch: int) -> None:
        """What has vanished goes; from two thirds of the epochs on the largest of each group stay."""
        if epoch > 0:
            now = model.connections.partition.limits
            late = epoch / config.training.epochs >= 2 / 3
            alive = np.abs(model.connections.weight) >= _SMALL
            keep_largest(model, np.minimum(now, budget.limits) if late else now, alive)
