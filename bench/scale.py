"""One layer with 10^12 potential connections: time and memory of a step against the number of connections.

    python -m bench.scale                                   K = 10^5 .. 10^8 (about 3 minutes, 3 GiB)
    python -m bench.scale --largest 7 --json scale.json

A step is forward, backward (gradient at the connections and dE/dx), update with L1 and noise, death and refill, and
quantization, at batch 32 on one thread, in processor time, with 0.5 % of the connections replaced in every step. The
limits measured in the same run: a row gather (read and add one row of 32 floats per connection, the least that forward
or backward can do) and a float32 multiply-add loop in registers. Each K runs in a process of its own, so that its peak
memory is its own.
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from deepr_hw.ir.fixed import PIXEL
from deepr_hw.kernel.jit import REORDERS, kernel
from deepr_hw.kernel.noise import NORMAL_TABLE
from deepr_hw.kernel.vectors import prefetch_row, row_axpy
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.sparse_set.draw import as_arrays, as_groups, recount
from deepr_hw.sparse_set.rewire import grow_connections, rewire
from deepr_hw.sparse_set.share import chain
from deepr_hw.sparse_set.step import encode, update
from deepr_hw.train.config import BudgetConfig
from deepr_hw.train.sparse_linear import LinearStage, backward, forward
from deepr_hw.train.stage import Ends

BATCH, REPLACED = 32, 0.005


@kernel(fastmath=REORDERS)
def gather(out_idx, table, total):
    """Add up the rows of ``table`` that ``out_idx`` names: one row read per connection."""
    n = out_idx.size
    for k in range(n):
        prefetch_row(table, out_idx[min(k + 8, n - 1)])
        row_axpy(total, 0, np.float32(1), table, out_idx[k])


@kernel(fastmath=REORDERS)
def multiply_add(values, rounds):
    """``rounds`` multiply-adds on each of ``values`` (a few vectors, so that they stay in registers)."""
    for _ in range(rounds):
        for i in range(128):
            values[i] = values[i] * np.float32(0.999) + np.float32(0.001)


def timed(run, rounds: int) -> float:
    """Least seconds of ``rounds`` calls."""
    best = np.inf
    for _ in range(rounds):
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
    return best


def measure(width: int, k: int, answer) -> None:
    """Times of the parts of a step, and the peak memory, into ``answer``."""
    rng, before = np.random.default_rng(0), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sizes = (1, width, width)  # the first level only makes the second a hidden one, whose dE/dx is asked for
    partition = make_partition(BudgetConfig(per_layer=(0, k)), chain(sizes))
    started = time.process_time()
    connections = grow_connections(partition, rng)
    grown = time.process_time() - started
    net, groups = as_arrays(connections), as_groups(partition, np.zeros(2, np.int64))
    assert recount(net, groups, groups.active)
    none, bias, no_bias = np.zeros((0, BATCH), np.float32), np.zeros(2 * width, np.float32), np.zeros(0, np.float32)
    bias[:width] = 100  # every hidden activation is 100: nothing is skipped as zero
    stage = LinearStage(sizes, is_last=True)
    arrays = stage.arrays(0, Ends(none, none, none, none), bias, no_bias, PIXEL)
    act, acc = arrays.act, arrays.acc
    arrays.steps[:], arrays.top[:] = [(1, 1, 1), (2**-8, 2**-6, 1)], [255, 1]
    stream, key = np.array([1, 2, 3, 4], np.uint64), np.uint32(1)
    encode(net.weight, net.code, 0, k, 64.0, -128, 127)
    rounds = 5 if k < 10**8 else 2
    parts = {
        "forward": lambda: forward(arrays, net, net.code),
        "backward": lambda: backward(arrays, net, net.code),
        "update": lambda: update(net.weight, net.grad, 0.01, 1e-5, 1e-6, key, NORMAL_TABLE, True),
        "encode": lambda: encode(net.weight, net.code, 0, k, 64.0, -128, 127),
    }
    times = dict.fromkeys((*parts, "rewire"), np.inf)
    replaced = 0
    for _ in range(rounds):
        for name, part in parts.items():
            times[name] = min(times[name], timed(part, 1))
        net.grad[:] = 1
        net.grad[rng.integers(0, k, round(k * REPLACED))] = -1
        started = time.process_time()
        replaced = rewire(net, groups, stream)
        times["rewire"] = min(times["rewire"], time.process_time() - started)
    assert recount(net, groups, groups.active)
    assert (groups.active == partition.limits).all()
    peak = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    touched = act[: 1 + width].nbytes + acc.nbytes  # nobody writes the activations of the last level
    total = np.zeros((1, BATCH), np.float32)
    limit = timed(lambda: gather(net.out_idx, acc[1 + width :], total), 2)
    values = np.ones(128, np.float32)
    multiply_add(values, 10)
    fma = 2 * 128 * 100_000 / timed(lambda: multiply_add(values, 100_000), 3)
    answer.put(
        {
            "width": width,
            "k": k,
            "seconds": times,
            "gather": limit,
            "fma_flops": fma,
            "grown": grown,
            "replaced": replaced,
            "peak_bytes": peak,
            "activation_bytes": touched,
        }
    )


def compile_first() -> None:
    """Fill the cache of compiled code, so that no measuring process compiles."""
    queue: multiprocessing.Queue[dict] = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(100, 1000, queue))
    process.start()
    queue.get()
    process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=10**6)
    parser.add_argument("--largest", type=int, default=8, help="largest power of ten of K")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    compile_first()
    table = Table(
        "K",
        "ms / step",
        "ns / conn",
        "rewire",
        "bytes / conn",
        "fwd+bwd : 2 gathers",
        "GB/s gathered",
        "of FMA peak",
        title=f"{args.width:,} x {args.width:,} positions, batch {BATCH}, one thread",
    )
    rows = []
    context = multiprocessing.get_context("spawn")
    for exponent in range(5, args.largest + 1):
        queue: multiprocessing.Queue[dict] = context.Queue()
        process = context.Process(target=measure, args=(args.width, 10**exponent, queue))
        process.start()
        r = queue.get()
        process.join()
        rows.append(r)
        t, k = r["seconds"], r["k"]
        step, products = sum(t.values()), t["forward"] + t["backward"]
        table.add_row(
            f"10^{exponent}",
            f"{1e3 * step:,.1f}",
            f"{1e9 * step / k:.1f}",
            f"{100 * t['rewire'] / step:.0f} %",
            f"{(r['peak_bytes'] - r['activation_bytes']) / k:.1f}",
            f"{products / (2 * r['gather']):.2f}",
            f"{2 * 4 * BATCH * k / products / 1e9:.1f}",
            f"{100 * 6 * BATCH * k / products / r['fma_flops']:.1f} %",
        )
    Console(width=120).print(table)
    machine = describe_machine("numpy", "numba")
    Console(width=120).print(machine)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
