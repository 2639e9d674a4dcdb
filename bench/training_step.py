"""Full training steps per second, ours beside dense + mask in NumPy and PyTorch and beside scipy.sparse.

    python -m bench.training_step                     MNIST's shape, batch 10 / 32 / 128, densities 1.33 / 3 / 10 %
    python -m bench.training_step --wide              784-4096-4096-10 at 1 %, batch 32
    python -m bench.training_step --json steps.json

Ours is the whole of DEEP R in 8 bits: load, forward, loss, backward, L1, noise, kill, refill, quantize, count. Every
contestant runs on one thread in this process, in interleaved rounds; the figure is the median round, in processor time,
which others on the machine disturb least.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from bench.dense_rivals import ETA, Run, make_numpy_mask, make_scipy, make_torch  # noqa: E402
from bench.machine import describe_machine  # noqa: E402
from deepr_hw import data  # noqa: E402
from deepr_hw.ir.fixed import PIXEL  # noqa: E402
from deepr_hw.kernel.noise import seed_state  # noqa: E402
from deepr_hw.sparse_set.share import chain, count_positions, share_per_matrix  # noqa: E402
from deepr_hw.train.config import config_from  # noqa: E402
from deepr_hw.train.epoch import steps_of_an_epoch  # noqa: E402
from deepr_hw.train.model import calibrate, make_model  # noqa: E402
from deepr_hw.train.schedule import Prior  # noqa: E402

RIVALS = {
    "torch dense": "dense",
    "torch mask": "mask",
    "torch mask + fake-quant": "mask+fakequant",
    "torch masked DEEP R": "deepr",
}


def make_ours(sizes: tuple[int, ...], density: float, batch: int, x: np.ndarray, y: np.ndarray) -> Run:
    """Our step after 1,000 steps in float and 1,000 in 8 bits, so that rewiring is at its usual pace."""
    limits = share_per_matrix(
        round(density * sum(count_positions(chain(sizes)))), chain(sizes)
    )  # near the authors' shares
    config = config_from(
        {
            "budget": {"per_layer": limits},
            "network": {"hidden": list(sizes[1:-1]), "bias": False},
            "training": {"batch_size": batch, "optimizer": "sgd"},
        }
    )
    prior = Prior(l1=1e-5, idle=0.0)  # the paper's
    rng = np.random.default_rng(0)
    model, stream = make_model(config, sizes[0], sizes[-1], PIXEL, rng), seed_state(rng)

    def run(n_steps: int) -> float:
        order = rng.integers(0, len(x), n_steps * batch)
        totals = steps_of_an_epoch(config, model, x, y, order, np.full(n_steps, ETA), stream, prior)
        assert totals.steps == n_steps, "diverged"
        return totals.rewired / n_steps

    run(1000)
    calibrate(model, x[:500], 8, 8)
    run(1000)
    return run


def measure(contestants: dict[str, Run], rounds: int, seconds: float) -> dict[str, float]:
    """Median milliseconds per step of each contestant, in interleaved rounds of about ``seconds``."""
    counts = {}
    for name, run in contestants.items():
        run(1)
        started = time.process_time()
        run(3)
        counts[name] = max(1, int(seconds / ((time.process_time() - started) / 3)))
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            started = time.process_time()
            run(counts[name])
            taken[name].append((time.process_time() - started) / counts[name] * 1e3)
    return {name: float(np.median(values)) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="per contestant and round")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    mnist = data.load("mnist")
    x, y = mnist.x_train, mnist.y_train
    sizes: tuple[int, ...] = (784, 4096, 4096, 10) if args.wide else (784, 300, 100, 10)
    cases = (
        [(32, 0.01)] if args.wide else [(batch, density) for density in (0.0133, 0.03, 0.10) for batch in (10, 32, 128)]
    )
    has_torch = importlib.util.find_spec("torch") is not None
    rivals = RIVALS if has_torch else {}
    if not has_torch:
        Console().print("PyTorch is not installed (pip install 'deepr-hw\\[bench]'): its columns are left out")
    table = Table(
        "density",
        "batch",
        "rewired",
        "ours ms",
        *(f"{name} ms (ratio)" for name in (*rivals, "numpy mask", "scipy DEEP R")),
    )
    rows = []
    for batch, density in cases:
        contestants = {"ours": make_ours(sizes, density, batch, x, y)}
        contestants |= {name: make_torch(kind, sizes, density, batch, x, y) for name, kind in rivals.items()}
        contestants["numpy mask"] = make_numpy_mask(sizes, density, batch, x, y)
        contestants["scipy DEEP R"] = make_scipy(sizes, density, batch, x, y)
        taken = measure(contestants, args.rounds, args.seconds)
        rewired = contestants["ours"](100)
        rows.append({"density": density, "batch": batch, "rewired_per_step": rewired, "ms": taken})
        table.add_row(
            f"{100 * density:g} %",
            str(batch),
            f"{rewired:.0f}",
            f"{taken['ours']:.4f}",
            *(f"{ms:.3f} ({ms / taken['ours']:.1f})" for name, ms in taken.items() if name != "ours"),
        )
    title = (
        f"{'-'.join(map(str, sizes))}, one thread, milliseconds per step (ratio to ours); "
        "rewired: connections that ours replaces per step"
    )
    Console(width=160).print(title, table)
    machine = describe_machine("numpy", "numba", "scipy", *(("torch",) if has_torch else ()))
    Console(width=160).print(machine)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "sizes": sizes, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
