"""The budget certificate: K counted in every artefact of a run, each by a way of its own, and nothing taken on trust.

    intnet     weights in net.safetensors
    record     run.json: what belongs to the run is there, the network is the one that the run ended with
    training   smallest and largest number of active connections over all steps (metrics.jsonl, budget.json)
    checkpoint frozen anew it is net.safetensors; log and configuration are those of its training
    onnx       positions found by walking the graph of every .onnx file
    hls4ml     initializers of the C++ weight arrays
    rtl        slots with a multiplication in the memory image, decoded to connections
    simulation multiply-accumulates that the simulated engine counts per sample when it runs that image

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
from deepr_hw.testimony import Evidence, examine
from deepr_hw.train.runfolder import NET, TRAINED

from .certify_exports import examine_exports
from .certify_training import examine_training
from .info import describe


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

    evidence = [examine("intnet", f"weights in {NET}", count)]
    net = found[0] if found else None
    evidence += examine_training(run, net)
    evidence += examine_exports(run, net, simulator)
    facts = {} if net is None else describe(net)
    hashes = {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }
    return Certificate(tuple(_agreeing(evidence)), facts.get("connectivity"), facts.get("connectivity_formula"), hashes)


def _agreeing(evidence: list[Evidence]) -> Iterator[Evidence]:
    """The evidence, with a fault where its K is not the IntNet's."""
    k = evidence[0].n_connections
    for e in evidence:
        agrees = k is None or e.n_connections in (None, k)
        yield e if e.fault or agrees else replace(e, fault=f"the IntNet has {k:,}")
