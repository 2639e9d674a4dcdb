"""Accuracy of the shipped recipes in the integer reference: mean and spread over seeds, and contrasts to them.

    python -m bench.accuracy                    the quick table: the paper's recipe against a fixed random mask
    python -m bench.accuracy --seeds 5 --json accuracy.json
    python -m bench.accuracy --only cosine
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
from deepr_hw.config import load_config
from deepr_hw.console import CONSOLE
from deepr_hw.train import train

QUICK = [
    ("DEEP R, per layer", "mnist_paper", []),
    ("DEEP R, one global budget", "mnist_paper", ["budget.global=3552"]),
    ("fixed random positions", "mnist_paper", ["training.method=fixed"]),
    ("DEEP R, 30 epochs", "mnist_paper", ["training.epochs=30", "training.decay=0.9"]),
    ("DEEP R, 30 epochs, cosine", "mnist_paper30", []),
]
TABLES = {"quick": QUICK}


def measure(name: str, overrides: list[str], seeds: int) -> dict[str, object]:
    """Accuracies of recipe ``name`` with ``overrides`` for seeds 0..seeds-1."""
    accuracies, seconds, extremes = [], [], []
    for seed in range(seeds):
        config = load_config(name, [*overrides, f"training.seed={seed}"])
        with tempfile.TemporaryDirectory() as folder:
            result = train(config, data.load(config.data.name), Path(folder), progress=lambda *_: None)
        accuracies.append(100 * result.test_accuracy)
        seconds.append(sum(m.seconds for m in result.history))
        extremes += [m.active_min for m in result.history] + [m.active_max for m in result.history]
    return {"n_connections": result.net.n_connections, "epochs": config.training.epochs, "accuracy": accuracies,
            "active_min": min(extremes), "active_max": max(extremes), "seconds": float(np.mean(seconds))}


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
        table.add_row(label, str(row["n_connections"]), f"{row['active_min']}..{row['active_max']}",
                      str(row["epochs"]), f"{np.mean(acc):.2f}", f"{min(acc):.2f}..{max(acc):.2f}",
                      f"{row['seconds']:.0f}")
        print(f"{label}: {np.mean(acc):.2f} %", file=sys.stderr, flush=True)  # the table itself may take hours
    CONSOLE.print(f"MNIST, 8-bit weights and activations, last epoch, integer reference, {args.seeds} seeds")
    CONSOLE.print(table)
    machine = describe_machine("numpy", "numba")
    CONSOLE.print(machine)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
