"""``train`` and ``compare``."""

import importlib
from argparse import Namespace
from typing import Any

from rich.table import Table

from deepr_hw import data
from deepr_hw.console import CONSOLE
from deepr_hw.extras import missing
from deepr_hw.files import check_folder, make_folder, write_bytes
from deepr_hw.ir.tasks import DECIDES, as_text, balanced, title, value_text
from deepr_hw.train.config import Config, load_config
from deepr_hw.train.runfolder import claim, locked

from . import Outcome


def train(args: Namespace) -> Outcome:
    """``deepr-hw train``."""
    check_folder(args.out)
    config = load_config(config_name(args), args.overrides)
    dataset = data.load(config.data.name, config.data.task)
    with claim(args.out, args.resume, args.force):
        return train_claimed(args, config, dataset)


def train_claimed(args: Namespace, config: Config, dataset: data.Dataset) -> Outcome:
    """Train in the folder that ``args`` name, which has been claimed."""
    from deepr_hw.train.loop import train_in
    from deepr_hw.train.remarks import is_imbalanced

    result = train_in(args.out, config, dataset, args.resume)
    last = result.history[-1]
    scores = result.test if last.recalls is None else {**result.test, "balanced_accuracy": balanced(last.recalls)}
    shown = scores if last.recalls is not None and is_imbalanced(dataset.y_train) else result.test
    CONSOLE.print(
        f"{args.out / 'net.safetensors'}: K = {result.net.n_connections} connections, integer test {as_text(shown)}"
    )
    return {
        "n_connections": result.net.n_connections,
        **{f"test_{k}": v for k, v in scores.items()},
        "recalls": last.recalls,
        "remarks": last.remarks,
    }, True


def compare(args: Namespace) -> Outcome:
    """``deepr-hw compare``. Doesn't pass when a cell failed."""
    from deepr_hw.evidence import sweep_figure as compare_figure
    from deepr_hw.train import sweep

    check_plots("compare")
    check_folder(args.out)
    config = load_config(config_name(args), args.overrides)
    dataset = data.load(config.data.name, config.data.task)
    cells = sweep.make_grid(config, dataset, _split(args.methods), _split(args.budgets), args.seeds)
    n_left, score = len(cells), DECIDES[config.data.task]

    def show(cell: sweep.Cell, row: dict[str, Any], ran: bool) -> None:
        nonlocal n_left
        n_left -= 1
        outcome = row["error"] or value_text(score, row[f"test_{score}"]) + ("" if ran else " (was there)")
        CONSOLE.print(f"{cell.name}: {outcome}, {n_left} to go", markup=False)

    with locked(make_folder(args.out)):
        rows = sweep.run_grid(cells, args.out, args.jobs, args.backend, args.address, show)
    summary = compare_figure.summarize(rows, score)
    write_bytes(args.out / "compare.png", compare_figure.draw(summary, f"{dataset.name}: {len(rows)} trainings", score))
    table = Table("method", "K", "connectivity", "seeds", f"test {title(score)}")
    for point in summary:
        mean = "" if point["mean"] is None else " ± ".join(value_text(score, point[key]) for key in ("mean", "std"))
        table.add_row(
            point["method"],
            f"{point['n_connections']:,}",
            f"{100 * point['connectivity']:.3f} %",
            str(point["seeds"]),
            mean,
        )
    CONSOLE.print(table)
    CONSOLE.print(f"{args.out / 'compare.csv'}, {args.out / 'compare.png'}")
    return {"summary": summary, "cells": rows}, all(row["error"] is None for row in rows)


def check_plots(command: str) -> None:
    """Raise ``MissingToolError`` unless figures can be drawn."""
    try:
        importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise missing(command, error) from None


def config_name(args: Namespace) -> str:
    """The configuration that is meant, ``auto`` resolved."""
    if args.config == "auto":
        return "mnist_paper" if data.mnist_at_hand() else "digits"
    return str(args.config)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
