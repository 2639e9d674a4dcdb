"""What changes over a run: learning rate, batch size, prior."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .config import AUTO, AUTO_BATCH, Config, TrainingConfig
from .methods import METHODS


def learning_rates(t: TrainingConfig, epoch: int, n_steps: int) -> np.ndarray:
    """(n_steps,) float64 eta of every step of ``epoch``."""
    done = epoch + np.arange(n_steps) / n_steps
    eta = np.full(n_steps, t.learning_rate * t.decay**epoch)
    if t.schedule == "cosine":
        eta = t.learning_rate * (1 + np.cos(np.pi * done / t.epochs)) / 2
    return eta * np.minimum(1, (done + 1 / n_steps) / t.warmup) if t.warmup else eta


class Course(NamedTuple):
    """What is known of a run before its first step.

    batch_size : samples per step
    theta      : mean of the first thetas
    total_eta  : sum of the learning rates of all its steps
    """

    batch_size: int
    theta: float
    total_eta: float


class Prior(NamedTuple):
    """What a theta loses in a step, per unit of the learning rate: always, and where its gradient is exactly 0."""

    l1: float
    idle: float


_TOTAL_SHRINK = 4.0
_MOST_L1 = 0.05
_STEPS = 16_000


def make_course(t: TrainingConfig, weight: np.ndarray, n_samples: int) -> Course:
    """The course of a run on ``n_samples`` samples from the first weights (K,) on.

    ``batch_size = "auto"`` is what makes 16,000 steps of it, within ``AUTO_BATCH``.
    """
    least, most = AUTO_BATCH
    batch = t.batch_size if isinstance(t.batch_size, int) else min(most, max(least, n_samples * t.epochs // _STEPS))
    n_steps = -(-n_samples // batch)
    total = sum(float(learning_rates(t, epoch, n_steps).sum()) for epoch in range(t.epochs))
    return Course(batch, float(np.mean(np.abs(weight), dtype=np.float64)), total)


def settled(config: Config, course: Course) -> Config:
    """``config`` with the batch size that the run has."""
    return replace(config, training=replace(config.training, batch_size=course.batch_size))


def make_prior(t: TrainingConfig, course: Course, epoch: int) -> Prior:
    """The prior of ``epoch``.

    ``l1 = "auto"`` takes from each theta, over the whole run, four times what it started with: as a fixed alpha is no
    prior at all once the first weights or the number of steps change. At most 0.05, as Adam moves a newborn, whose
    moments are 0, by a tenth of eta in its first step: alpha = 0.1 would kill every newborn at once.

    A strong L1 early on tries many positions; a weak one at the end (``l1_end``) lets the weights that it held at 0
    take part.
    """
    per_eta = course.theta / course.total_eta
    method = METHODS[t.method]
    l1 = t.l1 if not isinstance(t.l1, str) else min(_MOST_L1, _TOTAL_SHRINK * per_eta) if method.dies else 0.0
    if t.l1_end is not None and t.epochs > 1 and (method.dies or t.l1 != AUTO):
        l1 += (t.l1_end - l1) * epoch / (t.epochs - 1)
    return Prior(l1, t.idle * per_eta if method.rewires else 0.0)
