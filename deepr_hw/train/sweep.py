"""A sweep: methods x budgets x seeds of one configuration, spread by joblib over processes or a cluster.

Every cell is a whole training; what it gives is written as soon as it is there, so that a sweep goes on where it
stopped. Workers need the package and the data, but no common file system.
"""

import contextlib
import csv
import dataclasses
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from deepr_hw.data import Dataset, load
from deepr_hw.extras import missing
from deepr_hw.files import make_folder, write_bytes, write_text
from deepr_hw.ir.tasks import DECIDES
from deepr_hw.sparse_set.budget import count_positions, make_partition
from deepr_hw.sparse_set.connections import Shapes
from deepr_hw.sparse_set.share import chain, share_out

from .config import BudgetConfig, Config, dump_config
from .loop import split, train
from .model import check_size

BACKENDS = ("loky", "threading", "dask", "ray")
_COLUMNS = (
    "method",
    "n_connections",
    "connectivity",
    "seed",
    "",
    "loss",
    "n_held",
    "n_nonzero",
    "rewired",
    "epochs",
    "seconds",
    "error",
)


@dataclass(frozen=True)
class Cell:
    """One training of the sweep."""

    config: Config
    n_connections: int
    connectivity: float

    @property
    def name(self) -> str:
        """What its files are called."""
        t = self.config.training
        return f"{t.method}-{self.n_connections}-seed{t.seed}"


def make_grid(
    config: Config, dataset: Dataset, methods: Sequence[str], budgets: Sequence[str], n_seeds: int
) -> list[Cell]:
    """The cells, all of them checked: ``n_seeds`` seeds from the configuration's on for each method and budget.

    budgets : each a number of connections or a percentage of all positions; empty means the configuration's own

    Raises ``ValueError`` naming the method or budget that is impossible.
    """
    sizes = (dataset.n_in, *config.network.hidden, dataset.n_out)
    check_size(config, sizes)
    split(config, dataset)
    shapes = chain(sizes)
    n_positions = sum(count_positions(shapes))
    wanted = [scale_budget(config.budget, count_of(text, n_positions), shapes) for text in budgets] or [config.budget]
    cells = {}
    for method in methods or [config.training.method]:
        for budget in wanted:
            n_connections = make_partition(budget, shapes, config.network.bias).n_connections
            for seed in range(config.training.seed, config.training.seed + n_seeds):
                training = dataclasses.replace(config.training, method=method, seed=seed)
                cell = Cell(
                    dataclasses.replace(config, budget=budget, training=training),
                    n_connections,
                    n_connections / n_positions,
                )
                cells[cell.name] = cell
    return list(cells.values())


def count_of(budget: str, n_positions: int) -> int:
    """Connections meant by ``budget``, e.g. ``3552`` or ``1.334%`` of ``n_positions``. Raises ``ValueError``."""
    text = budget.strip()
    try:
        count = round(float(text[:-1]) / 100 * n_positions) if text.endswith("%") else int(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"budget {budget!r}: write a number of connections or a percentage, e.g. 3552 or 1.334%"
        ) from None
    if not 1 <= count <= n_positions:
        raise ValueError(f"budget {budget!r} is {count} connections: the network has 1 to {n_positions} positions")
    return count


def scale_budget(budget: BudgetConfig, total: int, shapes: Shapes) -> BudgetConfig:
    """``budget`` with ``total`` connections: its layers keep their proportions as far as they have the positions.

    Raises ``ValueError`` for a budget per output, which has no number to scale.
    """
    if budget.per_output is not None:
        raise ValueError("budget.per_output: a sweep over budgets scales a number of connections, which this has not")
    positions = count_positions(shapes)
    per_layer: Sequence[float] | None = budget.per_layer
    if isinstance(budget.density, tuple):
        per_layer = [density * n for density, n in zip(budget.density, positions, strict=True)]
    kept = dataclasses.replace(budget, total=total, density=None, bytes=None, device=None, per_layer=None)
    if per_layer is None:
        return kept
    if len(per_layer) != len(positions):
        raise ValueError(
            f"budget.per_layer = {list(per_layer)}: has {len(per_layer)} entries for {len(positions)} layers"
        )
    shares = share_out(total, [max(float(share), 1e-9) for share in per_layer], positions)
    return dataclasses.replace(kept, total=None, per_layer=shares)


def columns(task: str) -> tuple[str, ...]:
    """What is told of a cell: its place in the sweep, scores, counts."""
    names = [f"{part}_{DECIDES[task]}" for part in ("test", "val", "train")]
    if task == "regression":
        names.insert(1, "test_rmse")
    i = _COLUMNS.index("")
    return (*_COLUMNS[:i], *names, *_COLUMNS[i + 1 :])


def run_cell(config: Config) -> dict[str, Any]:
    """Train ``config`` and tell what came out; runs on a worker. ``net`` is the network's file."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            dataset = load(config.data.name, config.data.task)
            result = train(config, dataset, Path(folder), progress=lambda metrics, n_epochs: None)
        except ValueError as error:  # divergence, say: the other cells go on
            return {"error": str(error)}
        net = (Path(folder) / "net.safetensors").read_bytes()
    last = result.history[-1]
    parts = {"test": result.test, "val": last.val or {}, "train": last.train}
    scores = {f"{part}_{name}": value for part, found in parts.items() for name, value in found.items()}
    return {
        **scores,
        "loss": last.loss,
        "n_held": result.net.n_connections,
        "n_nonzero": last.n_nonzero,
        "rewired": sum(m.rewired for m in result.history),
        "epochs": len(result.history),
        "seconds": round(time.perf_counter() - started, 3),
        "error": None,
        "net": net,
    }


def run_grid(
    cells: Sequence[Cell],
    out: Path,
    jobs: int = -1,
    backend: str = "loky",
    address: str | None = None,
    report: Callable[[Cell, dict[str, Any], bool], None] | None = None,
) -> list[dict[str, Any]]:
    """One row per cell, in order. Finished cells are read from ``out``, the others are run and written there: per cell
    ``cells/NAME.json`` and the network ``cells/NAME.safetensors``; for all ``compare.csv``.

    jobs   : cells at once; -1 takes every core (a cluster: every worker)
    report : called with each cell, its row and whether it was run now

    Raises ``ValueError`` when ``out`` holds a cell of another configuration, ``OSError`` when it can't be written,
    ``RuntimeError`` when the backend's package is missing or its cluster can't be reached.
    """
    folder = make_folder(make_folder(out) / "cells")
    rows = {cell.name: _read_row(folder, cell) for cell in cells}
    missing = [cell for cell in cells if rows[cell.name] is None]
    for cell in cells:
        if rows[cell.name] is not None and report is not None:
            report(cell, rows[cell.name] or {}, False)
    if missing:
        with joblib_backend(backend, address):
            for cell, result in _run(missing, jobs, streams=backend != "ray"):
                rows[cell.name] = _write_row(folder, cell, result)
                _write_csv(out, [row for row in rows.values() if row is not None])
                if report is not None:
                    report(cell, rows[cell.name] or {}, True)
    complete = [row for row in rows.values() if row is not None]
    _write_csv(out, complete)
    return complete


def _run(cells: Sequence[Cell], jobs: int, streams: bool) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Results as they come, or round by round where joblib's backend does not stream them."""
    if streams:
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(_with_cell)(cell) for cell in cells)
        return
    width = joblib.effective_n_jobs(jobs)
    for start in range(0, len(cells), width):
        yield from joblib.Parallel(n_jobs=jobs)(joblib.delayed(_with_cell)(c) for c in cells[start : start + width])


def _with_cell(cell: Cell) -> tuple[Cell, dict[str, Any]]:
    return cell, run_cell(cell.config)


@contextlib.contextmanager
def joblib_backend(name: str, address: str | None) -> Iterator[None]:
    """joblib's backend ``name`` while the block runs; for a cluster, connected to its scheduler at ``address`` (none
    starts one on this machine). Raises ``RuntimeError``."""
    if address is not None and name not in ("dask", "ray"):
        raise ValueError(f"--address {address}: backend {name} has no cluster to connect to")
    with contextlib.ExitStack() as stack:
        try:
            if name == "dask":
                from distributed import Client

                stack.enter_context(Client(address, timeout="30s") if address else Client(dashboard_address=None))
            elif name == "ray":
                import ray
                from ray.util.joblib import register_ray

                register_ray()
                stack.enter_context(ray.init(address=address))
        except ModuleNotFoundError as error:
            raise missing(f"backend {name}", error) from None
        except (OSError, ConnectionError, TimeoutError) as error:
            raise RuntimeError(f"backend {name}: no cluster answers at {address} ({error})") from None
        stack.enter_context(joblib.parallel_config(backend=name))
        yield


def _read_row(folder: Path, cell: Cell) -> dict[str, Any] | None:
    path = folder / f"{cell.name}.json"
    if not path.exists():
        return None
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        row, config = written["row"], written["config"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: not a result of compare; remove it to run this cell again") from None
    if config != dump_config(cell.config):
        raise ValueError(f"{path}: belongs to another configuration than the one given; compare into another folder")
    return dict(row)


def _write_row(folder: Path, cell: Cell, result: dict[str, Any]) -> dict[str, Any]:
    """The row of a cell; a cell that failed leaves no file and is run again by the next sweep."""
    t = cell.config.training
    row = {"method": t.method, "n_connections": cell.n_connections, "connectivity": cell.connectivity, "seed": t.seed}
    row.update((key, result.get(key)) for key in columns(cell.config.data.task) if key not in row)
    if row["error"] is None:
        write_bytes(folder / f"{cell.name}.safetensors", result["net"])
        text = json.dumps({"row": row, "config": dump_config(cell.config)}, indent=1)
        write_text(folder / f"{cell.name}.json", text + "\n")
    return row


def _write_csv(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0] if rows else (), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(out / "compare.csv", text.getvalue())
