"""Every engine against the golden model: each logit and each input code of each sample, and no tolerance."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepr_hw import reference
from deepr_hw.extras import MissingToolError
from deepr_hw.ir import IntNet
from deepr_hw.target import EngineRun
from deepr_hw.targets import ENGINES, get_engine


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs: ``values`` (n, *in_shape) in the user's unit, any real type, and the ``codes`` the reference makes of
    them."""

    values: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """One engine's outcome.

    what       : what was compared, ``logits``, or ``codes`` of an engine that makes them from values
    compared   : how many
    mismatches : how many differ
    seconds    : wall time, builds included
    refusal    : why the engine doesn't take this network, or None
    """

    name: str
    samples: int
    what: str
    compared: int
    mismatches: int
    seconds: float
    cycles_per_sample: float | None = None
    n_macs: int | None = None
    n_macs_expected: int | None = None
    utilization: float | None = None
    refusal: str | None = None

    @property
    def passed(self) -> bool:
        """Whether everything compared agrees, and the multiply-accumulates are K per sample where they are counted."""
        return self.refusal is None and self.mismatches == 0 and self.n_macs == self.n_macs_expected


def parse_engines(text: str, samples: int | None) -> dict[str, int | None]:
    """Samples by engine from ``"onnx,verilator:50"``; ``samples`` holds where no number is given. ``all`` names every
    engine but those that show what a wrong setting does.

    Raises ``ValueError`` for a number that isn't one and for an unknown name, ``MissingToolError`` for an engine that
    is named and can't run here; what ``all`` names and can't run refuses when its turn comes.
    """
    wanted: dict[str, int | None] = {}
    items = [part.strip() for part in text.split(",") if part.strip()]
    if "all" in items:
        wanted = {engine.name: samples or engine.samples for engine in ENGINES.values() if not engine.shows_fault}
    for item in items:
        if item == "all":
            continue
        name, _, number = item.partition(":")
        if number and not (number.isascii() and number.isdigit() and len(number) < 10 and int(number) > 0):
            raise ValueError(f"engine {item[:60]!r}: expected NAME or NAME:SAMPLES with a positive number below 10**9")
        get_engine(name)
        wanted[name] = int(number) if number else samples or ENGINES[name].samples
    if not wanted:
        raise ValueError("no engine named")
    return wanted


def samples_of(net: IntNet, values: np.ndarray) -> Samples:
    """``values`` (n, *in_shape) and their codes."""
    return Samples(values, net.encode(values))


def random_samples(net: IntNet, n: int, seed: int = 0) -> Samples:
    """Input for networks that come without data: values around codes uniform over the input format, a quarter of them
    on the border between two codes, a tie as nearly as float32 can tell."""
    fmt, rng = net.x_format, np.random.default_rng(seed)
    codes = rng.integers(fmt.lo, fmt.hi + 1, (n, *net.in_shape)) + rng.uniform(-0.5, 0.5, (n, *net.in_shape))
    codes = np.where(rng.random(codes.shape) < 0.25, np.floor(codes) + 0.5, codes)
    return samples_of(net, net.input_map.inverse(np.ldexp(codes, -fmt.frac)))


def compare(net: IntNet, samples: Samples, name: str, workdir: Path, **wanted: Any) -> Comparison:
    """Run engine ``name`` on ``samples`` and count what differs from the reference; ``wanted`` as in ``get_engine``."""
    encodes, n = ENGINES[name].encodes, len(samples.codes)
    expected = samples.codes if encodes else reference.logits(net, samples.codes)
    comparison = Comparison(name, n, "codes" if encodes else "logits", expected.size, expected.size, 0.0)
    start = time.perf_counter()
    try:
        outcome = get_engine(name, **wanted)(net, samples.values if encodes else samples.codes, workdir)
    except (ValueError, MissingToolError) as error:
        return replace(comparison, seconds=time.perf_counter() - start, refusal=" ".join(str(error).split()))
    found = outcome if encodes else outcome.logits
    comparison = replace(comparison, seconds=time.perf_counter() - start, mismatches=_mismatches(found, expected))
    return comparison if encodes else _with_counts(comparison, outcome, net)


def _mismatches(found: np.ndarray, expected: np.ndarray) -> int:
    if found.shape != expected.shape:  # an engine that lost or invented outputs agrees on none
        return max(expected.size, found.size)
    return int(np.count_nonzero(found.astype(np.float64) != expected))  # exact; an engine's may not be integers


def _with_counts(comparison: Comparison, run: EngineRun, net: IntNet) -> Comparison:
    """``comparison`` with what a simulated engine counted."""
    n_expected = None if run.n_macs is None else net.macs_per_sample * comparison.samples
    return replace(
        comparison,
        cycles_per_sample=run.cycles_per_sample,
        n_macs=run.n_macs,
        n_macs_expected=n_expected,
        utilization=run.utilization,
    )


def verify(
    net: IntNet,
    samples: Samples,
    engines: Mapping[str, int | None],
    started: Callable[[str], object] = lambda name: None,
    **wanted: Any,
) -> Iterator[Comparison]:
    """Compare each engine in turn, on the first so many of ``samples`` (None: all), and yield what came out. An engine
    that refuses the network yields that.

    ``started`` is told an engine's name before it runs; ``wanted`` (``lanes``, ``waves``, ``stream_bytes``) is for the
    engines that accept it.
    """
    for name, n in engines.items():
        started(name)
        with tempfile.TemporaryDirectory(prefix="deepr_hw_") as workdir:
            yield compare(net, Samples(samples.values[:n], samples.codes[:n]), name, Path(workdir), **wanted)


def as_json(net: IntNet, comparisons: list[Comparison]) -> dict[str, object]:
    """What ``deepr-hw verify --json`` writes."""
    return {"n_connections": net.n_connections, "engines": [asdict(c) | {"passed": c.passed} for c in comparisons]}
