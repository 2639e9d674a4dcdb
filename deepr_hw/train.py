"""The training loop: epochs of compiled steps, measured, logged, checkpointed; ends in a frozen integer network."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import netfile, reference
from .budget import explain, make_partition
from .checkpoint import load_checkpoint, save_checkpoint
from .config import Config, dump_config
from .data import Dataset
from .epoch import Totals
from .files import make_folder, write_text
from .fixed import MAX_FRAC
from .freeze import freeze
from .ir import IntNet
from .methods import dense_partition, prune, start_soft
from .model import Model, calibrate, make_model
from .noise import seed_state
from .partition import Partition
from .runlog import Bar, BudgetLog, EpochMetrics, Progress, as_line, start_log
from .steps import Course, deformed, learning_rates, make_course, make_prior, steps_and_rewirings
from .version import __version__

_EXPLODED = 100
"""Mean loss of an epoch that counts as divergence, in units of what guessing costs, ``log(n_classes)``."""


@dataclass(frozen=True)
class TrainResult:
    """What a run gives back: the frozen network, its accuracy in the integer reference, one entry per epoch."""

    net: IntNet
    test_accuracy: float
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


def train(config: Config, dataset: Dataset, run_dir: Path, resume: bool = False,
          progress: Progress | None = None) -> TrainResult:
    """Train ``config`` on ``dataset``; writes config.toml, metrics.jsonl, checkpoint.safetensors, budget.json (the
    connections of each group after every step) and net.safetensors.

    resume   : go on from the checkpoint in ``run_dir``, if there is one; the result is the same, bit for bit
    progress : called with each epoch's metrics and the number of epochs; None draws a bar

    Raises ``ValueError`` for a budget that does not fit the data's shape, for a checkpoint of another configuration,
    and when training diverges; ``OSError`` when ``run_dir`` can't be written.
    """
    run_dir = make_folder(Path(run_dir))
    state = start(config, dataset)
    checkpoint = run_dir / "checkpoint.safetensors"
    if resume and checkpoint.exists():
        _restore(state, checkpoint, config)
    write_text(run_dir / "config.toml", dump_config(config))
    metrics = run_dir / "metrics.jsonl"
    write_text(metrics, "".join(as_line(m) for m in state.history))
    with Bar(config, progress) as report:
        for epoch in range(len(state.history), config.training.epochs):
            if exhausted(state.history, config.training.patience):
                break
            state.history.append(run_epoch(config, dataset, state, epoch))
            extra = {"stream": state.stream, "extremes": state.log.extremes, "steps": state.log.steps}
            save_checkpoint(checkpoint, state.model, extra, _about(config, state))
            with open(metrics, "a", encoding="utf-8") as log:
                log.write(as_line(state.history[-1]))
            report(state.history[-1], config.training.epochs)
    net = freeze(state.model, dataset.class_labels, _provenance(config, dataset, state))
    write_text(run_dir / "budget.json", state.log.as_json(config, state.model.connections.partition))
    netfile.save(net, run_dir / "net.safetensors")
    return TrainResult(net, integer_accuracy(net, dataset.x_test, dataset.y_test), state.history)


def exhausted(history: list[EpochMetrics], patience: int) -> bool:
    """Whether the last ``patience`` epochs brought no better validation accuracy than the ones before."""
    scores = [m.val_accuracy for m in history if m.val_accuracy is not None and m.test_accuracy is not None]
    return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])


def integer_accuracy(net: IntNet, x: np.ndarray, y: np.ndarray) -> float:
    """Share of samples (codes ``x``, labels ``y``) that ``net`` gets right in the integer reference."""
    return float(np.mean(reference.predict(net, x.reshape(len(x), *net.in_shape)) == y))


def start(config: Config, dataset: Dataset) -> TrainState:
    """State before the first epoch. Raises ``ValueError`` for a budget or a split that does not fit the data."""
    fit, _ = _split(config, dataset)
    rng = np.random.default_rng(config.training.seed)
    budget = make_partition(config.budget, (dataset.n_in, *config.network.hidden, dataset.n_classes),
                            config.network.bias)
    first = dense_partition(budget, config.training.method) if config.training.dense else budget
    model = make_model(config, dataset.n_in, dataset.n_classes, dataset.x_format, rng, first)
    if config.training.method == "soft_deep_r":
        start_soft(model, budget, config, rng)
    course = make_course(config.training, model.connections.weight, fit.stop)
    return TrainState(model, rng, seed_state(rng), [], start_log(first), budget, course)


def _split(config: Config, dataset: Dataset) -> tuple[slice, slice]:
    n, n_val = len(dataset.x_train), config.data.validation
    if n_val >= n:
        raise ValueError(f"data.validation = {n_val}: leaves nothing of the {n} training samples of {dataset.name}")
    return slice(0, n - n_val), slice(n - n_val, n)


def run_epoch(config: Config, dataset: Dataset, state: TrainState, epoch: int) -> EpochMetrics:
    """Train epoch number ``epoch`` and measure it. Raises ``ValueError`` when the loss stops being finite."""
    started = time.perf_counter()
    fit, held_out = _split(config, dataset)
    t, q, model = config.training, config.quantization, state.model
    x, y = dataset.x_train[fit], dataset.y_train[fit]
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
    etas = learning_rates(config.training, epoch, -(-len(order) // t.batch_size))
    totals = steps_and_rewirings(config, model, x, y, order, etas, state.stream, state.log, epoch,
                                 make_prior(t, state.course, epoch))
    _check_converging(totals, len(x), model, epoch, etas)
    if t.dense and epoch + 1 == t.epochs:
        prune(config, model, state.budget, t.epochs)
    val = model.accuracy(dataset.x_train[held_out], dataset.y_train[held_out]) if config.data.validation else None
    test, n_nonzero = None, None
    if model.quantized:
        test = model.accuracy(dataset.x_test, dataset.y_test) if len(dataset.x_test) else None
        n_nonzero = int(np.count_nonzero(model.connections.code))
    return EpochMetrics(epoch, totals.loss / len(x), totals.right / len(x), val, test, totals.active_min,
                        totals.active_max, totals.rewired, n_nonzero, round(time.perf_counter() - started, 3))


def _check_converging(totals: Totals, n: int, model: Model, epoch: int, etas: np.ndarray) -> None:
    """Raise ``ValueError`` when the steps of an epoch diverged. In 8 bits an explosion may hide behind saturated codes:
    the loss stays finite while the weights leave every bound."""
    if not np.isfinite(totals.loss):
        what, eta = f", step {totals.steps}: the loss is not finite", etas[totals.steps]
    elif not np.abs(model.connections.weight).max() < 2.0**MAX_FRAC:  # NaN too
        what, eta = ": a weight has left every format", etas.max()
    elif totals.loss > _EXPLODED * np.log(max(2, model.sizes[-1])) * n:
        what, eta = f": the loss exploded to {totals.loss / n:.3g} per sample", etas.max()
    else:
        return
    raise ValueError(f"training diverged in epoch {epoch}{what}; lower training.learning_rate (it was {eta:g} here)")


def _about(config: Config, state: TrainState) -> dict[str, Any]:
    return {"config": dump_config(config), "rng": state.rng.bit_generator.state,
            "history": [asdict(m) for m in state.history]}


def _restore(state: TrainState, checkpoint: Path, config: Config) -> None:
    extra, about = load_checkpoint(checkpoint, state.model)
    if about["config"] != dump_config(config):
        raise ValueError(f"{checkpoint}: belongs to another configuration than the one given; resume with the run's "
                         "own config.toml, or train into another folder")
    state.rng.bit_generator.state = about["rng"]
    state.stream = extra["stream"]
    state.log = BudgetLog(extra["extremes"], extra["steps"])
    state.history = [EpochMetrics(**entry) for entry in about["history"]]


def _provenance(config: Config, dataset: Dataset, state: TrainState) -> dict[str, str]:
    return {"data": config.data.name, "method": config.training.method, "seed": str(config.training.seed),
            "epochs": str(len(state.history)), "trained_with": f"deepr-hw {__version__}",
            "steps": str(state.log.steps[0]), "active_min": str(min(m.active_min for m in state.history)),
            "active_max": str(max(m.active_max for m in state.history)),
            "budget": explain(config.budget, state.model.sizes, config.network.bias)}
