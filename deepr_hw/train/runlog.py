"""What a run leaves behind while it goes: metrics per epoch, connections per group after every step, a progress bar."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from deepr_hw.ir.tasks import Recalls, Scores, as_text
from deepr_hw.sparse_set.budget import explain
from deepr_hw.sparse_set.partition import Partition

from .config import Config


@dataclass(frozen=True)
class EpochMetrics:
    """One line of ``metrics.jsonl``. The scores ``train``, ``val`` and ``test`` become keys such as ``test_accuracy``
    there, or ``test_r2``; None (JSON null) where there is nothing to measure.

    train          : the score that decides, over the epoch's own steps, while the weights were moving
    val            : on the held-out part of the training data
    test           : of the integers in evaluation mode, which are the reference's; None in float training and without
                     test data
    active_min/max : connections after every update and refill of the epoch
    n_nonzero      : active connections whose code is not 0; null while training in float

    In the line of a finished run's last epoch:
    recalls : of a classifier per class the share of its test samples that is right, null for a class without any
    remarks : what was said about data, course and result
    """

    epoch: int
    loss: float
    train: Scores
    val: Scores | None
    test: Scores | None
    active_min: int
    active_max: int
    rewired: int
    n_nonzero: int | None
    seconds: float
    recalls: Recalls | None = None
    remarks: tuple[str, ...] = ()


@dataclass(eq=False)
class BudgetLog:
    """Connections per group, looked at after every update and refill.

    extremes : (2, G) int64, lowest and highest count over all steps so far
    steps    : (1,) int64, how many steps that were
    """

    extremes: np.ndarray
    steps: np.ndarray

    def as_json(self, config: Config, partition: Partition, run: str) -> str:
        """What ``budget.json`` holds for the run of that id."""
        return (
            json.dumps(
                {
                    "run": run,
                    "kind": partition.kind,
                    "arithmetic": explain(config.budget, partition.shapes, config.network.bias),
                    "n_connections": partition.n_connections,
                    "steps": int(self.steps[0]),
                    "limits": partition.limits.tolist(),
                    "active_min": self.extremes[0].tolist(),
                    "active_max": self.extremes[1].tolist(),
                }
            )
            + "\n"
        )


def start_log(partition: Partition) -> BudgetLog:
    """A log that has seen no step."""
    return BudgetLog(np.stack([partition.limits, partition.limits]).astype(np.int64), np.zeros(1, np.int64))


Progress = Callable[[EpochMetrics, int], None]


def as_line(metrics: EpochMetrics, run: str) -> str:
    """One line of ``metrics.jsonl`` for the run of that id."""
    values = asdict(metrics)
    nothing = dict.fromkeys(metrics.train)
    measured = {
        f"{part}_{name}": value
        for part in ("train", "val", "test")
        for name, value in (values.pop(part) or nothing).items()
    }
    first = {"run": run, "epoch": values.pop("epoch"), "loss": values.pop("loss")}
    return json.dumps({**first, **measured, **values}) + "\n"


class Bar:
    """A rich progress bar with one description per epoch; or only the caller's function."""

    def __init__(self, config: Config, progress: Progress | None) -> None:
        self._progress = progress
        if progress is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            from deepr_hw.console import CONSOLE

            self._bar = Progress(
                TextColumn("epoch"),
                MofNCompleteColumn(),
                BarColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=CONSOLE,
            )
            self._task = self._bar.add_task("", total=config.training.epochs)

    def __enter__(self) -> "Bar":
        if self._progress is None:
            self._bar.start()
        return self

    def remark(self, text: str) -> None:
        """Say ``text`` in a line, above the bar."""
        if self._progress is None:
            self._bar.console.print(f"warning: {text}", markup=False)

    def __exit__(self, *error: object) -> None:
        if self._progress is None:
            self._bar.stop()

    def show(self, m: EpochMetrics, n_epochs: int) -> None:
        """Show an epoch."""
        if self._progress is not None:
            self._progress(m, n_epochs)
            return
        test = "float" if m.test is None else as_text(m.test)
        self._bar.update(
            self._task,
            completed=m.epoch + 1,
            description=(
                f"loss {m.loss:.4f}  test {test}  active {m.active_min:,}..{m.active_max:,}  rewired {m.rewired:,}"
            ),
        )
