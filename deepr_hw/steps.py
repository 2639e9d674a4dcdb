"""The steps of one epoch: learning rates, deformed images, compiled steps, and rewirings between them."""

import numpy as np

from .augment import augment
from .budget import make_partition
from .config import OPTIMIZERS, Config, TrainingConfig
from .data import Dataset
from .drawing import Arrays, Groups, as_groups, recount
from .epoch import Rule, Totals, make_scratch, run_steps
from .methods import drop_share, rewire_at_random, rewire_by_gradient, theta_min
from .model import Model
from .noise import NORMAL_TABLE, seed_state
from .runlog import BudgetLog, start_log


def learning_rates(t: TrainingConfig, epoch: int, n_steps: int) -> np.ndarray:
    """(n_steps,) float64 eta of every step of ``epoch``."""
    done = epoch + np.arange(n_steps) / n_steps
    eta = np.full(n_steps, t.learning_rate * t.decay**epoch)
    if t.schedule == "cosine":
        eta = t.learning_rate * (1 + np.cos(np.pi * done / t.epochs)) / 2
    return eta * np.minimum(1, (done + 1 / n_steps) / t.warmup) if t.warmup else eta


def l1_weight(t: TrainingConfig, epoch: int) -> float:
    """alpha of ``epoch``. A strong prior early on tries many positions; a weak one at the end lets the weights that
    it held at 0 take part."""
    if t.l1_end is None or t.epochs == 1:
        return t.l1
    return t.l1 + (t.l1_end - t.l1) * epoch / (t.epochs - 1)


def deformed(config: Config, dataset: Dataset, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``x`` with every image deformed anew. Raises ``ValueError`` for data that are no images of bytes."""
    a, shape = config.augmentation, dataset.sample_shape
    if len(shape) != 2 or x.dtype != np.uint8:
        raise ValueError(f"augmentation: needs images of uint8 pixels, data {dataset.name} has samples of shape "
                         f"{shape} and type {x.dtype}")
    out = np.empty_like(x)
    augment(x.reshape(-1, *shape), np.arange(len(x)), out.reshape(-1, *shape), a.shift, a.rotation, a.scale, a.elastic,
            seed_state(rng))
    return out


def steps_and_rewirings(config: Config, model: Model, x: np.ndarray, y: np.ndarray, order: np.ndarray,
                        etas: np.ndarray, stream: np.ndarray, log: BudgetLog, epoch: int) -> Totals:
    """The steps of an epoch with what set and rigl do between them; other methods are in the step or at its ends."""
    t, l1 = config.training, l1_weight(config.training, epoch)
    if t.method != "rigl":
        totals = steps_of_an_epoch(config, model, x, y, order, etas, stream, log, l1)
        if t.method == "set" and epoch + 1 < t.epochs:
            rewired = rewire_at_random(model, drop_share(config, (epoch + 1) / t.epochs), stream)
            totals = totals._replace(rewired=rewired)
        return totals
    whole = Totals(0, 0.0, 0, 0, model.connections.n_connections, 0)
    scratch = make_scratch(model.sizes, t.batch_size, model.bias_moments)
    for first in range(0, len(etas), t.rewire_every):
        part = order[first * t.batch_size : (first + t.rewire_every) * t.batch_size]
        part_etas = etas[first : first + t.rewire_every]
        done = steps_of_an_epoch(config, model, x, y, part, part_etas, stream, log, l1)
        share = drop_share(config, (epoch + first / len(etas)) / t.epochs)
        rewired = rewire_by_gradient(model, share, scratch, x, y, part[: t.batch_size], t.label_smoothing, stream)
        whole = Totals(whole.steps + done.steps, whole.loss + done.loss, whole.right + done.right,
                       whole.rewired + rewired, min(whole.active_min, done.active_min),
                       max(whole.active_max, done.active_max))
        if not np.isfinite(whole.loss):
            break
    return whole


def steps_of_an_epoch(config: Config, model: Model, x: np.ndarray, y: np.ndarray, order: np.ndarray, etas: np.ndarray,
                      stream: np.ndarray, log: BudgetLog | None = None, l1: float | None = None) -> Totals:
    """Run ``order`` once through the compiled steps and check that the budget held after every one of them.

    l1 : alpha of this epoch, instead of the configuration's first
    """
    t, c = config.training, model.connections
    log = log or start_log(c.partition)
    scratch = make_scratch(model.sizes, t.batch_size, model.bias_moments)
    steps, top = model.scales()
    net, active = model.arrays, np.zeros(c.partition.n_groups, np.int64)
    groups = as_groups(c.partition, active)
    _count(net, groups)
    totals = run_steps(net, groups, model.values, model.bias, steps, top,
                       scratch, _rule(config, model, l1), etas, np.ascontiguousarray(x), y, order, t.batch_size, stream,
                       NORMAL_TABLE, log.extremes)
    log.steps += totals.steps
    _count(net, groups)
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


def _rule(config: Config, model: Model, l1: float | None) -> Rule:
    rows = [(1.0, 0.0, 0.0) if fmt is None else (1 / fmt.step, fmt.lo, fmt.hi) for fmt in model.w_formats]
    t, soft = config.training, config.training.method == "soft_deep_r"
    lowest = theta_min(config, make_partition(config.budget, model.sizes, config.network.bias)) if soft else 0.0
    return Rule(t.l1 if l1 is None else l1, t.temperature, t.label_smoothing, OPTIMIZERS.index(t.optimizer),
                t.momentum, t.beta2, t.method == "deep_r", soft, lowest, model.use_bias, model.quantized,
                np.array(rows, np.float32))
