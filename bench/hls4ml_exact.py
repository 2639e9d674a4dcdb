"""Random networks through every hls4ml engine: logits compared, mismatches counted.

python -m bench.hls4ml_exact
python -m bench.hls4ml_exact --nets 5 --engines hls4ml,csim --json exact.json
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.table import Table

from deepr_hw import reference
from deepr_hw.console import CONSOLE
from deepr_hw.targets import ENGINES, get_engine
from tests.random_nets import random_codes, random_net

HLS4ML = [name for name in ENGINES if name.startswith("hls4ml") or name == "csim"]


def measure(name: str, n_nets: int, n_samples: int) -> dict[str, float | str]:
    """Logits compared and logits that differ, over the networks 0 to ``n_nets - 1``, and seconds with compilation."""
    run, logits, mismatches, start = get_engine(name), 0, 0, time.perf_counter()
    for seed in range(n_nets):
        net = random_net(seed, max_width=16)
        x = random_codes(net, n_samples, seed)
        expected = reference.logits(net, x)
        with tempfile.TemporaryDirectory() as workdir:
            mismatches += int(np.count_nonzero(run(net, x, Path(workdir)).logits != expected))
        logits += expected.size
    return {
        "engine": name,
        "nets": n_nets,
        "logits": logits,
        "mismatches": mismatches,
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=50)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--engines", default=",".join(HLS4ML))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    table = Table("engine", "nets", "logits", "mismatches", "seconds")
    for name in args.engines.split(","):
        rows.append(measure(name, args.nets, args.samples))
        table.add_row(*map(str, rows[-1].values()))
        CONSOLE.print(f"{name}: {rows[-1]['mismatches']} mismatches")
    CONSOLE.print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
