"""Accuracy of the shipped recipes in the integer reference: mean and spread over seeds, and contrasts to them.

python -m bench.accuracy                    the quick table: the paper's recipe against a fixed random mask
python -m bench.accuracy --seeds 5 --json accuracy.json
python -m bench.accuracy --only cosine
python -m bench.accuracy --table budget3288 the long one: 3,288 connections, and what each part of the recipe brings
python -m bench.accuracy --table budget3288 --only "the recipe"
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.table import Table

from bench.machine import describe_machine
from deepr_hw import data
from deepr_hw.console import CONSOLE
from deepr_hw.train.config import load_config
from deepr_hw.train.loop import train

QUICK = [
    ("DEEP R, per layer", "mnist_paper", []),
    ("DEEP R, one global budget", "mnist_paper", ["budget.global=3552"]),
    ("fixed random positions", "mnist_paper", ["training.method=fixed"]),
    ("DEEP R, 30 epochs", "mnist_paper", ["training.epochs=30", "training.decay=0.9"]),
    ("DEEP R, 30 epochs, cosine", "mnist_paper30", []),
]
_SHORT = ["training.epochs=60"]
_WIDE = ["network.hidden=[300, 100]"]
_WEAK_PRIOR = ["training.l1=1e-5", "training.l1_end=1e-5"]
_AS_IT_IS = ["augmentation.shift=0", "augmentation.rotation=0", "augmentation.scale=0"]
BUDGET3288 = [
    ("the recipe", "mnist_budget3288", []),
    ("60 epochs", "mnist_budget3288", _SHORT),
    ("60 epochs, images as they are", "mnist_budget3288", [*_SHORT, *_AS_IT_IS]),
    ("60 epochs, the paper's L1", "mnist_budget3288", [*_SHORT, *_WEAK_PRIOR]),
    ("60 epochs, 300-100 wide", "mnist_budget3288", [*_SHORT, *_WIDE]),
    ("60 epochs, fixed positions", "mnist_budget3288", [*_SHORT, "training.method=fixed"]),
    ("60 epochs, all but momentum and cosine undone", "mnist_budget3288", [*_SHORT, *_WIDE, *_WEAK_PRIOR, *_AS_IT_IS]),
    ("paper's recipe, 30 epochs", "mnist_paper30", ["budget.per_layer=[2177, 833, 278]", "data.validation=0"]),
]
TABLES = {"quick": QUICK, "budget3288": BUDGET3288}


def measure(name: str, overrides: list[str], seeds: int) -> dict[str, object]:
    """Accuracies of recipe ``name`` with ``overrides`` for seeds 0..seeds-1."""
    accuracies, seconds, extremes = [], [], []
    for seed in range(seeds):
        config = load_config(name, [*overrides, f"training.seed={seed}"])
        with tempfile.TemporaryDirectory() as folder:
            result = train(config, data.load(config.data.name), Path(folder), progress=lambda *_: None)
        accuracies.append(100 * result.test["accuracy"])
        seconds.append(sum(m.seconds for m in result.history))
        extremes += [m.active_min for m in result.history] + [m.active_max for m in result.history]
    return {
        "n_connections": result.net.n_connections,
        "epochs": config.training.epochs,
        "accuracy": accuracies,
        "active_min": min(extremes),
        "active_max": max(extremes),
        "seconds": float(np.mean(seconds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, default="quick")
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = Table("recipe", "K", "active min..max", "epochs", "mean %", "min..max %", "s / run")
    rows = []
    for label, name, overrides in TABLES[args.table]:
        if args.only not in label:
            continue
        row = measure(name, overrides, args.seeds)
        rows.append({"recipe": label, "config": name, "overrides": overrides, **row})
        acc = row["accuracy"]
        spread = f"{min(acc):.2f}..{max(acc):.2f}"
        table.add_row(
            label,
            str(row["n_connections"]),
            f"{row['active_min']}..{row['active_max']}",
            str(row["epochs"]),
            f"{np.mean(acc):.2f}",
            spread,
            f"{row['seconds']:.0f}",
        )
        print(f"{label}: {np.mean(acc):.2f} % ({spread})", file=sys.stderr, flush=True)  # the table may take hours
    CONSOLE.print(f"MNIST, 8-bit weights and activations, last epoch, integer reference, {args.seeds} seeds")
    CONSOLE.print(table)
    machine = describe_machine("numpy", "numba")
    CONSOLE.print(machine)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
