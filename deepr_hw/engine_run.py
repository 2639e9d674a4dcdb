"""What an engine gives back."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EngineRun:
    """What an engine returns.

    logits            : (n, n_out) int32, as the reference gives them
    cycles_per_sample : clock cycles from one sample to the next in steady state, or None where there is no clock
    n_macs            : multiply-accumulates counted by the engine itself over all samples, or None
    utilization       : sum over layers of ceil(K_l / lanes), the cycles that K connections take with every multiplier
                        busy, as a share of ``cycles_per_sample``
    """

    logits: np.ndarray
    cycles_per_sample: float | None = None
    n_macs: int | None = None
    utilization: float | None = None
