"""Starts with every position, prunes each group to its budget at one third, retrains. Source: Han et al. 2015."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepr_hw.sparse_set.partition import Partition

from .base import Method, keep_largest

if TYPE_CHECKING:
    from deepr_hw.train.config import Config
    from deepr_hw.train.model import Model


class Magnitude(Method):
    """One cut."""

    name = "magnitude"
    dense = True

    def prune(self, config: Config, model: Model, budget: Partition, epoch: int) -> None:
        """At one third of the epochs the largest of each group stay."""
        if epoch / config.training.epochs >= 1 / 3:
            keep_largest(model, np.minimum(model.connections.partition.limits, budget.limits))
