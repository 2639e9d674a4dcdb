"""What an artefact of a run says: how many connections it holds, and why it doesn't count as a proof.

Whoever makes an artefact also examines it, with what stands here.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .extras import MissingToolError, missing
from .ir import IntNet

RECORD = "run.json"
"""What belongs to a run: its id, the network that it ended with, the artefacts made of that."""


@dataclass(frozen=True)
class Evidence:
    """One artefact's testimony.

    n_connections : K as counted in it, or None where nothing is counted or can be
    fault         : why it doesn't count as a proof of K, or None
    how           : what was looked at
    """

    artefact: str
    n_connections: int | None
    fault: str | None
    how: str

    def __str__(self) -> str:
        count = "" if self.n_connections is None else f"K = {self.n_connections:,}, "
        return f"{self.artefact}: {count}{self.how}" + (f" -- FAULT: {self.fault}" if self.fault else "")


def attest(artefact: str, how: str, look: Callable[[], tuple[int | None, str | None]]) -> Evidence:
    """``look`` gives K (None where it isn't counted) and a fault or None; whatever makes that impossible is a fault
    too. Raises ``MissingToolError`` for a package that is not installed."""
    try:
        n_connections, fault = look()
    except MissingToolError:
        raise
    except ModuleNotFoundError as error:
        raise missing(f"certify: {artefact}", error) from None
    except FileNotFoundError as error:
        return Evidence(artefact, None, f"{Path(str(error.filename)).name} is absent", how)
    except Exception as error:  # damage has no end of forms: no file may keep the others from being looked at
        why = str(error).strip().splitlines() or [""]
        return Evidence(artefact, None, f"can't be read: {type(error).__name__}, {why[0][:300]}", how)
    return Evidence(artefact, n_connections, fault, how)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises ``OSError``, ``ValueError``."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if not isinstance(read, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return read


def artefacts(run: Path) -> list[str]:
    """Paths in the folder ``run`` that its record names; none where there is no sound record."""
    try:
        return [name for name in read_json(run / RECORD)["artefacts"] if isinstance(name, str)]
    except (OSError, ValueError, KeyError, TypeError):  # the record's own evidence says so
        return []


def run_of(net: IntNet | None) -> str | None:
    """The id of the run that ``net`` says it comes from."""
    return None if net is None else net.provenance.get("run")


def other_run(found: object, net: IntNet | None) -> str | None:
    """The fault of an artefact that names the run ``found``, or None."""
    if net is None or found == run_of(net):
        return None
    return f"belongs to run {found}, the network to run {run_of(net)}"


def difference(made: Path, found: Path, by_name: tuple[str, ...] = ()) -> str | None:
    """What tells the files in ``found`` from those just ``made``, or None; of those called ``by_name`` only whether
    they are there."""
    for path in sorted(path for path in made.rglob("*") if path.is_file()):
        name = path.relative_to(made)
        if not (found / name).is_file():
            return f"{name} is absent"
        if str(name) not in by_name and (found / name).read_bytes() != path.read_bytes():
            return f"{name} differs from what the IntNet exports to"
    return None
