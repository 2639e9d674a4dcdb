"""Bytes per connection of a network in every form: arrays, files, entropy.

python -m bench.sizes runs/mnist/net.safetensors
python -m bench.sizes --random 100000 100000 1000000     a layer of so many inputs, outputs and connections
"""

import argparse
import json
from pathlib import Path

from rich.table import Table

from deepr_hw.console import CONSOLE
from deepr_hw.evidence.sizes import as_rows
from deepr_hw.ir import netfile
from tests.random_nets import one_layer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path, nargs="?")
    parser.add_argument("--random", type=int, nargs=3, metavar=("N_IN", "N_OUT", "K"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if (args.net is None) == (args.random is None):
        parser.error("either a network file or --random")
    net = netfile.load(args.net) if args.net else one_layer(*args.random)
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
