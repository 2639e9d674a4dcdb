"""The training loop: epochs of compiled steps, measured, logged, checkpointed; ends in a frozen integer network."""

import time
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import netfile, reference, runfolder
from .budget import explain, make_partition
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .config import Config, config_from
from .data import CodedDataset, Dataset, encoded
from .epoch import Totals
from .files import write_text
from .fixed import MAX_FRAC, Format
from .freeze import freeze
from .ir import IntNet
from .methods import dense_partition, prune, start_soft
from .model import Model, calibrate, check_size, make_model
from .noise import seed_state
from .partition import Partition
from .runfolder import Identity, check_same, identify
from .runlog import Bar, BudgetLog, EpochMetrics, Progress, as_line, start_log
from .steps import Course, deformed, learning_rates, make_course, make_prior, settled, steps_and_rewirings
from .tasks import DECIDES, Scores, cost_of_guessing, decisive, measure

_EXPLODED = 100
"""Mean loss of an epoch that counts as divergence, in units of what guessing costs."""


@dataclass(frozen=True)
class TrainResult:
    """What a run gives back: the frozen network, its scores in the integer reference, one entry per epoch."""

    net: IntNet
    test: Scores
    history: list[EpochMetrics]


@dataclass(eq=False)
class TrainState:
    """Everything that a step changes; a checkpoint holds it, except what follows from configuration and data.

    course : first thetas and sum of the learning rates
    images : the deformed training images in use and the number of their set
    """

    model: Model
    rng: np.random.Generator
    stream: np.ndarray
    history: list[EpochMetrics]
    log: BudgetLog
    budget: Partition
    course: Course
    images: tuple[int, np.ndarray] | None = None


def train(config: Config, values: Dataset, run_dir: Path, resume: bool = False,
          progress: Progress | None = None, force: bool = False) -> TrainResult:
    """Train ``config`` on the data set ``values``; writes config.toml, metrics.jsonl, checkpoint.safetensors,
    budget.json (the connections of each group after every step), net.safetensors and run.json, all with the run's id.

    resume   : go on from the checkpoint in ``run_dir``, if there is one; the result is the same, bit for bit. The
               configuration may ask for more epochs than before; where nothing looks at their number (``schedule =
               "step"``, ``l1`` a number, no ``l1_end``, ``idle = 0``) the result is that of one longer run
    progress : called with each epoch's metrics and the number of epochs; None draws a bar
    force    : replace the run that is in ``run_dir``

    Raises ``ValueError`` for a budget that does not fit the data's shape, for a checkpoint of another configuration, a
    folder that holds a run, and when training diverges; ``OSError`` when ``run_dir`` can't be written or another
    process is at work in it.
    """
    with runfolder.claim(run_dir, resume, force) as folder:
        return train_in(folder, config, values, resume, progress)


def train_in(folder: Path, config: Config, values: Dataset, resume: bool = False,
             progress: Progress | None = None) -> TrainResult:
    """``train`` in a folder that the caller has claimed; what another network left in it goes."""
    identity = identify(config, values)
    dataset = encoded(values, config.data.scale, split(config, values)[0].stop)
    state = start(config, dataset)
    checkpoint, metrics = folder / runfolder.CHECKPOINT, folder / runfolder.METRICS
    if resume and checkpoint.exists():
        _restore(state, checkpoint, identity, config)
    if not (len(state.history) == config.training.epochs or exhausted(state.history, config.training.patience)):
        runfolder.clear(folder, runfolder.MADE_OF_NET)
        runfolder.clear(folder, set(runfolder.TRAINED) - ({runfolder.CHECKPOINT} if state.history else set()))
    write_text(folder / runfolder.CONFIG, identity.config)
    write_text(metrics, "".join(as_line(m, identity.run) for m in state.history))
    with Bar(config, progress) as report:
        for epoch in range(len(state.history), config.training.epochs):
            if exhausted(state.history, config.training.patience):
                break
            state.history.append(run_epoch(config, dataset, state, epoch))
            extra = {"stream": state.stream, "extremes": state.log.extremes, "steps": state.log.steps}
            save_checkpoint(checkpoint, state.model, extra, _about(identity, state))
            with open(metrics, "a", encoding="utf-8") as log:
                log.write(as_line(state.history[-1], identity.run))
            report(state.history[-1], config.training.epochs)
    net = freeze(state.model, dataset.class_labels, _provenance(config, identity, state), dataset.input_map,
                 dataset.task, dataset.output_map)
    write_text(folder / runfolder.BUDGET,
               state.log.as_json(config, state.model.connections.partition, identity.run))
    netfile.save(net, folder / runfolder.NET)
    runfolder.write_record(folder, identity.run)
    return TrainResult(net, integer_scores(net, dataset.x_test, dataset.y_test), state.history)


def exhausted(history: list[EpochMetrics], patience: int) -> bool:
    """Whether the last ``patience`` epochs brought no better validation score than the ones before."""
    reached = [decisive(m.val) for m in history if m.val is not None and m.test is not None]
    return 0 < patience < len(reached) and max(reached[-patience:]) <= max(reached[:-patience])


def integer_scores(net: IntNet, x: np.ndarray, y: np.ndarray) -> Scores:
    """Scores of ``net`` in the integer reference on codes ``x`` with the right answers ``y``."""
    logits = reference.logits(net, x.reshape(len(x), *net.in_shape))
    return measure(net.task, np.ldexp(logits.astype(np.float64), -net.logit_frac), y, net.output_map)


def start(config: Config, dataset: CodedDataset) -> TrainState:
    """State before the first epoch. Raises ``ValueError`` for a task, budget or split that does not fit the data."""
    if dataset.task != config.data.task:
        raise ValueError(f"data.task = {config.data.task!r}: data {dataset.name} is a {dataset.task}")
    fit, _ = split(config, dataset)
    rng = np.random.default_rng(config.training.seed)
    model, budget = _untrained(config, dataset.n_in, dataset.n_out, dataset.x_format, rng)
    course = make_course(config.training, model.connections.weight, fit.stop)
    return TrainState(model, rng, seed_state(rng), [], start_log(model.connections.partition), budget, course)


def _untrained(config: Config, n_in: int, n_out: int, x_format: Format,
               rng: np.random.Generator) -> tuple[Model, Partition]:
    """The network before the first epoch, and the budget that it has to meet at the end."""
    sizes = (n_in, *config.network.hidden, n_out)
    check_size(config, sizes)
    budget = make_partition(config.budget, sizes, config.network.bias)
    first = dense_partition(budget, config.training.method) if config.training.dense else budget
    model = make_model(config, n_in, n_out, x_format, rng, first)
    if config.training.method == "soft_deep_r":
        start_soft(model, budget, config, rng)
    return model, budget


def frozen_again(checkpoint: Checkpoint, net: IntNet) -> IntNet:
    """The network that the checkpoint of a run freezes to; what a checkpoint doesn't hold (labels, input and output
    units, provenance) is as in ``net``. Raises ``ValueError`` when the checkpoint is of another shape."""
    config = config_from(tomllib.loads(checkpoint.about["config"]))
    model, _ = _untrained(config, net.n_in, net.n_out, net.x_format, np.random.default_rng(0))
    checkpoint.fill(model)
    again = freeze(model, net.class_labels, net.provenance, net.input_map)
    return replace(net, layers=again.layers, budget=again.budget)


def split(config: Config, dataset: Dataset) -> tuple[slice, slice]:
    """Training samples to fit and to hold out. Raises ``ValueError`` when none would be left to fit."""
    n, n_val = len(dataset.x_train), config.data.validation
    if n_val >= n:
        raise ValueError(f"data.validation = {n_val}: leaves nothing of the {n} training samples of {dataset.name}")
    return slice(0, n - n_val), slice(n - n_val, n)


def run_epoch(config: Config, dataset: CodedDataset, state: TrainState, epoch: int) -> EpochMetrics:
    """Train epoch number ``epoch`` and measure it. Raises ``ValueError`` when the loss stops being finite."""
    started = time.perf_counter()
    fit, held_out = split(config, dataset)
    config = settled(config, state.course)
    t, q, model = config.training, config.quantization, state.model
    x, goal = dataset.x_train[fit], dataset.goal[fit]
    if t.dense:
        prune(config, model, state.budget, epoch)
    if q.warmup_epochs <= epoch <= max(q.calibrate_epochs, q.warmup_epochs):
        calibrate(model, x[: q.samples], q.weight_bits, q.activation_bits)
    order = state.rng.permutation(len(x))
    if config.augmentation.wanted:
        number = epoch // config.augmentation.every
        if state.images is None or state.images[0] != number:
            state.images = number, deformed(config, dataset, x, np.random.default_rng((number + 1, t.seed)))
        x = state.images[1]
    etas = learning_rates(config.training, epoch, -(-len(order) // t.batch))
    totals = steps_and_rewirings(config, model, x, goal, order, etas, state.stream, state.log, epoch,
                                 make_prior(t, state.course, epoch))
    _check_converging(totals, len(x), model, dataset.task, epoch, etas)
    if t.dense and epoch + 1 == t.epochs:
        prune(config, model, state.budget, t.epochs)
    val = _scores(dataset, model, dataset.x_train[held_out], dataset.y_train[held_out])
    test, n_nonzero = None, None
    if model.quantized:
        test = _scores(dataset, model, dataset.x_test, dataset.y_test)
        n_nonzero = int(np.count_nonzero(model.connections.code))
    loss = totals.loss / len(x)
    reached = totals.right / len(x) if dataset.task == "classification" else 1 - 2 * loss / dataset.n_out
    return EpochMetrics(epoch, loss, {DECIDES[dataset.task]: reached}, val, test, totals.active_min,
                        totals.active_max, totals.rewired, n_nonzero, round(time.perf_counter() - started, 3))


def _scores(dataset: CodedDataset, model: Model, x: np.ndarray, y: np.ndarray) -> Scores | None:
    return measure(dataset.task, model.natural(x), y, dataset.output_map) if len(x) else None


def _check_converging(totals: Totals, n: int, model: Model, task: str, epoch: int, etas: np.ndarray) -> None:
    """Raise ``ValueError`` when the steps of an epoch diverged. In 8 bits an explosion may hide behind saturated codes:
    the loss stays finite while the weights leave every bound."""
    if not np.isfinite(totals.loss):
        what, eta = f", step {totals.steps}: the loss is not finite", etas[totals.steps]
    elif not np.abs(model.connections.weight).max() < 2.0**MAX_FRAC:  # NaN too
        what, eta = ": a weight has left every format", etas.max()
    elif totals.loss > _EXPLODED * cost_of_guessing(task, model.sizes[-1]) * n:
        what, eta = f": the loss exploded to {totals.loss / n:.3g} per sample", etas.max()
    else:
        return
    raise ValueError(f"training diverged in epoch {epoch}{what}; lower training.learning_rate (it was {eta:g} here)")


def _about(identity: Identity, state: TrainState) -> dict[str, Any]:
    return {**asdict(identity), "run": identity.run, "rng": state.rng.bit_generator.state,
            "history": [asdict(m) for m in state.history]}


def _restore(state: TrainState, checkpoint: Path, identity: Identity, config: Config) -> None:
    read = load_checkpoint(checkpoint)
    about, extra = read.about, read.extra
    begun = Identity(about["config"], about["data"], about["version"])
    try:
        check_same(begun, identity, len(about["history"]), config.training.dense)
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}; go on as the run was begun, or train into another folder") from None
    read.fill(state.model)
    state.rng.bit_generator.state = about["rng"]
    state.stream = extra["stream"]
    state.log = BudgetLog(extra["extremes"], extra["steps"])
    state.history = [EpochMetrics(**entry) for entry in about["history"]]


def _provenance(config: Config, identity: Identity, state: TrainState) -> dict[str, str]:
    return {"run": identity.run, "data": config.data.name, "method": config.training.method,
            "seed": str(config.training.seed), "epochs": str(len(state.history)),
            "trained_with": f"deepr-hw {identity.version}", "steps": str(state.log.steps[0]),
            "active_min": str(min(m.active_min for m in state.history)),
            "active_max": str(max(m.active_max for m in state.history)),
            "budget": explain(config.budget, state.model.sizes, config.network.bias)}
