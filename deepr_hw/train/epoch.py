"""The steps of one epoch: deformed images, compiled steps, and rewirings between them."""

import numpy as np

from deepr_hw.data import CodedDataset
from deepr_hw.data.augment import augment
from deepr_hw.ir.tasks import EVEN
from deepr_hw.kernel.noise import NORMAL_TABLE, seed_state
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.sparse_set.draw import Arrays, Groups, as_groups, recount

from .compiled import Chance, Lesson, Rule, Totals, run_steps
from .config import OPTIMIZERS, Config
from .methods import METHODS
from .methods.base import Batch
from .model import Model, calibrate
from .runlog import BudgetLog, start_log
from .schedule import Prior


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
    t, method, lowest = config.training, METHODS[config.training.method], 0.0
    if method.walks:
        lowest = method.theta_min(config, make_partition(config.budget, model.shapes, config.network.bias))
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
        lowest,
        model.use_bias,
        model.quantized,
        np.array(rows, np.float32),
    )
