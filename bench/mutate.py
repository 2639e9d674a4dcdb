"""Breaks the RTL in one place at a time and asks the benches and proofs whether they notice.

    python -m bench.mutate                     a sample of every module's mutants, about an hour; make mutate
    python -m bench.mutate deepr_mac --most 5  some of one module

A mutant is one operator, constant or condition changed on one line. Checks, the cheap ones first: the module's own
bench, the player on a random network (bits, counters, cycles), the bench with every pin driven (resets, bad input,
swaps), the module's proofs, the player with other numbers of lanes; the AXI shell meets its bus model. A design that
does not build does not count.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from deepr_hw import reference
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.export.rtl import timing as rtl_timing
from deepr_hw.ir import IntNet
from deepr_hw.sim import engine, formal, runner
from tests.random_nets import extreme_net, random_codes, random_net
from tests.test_sim_benches import case

OPERATORS = (
    (r"&&", "||"),
    (r"\|\|", "&&"),
    (r"==", "!="),
    (r"!=", "=="),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r"!(?=[a-z(])", ""),
    (r"(?<![<>=])<(?![<>=])", "<="),
    (r"(?<![<>=-])>(?![<>=])", ">="),
    (r" \^ ", " | "),
    (r" & ", " | "),
    (r" \| ", " & "),
    (r"1'b1", "1'b0"),
    (r"1'b0", "1'b1"),
    (r"'0", "'1"),
    (r"'1", "'0"),
    (r"\? (\S+) : ([^;,?]+)", r"? \2 : \1"),
    (r"\bif \(([^()]+)\)", r"if (!(\1))"),
    (r"~", ""),
    (r"<= (\w+);", r"<= ~\1;"),
    (r"\+:", "-:"),
    (r"<< ", ">> "),
    (r">> ", "<< "),
)
UNITS = {
    "deepr_requantize": "requantizer",
    "deepr_mac": "mac",
    "deepr_argmax": "argmax",
    "deepr_sequencer": "sequencer",
}
_SECONDS = 300
"""A check that takes longer waits for something that never comes: killed."""
ENGINE = (
    "argmax",
    "collect",
    "counters",
    "engine",
    "input",
    "lane",
    "load",
    "logits",
    "mac",
    "ram",
    "requantize",
    "sequencer",
    "stages",
    "writeback",
)
SHELL = ("axi", "axil", "axis_width")


@dataclass(frozen=True)
class Mutant:
    """``before`` became ``after`` on ``line`` of ``module``."""

    module: str
    line: int
    before: str
    after: str


def mutants(module: str, text: str) -> Iterator[Mutant]:
    """Every mutant of ``text``; comments, ports, parameters, declarations and elaboration checks are left alone."""
    body, skipping, above = text.index(");\n", text.index("module ")), False, ""
    for number, line in enumerate(text.splitlines(), 1):
        start = sum(len(each) + 1 for each in text.splitlines()[: number - 1])
        skipping = (skipping and not above.endswith((");", ")"))) or "deepr_require" in line or "`DEEPR_" in line
        above, code = line.rstrip(), line.split("//")[0]
        if start < body or skipping or re.match(r"\s*(logic|localparam|`|\.(Ok|Message)|\) u_|initial)", code):
            continue
        for pattern, replacement in OPERATORS:
            for match in re.finditer(pattern, code):
                changed = code[: match.start()] + match.expand(replacement) + code[match.end() :]
                yield Mutant(module, number, line.strip(), changed.strip())


def _player(lanes: int, seed: int, idle: int, folder: Path, make: Callable[[int], IntNet] = random_net) -> bool:
    net = make(seed)
    x = random_codes(net, 6)
    image = rtl_image.build(net, lanes)
    played = engine.play(image, x, folder, "icarus", idle, idle)
    logits = reference.logits(net, x)
    good = (
        np.array_equal(played.logits, logits)
        and np.array_equal(played.winner, logits.argmax(axis=1))
        and played.macs == len(x) * net.n_connections
        and played.samples == len(x)
    )
    good = good and played.cycles - played.stalls == len(x) * image.plan.n_rows
    if idle:
        return good
    return (
        good
        and played.first[0] - played.taken[0] == image.plan.latency
        and (played.done[-1] - played.done[-3]) / 2 == image.plan.interval
    )


def _streams(lanes: int, stream_bytes: int, folder: Path) -> bool:
    """Whether every sample leaves in its cycle on streams of ``stream_bytes``."""
    net = random_net(5 * lanes)
    x, image = random_codes(net, 12), rtl_image.build(net, lanes)
    played = engine.play(image, x, folder, "icarus", stream_bytes=stream_bytes)
    due = np.array(rtl_timing.done_cycles(image.plan, stream_bytes, len(x)))
    right = np.array_equal(played.logits, reference.logits(net, x))
    return right and np.array_equal(played.done - played.done[0], due - due[0])


def _bench(lanes: int, seed: int, folder: Path) -> bool:
    folder.mkdir()
    geometry = case(folder, lanes, seed)
    made = runner.build("icarus", "deepr_engine", runner.rtl_sources(), geometry.parameters)
    runner.run(made, "deepr_hw.sim.bench_engine", folder, env={"DEEPR_CASE": str(folder / "case.json")})
    return True


def _unit(module: str, folder: Path) -> bool:
    width = {"deepr_argmax": "ValueBits", "deepr_sequencer": "Rows"}.get(module, "AccBits")
    for bits in {"ValueBits": (32,), "Rows": (16,), "AccBits": (32, 20)}[width]:
        made = runner.build("icarus", module, runner.rtl_sources(), {width: bits})
        runner.run(
            made,
            "deepr_hw.sim.bench_units",
            folder / str(bits),
            env={"DEEPR_ACC_BITS": str(bits)},
            testcase=UNITS[module],
        )
    return True


def _shell(lanes: int, stream_bytes: int, seed: int, folder: Path) -> bool:
    folder.mkdir()
    parameters = case(folder, lanes, seed).parameters | {"StreamBytes": stream_bytes}
    made = runner.build("icarus", "deepr_axi", runner.rtl_sources(), parameters)
    runner.run(
        made,
        "deepr_hw.sim.bench_axi",
        folder,
        env={"DEEPR_CASE": str(folder / "case.json"), "DEEPR_STREAM_BYTES": str(stream_bytes)},
    )
    return True


def checks(module: str, folder: Path) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Name and check, in the order in which a mutant of ``module`` meets them."""
    if module == "deepr_axis_width":
        for lanes, stream_bytes in ((8, 1), (2, 4), (8, 8)):
            yield f"streams of {stream_bytes}", lambda n=(lanes, stream_bytes): _streams(*n, folder / f"s{n[1]}")
    if module.removeprefix("deepr_") in SHELL:
        for lanes, stream_bytes, seed in ((4, 4, 2), (8, 1, 3), (1, 8, 0)):
            yield f"AXI bench, {lanes} lanes", lambda n=(lanes, stream_bytes, seed): _shell(*n, folder / f"a{n[0]}")
        return
    if module in UNITS:
        yield "unit bench", lambda: _unit(module, folder / "unit")
    yield "player, 4 lanes", lambda: _player(4, 21, 0, folder / "p4")
    yield "player, 33 bits", lambda: _player(4, 3, 0, folder / "p33", extreme_net)
    yield "engine bench, 2 lanes", lambda: _bench(2, 1, folder / "b2")
    for task in formal.tasks():
        if task.startswith(module.removeprefix("deepr_")) and task not in ("engine", "logits_data"):  # minutes each
            yield (
                f"proof {task}",
                lambda task=task: formal.prove(task, folder / "proof", runner.RTL.parent / "formal" / "proofs.sby")[0],
            )
    for lanes, seed, idle in ((1, 7, 40), (16, 33, 0), (2, 102, 40), (8, 44, 0)):
        yield f"player, {lanes} lanes", lambda n=(lanes, seed, idle): _player(*n, folder / f"p{n[0]}")


def _time_out(number: int, frame: object) -> None:
    raise TimeoutError


def verdict(mutant: Mutant, original: Path) -> str:
    """The check that kills ``mutant``, "no mutant" where it does not build, "survived" where nothing sees it."""
    with tempfile.TemporaryDirectory(prefix="deepr_mutant_") as name:
        folder = Path(name)
        shutil.copytree(original.parent / "rtl", folder / "rtl", ignore=shutil.ignore_patterns("*.py", "*.md"))
        shutil.copytree(original.parent / "formal", folder / "formal")
        path = folder / "rtl" / f"{mutant.module}.sv"
        lines = path.read_text().splitlines()
        lines[mutant.line - 1] = lines[mutant.line - 1].replace(mutant.before, mutant.after)
        path.write_text("\n".join(lines) + "\n")
        os.environ["DEEPR_BUILD"] = str(folder / "build")
        runner.RTL = folder / "rtl"
        signal.signal(signal.SIGALRM, _time_out)
        for what, check in checks(mutant.module, folder):
            signal.alarm(_SECONDS)
            try:
                if not check():
                    return what
            except RuntimeError as error:
                return "no mutant" if "does not build" in str(error) else what
            except (ValueError, IndexError, TimeoutError):  # an output cut short or with X in it; a bench that waits
                return what
            finally:
                signal.alarm(0)
    return "survived"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=[f"deepr_{name}" for name in (*ENGINE, *SHELL)])
    parser.add_argument("--most", type=int, default=8, help="mutants per module (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/mutants.json"))
    args = parser.parse_args()
    original, results = runner.RTL, []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for module in args.modules:
        every = list(mutants(module, (original / f"{module}.sv").read_text()))
        random.Random(f"{args.seed} {module}").shuffle(every)
        counted = 0
        while every and counted < args.most:
            mutant = every.pop()
            fate = verdict(mutant, original)
            if fate == "no mutant":
                continue
            counted += 1
            results.append({**asdict(mutant), "fate": fate})
            print(f"{module}:{mutant.line}: {fate}: {mutant.before}  ->  {mutant.after}", flush=True)
            args.out.write_text(json.dumps(results, indent=1) + "\n")
    killed = sum(result["fate"] != "survived" for result in results)
    print(f"{killed} of {len(results)} mutants killed, {100 * killed / len(results):.1f} %")
    return int(killed < 0.95 * len(results))


if __name__ == "__main__":
    sys.exit(main())
