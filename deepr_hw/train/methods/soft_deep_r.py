"""soft-DEEP R: every position keeps a theta; dormant ones walk and wake when theta crosses 0.

Source: Bellec et al. 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepr_hw.sparse_set.connections import draw_positions
from deepr_hw.sparse_set.partition import Partition

from .base import Method, keep_largest

if TYPE_CHECKING:
    from deepr_hw.train.config import Config, TrainingConfig
    from deepr_hw.train.model import Model


class SoftDeepR(Method):
    """The variant whose posterior is known; it meets the budget at the end."""

    name = "soft_deep_r"
    dense = True
    dies = True
    walks = True

    def refusal(self, t: TrainingConfig) -> tuple[str, Any, str] | None:
        """It is plain SGD with a prior of a given strength."""
        if t.optimizer != "sgd":
            return "optimizer", t.optimizer, "soft_deep_r is defined for sgd only"
        if isinstance(t.l1, str):
            return "l1", t.l1, "soft_deep_r needs a number, theta_min = -T (1 - p) / (l1 p)"
        return None

    def theta_min(self, config: Config, budget: Partition) -> float:
        """``-T (1 - p) / (l1 p)``: with no gradient a share p of the positions is active.

        Source: Bellec et al. 2018, appendix. Raises ``ValueError`` without L1, which the formula needs.
        """
        t, p = config.training, budget.n_connections / int(budget.n_positions.sum())
        if isinstance(t.l1, str) or t.l1 == 0:
            raise ValueError(f"training.l1 = {t.l1}: soft_deep_r needs it, theta_min = -T (1 - p) / (l1 p)")
        return -t.temperature * (1 - p) / (t.l1 * p)

    def start(self, model: Model, budget: Partition, config: Config, rng: np.random.Generator) -> None:
        """Give every position its theta: the budget's number active as in DEEP R, the others anywhere above
        ``theta_min``."""
        c = model.connections
        source, out_idx = draw_positions(budget, rng)
        active = np.isin(c.sources() << 32 | c.out_idx, source << 32 | out_idx, assume_unique=True)
        walk = np.where(active, np.abs(c.weight), rng.random(c.n_connections) * self.theta_min(config, budget))
        c.walk = walk.astype(np.float32)
        c.weight[~active] *= 0  # keeps the sign

    def prune(self, config: Config, model: Model, budget: Partition, epoch: int) -> None:
        """At the end the largest of each group stay, of those that are active."""
        if epoch >= config.training.epochs:
            limits = np.minimum(model.connections.partition.limits, budget.limits)
            keep_largest(model, limits, model.connections.theta >= 0)
