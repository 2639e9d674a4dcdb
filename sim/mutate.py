"""Breaks the RTL on purpose, one small change at a time, and sees whether the benches notice.

    python -m deepr_hw.sim.mutate --per-module 8 --json build/mutation.json
    python -m deepr_hw.sim.mutate --module deepr_collect --per-module 100

A mutant is one operator exchanged, one constant inverted or one assignment removed. It counts as killed when a bench
fails; the ones that no longer compile are not counted.
"""

import argparse
import json
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..export import rtl_image
from ..export.rtl_geometry import Geometry
from ..files import write_text
from ..fixed import Format
from ..ir import Budget, IntNet, SparseLinear
from ..reference import logits
from . import cases, engine, runner

_OPERATORS = [
    (r"&&", "||"), (r"\|\|", "&&"), (r"==", "!="), (r"!=", "=="), (r" \+ ", " - "), (r" - ", " + "), (r" < ", " >= "),
    (r" > ", " <= "), (r"!(?=[a-z(|])", ""), (r"'0", "'1"), (r"'1\b", "'0"), (r"1'b0", "1'b1"), (r"1'b1", "1'b0"),
    (r" \^ ", " & "), (r" & ", " | "), (r" \| ", " & "), (r"<<", ">>"), (r"4'd1", "4'd2"), (r"4'd2", "4'd3"),
]
_REMOVED = re.compile(r"^(\s*)((?:if \([^;]*\) |else )?)([a-z_0-9\[\]{}, ]+ <= [^;]+;)\s*$")
_SKIPPED = re.compile(r"^\s*(//|module|input|output|parameter|localparam|logic|\.Ok|\.Message|deepr_require|`|\)|for)")
UNITS = {"deepr_requantize": "requantizer", "deepr_mac": "mac", "deepr_argmax": "argmax"}
SHELL = ("deepr_axi", "deepr_axil", "deepr_axis_width")
NOT_MUTATED = ("deepr_require", "deepr_scan")
"""Elaboration checks have no behaviour; the scan shell serves timing runs only."""


@dataclass(frozen=True)
class Mutant:
    """Line ``line`` of ``module`` reads ``after`` instead of ``before``."""

    module: str
    line: int
    before: str
    after: str


@dataclass(frozen=True)
class Verdict:
    """``outcome``: killed, survived or stillborn; ``by``: the bench that saw it."""

    mutant: Mutant
    outcome: str
    by: str = ""


def mutants(module: str) -> list[Mutant]:
    """Every mutant of ``module``, in the order of its lines."""
    found, in_ports = [], True
    for number, line in enumerate((runner.RTL / f"{module}.sv").read_text().splitlines(), 1):
        code = line.split("//")[0].rstrip()
        if in_ports or _SKIPPED.match(line):
            in_ports = in_ports and code != ");"
            continue
        for pattern, other in _OPERATORS:
            for match in re.finditer(pattern, code):
                found.append(Mutant(module, number, code, code[: match.start()] + other + code[match.end():]))
        if removed := _REMOVED.match(code):
            found.append(Mutant(module, number, code, f"{removed[1]}{removed[2]};"))
    return found


def sample(per_module: int, seed: int, modules: list[str]) -> list[Mutant]:
    """At most ``per_module`` mutants of each module, drawn without replacement."""
    rng = random.Random(seed)
    drawn: list[Mutant] = []
    for module in modules:
        every = mutants(module)
        drawn += sorted(rng.sample(every, min(per_module, len(every))), key=lambda m: (m.line, m.after))
    return drawn


def _network(seed: int, widths: tuple[int, ...], density: float, biased: bool) -> IntNet:
    """Random network with empty outputs, signed and unsigned layers."""
    rng, layers = np.random.default_rng(seed), []
    x_format = Format(8, False, 4)
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        position = np.sort(rng.choice(n_in * n_out, max(1, int(density * n_in * n_out)), replace=False))
        y_format = None if i == len(widths) - 2 else Format(8, bool(i % 2), 4 if i % 2 else 3)
        bias = rng.integers(-2000, 2000, n_out) if biased else None
        layers.append(SparseLinear(n_in, n_out, position % n_in, position // n_in,
                                   rng.integers(-128, 128, position.size), bias, x_format, Format(8, True, 7),
                                   y_format))
        x_format = y_format or x_format
    return IntNet(tuple(layers), Budget("per_layer", tuple(layer.n_connections for layer in layers)))


class Suite:
    """The benches, cheapest first; each raises when the design in ``sources`` is broken."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self.geometry = Geometry(4, rows=256, words=64, bias_words=64, layers=4, classes=16)
        self.nets = [_network(1, (21, 18, 9, 7), 0.3, True), _network(2, (17, 30), 0.2, False)]
        self.geometry_2 = Geometry(4, rows=256, words=64, bias_words=64, layers=4, classes=32)
        twins = {"a": self.nets[0], "b": _network(3, (21, 18, 9, 7), 0.35, True)}
        x = self._codes(self.nets[0], 5)
        images = {name: rtl_image.build(net, 4, self.geometry) for name, net in twins.items()}
        cases.write_case(workdir / "case.json", twins, images, x)

    @staticmethod
    def _codes(net: IntNet, n: int) -> np.ndarray:
        return np.random.default_rng(7).integers(0, 256, (n, *net.in_shape)).astype(np.uint8)

    def benches(self, module: str) -> Iterator[tuple[str, Callable[[list[Path]], None]]]:
        """(name, bench) for a mutant of ``module``."""
        if module in UNITS:
            yield f"unit {UNITS[module]}", lambda sources: self._unit(module, sources)
        if module in SHELL:
            for test in ("streams", "bad_input", "load_right_after_a_swap", "hot_swap_under_traffic"):
                for n_bytes in (8, 1):
                    yield f"axi {test} {n_bytes}", lambda s, t=test, n=n_bytes: self._axi(t, n, s)  # type: ignore[misc]
            return
        for i in range(2):
            yield f"player {i}", lambda sources, i=i: self._play(i, sources)  # type: ignore[misc]
        for test in ("idle_and_back_pressure", "bad_writes_are_refused", "bad_frames_are_dropped", "hot_swap",
                     "misplaced_logits_are_flagged",
                     "reset_in_mid_frame", "bad_descriptors_do_not_hang"):
            yield f"engine {test}", lambda sources, t=test: self._engine(t, sources)  # type: ignore[misc]

    def _env(self) -> dict[str, str]:
        return {"DEEPR_CASE": str(self.workdir / "case.json"), "DEEPR_ACC_BITS": "32"}

    def _unit(self, module: str, sources: list[Path]) -> None:
        made = runner.build("icarus", module, sources)
        runner.run(made, "deepr_hw.sim.bench_units", self.workdir / "run", env=self._env(), testcase=UNITS[module])

    def _play(self, i: int, sources: list[Path]) -> None:
        net, geometry = self.nets[i], (self.geometry, self.geometry_2)[i]
        x, image = self._codes(net, 6), rtl_image.build(net, 4, geometry)
        played = engine.play(image, x, self.workdir / "run", "icarus", sources=sources)
        expected = logits(net, x)
        if not (np.array_equal(played.logits, expected) and np.array_equal(played.winner, expected.argmax(axis=1))):
            raise RuntimeError("wrong logits")
        if played.macs != 6 * net.n_connections or played.samples != 6:
            raise RuntimeError("wrong counters")
        if (played.done[-1] - played.done[-3]) / 2 != image.plan.interval:
            raise RuntimeError("wrong interval")
        if played.first[0] - played.taken[0] != image.plan.latency:
            raise RuntimeError("wrong latency")

    def _engine(self, test: str, sources: list[Path]) -> None:
        made = runner.build("icarus", "deepr_engine", sources, self.geometry.parameters)
        runner.run(made, "deepr_hw.sim.bench_engine", self.workdir / "run", env=self._env(), testcase=test)

    def _axi(self, test: str, n_bytes: int, sources: list[Path]) -> None:
        made = runner.build("icarus", "deepr_axi", sources, self.geometry.parameters | {"StreamBytes": n_bytes})
        runner.run(made, "deepr_hw.sim.bench_axi", self.workdir / "run", testcase=test,
                   env=self._env() | {"DEEPR_STREAM_BYTES": str(n_bytes)})

    def judge(self, mutant: Mutant) -> Verdict:
        """Run the benches on ``mutant`` until one fails."""
        with tempfile.TemporaryDirectory() as folder, _builds_in(Path(folder)):
            sources = []
            for path in runner.rtl_sources():
                lines = path.read_text().splitlines()
                if path.stem == mutant.module:
                    lines[mutant.line - 1] = mutant.after
                write_text(Path(folder) / path.name, "\n".join(lines) + "\n")
                sources.append(Path(folder) / path.name)
            for name, bench in self.benches(mutant.module):
                try:
                    bench(sources)
                except (RuntimeError, ValueError) as error:
                    return Verdict(mutant, "stillborn" if "does not build" in str(error) else "killed", name)
        return Verdict(mutant, "survived")


@contextmanager
def _builds_in(folder: Path) -> Iterator[None]:
    """Builds of mutants are thrown away."""
    before = runner.build_root
    runner.build_root = lambda: folder / "build"
    try:
        yield
    finally:
        runner.build_root = before


def summary(verdicts: list[Verdict]) -> dict[str, Any]:
    """Counts per module and over all; survivors in full."""
    modules: dict[str, dict[str, int]] = {}
    for verdict in verdicts:
        row = modules.setdefault(verdict.mutant.module, {"killed": 0, "survived": 0, "stillborn": 0})
        row[verdict.outcome] += 1
    counted = [verdict for verdict in verdicts if verdict.outcome != "stillborn"]
    killed = sum(verdict.outcome == "killed" for verdict in counted)
    return {"mutants": len(counted), "killed": killed, "score": killed / max(1, len(counted)), "modules": modules,
            "survivors": [asdict(verdict.mutant) for verdict in counted if verdict.outcome == "survived"]}


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 1 when the score is below ``--least``."""
    parser = argparse.ArgumentParser(prog="python -m deepr_hw.sim.mutate", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [path.stem for path in runner.rtl_sources() if path.stem not in NOT_MUTATED]
    parser.add_argument("--module", action="append", choices=every, help="only this one (may be repeated)")
    parser.add_argument("--per-module", type=int, default=8, help="mutants per module, default 8")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least", type=float, default=0.95, help="score below which the exit code is 1")
    parser.add_argument("--json", type=Path, help="file for the summary")
    args = parser.parse_args(argv)
    if why := runner.missing("icarus"):
        print(why, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as workdir:
        suite, verdicts = Suite(Path(workdir)), []
        for mutant in sample(args.per_module, args.seed, args.module or every):
            verdicts.append(suite.judge(mutant))
            print(f"{verdicts[-1].outcome:9} {mutant.module}:{mutant.line} {mutant.before.strip()}  ->  "
                  f"{mutant.after.strip()}  {verdicts[-1].by}", flush=True)
    result = summary(verdicts)
    print(f"{result['killed']} of {result['mutants']} killed ({100 * result['score']:.1f} %)")
    if args.json:
        write_text(args.json, json.dumps(result, indent=1) + "\n")
    return 0 if result["score"] >= args.least else 1


if __name__ == "__main__":
    sys.exit(main())
