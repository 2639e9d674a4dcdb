"""Area, clock and images per second of the engine over lanes, on the MNIST network of K = 3552.

python -m bench.area                       784-300-100-10, lanes 1 to 16, ECP5: places and routes, some minutes
python -m bench.area NET --target xc7      a network of one's own; counts only where pip has no place and route
python -m bench.area NET --target ecp5-25k --lanes 8 --shell    also LUTs and flip-flops of the exported top
"""

import argparse
import json
import sys
from pathlib import Path

from rich.table import Table

from deepr_hw.console import CONSOLE
from deepr_hw.export.rtl.geometry import LANE_COUNTS
from deepr_hw.ir import netfile
from deepr_hw.sim import place, synth
from tests.mnist_shaped import mnist_shaped

COLUMNS = (
    ("lanes", 0),
    ("lut", 0),
    ("lut_shell", 0),
    ("ff_shell", 0),
    ("lut_logic", 0),
    ("ff", 0),
    ("dsp", 0),
    ("bram", 0),
    ("cycles_per_sample", 0),
    ("fmax_mhz", 1),
    ("images_per_second", 0),
    ("lut_us", 0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path, nargs="?", help="default: random connections, balanced over the lanes")
    parser.add_argument("--target", default="ecp5-45k", help="default: %(default)s, the smallest that takes 16 lanes")
    parser.add_argument("--lanes", type=int, nargs="+", default=LANE_COUNTS)
    parser.add_argument(
        "--route",
        metavar="P",
        type=int,
        default=8,
        help="place and route up to so many lanes, count "
        "cells above: nextpnr is not done with 16 after 6 minutes (default: %(default)s)",
    )
    parser.add_argument("--shell", action="store_true", help="count the engine within its AXI shell, too")
    parser.add_argument("--out", type=Path, default=Path("build/area"))
    args = parser.parse_args()
    rows = []
    for lanes in args.lanes:
        net = netfile.load(args.net) if args.net else mnist_shaped(lanes)
        done = place.synthesize(net, args.target, lanes, args.out / f"{args.target}-{lanes}", clock=lanes <= args.route)
        row = done.as_json()
        if args.shell:
            shell = synth.shell_netlist(done.geometry, args.target).area
            row |= {"lut_shell": shell.lut, "ff_shell": shell.ff}
        if done.timing:
            row["lut_us"] = row["lut"] * row["cycles_per_sample"] / row["fmax_mhz"]
            print(f"{lanes} lanes: {row['critical_path']}", file=sys.stderr)
        rows.append(row)
    table = Table(title=f"{args.target}, K = {net.n_connections}")
    for name, _ in COLUMNS:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*("-" if row.get(name) is None else f"{row[name]:,.{digits}f}" for name, digits in COLUMNS))
    CONSOLE.print(table)
    (args.out / f"{args.target}.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
