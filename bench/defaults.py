"""Untouched defaults on data of many kinds: test accuracy of DEEP R and its rivals in 8 bits, beside a dense MLP.

    python -m bench.defaults                          every data set at hand, 3 seeds
    python -m bench.defaults --seeds 1 --sets digits,wine --json defaults.json

Nothing is set but the density, the method, the seed and the number of epochs. The dense network is scikit-learn's
MLPClassifier of the same widths, in float, after as many epochs of standardized input; its other parameters are
scikit-learn's own, whose batches of 200 give data of a hundred samples few steps.
"""

import argparse
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from deepr_hw import data
from deepr_hw.data import Dataset, make_dataset
from deepr_hw.train.config import config_from
from deepr_hw.train.loop import train

HIDDEN = (300, 100)
DENSITIES = (0.01, 0.02, 0.05, 0.10)
RIVAL_DENSITIES = (0.01, 0.05)
RIVALS = ("rigl", "set", "fixed")
FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist


def split_off(name: str, x: np.ndarray, y: np.ndarray) -> Dataset:
    """``x``, ``y`` with a quarter of the samples, drawn with seed 0, as test samples."""
    order = np.random.default_rng(0).permutation(len(y))
    x, y, n_test = x[order], y[order], round(len(y) / 4)
    return make_dataset(name, x[n_test:], y[n_test:], x[:n_test], y[:n_test])


def load_tabular(name: str) -> Dataset:
    """One of scikit-learn's small tables."""
    from sklearn import datasets

    return split_off(name, *getattr(datasets, f"load_{name}")(return_X_y=True))


def load_cov() -> Dataset:
    """16,000 samples of 54 features whose scales lie between 1e-2 and 1e3, 7 classes."""
    from sklearn.datasets import make_classification

    x, y = make_classification(16_000, 54, n_informative=20, n_classes=7, n_clusters_per_class=1, random_state=0)
    return split_off("cov", x * 10.0 ** np.linspace(-2, 3, 54), y)


def load_archive(path: str) -> Dataset:
    """An archive below the folder that ``DEEPR_DATA`` names."""
    return data.load(str(Path(os.environ.get("DEEPR_DATA", "")) / path))


SETS: dict[str, tuple[int, Callable[[], Dataset]]] = {  # name -> epochs, how to get it
    "mnist": (10, lambda: data.load("mnist")),
    "fashion": (10, lambda: data.load(str(FASHION))),
    "digits": (30, lambda: data.load("digits")),
    "breast_cancer": (30, lambda: load_tabular("breast_cancer")),
    "wine": (30, lambda: load_tabular("wine")),
    "asc": (20, lambda: load_archive("speech/asc_mfcc10.npz")),
    "hapt": (20, lambda: load_archive("hapt.npz")),
    "cov": (10, load_cov),
}


def accuracy(dataset: Dataset, density: float, method: str, seed: int, epochs: int) -> float:
    """Test accuracy in percent of the untouched defaults."""
    config = config_from(
        {
            "network": {"hidden": list(HIDDEN)},
            "budget": {"density": density},
            "training": {"method": method, "seed": seed, "epochs": epochs},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        return 100 * train(config, dataset, Path(folder), progress=lambda *_: None).test["accuracy"]


def dense_accuracy(dataset: Dataset, seed: int, epochs: int) -> float:
    """Test accuracy in percent of scikit-learn's dense network on standardized input."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(dataset.x_train.astype(np.float32))
    x_train, x_test = (scaler.transform(x.astype(np.float32)) for x in (dataset.x_train, dataset.x_test))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPClassifier(HIDDEN, max_iter=epochs, n_iter_no_change=epochs, random_state=seed)
        return 100 * float(model.fit(x_train, dataset.y_train).score(x_test, dataset.y_test))


def rows(dataset: Dataset, epochs: int, seeds: int) -> dict[str, list[float]]:
    """Accuracies by row, e.g. ``deep_r 1 %``, of seeds 0..seeds-1."""
    wanted = [("deep_r", density) for density in DENSITIES]
    wanted += [(method, density) for density in RIVAL_DENSITIES for method in RIVALS]
    found = {
        row_name(method, density): [accuracy(dataset, density, method, seed, epochs) for seed in range(seeds)]
        for method, density in wanted
    }
    found["dense"] = [dense_accuracy(dataset, seed, epochs) for seed in range(seeds)]
    return found


def row_name(method: str, density: float) -> str:
    """What a row is called."""
    return f"{method} {100 * density:g} %"


def verdicts(results: dict[str, dict[str, list[float]]]) -> list[str]:
    """What the table says of the rivals and of the dense network, one line each."""
    mean = {name: {row: float(np.mean(values)) for row, values in found.items()} for name, found in results.items()}
    lines = []
    for density in RIVAL_DENSITIES:
        own = {name: found[row_name("deep_r", density)] for name, found in mean.items()}
        best = {name: max(found[row_name(rival, density)] for rival in RIVALS) for name, found in mean.items()}
        average = {rival: np.mean([found[row_name(rival, density)] for found in mean.values()]) for rival in RIVALS}
        worst = min(own, key=lambda name: own[name] - best[name])
        lines.append(
            f"{100 * density:g} %: DEEP R {np.mean(list(own.values())):.2f} on average, "
            + ", ".join(f"{rival} {value:.2f}" for rival, value in average.items())
            + f"; least ahead of the best of them on {worst}: {own[worst] - best[worst]:+.2f}"
        )
    dense = {name: found[row_name("deep_r", 0.05)] - found["dense"] for name, found in mean.items()}
    worst = min(dense, key=lambda name: dense[name])
    return [*lines, f"5 % beside the dense network: least on {worst}, {dense[worst]:+.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default=",".join(SETS), help="names, separated by commas")
    parser.add_argument("--json", type=Path, help="read if it is there, written after every data set")
    args = parser.parse_args()
    console = Console(width=160)
    results: dict[str, Any] = json.loads(args.json.read_text())["sets"] if args.json and args.json.exists() else {}
    for name in args.sets.split(","):
        epochs, load = SETS[name]
        try:
            dataset = load()
        except OSError as error:
            console.print(f"{name}: not at hand, left out ({error.strerror or error})", markup=False)
            continue
        if name not in results:
            results[name] = rows(dataset, epochs, args.seeds)
            console.print(
                f"{name}: {len(dataset.x_train):,} x {dataset.n_in}, {dataset.n_classes} classes, {epochs} "
                f"epochs; DEEP R at 5 %: {np.mean(results[name][row_name('deep_r', 0.05)]):.2f} %"
            )
            if args.json:
                text = json.dumps({"machine": describe_machine("numpy", "numba", "scikit-learn"), "sets": results})
                args.json.write_text(text + "\n")
    table = Table("test accuracy, %", *results)
    for row in next(iter(results.values()), {}):
        cells = [results[name][row] for name in results]
        table.add_row(row, *(f"{np.mean(values):.1f} ± {np.std(values):.1f}" for values in cells))
    console.print(table)
    for line in verdicts(results) if results else []:
        console.print(line, markup=False)
    console.print(describe_machine("numpy", "numba", "scikit-learn"))


if __name__ == "__main__":
    main()
