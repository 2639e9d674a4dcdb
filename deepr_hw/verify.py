"""Every engine against the golden model: each logit of each sample, and no tolerance."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from . import reference
from .engines import ENGINES, get_engine
from .ir import IntNet

DEFAULT_SAMPLES = {"onnx-no-vnni": 500, "qdq-no-vnni": 500, "qonnx": 1000, "qonnx-functions": 1000,
                   **{name: 1000 for name in ENGINES if name.startswith(("hls4ml", "csim"))},
                   "verilator": 200, "icarus": 20, "netlist": 3, "netlist-xilinx": 3}
"""Samples for engines that need more than microseconds each; the others take every sample given."""


@dataclass(frozen=True)
class Comparison:
    """One engine's outcome. ``mismatches`` counts the logits that differ; ``seconds`` is wall time, builds included."""

    name: str
    samples: int
    logits: int
    mismatches: int
    seconds: float
    cycles_per_sample: float | None
    n_macs: int | None
    n_macs_expected: int | None
    utilization: float | None = None

    @property
    def passed(self) -> bool:
        """Whether every logit agrees, and the multiply-accumulates counted are K per sample where they are counted."""
        return self.mismatches == 0 and self.n_macs == self.n_macs_expected


def parse_engines(text: str, samples: int | None) -> dict[str, int | None]:
    """Samples by engine from ``"onnx,verilator:50"``; ``samples`` holds where no number is given. ``all`` names every
    engine but those that show what a wrong setting does.

    Raises ``ValueError`` for a number that isn't one; unknown names are refused when the engine is fetched.
    """
    wanted: dict[str, int | None] = {}
    items = [part.strip() for part in text.split(",") if part.strip()]
    if "all" in items:
        items = [name for name in ENGINES if "wrong" not in name] + [item for item in items if item != "all"]
    for item in items:
        name, _, number = item.partition(":")
        if number and not (number.isdigit() and int(number) > 0):
            raise ValueError(f"engine {item!r}: expected NAME or NAME:SAMPLES with a positive number")
        get_engine(name)
        wanted[name] = int(number) if number else samples or DEFAULT_SAMPLES.get(name)
    if not wanted:
        raise ValueError("no engine named")
    return wanted


def random_samples(net: IntNet, n: int, seed: int = 0) -> np.ndarray:
    """(n, *in_shape) codes, uniform over the input format: an input for networks that come without data."""
    fmt = net.x_format
    return np.random.default_rng(seed).integers(fmt.lo, fmt.hi + 1, (n, *net.in_shape)).astype(fmt.dtype)


def compare(net: IntNet, x: np.ndarray, name: str, workdir: Path, lanes: int | None = None,
            waves: Path | None = None) -> Comparison:
    """Run engine ``name`` on the codes ``x`` and count the logits that differ from the reference."""
    expected = reference.logits(net, x)
    start = time.perf_counter()
    run = get_engine(name, lanes, waves)(net, x, workdir)
    seconds = time.perf_counter() - start
    if run.logits.shape == expected.shape:
        mismatches = int(np.count_nonzero(run.logits.astype(np.int64) != expected))
    else:  # an engine that lost or invented outputs agrees on none
        mismatches = max(expected.size, run.logits.size)
    n_expected = None if run.n_macs is None else net.n_connections * len(x)
    return Comparison(name, len(x), expected.size, mismatches, seconds, run.cycles_per_sample, run.n_macs, n_expected,
                      run.utilization)


def verify(net: IntNet, x: np.ndarray, engines: Mapping[str, int | None], lanes: int | None = None,
           waves: Path | None = None, started: Callable[[str], object] = lambda name: None) -> Iterator[Comparison]:
    """Compare each engine in turn, on the first so many samples of ``x`` (None: all), and yield what came out.

    ``lanes`` and ``waves`` are for the engines that are the RTL's (None: their default, no waveforms); ``started`` is
    told the engine's name before it runs.
    """
    for name, samples in engines.items():
        started(name)
        with tempfile.TemporaryDirectory(prefix="deepr_hw_") as workdir:
            yield compare(net, x[:samples], name, Path(workdir), lanes, waves)


def as_json(net: IntNet, comparisons: list[Comparison]) -> dict[str, object]:
    """What ``deepr-hw verify --json`` writes."""
    return {"n_connections": net.n_connections, "engines": [asdict(c) | {"passed": c.passed} for c in comparisons]}
