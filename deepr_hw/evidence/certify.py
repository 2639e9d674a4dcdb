"""The budget certificate: K counted in every artefact of a run, each by a way of its own, and nothing taken on trust.

    intnet     weights in net.safetensors
    record     run.json: what belongs to the run is there, the network is the one that the run ended with
    training   smallest and largest number of active connections over all steps (metrics.jsonl, budget.json)
    checkpoint frozen anew it is net.safetensors; log and configuration are those of its training
    onnx, ...  each target as its ``examine`` says: positions found by walking a graph, initializers of C++ arrays,
               words of a memory image, multiply-accumulates of the simulated engine that runs it
    verification  verify.json: every engine agreed on this network

A count can agree by accident, so every export is also made anew from the IntNet and must come out the same, and all
artefacts must name one run.
"""

import errno
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deepr_hw.ir import IntNet, netfile
from deepr_hw.targets import TARGETS, fetch
from deepr_hw.testimony import Evidence, artefacts, attest, read_json
from deepr_hw.train.runfolder import NET, TRAINED

from .certify_training import examine_training
from .info import describe

VERIFIED = "verify.json"


@dataclass(frozen=True)
class Certificate:
    """All evidence on a run, the formula of its connectivity and the SHA-256 of every file looked at."""

    evidence: tuple[Evidence, ...]
    connectivity: float | None
    formula: str | None
    hashes: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether every artefact is sound and all agree on one K."""
        counts = {e.n_connections for e in self.evidence if e.n_connections is not None}
        return len(counts) == 1 and not any(e.fault for e in self.evidence)

    def as_json(self) -> dict[str, Any]:
        """What ``deepr-hw certify --json`` writes."""
        return {**asdict(self), "passed": self.passed}


def certify(run: Path, simulator: str = "icarus") -> Certificate:
    """Examine the folder ``run`` as training or ``deepr-hw run`` leaves it: everything that its run.json names, and
    further exports that are found.

    simulator : which one runs the memory image, ``icarus`` or ``verilator``

    Raises ``OSError`` when there is nothing of a run, ``MissingToolError`` naming the package or simulator that is not
    installed.
    """
    run = Path(run)
    if not any((run / name).exists() for name in TRAINED):
        raise FileNotFoundError(errno.ENOENT, f"not the folder of a run: it has none of {', '.join(TRAINED)}", str(run))
    found: list[IntNet] = []

    def count() -> tuple[int, None]:
        found.append(netfile.load(run / NET))
        return found[0].n_connections, None

    evidence = [attest("intnet", f"weights in {NET}", count)]
    net = found[0] if found else None
    evidence += examine_training(run, net)
    evidence += _examine_exports(run, net, simulator)
    facts = {} if net is None else describe(net)
    hashes = {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }
    return Certificate(tuple(_agreeing(evidence)), facts.get("connectivity"), facts.get("connectivity_formula"), hashes)


def _examine_exports(run: Path, net: IntNet | None, simulator: str) -> list[Evidence]:
    """Evidence on what was made of the network: everything that the record names or that is found in the folder."""
    named = artefacts(run)
    evidence: list[Evidence] = []
    for target in TARGETS.values():
        here = (run / target.name).exists() or any(Path(name).parts[:1] == (target.name,) for name in named)
        if here and target.examine is not None:
            evidence += fetch(f"certify: {target.name}", target.examine)(run, net, simulator)
    if (run / VERIFIED).exists() or VERIFIED in named:
        evidence.append(
            attest(
                "verification", "every engine agreed on this network", lambda: (None, _verified(run / VERIFIED, net))
            )
        )
    return evidence


def _verified(path: Path, net: IntNet | None) -> str | None:
    result = read_json(path)
    if net is not None and result["intnet"] != netfile.digest(net):
        return "is about another network"
    failed = [engine["name"] for engine in result["engines"] if not engine["passed"]]
    return f"failed: {', '.join(failed)}" if failed else None


def _agreeing(evidence: list[Evidence]) -> Iterator[Evidence]:
    """The evidence, with a fault where its K is not the IntNet's."""
    k = evidence[0].n_connections
    for e in evidence:
        agrees = k is None or e.n_connections in (None, k)
        yield e if e.fault or agrees else replace(e, fault=f"the IntNet has {k:,}")
