"""The steps of one epoch: learning rates, deformed images, compiled steps, and rewirings between them."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from deepr_hw.data import CodedDataset
from deepr_hw.data.augment import augment
from deepr_hw.ir.tasks import EVEN
from deepr_hw.kernel.noise import NORMAL_TABLE, seed_state
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.sparse_set.draw import Arrays, Groups, as_groups, recount

from .compiled import Chance, Lesson, Rule, Totals, run_steps
from .config import AUTO, AUTO_BATCH, OPTIMIZERS, Config, TrainingConfig
from .methods import METHODS
from .methods.base import Batch
from .model import Model, calibrate
from .runlog import BudgetLog, start_log


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


def deformed(config: Config, dataset: CodedDataset, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``x`` with every image deformed anew. Raises ``ValueError`` for data that are no images of bytes."""
    a, shape = config.augmentation, dataset.sample_shape
    if len(shape) != 2 or x.dtype != np.uint8:
        raise ValueError(
            f"augmentation: needs images of uint8 pixels, data {dataset.name} has samples of shape "
            f"{shape} and type {x.dtype}"
        )
    out = np.empty_like(x)
    augment(
        x.reshape(-1, *shape),
        np.arange(len(x)),
        out.reshape(-1, *shape),
        a.shift,
        a.rotation,
        a.scale,
        a.elastic,
        seed_state(rng),
    )
    return out


def steps_and_rewirings(
    config: Config,
    model: Model,
    x: np.ndarray,
    y: np.ndarray,
    order: np.ndarray,
    etas: np.ndarray,
    stream: np.ndarray,
    log: BudgetLog,
    epoch: int,
    prior: Prior,
    weights: np.ndarray = EVEN,
) -> Totals:
    """The steps of an epoch, and between them new scales and what the method does there.

    y       : (n,) labels, or (n, n_out) targets in natural units
    weights : (n,) float32 factor of each sample's loss, of mean 1, or ``EVEN``
    """
    t, q, method = config.training, config.quantization, METHODS[config.training.method]
    renewal = q.calibrate_every if model.quantized and epoch < q.calibrate_epochs else 0
    rewiring = method.every(t)
    stops = sorted(
        {len(etas), *(stop for every in (renewal, rewiring) if every for stop in range(every, len(etas), every))}
    )
    whole = Totals(0, 0.0, 0, 0, model.connections.n_connections, 0)
    first = 0
    for stop in stops:
        part = order[first * t.batch : stop * t.batch]
        done = steps_of_an_epoch(config, model, x, y, part, etas[first:stop], stream, prior, log, weights)
        whole = Totals(
            whole.steps + done.steps,
            whole.loss + done.loss,
            whole.right + done.right,
            whole.rewired + done.rewired,
            min(whole.active_min, done.active_min),
            max(whole.active_max, done.active_max),
        )
        if not np.isfinite(whole.loss):
            return whole
        if rewiring and (stop % rewiring == 0 or stop == len(etas)):
            begun = (stop - 1) // rewiring * rewiring
            batch = Batch(x, y, weights, order[begun * t.batch :][: t.batch])
            replaced = method.within(config, model, batch, (epoch + begun / len(etas)) / t.epochs, stream)
            whole = whole._replace(rewired=whole.rewired + replaced)
        if renewal and stop % renewal == 0 and stop < len(etas):
            calibrate(model, x[: q.samples], q.weight_bits, q.activation_bits)
        first = stop
    if epoch + 1 < t.epochs:
        replaced = method.between(config, model, (epoch + 1) / t.epochs, stream)
        whole = whole._replace(rewired=whole.rewired + replaced)
    return whole


def steps_of_an_epoch(
    config: Config,
    model: Model,
    x: np.ndarray,
    y: np.ndarray,
    order: np.ndarray,
    etas: np.ndarray,
    stream: np.ndarray,
    prior: Prior,
    log: BudgetLog | None = None,
    weights: np.ndarray = EVEN,
) -> Totals:
    """Run ``order`` once through the compiled steps and check that the budget held after every one of them."""
    t, c = config.training, model.connections
    log = log or start_log(c.partition)
    machine, active = model.machine(t.batch), np.zeros(c.partition.n_groups, np.int64)
    groups = as_groups(c.partition, active)
    _count(machine.net, groups)
    lesson = Lesson(np.ascontiguousarray(x), y, weights, order, t.batch, etas)
    totals = run_steps(machine, groups, lesson, _rule(config, model, prior), Chance(stream, NORMAL_TABLE), log.extremes)
    log.steps += totals.steps
    _count(machine.net, groups)
    k = c.partition.n_connections
    if not totals.active_min == totals.active_max == k:
        raise AssertionError(f"{totals.active_min}..{totals.active_max} connections were active, not {k}")
    return totals


def _count(net: Arrays, groups: Groups) -> None:
    """Fill ``groups.active``, which the steps go on from, by counting; raises ``AssertionError``, under ``python -O``
    too, when the positions are unsound or a group isn't at its limit."""
    if not recount(net, groups, groups.active):
        raise AssertionError("positions out of order, repeated or out of range")
    wrong = np.flatnonzero(groups.active != groups.limits)
    if wrong.size:
        g = wrong[0]
        raise AssertionError(f"group {g} holds {groups.active[g]} connections, its limit is {groups.limits[g]}")


def _rule(config: Config, model: Model, prior: Prior) -> Rule:
    rows = [(1.0, 0.0, 0.0) if fmt is None else (1 / fmt.step, fmt.lo, fmt.hi) for fmt in model.w_formats]
    t, method = config.training, METHODS[config.training.method]
    budget = make_partition(config.budget, model.shapes, config.network.bias)
    return Rule(
        prior.l1,
        prior.idle,
        t.temperature,
        t.label_smoothing,
        OPTIMIZERS.index(t.optimizer),
        t.momentum,
        t.beta2,
        method.rewires,
        method.walks,
        method.theta_min(config, budget),
        model.use_bias,
        model.quantized,
        np.array(rows, np.float32),
    )
