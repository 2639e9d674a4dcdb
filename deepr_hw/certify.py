"""The budget certificate: K counted in every artefact of a run, each by a way of its own, and nothing taken on trust.

    training   smallest and largest number of active connections over all steps (metrics.jsonl, budget.json)
    intnet     weights in net.safetensors
    onnx       positions found by walking the graph of every .onnx file
    hls4ml     initializers of the C++ weight arrays
    rtl        slots with a multiplication in the memory image, decoded to connections
    simulation multiply-accumulates that the simulated engine counts per sample when it runs that image

A count can agree by accident, so every export is also made anew from the IntNet and must come out the same.
"""

import errno
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from . import netfile
from .extras import MissingToolError, missing
from .info import describe
from .ir import IntNet


@dataclass(frozen=True)
class Evidence:
    """One artefact's testimony.

    n_connections : K as counted in it, or None when it can't be counted
    fault         : why it doesn't count as a proof of K, or None
    how           : what was counted
    """

    artefact: str
    n_connections: int | None
    fault: str | None
    how: str

    def __str__(self) -> str:
        count = "?" if self.n_connections is None else f"{self.n_connections:,}"
        return f"{self.artefact}: K = {count}, {self.how}" + (f" -- FAULT: {self.fault}" if self.fault else "")


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
        return len({e.n_connections for e in self.evidence}) == 1 and not any(e.fault for e in self.evidence)

    def as_json(self) -> dict[str, Any]:
        """What ``deepr-hw certify --json`` writes."""
        return {**asdict(self), "passed": self.passed}


def certify(run: Path, simulator: str = "icarus") -> Certificate:
    """Examine the folder ``run`` as ``deepr-hw run`` leaves it; exports that it lacks are left out.

    simulator : which one runs the memory image, ``icarus`` or ``verilator``

    Raises ``OSError`` when there is no net.safetensors or no metrics.jsonl, ``MissingToolError`` naming the package or
    simulator that is not installed.
    """
    run = Path(run)
    for name in ("net.safetensors", "metrics.jsonl"):
        if not (run / name).is_file():
            raise FileNotFoundError(errno.ENOENT, "not the folder of a run: it has no such file", str(run / name))
    files = sorted(path for path in run.rglob("*") if path.is_file())
    evidence = [_examine("intnet", "weights in net.safetensors", lambda: (_load(run).n_connections, None))]
    net = None if evidence[0].fault else _load(run)
    evidence += _training(run, net)
    if net is not None:
        evidence += _onnx(run, net)
        evidence += _hls4ml(run, net)
        evidence += _rtl(run, net, simulator)
    facts = {} if net is None else describe(net)
    hashes = {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return Certificate(tuple(_agreeing(evidence)), facts.get("connectivity"), facts.get("connectivity_formula"), hashes)


def _load(run: Path) -> IntNet:
    return netfile.load(run / "net.safetensors")


def _examine(artefact: str, how: str, count: Callable[[], tuple[int, str | None]]) -> Evidence:
    """``count`` gives K and a fault or None; whatever makes it impossible is a fault too."""
    try:
        n_connections, fault = count()
    except ModuleNotFoundError as error:
        raise missing(f"certify: {artefact}", error) from None
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        return Evidence(artefact, None, f"can't be counted: {why[0]}", how)
    return Evidence(artefact, n_connections, fault, how)


def _agreeing(evidence: list[Evidence]) -> Iterator[Evidence]:
    """The evidence, with a fault where its K is not the IntNet's."""
    k = evidence[0].n_connections
    for e in evidence:
        agrees = k is None or e.n_connections in (None, k)
        yield e if e.fault or agrees else replace(e, fault=f"the IntNet has {k:,}")


def _training(run: Path, net: IntNet | None) -> list[Evidence]:
    def epochs() -> tuple[int, str | None]:
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        low, high = min(line["active_min"] for line in lines), max(line["active_max"] for line in lines)
        return low, None if low == high else f"between {low:,} and {high:,} connections were active"

    def groups() -> tuple[int, str | None]:
        log = json.loads((run / "budget.json").read_text())
        if not log["active_min"] == log["active_max"] == log["limits"]:
            return sum(log["active_min"]), "a group was above or below its limit at some step"
        if net is not None and (log["kind"], tuple(log["limits"])) != (net.budget.kind, net.budget.limits):
            return sum(log["limits"]), f"the limits are not those of the IntNet's budget ({net.budget.kind})"
        return sum(log["limits"]), None

    found = [_examine("training", "active after every step, smallest = largest over all epochs", epochs)]
    if (run / "budget.json").exists():
        found.append(_examine("training groups", "sum over the groups, each at its limit after every step", groups))
    return found


def _onnx(run: Path, net: IntNet) -> list[Evidence]:
    def count(path: Path) -> tuple[int, str | None]:
        import onnx
        from google.protobuf.message import DecodeError

        from .export.onnx_count import count_connections

        try:
            model = onnx.load(str(path))
        except DecodeError as error:
            raise ValueError(f"not an ONNX file ({error})") from None
        same = any(_graph(model) == _graph(again) for again in _remade(net, path.stem))
        return sum(count_connections(model)), None if same else "differs from what the IntNet exports to"

    return [_examine(f"onnx {path.stem}", "positions by walking the graph", partial(count, path))
            for path in sorted((run / "onnx").rglob("*.onnx"))]


def _graph(model: Any) -> bytes:
    """What computes, without the metadata, which may name a licence or a version."""
    return b"".join(part.SerializeToString(deterministic=True) for part in (model.graph, *model.functions))


def _remade(net: IntNet, flavour: str) -> Iterator[Any]:
    """The network's models of a flavour, by every option that changes the graph; the default first."""
    from .export import onnx_integer, onnx_qdq, qonnx_export

    if flavour == "integer":
        yield from (onnx_integer.build(net, float_input) for float_input in (False, True))
    elif flavour == "qdq":
        yield from (onnx_qdq.build(net, float_input, dense) for dense in (False, True) for float_input in (True, False))
    elif flavour == "qonnx":
        yield from (qonnx_export.build(net, dense) for dense in (False, True))


def _hls4ml(run: Path, net: IntNet) -> list[Evidence]:
    folder = run / "hls4ml"

    def count() -> tuple[int, str | None]:
        import yaml

        from .export import hls4ml_project
        from .export.hls4ml_arrays import count_connections

        k = count_connections(folder)
        config = yaml.safe_load((folder / "hls4ml_config.yml").read_text())
        with tempfile.TemporaryDirectory() as again:
            hls4ml_project.export(net, Path(again), config["Backend"], config["HLSConfig"]["Model"]["ReuseFactor"],
                                  config["IOType"], config["Part"])
            return k, _difference(Path(again) / "firmware", folder / "firmware")

    return [_examine("hls4ml", "initializers of the C++ weight arrays", count)] if folder.exists() else []


def _rtl(run: Path, net: IntNet, simulator: str) -> list[Evidence]:
    from .sim import runner

    folder = run / "rtl"
    if not folder.exists():
        return []
    if why := runner.missing(simulator):
        raise MissingToolError(f"certify: {why}")

    def count() -> tuple[int, str | None]:
        from .export import rtl_image

        k = sum(map(len, rtl_image.decode(_read_image(folder, net))))
        with tempfile.TemporaryDirectory() as again:
            rtl_image.export(net, Path(again), _lanes(folder), _stream_bytes(folder))
            return k, _difference(Path(again), folder)

    def simulate() -> tuple[int, str | None]:
        from .sim import engine
        from .verify import random_samples

        x = random_samples(net, 3).codes
        try:
            with tempfile.TemporaryDirectory() as workdir:
                played = engine.play(_read_image(folder, net), x, Path(workdir), simulator)
        except RuntimeError as error:
            raise ValueError(f"the engine doesn't run this image ({error})") from None
        k, rest = divmod(played.macs, len(x))
        return k, None if rest == 0 else f"{played.macs} multiply-accumulates in {len(x)} samples"

    return [_examine("rtl", "slots of the memory image, decoded", count),
            _examine("simulation", f"multiply-accumulates per sample counted by the engine in {simulator}", simulate)]


def _lanes(folder: Path) -> int:
    return len(list(folder.glob("slots_*.hex")))


def _stream_bytes(folder: Path) -> int:
    return int(json.loads((folder / "manifest.json").read_text())["stream_bytes"])


def _read_image(folder: Path, net: IntNet) -> Any:
    """The image whose words are those in the files; only sizes and places come from the network."""
    import numpy as np

    from .export import rtl_image

    def words(name: str) -> np.ndarray:
        return np.array([int(line, 16) for line in (folder / name).read_text().split()], np.int64)

    lanes = _lanes(folder)
    image = rtl_image.build(net, lanes)
    slots, biases = (np.stack([words(f"{name}_{lane}.hex") for lane in range(lanes)]) for name in ("slots", "bias"))
    if slots.shape != image.slots.shape or biases.shape != image.biases.shape:
        raise ValueError(f"{folder}: {slots.shape} slots and {biases.shape} biases, the network has "
                         f"{image.slots.shape} and {image.biases.shape}")
    return replace(image, slots=slots, biases=biases, layers=words("layers.hex"))


def _difference(made: Path, found: Path) -> str | None:
    """What tells the files in ``found`` from those just ``made``, or None."""
    for path in sorted(path for path in made.rglob("*") if path.is_file()):
        other = found / path.relative_to(made)
        if not other.exists():
            return f"{path.relative_to(made)} is missing"
        if other.read_bytes() != path.read_bytes():
            return f"{path.relative_to(made)} differs from what the IntNet exports to"
    return None
