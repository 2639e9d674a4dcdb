"""The training loop: epochs of compiled steps, measured, logged, checkpointed; ends in a frozen integer network."""

import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepr_hw import reference
from deepr_hw.data import CodedDataset, Dataset, encoded
from deepr_hw.files import write_text
from deepr_hw.ir import IntNet, netfile
from deepr_hw.ir.fixed import MAX_FRAC, Format
from deepr_hw.ir.tasks import DECIDES, Recalls, Scores, cost_of_guessing, decisive, measure, recall
from deepr_hw.kernel.noise import seed_state
from deepr_hw.sparse_set.budget import explain, make_partition
from deepr_hw.sparse_set.partition import Partition
from deepr_hw.sparse_set.share import chain

from . import runfolder
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .compiled import Totals
from .config import Config, config_from
from .epoch import deformed, steps_and_rewirings
from .freeze import freeze
from .methods import METHODS
from .methods.base import dense_partition
from .model import Model, calibrate, check_size, make_model
from .remarks import LARGE_RMS, of_data, of_result, root_mean_square
from .runfolder import Identity, check_same, identify
from .runlog import Bar, BudgetLog, EpochMetrics, Progress, as_line, start_log
from .scales import DivergenceError
from .schedule import Course, learning_rates, make_course, make_prior, settled

_EXPLODED = 20
"""Mean loss of an epoch that counts as divergence, in units of what guessing costs."""

_TRIES = 5
"""How often the learning rate is halved before a run that diverges is given up."""


@dataclass(frozen=True)
class TrainResult:
    """What a run gives back: the frozen network, its scores in the integer reference, one entry per epoch."""

    net: IntNet
    test: Scores
    history: list[EpochMetrics]


@dataclass(eq=False)
class TrainState:
    """Everything that a step changes; a checkpoint holds it, except what follows from configuration and data.

    course    : batch size, first thetas and sum of the learning rates
    slowdowns : how often the learning rate was halved because an epoch diverged; remarks tell of each
    images    : the deformed training images in use and the number of their set
    """

    model: Model
    rng: np.random.Generator
    stream: np.ndarray
    history: list[EpochMetrics]
    log: BudgetLog
    budget: Partition
    course: Course
    slowdowns: int = 0
    remarks: list[str] = field(default_factory=list)
    images: tuple[int, np.ndarray] | None = None


def train(
    config: Config,
    values: Dataset,
    run_dir: Path,
    resume: bool = False,
    progress: Progress | None = None,
    force: bool = False,
) -> TrainResult:
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


def train_in(
    folder: Path, config: Config, values: Dataset, resume: bool = False, progress: Progress | None = None
) -> TrainResult:
    """``train`` in a folder that the caller has claimed; what another network left in it goes."""
    identity = identify(config, values)
    dataset = encoded(values, config.data.scale, split(config, values)[0].stop, config.training.class_weight)
    remarks = of_data(values.x_train, dataset, split(config, values)[0].stop, config.data.scale)
    checkpoint, metrics = folder / runfolder.CHECKPOINT, folder / runfolder.METRICS

    def begin(goes_on: bool) -> TrainState:
        state = start(config, dataset)
        if goes_on and checkpoint.exists():
            _restore(state, checkpoint, identity, config)
        return state

    state = begin(resume)
    if not (len(state.history) == config.training.epochs or exhausted(state.history, config.training.patience)):
        runfolder.clear(folder, runfolder.made_of_net(folder))
        runfolder.clear(folder, set(runfolder.TRAINED) - ({runfolder.CHECKPOINT} if state.history else set()))
    write_text(folder / runfolder.CONFIG, identity.config)
    write_text(metrics, "".join(as_line(m, identity.run) for m in state.history))
    with Bar(config, progress) as bar:
        for remark in remarks:
            bar.remark(remark)
        while len(state.history) < config.training.epochs and not exhausted(state.history, config.training.patience):
            n_done, said = len(state.history), len(state.remarks)
            done = advance(config, dataset, state, n_done, lambda whole: begin(not whole and bool(state.history)))
            if done.epoch < n_done:
                write_text(metrics, "")
            state.history.append(done)
            for remark in state.remarks[said:]:
                bar.remark(remark)
            extra = {"stream": state.stream, "extremes": state.log.extremes, "steps": state.log.steps}
            save_checkpoint(checkpoint, state.model, extra, _about(identity, state))
            with open(metrics, "a", encoding="utf-8") as log:
                log.write(as_line(state.history[-1], identity.run))
            bar.show(state.history[-1], config.training.epochs)
        net = freeze(
            state.model,
            dataset.class_labels,
            _provenance(config, identity, state),
            dataset.input_map,
            dataset.task,
            dataset.output_map,
        )
        test, recalls = integer_scores(net, dataset.x_test, dataset.y_test)
        for remark in (found := of_result(net, test, dataset.y_test)):
            bar.remark(remark)
    last = replace(state.history[-1], recalls=recalls, remarks=(*remarks, *state.remarks, *found))
    history = [*state.history[:-1], last]
    write_text(metrics, "".join(as_line(m, identity.run) for m in history))
    write_text(folder / runfolder.BUDGET, state.log.as_json(config, state.model.connections.partition, identity.run))
    netfile.save(net, folder / runfolder.NET)
    runfolder.write_record(folder, identity.run)
    return TrainResult(net, test, history)


def exhausted(history: list[EpochMetrics], patience: int) -> bool:
    """Whether the last ``patience`` epochs brought no better validation score than the ones before."""
    reached = [decisive(m.val) for m in history if m.val is not None and m.test is not None]
    return 0 < patience < len(reached) and max(reached[-patience:]) <= max(reached[:-patience])


def integer_scores(net: IntNet, x: np.ndarray, y: np.ndarray) -> tuple[Scores, Recalls | None]:
    """Scores of ``net`` in the integer reference on codes ``x`` with the right answers ``y``, and recalls."""
    outputs = np.ldexp(reference.logits(net, x.reshape(len(x), *net.in_shape)).astype(np.float64), -net.logit_frac)
    recalls = recall(outputs, y) if net.task == "classification" else None
    return measure(net.task, outputs, y, net.output_map), recalls


def start(config: Config, dataset: CodedDataset) -> TrainState:
    """State before the first epoch. Raises ``ValueError`` for a task, budget or split that does not fit the data."""
    if dataset.task != config.data.task:
        raise ValueError(f"data.task = {config.data.task!r}: data {dataset.name} is a {dataset.task}")
    fit, _ = split(config, dataset)
    rng = np.random.default_rng(config.training.seed)
    model, budget = _untrained(config, dataset.n_in, dataset.n_out, dataset.x_format, rng)
    course = make_course(config.training, model.connections.weight, fit.stop)
    return TrainState(model, rng, seed_state(rng), [], start_log(model.connections.partition), budget, course)


def _untrained(
    config: Config, n_in: int, n_out: int, x_format: Format, rng: np.random.Generator
) -> tuple[Model, Partition]:
    """The network before the first epoch, and the budget that it has to meet at the end."""
    sizes = (n_in, *config.network.hidden, n_out)
    check_size(config, sizes)
    budget = make_partition(config.budget, chain(sizes), config.network.bias)
    first = dense_partition(budget, config.training.method) if config.training.dense else budget
    model = make_model(config, n_in, n_out, x_format, rng, first)
    METHODS[config.training.method].start(model, budget, config, rng)
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


def advance(
    config: Config,
    dataset: CodedDataset,
    state: TrainState,
    epoch: int,
    back: Callable[[bool], TrainState],
    first: int = 0,
) -> EpochMetrics:
    """``run_epoch``; if it diverges, again from the state before it with half the learning rate from there on. Where
    that state was lost already, as the epoch before it did worse than guessing or it diverges a second time, the whole
    run begins anew: the metrics are those of epoch ``first``.

    back : gives the state before ``epoch``, or (True) before the whole run

    Raises ``DivergenceError`` with what may be the cause when the rate was halved ``_TRIES`` times.
    """
    whole = bool(state.history) and state.history[-1].loss > cost_of_guessing(dataset.task, dataset.n_out)
    while True:
        try:
            return run_epoch(config, dataset, state, epoch)
        except DivergenceError as error:
            tries, eta = state.slowdowns + 1, config.training.learning_rate * 0.5 ** (state.slowdowns + 1)
            if tries > _TRIES:
                raise DivergenceError(
                    f"training diverged in epoch {epoch}, {error}, with a learning rate of "
                    f"{2 * eta:g} too; {_advice(config, dataset)}"
                ) from None
            said = [
                *state.remarks,
                f"epoch {epoch} diverged, {error}: {'the run' if whole else 'it'} begins anew with "
                f"the learning rate halved, to {eta:g} at its highest",
            ]
            vars(state).update(vars(back(whole)))
            state.slowdowns, state.remarks = tries, said
            epoch, whole = first if whole else epoch, True


def _advice(config: Config, dataset: CodedDataset) -> str:
    rms = root_mean_square(dataset)
    if rms > LARGE_RMS:
        return (
            f'the cause may be the inputs\' scale: data.scale = "{config.data.scale}" leaves them at a root mean '
            f'square of {rms:.3g}, data.scale = "auto" brings it to about 1'
        )
    return f"lower training.learning_rate = {config.training.learning_rate:g}"


def run_epoch(config: Config, dataset: CodedDataset, state: TrainState, epoch: int) -> EpochMetrics:
    """Train epoch number ``epoch`` and measure it. Raises ``DivergenceError`` when it left every bound."""
    started = time.perf_counter()
    fit, held_out = split(config, dataset)
    config = settled(config, state.course)
    t, q, model = config.training, config.quantization, state.model
    x, goal = dataset.x_train[fit], dataset.goal[fit]
    method = METHODS[t.method]
    method.prune(config, model, state.budget, epoch)
    if q.warmup_epochs <= epoch <= max(q.calibrate_epochs, q.warmup_epochs):
        calibrate(model, x[: q.samples], q.weight_bits, q.activation_bits)
    order = state.rng.permutation(len(x))
    if config.augmentation.wanted:
        number = epoch // config.augmentation.every
        if state.images is None or state.images[0] != number:
            state.images = number, deformed(config, dataset, x, np.random.default_rng((number + 1, t.seed)))
        x = state.images[1]
    etas = learning_rates(config.training, epoch, -(-len(order) // t.batch)) * 0.5**state.slowdowns
    totals = steps_and_rewirings(
        config,
        model,
        x,
        goal,
        order,
        etas,
        state.stream,
        state.log,
        epoch,
        make_prior(t, state.course, epoch),
        dataset.weights[fit],
    )
    _check_converging(totals, len(x), model, dataset.task)
    if epoch + 1 == t.epochs:
        method.prune(config, model, state.budget, t.epochs)
    val = _scores(dataset, model, dataset.x_train[held_out], dataset.y_train[held_out])
    test, n_nonzero = None, None
    if model.quantized:
        test = _scores(dataset, model, dataset.x_test, dataset.y_test)
        n_nonzero = int(np.count_nonzero(model.connections.code))
    loss = totals.loss / len(x)
    reached = totals.right / len(x) if dataset.task == "classification" else 1 - 2 * loss / dataset.n_out
    return EpochMetrics(
        epoch,
        loss,
        {DECIDES[dataset.task]: reached},
        val,
        test,
        totals.active_min,
        totals.active_max,
        totals.rewired,
        n_nonzero,
        round(time.perf_counter() - started, 3),
    )


def _scores(dataset: CodedDataset, model: Model, x: np.ndarray, y: np.ndarray) -> Scores | None:
    return measure(dataset.task, model.natural(x), y, dataset.output_map) if len(x) else None


def _check_converging(totals: Totals, n: int, model: Model, task: str) -> None:
    """Raise ``DivergenceError`` when the steps of an epoch diverged. In 8 bits an explosion may hide behind saturated
    codes: the loss stays finite while the weights leave every bound."""
    if not np.isfinite(totals.loss):
        raise DivergenceError(f"step {totals.steps}: the loss is not finite")
    if not np.abs(model.connections.weight).max() < 2.0**MAX_FRAC:  # NaN too
        raise DivergenceError("a weight has left every format")
    if totals.loss > _EXPLODED * cost_of_guessing(task, model.n_out) * n:
        raise DivergenceError(f"the loss exploded to {totals.loss / n:.3g} per sample")


def _about(identity: Identity, state: TrainState) -> dict[str, Any]:
    return {
        **asdict(identity),
        "run": identity.run,
        "rng": state.rng.bit_generator.state,
        "history": [asdict(m) for m in state.history],
        "slowdowns": state.slowdowns,
        "remarks": state.remarks,
    }


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
    state.slowdowns, state.remarks = about["slowdowns"], about["remarks"]


def _provenance(config: Config, identity: Identity, state: TrainState) -> dict[str, str]:
    return {
        "run": identity.run,
        "data": config.data.name,
        "method": config.training.method,
        "seed": str(config.training.seed),
        "epochs": str(len(state.history)),
        "trained_with": f"deepr-hw {identity.version}",
        "steps": str(state.log.steps[0]),
        "active_min": str(min(m.active_min for m in state.history)),
        "active_max": str(max(m.active_max for m in state.history)),
        "budget": explain(config.budget, state.model.shapes, config.network.bias),
    }
