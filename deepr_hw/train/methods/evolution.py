"""SET: after every epoch the smallest weights of each group are replaced by random positions.

Source: Mocanu et al. 2018, arXiv 1707.04780 (there signs are kept apart; here it is the magnitude alone).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepr_hw.sparse_set.draw import as_arrays, as_groups
from deepr_hw.sparse_set.rewire import rewire

from .base import Method, drop_share, mark_smallest

if TYPE_CHECKING:
    from deepr_hw.train.config import Config
    from deepr_hw.train.model import Model


class Evolution(Method):
    """Sparse evolutionary training."""

    name = "set"

    def between(self, config: Config, model: Model, progress: float, stream: np.ndarray) -> int:
        """Replace the smallest weights by uniform dormant positions of their group."""
        c = model.connections
        c.theta[:] = np.where(mark_smallest(model, drop_share(config, progress)), -1, 1)
        return int(rewire(as_arrays(c), as_groups(c.partition, c.group_counts()), stream))
