"""What training left behind: record, log, budget, configuration and checkpoint, compared with one another and with the
network."""

import hashlib
import json
from pathlib import Path
from typing import Any

from deepr_hw.ir import IntNet, netfile
from deepr_hw.testimony import RECORD, Evidence, attest, other_run, read_json
from deepr_hw.train.checkpoint import Checkpoint, load_checkpoint
from deepr_hw.train.loop import frozen_again
from deepr_hw.train.runfolder import BUDGET, CHECKPOINT, CONFIG, METRICS, NET, TRAINED, Identity
from deepr_hw.train.runlog import EpochMetrics, as_line


def examine_training(run: Path, net: IntNet | None) -> list[Evidence]:
    """Evidence on everything in the folder ``run`` that was there before the first export; ``net`` is what
    net.safetensors holds, None where that is unsound."""
    checkpoint: list[Checkpoint] = []

    def frozen() -> tuple[int | None, str | None]:
        checkpoint.append(load_checkpoint(run / CHECKPOINT))
        return _checkpoint(checkpoint[0], net)

    last = attest("checkpoint", "connections, frozen anew to the network", frozen)
    state = checkpoint[0] if checkpoint else None
    return [
        attest("record", f"{RECORD} names network and artefacts", lambda: (None, _record(run, net))),
        attest(
            "training", "active after every step, smallest = largest over all epochs", lambda: _metrics(run, net, state)
        ),
        attest(
            "training groups",
            "sum over the groups, each at its limit after every step",
            lambda: _groups(run, net, state),
        ),
        attest("configuration", f"{CONFIG} is what was trained", lambda: (None, _configuration(run, net, state))),
        last,
    ]


def _record(run: Path, net: IntNet | None) -> str | None:
    record = read_json(run / RECORD)
    absent = [name for name in dict.fromkeys((*TRAINED, *record["artefacts"])) if not (run / name).exists()]
    if absent:
        return f"absent: {', '.join(absent)}"
    if record["intnet"] != hashlib.sha256((run / NET).read_bytes()).hexdigest():
        return f"{NET} is not the network that the run ended with"
    return other_run(record["run"], net)


def _trained(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What training itself logged: recalls and remarks come to the last line when the network is frozen."""
    return [{key: value for key, value in line.items() if key not in ("recalls", "remarks")} for line in lines]


def _metrics(run: Path, net: IntNet | None, checkpoint: Checkpoint | None) -> tuple[int, str | None]:
    lines = [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()]
    low, high = min(line["active_min"] for line in lines), max(line["active_max"] for line in lines)
    runs = {line["run"] for line in lines}
    if len(runs) > 1:
        return low, f"lines of several runs: {', '.join(sorted(map(str, runs)))}"
    if fault := other_run(runs.pop(), net):
        return low, fault
    if low != high:
        return low, f"between {low:,} and {high:,} connections were active"
    if checkpoint is not None:
        history = [EpochMetrics(**entry) for entry in checkpoint.about["history"]]
        if _trained(lines) != _trained([json.loads(as_line(epoch, checkpoint.about["run"])) for epoch in history]):
            return low, "not the epochs that the checkpoint has seen"
    return low, None


def _groups(run: Path, net: IntNet | None, checkpoint: Checkpoint | None) -> tuple[int, str | None]:
    log = read_json(run / BUDGET)
    k = sum(log["limits"])
    if not log["active_min"] == log["active_max"] == log["limits"]:
        return sum(log["active_min"]), "a group was above or below its limit at some step"
    if log["n_connections"] != k:
        return k, f"says n_connections = {log['n_connections']}, its limits add up to {k:,}"
    if fault := other_run(log["run"], net):
        return k, fault
    if net is not None and (log["kind"], tuple(log["limits"])) != (net.budget.kind, net.budget.limits):
        return k, f"the limits are not those of the IntNet's budget ({net.budget.kind})"
    if checkpoint is not None:
        extremes = [log["active_min"], log["active_max"]]
        if extremes != checkpoint.extra["extremes"].tolist() or [log["steps"]] != checkpoint.extra["steps"].tolist():
            return k, "not the steps that the checkpoint has seen"
    return k, None


def _configuration(run: Path, net: IntNet | None, checkpoint: Checkpoint | None) -> str | None:
    text = (run / CONFIG).read_text(encoding="utf-8")
    if checkpoint is None:
        return None
    if text != checkpoint.about["config"]:
        return "differs from what the checkpoint was trained with"
    about = checkpoint.about
    return other_run(Identity(text, about["data"], about["version"]).run, net)


def _checkpoint(checkpoint: Checkpoint, net: IntNet | None) -> tuple[int | None, str | None]:
    k = int(checkpoint.tensors["limits"].sum())
    if net is None:
        return k, None
    if fault := other_run(checkpoint.about["run"], net):
        return k, fault
    again = frozen_again(checkpoint, net)
    same = netfile.digest(again) == netfile.digest(net)
    return again.n_connections, None if same else f"frozen anew it gives another network than {NET}"
