"""The training loop: epochs of compiled steps, measured, logged, checkpointed; ends in a frozen integer network."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import netfile, reference
from .augment import augment
from .budget import explain
from .checkpoint import load_checkpoint, save_checkpoint
from .config import OPTIMIZERS, Config, TrainingConfig, dump_config
from .data import Dataset
from .drawing import as_groups, recount
from .epoch import Rule, Totals, make_scratch, run_steps
from .files import make_folder, write_text
from .fixed import MAX_FRAC
from .freeze import freeze
from .ir import IntNet
from .model import Model, calibrate, make_model
from .noise import NORMAL_TABLE, seed_state
from .runlog import Bar, BudgetLog, EpochMetrics, Progress, as_line, start_log
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
    """Everything that a step changes; a checkpoint holds it."""

    model: Model
    rng: np.random.Generator
    stream: np.ndarray
    history: list[EpochMetrics]
    log: BudgetLog


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
    _split(config, dataset)
    rng = np.random.default_rng(config.training.seed)
    model = make_model(config, dataset.n_in, dataset.n_classes, dataset.x_format, rng)
    return TrainState(model, rng, seed_state(rng), [], start_log(model.connections.partition))


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
    if q.warmup_epochs <= epoch <= max(q.calibrate_epochs, q.warmup_epochs):
        calibrate(model, x[: q.samples], q.weight_bits, q.activation_bits)
    order = state.rng.permutation(len(x))
    if config.augmentation.wanted:
        x = deformed(config, dataset, x, state.rng)
    etas = learning_rates(config.training, epoch, -(-len(order) // t.batch_size))
    totals = steps_of_an_epoch(config, model, x, y, order, etas, state.stream, state.log, l1_weight(t, epoch))
    _check_converging(totals, len(x), model, epoch, etas)
    val = model.accuracy(dataset.x_train[held_out], dataset.y_train[held_out]) if config.data.validation else None
    test, n_nonzero = None, None
    if model.quantized:
        test = model.accuracy(dataset.x_test, dataset.y_test) if len(dataset.x_test) else None
        n_nonzero = int(np.count_nonzero(model.connections.code))
    return EpochMetrics(epoch, totals.loss / len(x), totals.right / len(x), val, test, totals.active_min,
                        totals.active_max, totals.rewired, n_nonzero, round(time.perf_counter() - started, 3))


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
    assert recount(net, groups, active), "positions out of order, repeated or out of range"
    totals = run_steps(net, groups, model.values, model.bias, steps, top, scratch, _rule(config, model, l1), etas,
                       np.ascontiguousarray(x), y, order, t.batch_size, stream, NORMAL_TABLE, log.extremes)
    log.steps += totals.steps
    assert recount(net, groups, active), "positions out of order, repeated or out of range"
    np.testing.assert_array_equal(active, c.partition.limits, err_msg="connections per group")
    k = c.partition.n_connections
    assert totals.active_min == totals.active_max == k, f"{totals.active_min}..{totals.active_max} active, not {k}"
    return totals


def _rule(config: Config, model: Model, l1: float | None) -> Rule:
    rows = [(1.0, 0.0, 0.0) if fmt is None else (1 / fmt.step, fmt.lo, fmt.hi) for fmt in model.w_formats]
    t = config.training
    return Rule(t.l1 if l1 is None else l1, t.temperature, t.label_smoothing, OPTIMIZERS.index(t.optimizer), t.momentum,
                t.beta2, t.method == "deep_r", model.use_bias, model.quantized, np.array(rows, np.float32))


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
