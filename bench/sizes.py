"""Bytes per connection of a network in every form: arrays, files, entropy.

python -m bench.sizes runs/mnist/net.safetensors
python -m bench.sizes --random 100000 100000 1000000     a layer of so many inputs, outputs and connections
"""

import argparse
import json
from pathlib import Path

import numpy as np
from rich.table import Table

from deepr_hw.console import CONSOLE
from deepr_hw.evidence.sizes import as_rows
from deepr_hw.ir import Budget, IntNet, fixed, netfile, sparse_linear
from deepr_hw.ir.fixed import Format


def random_layer(n_in: int, n_out: int, n: int) -> IntNet:
    """One layer of ``n`` connections at random positions, without a dense array."""
    rng = np.random.default_rng(0)
    position = np.unique(rng.integers(0, n_in * n_out, n, np.int64))
    while position.size < n:
        position = np.unique(np.r_[position, rng.integers(0, n_in * n_out, n - position.size, np.int64)])
    layer = sparse_linear(
        n_in,
        n_out,
        position % n_in,
        position // n_in,
        rng.integers(-128, 128, n),
        None,
        fixed.PIXEL,
        Format(8, True, 7),
        None,
    )
    return IntNet((layer,), Budget("global", (n,)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path, nargs="?")
    parser.add_argument("--random", type=int, nargs=3, metavar=("N_IN", "N_OUT", "K"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if (args.net is None) == (args.random is None):
        parser.error("either a network file or --random")
    net = netfile.load(args.net) if args.net else random_layer(*args.random)
    rows = as_rows(net)
    table = Table("form", "kind")
    for heading in ("bytes", "bytes / connection"):
        table.add_column(heading, justify="right")
    for row in rows:
        per = row["bytes_per_connection"]
        table.add_row(
            row["name"],
            row["kind"],
            "-" if per is None else f"{row['bytes']:,.0f}",
            "-" if per is None else f"{per:,.2f}",
        )
    CONSOLE.print(table)
    for row in rows:
        if row["remark"]:
            print(f"{row['name']}: {row['remark']}")
    print(f"{net.n_connections:,} connections of {net.n_positions:,} positions")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
